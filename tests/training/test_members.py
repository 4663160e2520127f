"""Members are trained on what is left to train on, and what can't work ends before the work."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import stream_seed
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.params import RewardModelParams
from goldrm.task.params import HoldoutParams
from goldrm.task.series import Split
from goldrm.task.task import Task
from goldrm.training.examples import NO_EDITS, training_set
from goldrm.training.members import train_members
from goldrm.training.params import TrainParams
from goldrm.training.state_files import labelled_completions


@pytest.fixture
def train(params: Params) -> TrainParams:
    edits = NO_EDITS.model_copy(update={"of_exact": 1, "more_prompts": 2, "kinds": ["one_off"]})
    changes = {"epochs": 2, "batch_size": 2, "edits": edits, "learning_rate": 0.01}
    return params.baseline.train.model_copy(update=changes)


@pytest.fixture(scope="module")
def sampled(task: Task) -> dict[Split, pd.DataFrame]:
    """Five prompts of each split, with two completions."""
    rows = [
        task.series(group, prompt_id, (3, 7, last))
        for group, prompt_id in enumerate(range(0, len(task.space), 500))
        for last in (11, 60)
    ]
    completions = task.with_prompts(pd.DataFrame(rows))
    splits = completions["prompt_id"].map(task.split_of)
    return {
        "train": completions[splits == "train"][:10],
        "validation": completions[splits == "validation"][:10],
    }


def test_members_differ_by_their_seeds_alone(
    backbone: Backbone,
    task: Task,
    sampled: dict[Split, pd.DataFrame],
    token_damage: RewardModelParams,
    train: TrainParams,
    tmp_path: Path,
):
    """Each begins with weights of its own, and has the scale and ceiling of all training rows."""
    trained = train_members(backbone, task, sampled, token_damage, train, 5, tmp_path)
    assert trained is not None
    first, second = trained.states
    completions = training_set(sampled["train"], task, train, 5)[:]
    labelled = labelled_completions(tmp_path / "train")
    for state in trained.states:
        for name, rows in (
            ("scale", labelled.rows),
            ("outlook_scale", labelled.outlook),
            ("prompt_scale", labelled.prompt_rows),
        ):
            expected = torch.cat(list(rows.split(8))).float().mean(0)
            torch.testing.assert_close(state[f"{name}.mean"], expected, atol=1e-4, rtol=0)
        assert state["ceiling"] == completions["gold_reward"].max()
    initial = new_readout(token_damage, backbone.sizes, stream_seed(5, "member", 1))
    initial.fit_scale(labelled)
    moved = {n: float((second[n] - t.detach()).abs().max()) for n, t in initial.named_parameters()}
    apart = {n: float((second[n] - first[n]).abs().max()) for n in moved}
    assert max(moved.values()) < 0.1 < max(apart.values())
    assert trained.first.curve[-1]["step"] == 2 * 3  # five sampled and two further prompts, by two
    for name, tensor in trained.first.state.items():
        assert torch.equal(tensor, first[name])


@pytest.mark.parametrize(
    ("layers", "holdout", "sentence"),
    [
        ([0, 3], [], r"layer 3, but the language model has 2"),
        ([0, 2], [1, 2, 3], r"none of the train split's completions is left.*task\.holdout"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read(
    backbone: Backbone,
    task: Task,
    sampled: dict[Split, pd.DataFrame],
    token_damage: RewardModelParams,
    train: TrainParams,
    params: Params,
    tmp_path: Path,
    layers: list[int],
    holdout: list[int],
    sentence: str,
):
    kept_out: dict[str, Any] = {"holdout": HoldoutParams(template=holdout, difference=[], terms=[])}
    strict = Task(task.dictionary, task.params.model_copy(update=kept_out), params.gold_reward)
    reward_model = token_damage.model_copy(update={"layers": layers})
    with pytest.raises(GoldrmError, match=sentence):
        train_members(backbone, strict, sampled, reward_model, train, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []
