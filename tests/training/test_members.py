"""Members are trained on what is left to train on, and what can't work ends before the work."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from completions_by_hand import NO_PREFERENCES
from pandas.testing import assert_frame_equal
from tasks_by_hand import with_series

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import stream_seed
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.gold_scale import SAME, rising_line
from goldrm.reward_model.params import PlainEnsembleParams, TokenDamageParams
from goldrm.task.arithmetic_series import HoldoutParams
from goldrm.task.splits import Split
from goldrm.task.task import Task
from goldrm.training.example_states import labelled_completions
from goldrm.training.examples import training_set
from goldrm.training.label_noise import with_label_noise
from goldrm.training.loop import predicted
from goldrm.training.members import TrainingData, train_members
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
def data(task: Task) -> TrainingData:
    """Five prompts of each split, with two completions."""
    answers = (
        (group, prompt_id, (3, 7, last))
        for group, prompt_id in enumerate(range(0, len(task.space), 500))
        for last in (11, 60)
    )
    completions = task.with_prompts(task.labelled(answers))
    splits = completions["prompt_id"].map(task.split_of)
    sampled: dict[Split, pd.DataFrame] = {
        "train": completions[splits == "train"][:10],
        "validation": completions[splits == "validation"][:10],
    }
    return TrainingData(sampled, NO_PREFERENCES)


def test_members_differ_by_their_seeds_alone(
    backbone: Backbone,
    task: Task,
    data: TrainingData,
    recipe: Recipe,
    tmp_path: Path,
):
    """Each begins with weights of its own, and has scale and ceiling of what is trained on."""
    trained = train_members(backbone, task, data, recipe, 5, tmp_path, ALONE)
    assert trained is not None
    first, second = trained.states
    examples = training_set(data.completions["train"], NO_PREFERENCES, task, recipe.data, 5)
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
        (
            [0, 2],
            [1, 2, 3],
            r"none of the train split's completions is left.*task\.arithmetic_series\.holdout",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read(
    backbone: Backbone,
    task: Task,
    data: TrainingData,
    recipe: Recipe,
    params: Params,
    tmp_path: Path,
    layers: list[int],
    holdout: list[int],
    sentence: str,
):
    kept_out = HoldoutParams(template=holdout, difference=[], terms=[])
    strict = Task(task.dictionary, with_series(task.params, holdout=kept_out), params.gold_reward)
    readout = recipe.readout.model_copy(update={"prompt_layers": layers})
    changed = recipe.model_copy(update={"readout": readout})
    with pytest.raises(GoldrmError, match=sentence):
        train_members(backbone, strict, data, changed, 0, tmp_path, ALONE)
    assert list(tmp_path.iterdir()) == []


def own_pairs(task: Task) -> pd.DataFrame:
    """Three words as prompts that aren't the task's; the longer answer is preferred."""
    rows = [(-1, word, "7 8 9", "7") for word in ("series", "make", "write")]
    return pd.DataFrame(rows, columns=list(NO_PREFERENCES)).astype(NO_PREFERENCES.dtypes)


@pytest.fixture(params=["last_token", "token_damage"])
def ranking(request: pytest.FixtureRequest, recipe: Recipe) -> Recipe:
    """A recipe without gold rewards: no edits, ranking loss alone."""
    return recipe.model_copy(
        update={
            "readout": request.getfixturevalue(request.param),
            "data": recipe.data.model_copy(update={"edits": None}),
            "training": recipe.training.model_copy(
                update={"mse_weight": 0.0, "epochs": 8, "warmup_steps": 0}
            ),
        }
    )


def test_preferences_alone_are_learned_by_ranking_alone(
    backbone: Backbone, task: Task, data: TrainingData, ranking: Recipe, tmp_path: Path
):
    """Whatever the recipe's regression would weigh; each member's rewards have the mean 0."""
    nothing = data.completions["train"][:0]
    own = TrainingData({**data.completions, "train": nothing}, own_pairs(task))
    trained = train_members(backbone, task, own, ranking, 5, tmp_path, ALONE)
    assert trained is not None
    losses = ranking.training.model_copy(update={"mse_weight": 1.0})
    weighed = ranking.model_copy(update={"training": losses})
    same = train_members(backbone, task, own, weighed, 5, tmp_path / "weighed", ALONE)
    assert same is not None
    assert same.first.curve == trained.first.curve
    assert same.first.best == trained.first.best
    assert trained.examples["completion"].tolist() == ["7 8 9", "7"] * 3
    validation = labelled_completions(tmp_path / "validation")
    rewards = []
    for state in trained.states:
        readout = new_readout(ranking.readout, backbone.sizes, 0)
        readout.load_state_dict(state)
        rewards.append(predicted(readout, validation).rewards.numpy())
        assert rewards[-1].mean() == pytest.approx(0, abs=1e-4)
    gold_rewards = predicted(readout, validation).targets.numpy()
    line = rising_line(np.mean(rewards, axis=0), gold_rewards)
    assert trained.gold_scale.model_dump() == pytest.approx(line.model_dump(), rel=1e-5)
    readout.load_state_dict(trained.states[0])
    preferred = predicted(readout, labelled_completions(tmp_path / "train"))
    assert preferred.targets.isnan().all()
    assert preferred.accuracy() == 1.0


def test_preferences_are_learned_beside_gold_rewards(
    backbone: Backbone, task: Task, data: TrainingData, recipe: Recipe, tmp_path: Path
):
    both = TrainingData(data.completions, own_pairs(task))
    trained = train_members(backbone, task, both, recipe, 5, tmp_path, ALONE)
    assert trained is not None
    assert trained.gold_scale == SAME
    assert trained.examples["gold_reward"].isna().sum() == 6
    assert all(tensor.isfinite().all() for state in trained.states for tensor in state.values())


def test_label_noise_is_the_same_for_all_members(
    backbone: Backbone, task: Task, data: TrainingData, ranking: Recipe, tmp_path: Path
):
    """Sampled pairs only, which are five: the right ranking has a fifth less for each flipped."""
    noisy = ranking.data.model_copy(update={"label_noise": 0.5})
    ranking = ranking.model_copy(update={"data": noisy})
    trained = train_members(backbone, task, data, ranking, 5, tmp_path, ALONE)
    assert trained is not None
    assert trained.gold_scale != SAME
    train = labelled_completions(tmp_path / "train")
    (reachable,) = {row["reachable_accuracy"] for row in trained.first.curve}
    assert reachable == with_label_noise(train, 0.5, 5)[1]
    assert 0 < reachable < 1
    assert len(train.chosen) == 5


@pytest.mark.parametrize("changes", [{"margin": True}, {"rank_weight": 0.0}], ids=str)
def test_preferences_need_a_ranking_loss_without_a_margin(
    backbone: Backbone,
    task: Task,
    data: TrainingData,
    recipe: Recipe,
    tmp_path: Path,
    changes: dict[str, Any],
):
    own = TrainingData(data.completions, own_pairs(task))
    changed = recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})
    with pytest.raises(GoldrmError, match="rank_weight above 0 and margin to false"):
        train_members(backbone, task, own, changed, 0, tmp_path, ALONE)
