"""The whole evaluation: of a small real model, and of one that knows the gold rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM
from pandas.testing import assert_frame_equal

from goldrm.commands.params import Params
from goldrm.edits.random_edits import random_edit
from goldrm.evaluation.evaluate import BASELINES, Material, drawn_test_prompts, judge
from goldrm.generation.pairs import preference_pairs
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import RewardModelParams
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import Split, split_text
from goldrm.task.task import Task


@dataclass(frozen=True)
class Oracle(RewardModel):
    """A reward model whose rewards are the gold rewards."""

    task: Task

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """The exact reward of each."""
        rewards: list[float] = []
        for prompt, completion in zip(prompts, completions, strict=True):
            asked = split_text(prompt)
            assert asked
            row = self.task.series(
                0, self.task.space.id_of(asked[0]), list(map(int, completion.split()))
            )
            rewards.append(row["gold_reward"])
        return rewards


def edited(task: Task, prompt_ids: list[int], copies: int) -> pd.DataFrame:
    """Each prompt's exact series and edits of it; the last group has one completion more."""
    rng = Random(0)
    rows: list[dict[str, object]] = []
    for group, prompt_id in enumerate(prompt_ids):
        prompt = task.space[prompt_id]
        exact = prompt.exact(100)
        rows.append(task.series(group, prompt_id, exact))
        for _ in range(copies - (group < len(prompt_ids) - 1)):
            values = random_edit(exact, prompt.difference, 100, rng)
            rows.append(task.series(group, prompt_id, values))
    return task.with_prompts(pd.DataFrame(rows))


def prompts_of(task: Task, split: Split) -> list[int]:
    return task.space.ids_in(split)[:400:50]


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    changes = {"bootstrap_samples": 100, "probed_prompts": 2, "search_rounds": 2, "examples": 3}
    return params.model_copy(update={"evaluate": params.evaluate.model_copy(update=changes)})


@pytest.fixture(scope="module")
def material(task: Task) -> Material:
    test, validation = (
        edited(task, prompts_of(task, split), 3) for split in ("test", "validation")
    )
    return Material(
        pairs=preference_pairs(test, task),
        completions=test,
        validation_pairs=preference_pairs(validation, task),
        validation_completions=validation,
        best_of=edited(task, prompts_of(task, "test")[:4], 7),
    )


def readouts(
    backbone: Backbone, dictionary: Dictionary, reward_model: RewardModelParams
) -> RewardModel:
    """Readouts that haven't learned anything."""
    members = [new_readout(reward_model, backbone.sizes, seed) for seed in range(2)]
    return RewardModel(backbone, members, reward_model, dictionary)


@pytest.fixture
def model(backbone: Backbone, dictionary: Dictionary, params: Params) -> RewardModel:
    changes = {"layers": [0, 2], "prompt_layers": [1], "hidden_size": 8, "channels": 4}
    return readouts(backbone, dictionary, params.reward_model.model_copy(update=changes))


@pytest.fixture
def notebook(backbone: Backbone, dictionary: Dictionary, params: Params) -> RewardModel:
    return readouts(backbone, dictionary, params.baseline.reward_model)


@pytest.fixture
def tables(
    model: RewardModel,
    notebook: RewardModel,
    task: Task,
    material: Material,
    small: Params,
) -> dict[str, pd.DataFrame]:
    return judge(model, notebook, task, material, small.gold_reward, small.evaluate, 0)


def test_every_table_has_rows(tables: dict[str, pd.DataFrame]):
    assert {name for name, table in tables.items() if len(table)} == {
        *("statistics", "compared", "breakdown", "reward_vs_gold", "calibration"),
        *("probability", "reliability", "best_of_n", "probes", "one_off"),
        *("over_estimates", "examples"),
    }
    assert set(tables["compared"]["scorer"]) == {"reward", *BASELINES}
    assert len(tables["over_estimates"]) == 2 * 3
    assert len(tables["examples"]) == 3 * 3


def test_scores_are_the_models_own(
    tables: dict[str, pd.DataFrame],
    model: RewardModel,
    notebook: RewardModel,
    reference_lm: NotebookLM,
    dictionary: Dictionary,
    material: Material,
):
    table = tables["reward_vs_gold"]
    distinct = material.completions.drop_duplicates(["prompt_id", "completion"])
    assert table["completion"].tolist() == distinct["completion"].tolist()
    texts = table["prompt"].tolist(), table["completion"].tolist()
    assert table["reward"].tolist() == pytest.approx(model.score(*texts), abs=1e-5)
    assert table["notebook"].tolist() == pytest.approx(notebook.score(*texts), abs=1e-5)
    per_token = table["log_probability"] / (table["length"] + 1)  # and the end
    assert table["mean_log_probability"].tolist() == pytest.approx(per_token.tolist())
    # The notebook's model over the same window: the prompt ends just behind its middle.
    prompt, completion = (dictionary.encode(column[0]) for column in texts)
    padded = [dictionary.pad_id] * (21 - len(prompt)) + prompt + completion
    with torch.no_grad():
        logits = reference_lm(torch.tensor([padded]))[0]
    said = [*completion, dictionary.eos_id]
    expected = logits.log_softmax(-1)[20 : 20 + len(said)].gather(1, torch.tensor(said)[:, None])
    assert table["log_probability"][0] == pytest.approx(expected.sum().item(), abs=1e-3)


def test_the_same_again(
    tables: dict[str, pd.DataFrame],
    model: RewardModel,
    notebook: RewardModel,
    task: Task,
    material: Material,
    small: Params,
):
    again = judge(model, notebook, task, material, small.gold_reward, small.evaluate, 0)
    for name, table in tables.items():
        assert_frame_equal(table, again[name])


def test_a_model_that_knows_the_gold_rewards_is_found_perfect(
    backbone: Backbone,
    dictionary: Dictionary,
    notebook: RewardModel,
    task: Task,
    material: Material,
    small: Params,
):
    oracle = Oracle(backbone, [], notebook.params, dictionary, task)
    found = judge(oracle, notebook, task, material, small.gold_reward, small.evaluate, 0)
    values = found["statistics"].set_index("statistic")["value"]
    ones = ["accuracy", "accuracy_clear", "spearman", "kendall", "r_squared"]
    assert values[[*ones, "spearman_within", "kendall_within"]].tolist() == pytest.approx([1] * 7)
    assert values[["mse", "mae", "length_partial"]].tolist() == pytest.approx([0] * 3)
    assert values["reward_std_within"] == values["gold_std_within"] > 0
    assert (found["breakdown"]["value"] == 1).all()
    bins = found["calibration"]
    assert bins["mean_reward"].tolist() == pytest.approx(bins["mean_gold_reward"].tolist())
    soft = found["probability"][found["probability"]["targets"] == "soft"]
    plain, fitted = soft[["excess", "brier", "ece"]].to_numpy()
    assert plain == pytest.approx(0, abs=1e-9)
    assert fitted == pytest.approx(0, abs=1e-6)  # a temperature is found to about so much
    picks = found["best_of_n"].set_index(["picked_by", "n"])
    assert picks.loc["reward", "gold_reward"].tolist() == pytest.approx(
        picks.loc["oracle", "gold_reward"].tolist()
    )
    regret_and_best = picks.loc["reward", ["regret", "best"]].to_numpy()
    assert abs(regret_and_best - [0, 1]).max() == pytest.approx(0, abs=1e-9)
    assert (found["probes"]["value"] == 1).all()
    assert found["over_estimates"]["error"].abs().max() == 0


def test_best_of_n_counts_as_many_completions_of_every_prompt(
    tables: dict[str, pd.DataFrame], material: Material
):
    """Three prompts have 7 completions and one 8, of which the first 7 count."""
    table = tables["best_of_n"]
    assert sorted(table["n"].unique()) == [1, 2, 4]
    first = material.best_of.groupby("group").head(7)
    one = table[table["n"] == 1]
    assert np.allclose(one["gold_reward"], first["gold_reward"].mean())


def test_test_prompts_are_drawn_by_the_seed(task: Task):
    drawn = drawn_test_prompts(task, 30, 0)
    assert drawn_test_prompts(task, 10, 0) == drawn[:10]
    assert drawn_test_prompts(task, 30, 1) != drawn
    assert len(set(drawn)) == 30
    assert {task.split_of(i) for i in drawn} == {"test"}
