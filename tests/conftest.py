"""What many tests share: the notebook's dictionary and task, and small models."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import annotations  # noqa: F401 - first, before goldrm is imported
import pytest
import torch
from hypothesis import HealthCheck, settings
from notebook_reference import NotebookLM
from small_models import ROOT, sizes_for
from surroundings import settle

from goldrm.commands.params import Params, load_params
from goldrm.course import archive
from goldrm.course.limits import memory_limit
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.params import LastTokenParams, TokenDamageParams
from goldrm.task import dictionary as dictionary_module
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task

settle()

# Small matrices are faster, and tests repeatable, on one thread.
torch.set_num_threads(1)

# How long an example takes says how busy the machine is.
settings.register_profile(
    "any_speed", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any_speed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that the processes end together."""
    longest = ("test_pipeline", "test_chaos", "test_pipeline_errors", "test_cli", "test_run")
    order = {name: place for place, name in enumerate(longest)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def params() -> Params:
    """The committed parameters."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def task_params(params: Params) -> TaskParams:
    return params.task


@pytest.fixture(scope="session")
def gold_reward_params(params: Params) -> GoldRewardParams:
    return params.gold_reward


@pytest.fixture(scope="session")
def dictionary() -> Dictionary:
    """The notebook's 129 tokens."""
    return dictionary_module.load_source(ROOT / "data/source/dictionary.json", max_value=100)


@pytest.fixture(scope="session")
def task(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    return Task(dictionary, task_params, gold_reward_params)


@pytest.fixture(scope="session")
def small_sizes(dictionary: Dictionary) -> BackboneSizes:
    return sizes_for(dictionary)


@pytest.fixture(scope="session")
def token_damage() -> TokenDamageParams:
    """A readout of every token that fits the small sizes."""
    return TokenDamageParams(kind="token_damage", prompt_layers=[1], hidden_size=16, damage_kinds=5)


@pytest.fixture(scope="session")
def last_token() -> LastTokenParams:
    """The notebook's readout."""
    return LastTokenParams(kind="last_token")


@pytest.fixture
def reference_lm(small_sizes: BackboneSizes) -> NotebookLM:
    """The notebook's model with random weights, in evaluation mode."""
    torch.manual_seed(1)
    return NotebookLM(**asdict(small_sizes)).eval()


@pytest.fixture
def backbone(small_sizes: BackboneSizes, reference_lm: NotebookLM) -> Backbone:
    """Ours with the same weights, frozen, in evaluation mode."""
    backbone = Backbone(small_sizes)
    backbone.load_state_dict(reference_lm.state_dict())
    return backbone.frozen()


@pytest.fixture
def archives_opened_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The course's files aren't tried in a process of their own, which takes seconds each."""

    def run_here(read: Callable[[Path], object], path: Path, extra_bytes: int) -> str | None:
        try:
            with memory_limit(extra_bytes):
                read(path)
        except Exception as error:
            return str(error)
        return None

    monkeypatch.setattr(archive, "run_limited", run_here)
