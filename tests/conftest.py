"""What many tests share: the notebook's dictionary and task, and small models."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from notebook_reference import NotebookLM
from torch import Tensor

from goldrm.commands.params import Params, load_params
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.hidden_states import OUTLOOK
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.states import States
from goldrm.task import dictionary as dictionary_module
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task
from goldrm.training.batches import LabelledCompletions

ROOT = Path(__file__).parent.parent

# Two threads are params.yaml's; small matrices are faster, and tests repeatable, on one.
torch.set_num_threads(1)

# How long an example takes says how busy the machine is.
settings.register_profile("any_speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_speed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that run whole pipelines: they take longest."""
    items.sort(key=lambda item: item.path.stem not in ("test_pipeline", "test_chaos"))


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
    return dictionary_module.load(ROOT / "data/source/dictionary.json", max_value=100)


@pytest.fixture(scope="session")
def task(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    return Task(dictionary, task_params, gold_reward_params)


def sizes_for(dictionary: Dictionary) -> BackboneSizes:
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


@pytest.fixture(scope="session")
def small_sizes(dictionary: Dictionary) -> BackboneSizes:
    return sizes_for(dictionary)


@pytest.fixture(scope="session")
def token_damage(params: Params) -> RewardModelParams:
    """A readout of every token that fits the small sizes."""
    changes = {"readout": "token_damage", "layers": [0, 2], "prompt_layers": [1]}
    changes |= {"hidden_size": 16, "channels": 5, "members": 2, "dropout": 0.0}
    return params.reward_model.model_copy(update=changes)


@pytest.fixture(scope="session")
def last_token(params: Params) -> RewardModelParams:
    """The notebook's readout."""
    return params.baseline.reward_model


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


@torch.no_grad()
def layer_states(lm: NotebookLM, token_ids: Tensor, layers: Sequence[int]) -> Tensor:
    """States after some of the notebook's blocks, side by side; 0: what the first block reads."""
    states: list[Tensor] = []
    hooks = [
        lm.transformer_blocks[0].register_forward_pre_hook(lambda _, args: states.append(args[0]))
    ]
    hooks += [
        block.register_forward_hook(lambda _, args, output: states.append(output))
        for block in lm.transformer_blocks
    ]
    lm.hidden_states(token_ids)
    for hook in hooks:
        hook.remove()
    return torch.cat([states[layer] for layer in layers], dim=-1)


def states_of(
    completions: Sequence[Tensor], prompts: Sequence[Tensor] = (), prompt: Sequence[int] = ()
) -> States:
    """States of the completions and prompts whose rows are given; `prompt` is each one's.

    Where there are prompts, the last columns of the completions are their outlook.
    """
    both = torch.cat(list(completions))
    width = both.shape[1] - (OUTLOOK if prompts else 0)
    return States(
        rows=both[:, :width],
        place=torch.arange(len(both)),
        outlook=both[:, width:],
        lengths=torch.tensor([len(rows) for rows in completions]),
        prompt_rows=torch.cat(list(prompts)) if prompts else torch.zeros(0, 0),
        prompt_lengths=torch.tensor([len(rows) for rows in prompts], dtype=torch.int64),
        prompt=torch.tensor(prompt or [0] * len(completions)),
    )


def labelled(states: States, gold_rewards: Tensor, sizes: Sequence[int]) -> LabelledCompletions:
    """The completions of some states with gold rewards, in groups of such sizes."""
    return LabelledCompletions(
        rows=states.rows,
        place=states.place,
        outlook=states.outlook,
        ends=states.lengths.cumsum(0),
        prompt_rows=states.prompt_rows,
        prompt_ends=states.prompt_lengths.cumsum(0),
        prompt=states.prompt,
        gold_rewards=gold_rewards,
        groups=torch.tensor(sizes).cumsum(0),
    )
