"""Upstream's stage: the file it writes, of the root's task or of somebody's corpus."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import ROOT

from goldrm.common.errors import GoldrmError
from goldrm.common.params import checked
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.common.workers import ALONE
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.stage import Run
from upstream.params import UpstreamParams
from upstream.train_sft import train_sft

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """Trains a tiny model for two steps and returns what its file says of it."""
    values = read_yaml(ROOT / "upstream/params.yaml")
    values["dictionary"] = str(ROOT / "data/source/dictionary.json")
    values["model"] |= {"d": 8, "num_heads": 2, "num_layers": 1}
    values["train"]["phases"] = [values["train"]["phases"][0] | {"steps": 2, "warmup_steps": 1}]
    values["runtime"]["threads"] = 1  # as all tests run on
    task = read_yaml(ROOT / "params.yaml")["task"]
    task["arithmetic_series"]["start"] = {"min": 0, "max": 9}
    task["sorting"]["lists"] = 300
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()

    def run(name: str = "arithmetic_series", **changes: Any) -> dict[str, Any]:
        changed = {**values, "task": task | {"name": name}, **changes}
        train_sft(checked(UpstreamParams, changed, Path("params.yaml")), Run(Path("work"), ALONE))
        state, described = read_tensors_of_others(Path("sft_lm.safetensors"), "the model")
        assert {tensor.dtype for tensor in state.values()} == {torch.float16}
        return described

    yield run
    torch.set_deterministic_debug_mode("default")


def test_file_says_which_split_the_model_has_seen(train: Train):
    described = train()
    assert described["split_seed"] == 0
    assert (described["d"], described["num_tokens"]) == (8, 129)


def test_sorting_is_learnt_from_its_own_dictionary(train: Train):
    described = train("sorting", dictionary=str(ROOT / "upstream/sorting/dictionary.json"))
    tokens = json.loads((ROOT / "upstream/sorting/dictionary.json").read_text())["tokens"]
    assert described["num_tokens"] == len(tokens)


def test_dictionary_of_another_task_is_refused(train: Train):
    with pytest.raises(GoldrmError, match=r"dictionary\.json: the dictionary lacks 'sort'"):
        train("sorting")


def test_model_of_a_corpus_knows_of_no_split(train: Train, tmp_path: Path):
    """Nor must the dictionary hold any task's words."""
    tokens = ["<PAD>", "<EOS>", "<SEP>", *map(str, range(101)), "count"]
    (tmp_path / "words.json").write_text(json.dumps({"tokens": tokens}))
    (tmp_path / "corpus.jsonl").write_text('{"prompt": "count 3", "completion": "1 2 3"}\n')
    described = train(dictionary="words.json", corpus="corpus.jsonl")
    assert described["num_tokens"] == len(tokens)
    assert "split_seed" not in described
