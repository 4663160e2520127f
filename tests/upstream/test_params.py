"""upstream/params.yaml: what is committed loads, and what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest
from small_models import ROOT

from goldrm.common.errors import GoldrmError
from goldrm.common.params import checked
from goldrm.common.yaml_file import read_yaml
from goldrm.task.task import prompts_of
from upstream.params import UpstreamParams

PARAMS = ROOT / "upstream/params.yaml"


@pytest.fixture
def committed() -> dict[str, Any]:
    """What the stage reads: the folder's own parameters and the root's task."""
    return {**read_yaml(PARAMS), "task": read_yaml(ROOT / "params.yaml")["task"]}


def test_upstream_has_the_notebooks_sizes(committed: dict[str, Any]):
    model = checked(UpstreamParams, committed, PARAMS).model
    assert (model.d, model.num_heads, model.num_layers) == (384, 6, 6)
    assert (model.context_length, model.dropout) == (40, 0.1)


def test_sorting_has_a_recipe_of_its_own():
    """The root's task, but for the name, as the stage there reads it."""
    file = ROOT / "upstream/sorting/params.yaml"
    own = read_yaml(file)
    task = {**read_yaml(ROOT / "params.yaml")["task"], **own["task"]}
    params = checked(UpstreamParams, {**own, "task": task}, file)
    assert params.task.name == "sorting"
    longest = prompts_of(params.task).longest
    assert longest + params.task.sorting.numbers.max < params.model.context_length


def test_parameter_of_a_list_gets_a_suggestion(committed: dict[str, Any]):
    phase = committed["train"]["phases"][1]
    phase["counted_weigth"] = phase.pop("counted_weight")
    sentence = r"train\.phases\.1\.counted_weigth is not a parameter \(did you mean counted_weight"
    with pytest.raises(GoldrmError, match=sentence):
        checked(UpstreamParams, committed, PARAMS)


@pytest.mark.parametrize("num_heads", [5, 7])
def test_heads_divide_the_width(committed: dict[str, Any], num_heads: int):
    committed["model"]["num_heads"] = num_heads
    sentence = rf"model: d \(384\) must be a multiple of num_heads \({num_heads}\)"
    with pytest.raises(GoldrmError, match=sentence):
        checked(UpstreamParams, committed, Path("upstream/params.yaml"))
