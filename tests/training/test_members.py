"""Members are trained on what is left to train on, and what can't work ends before the work."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import stream_seed
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.params import PlainEnsembleParams, TokenDamageParams
from goldrm.task.params import HoldoutParams
from goldrm.task.series import Split
from goldrm.task.task import Task
from goldrm.training.example_states import labelled_completions
from goldrm.training.examples import training_set
from goldrm.training.members import train_members
from goldrm.training.params import EditsParams, Recipe


@pytest.fixture
def recipe(params: Params, token_damage: TokenDamageParams) -> Recipe:
    edits = EditsParams(lengths=0, mistakes=0, random=1, kinds=["one_off"], further_prompts=2)
    notebook = params.models["notebook"]
    training = {"epochs": 2, "batch_size": 2, "learning_rate": 0.01}
    return Recipe(
        readout=token_damage,
        ensemble=PlainEnsembleParams(members=2, combine="mean"),
        data=notebook.data.model_copy(update={"edits": edits}),
        training=notebook.training.model_copy(update=training),
    )


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
    recipe: Recipe,
    tmp_path: Path,
):
    """Each begins with weights of its own, and has scale and ceiling of what is trained on."""
    trained = train_members(backbone, task, sampled, recipe, 5, tmp_path, ALONE)
    assert trained is not None
    first, second = trained.states
    examples = training_set(sampled["train"], task, recipe.data, 5)
    assert_frame_equal(trained.examples, examples.table(examples.groups))
    labelled = labelled_completions(tmp_path / "train")
    for state in trained.states:
        expected = labelled.states.prompt_rows.float().mean(0)
        torch.testing.assert_close(state["scale.mean"], expected, atol=1e-4, rtol=0)
        assert state["ceiling"] == trained.examples["gold_reward"].max()
    initial = new_readout(recipe.readout, backbone.sizes, stream_seed(5, "member", 1))
    initial.fit_scale(labelled.states, labelled.gold_rewards)
    moved = {n: float((second[n] - t.detach()).abs().max()) for n, t in initial.named_parameters()}
    apart = {n: float((second[n] - first[n]).abs().max()) for n in moved}
    assert max(moved.values()) < 0.1 < max(apart.values())
    assert trained.first.curve[-1]["step"] == 2 * 3  # five sampled and two further prompts, by two
    for name, tensor in trained.first.state.items():
        assert torch.equal(tensor, first[name])


@pytest.mark.parametrize(
    ("layers", "holdout", "sentence"),
    [
        ([0, 3], [], r"layer 3, but the language model of sft.source has 2"),
        ([0, 2], [1, 2, 3], r"none of the train split's completions is left.*task\.holdout"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read(
    backbone: Backbone,
    task: Task,
    sampled: dict[Split, pd.DataFrame],
    recipe: Recipe,
    params: Params,
    tmp_path: Path,
    layers: list[int],
    holdout: list[int],
    sentence: str,
):
    kept_out: dict[str, Any] = {"holdout": HoldoutParams(template=holdout, difference=[], terms=[])}
    strict = Task(task.dictionary, task.params.model_copy(update=kept_out), params.gold_reward)
    readout = recipe.readout.model_copy(update={"prompt_layers": layers})
    changed = recipe.model_copy(update={"readout": readout})
    with pytest.raises(GoldrmError, match=sentence):
        train_members(backbone, strict, sampled, changed, 0, tmp_path, ALONE)
    assert list(tmp_path.iterdir()) == []
