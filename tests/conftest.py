"""What many tests share: the notebook's dictionary and task, and small models."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from notebook_reference import NotebookLM

from goldrm import dictionary as dictionary_module
from goldrm.backbone import Backbone, BackboneSizes
from goldrm.config import GoldRewardParams, Params, TaskParams, load_params
from goldrm.dictionary import Dictionary
from goldrm.preferences import Labeller

ROOT = Path(__file__).parent.parent

# Two threads are params.yaml's; small matrices are faster, and tests repeatable, on one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def params() -> Params:
    """The committed parameters."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def task(params: Params) -> TaskParams:
    return params.task


@pytest.fixture(scope="session")
def gold_reward_params(params: Params) -> GoldRewardParams:
    return params.gold_reward


@pytest.fixture(scope="session")
def dictionary() -> Dictionary:
    """The notebook's 129 tokens."""
    return dictionary_module.load(ROOT / "data/source/dictionary.json", max_value=100)


@pytest.fixture(scope="session")
def labeller(
    dictionary: Dictionary, task: TaskParams, gold_reward_params: GoldRewardParams
) -> Labeller:
    return Labeller(dictionary, task, gold_reward_params)


@pytest.fixture(scope="session")
def small_sizes(dictionary: Dictionary) -> BackboneSizes:
    """The notebook's context and vocabulary, but narrow and shallow."""
    return BackboneSizes(
        num_tokens=len(dictionary),
        d=24,
        num_heads=3,
        context_length=40,
        dropout=0.1,
        num_layers=2,
        padding_int=dictionary.pad_id,
        eos_int=dictionary.eos_id,
    )


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
