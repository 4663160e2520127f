"""The whole evaluation: of small real models, and of one that knows the gold rewards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM
from pandas.testing import assert_frame_equal

from goldrm.common.workers import ALONE, Workers
from goldrm.edits.random_edits import random_edit
from goldrm.evaluation import baselines
from goldrm.evaluation.data import EvaluationData, distinct_texts
from goldrm.evaluation.evaluate import evaluate_models
from goldrm.evaluation.families import drawn_test_prompts
from goldrm.evaluation.params import BestOfNParams, EvaluateParams
from goldrm.generation.pairs import preference_pairs
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.gold_scale import SAME, Line
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import (
    LastTokenParams,
    PlainEnsembleParams,
    ReadoutParams,
    TokenDamageParams,
)
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams
from goldrm.task.splits import Split
from goldrm.task.task import Task

ENSEMBLE = PlainEnsembleParams(members=2, combine="mean")
PARAMS = EvaluateParams(
    best_of_n=BestOfNParams(prompts=4, completions=8),
    probed_prompts=2,
    search_rounds=2,
    bootstrap_samples=100,
    confidence=0.95,
    examples=3,
)
RECIPES = ["small", "notebook"]
BASELINES = ["log_prob", "median", "mean_per_length"]


@dataclass(frozen=True)
class Oracle(RewardModel):
    """A reward model whose rewards are the gold rewards; it notes what it is asked."""

    task: Task
    asked: list[tuple[str, str]]

    def score(
        self, prompts: Sequence[str], completions: Sequence[str], workers: Workers = ALONE
    ) -> list[float]:
        """The exact reward of each."""
        self.asked.extend(zip(prompts, completions, strict=True))
        rewards: list[float] = []
        for prompt, completion in zip(prompts, completions, strict=True):
            prompt_id = self.task.space.id_of(prompt)
            rewards.append(self.task.gold_reward(prompt_id, list(map(int, completion.split()))))
        return rewards


def edited(task: Task, prompt_ids: list[int], copies: int) -> pd.DataFrame:
    """Each prompt's exact series and edits of it."""
    rng = Random(0)
    answers: list[tuple[int, int, tuple[int, ...]]] = []
    for group, prompt_id in enumerate(prompt_ids):
        prompt = task.space[prompt_id]
        answers.append((group, prompt_id, prompt.exact))
        for _ in range(copies - 1):
            answers.append((group, prompt_id, random_edit(prompt.exact, prompt.step, 100, rng)))
    return task.labelled(answers)


def prompts_of(task: Task, split: Split) -> list[int]:
    return task.ids_in(split)[:400:50]


@pytest.fixture(scope="module")
def completions(task: Task) -> dict[Split, pd.DataFrame]:
    splits: tuple[Split, ...] = ("test", "validation")
    return {split: task.with_prompts(edited(task, prompts_of(task, split), 3)) for split in splits}


@pytest.fixture(scope="module")
def data(task: Task, completions: dict[Split, pd.DataFrame]) -> EvaluationData:
    return EvaluationData.prepared(
        {split: preference_pairs(table, task) for split, table in completions.items()},
        completions,
        edited(task, prompts_of(task, "test")[:4], 8),
        drawn_test_prompts(task, PARAMS.probed_prompts, seed=0),
        task,
    )


@pytest.fixture
def models(
    backbone: Backbone,
    dictionary: Dictionary,
    token_damage: TokenDamageParams,
    last_token: LastTokenParams,
) -> dict[str, RewardModel]:
    """Readouts that haven't learned anything."""

    def model(readout: ReadoutParams) -> RewardModel:
        members = [new_readout(readout, backbone.sizes, seed) for seed in range(2)]
        return RewardModel(backbone, members, ENSEMBLE, dictionary)

    return {"small": model(token_damage), "notebook": model(last_token)}


@pytest.fixture
def tables(
    models: Mapping[str, RewardModel],
    task: Task,
    data: EvaluationData,
    gold_reward_params: GoldRewardParams,
) -> dict[str, pd.DataFrame]:
    return evaluate_models(models, task, data, gold_reward_params, PARAMS, 0, ALONE)


def test_every_table_has_rows_of_every_model(tables: dict[str, pd.DataFrame]):
    of_models = {name: list(table["model"].unique()) for name, table in tables.items()}
    assert of_models == {
        "statistics": [*RECIPES, *BASELINES],
        "probe_rewards": [*RECIPES, *BASELINES],
        "differences": RECIPES[:1],
        "best_of_n": [*RECIPES, "log_prob", "oracle", "random"],
        **dict.fromkeys(
            [
                *("reward_vs_gold", "breakdown", "calibration", "probability", "reliability"),
                *("probes", "one_off", "over_estimates", "examples"),
            ],
            RECIPES,
        ),
    }
    differences = tables["differences"].groupby("other", sort=False)["statistic"].agg(list)
    ranked = ["accuracy", "spearman"]
    assert differences.to_dict() == {
        **dict.fromkeys(["notebook", "median", "mean_per_length"], [*ranked, "mae"]),
        "log_prob": ranked,
    }
    statistics = tables["statistics"].groupby("model")["statistic"].agg(list)
    assert statistics["small"] == statistics["median"] == statistics["mean_per_length"]
    assert statistics["log_prob"] == statistics["small"][:8]  # no errors
    assert {list(table)[0] for table in tables.values()} == {"model"}
    assert (tables["over_estimates"].groupby("model").size() == 2 * 3).all()
    assert (tables["examples"].groupby("model").size() == 3 * 3).all()


def test_a_row_is_of_the_model_that_it_names(
    tables: dict[str, pd.DataFrame],
    models: Mapping[str, RewardModel],
    completions: dict[Split, pd.DataFrame],
    data: EvaluationData,
):
    distinct = completions["test"].drop_duplicates(["prompt_id", "completion"])
    texts = distinct["prompt"].tolist(), distinct["completion"].tolist()
    for name, model in models.items():
        parts = {table: rows[rows["model"] == name] for table, rows in tables.items()}
        points = parts["reward_vs_gold"]
        assert points["completion"].tolist() == texts[1]
        assert points["reward"].tolist() == pytest.approx(model.score(*texts), abs=1e-5)
        for shown in (parts["examples"], parts["over_estimates"]):
            rewards = model.score(shown["prompt"].tolist(), shown["completion"].tolist())
            assert shown["reward"].tolist() == pytest.approx(rewards, abs=1e-5)
        reward = points["reward"].reset_index(drop=True)
        gold_reward = points["gold_reward"].reset_index(drop=True)
        mae = parts["statistics"].set_index("statistic").loc["mae"]
        assert mae[["value", "n"]].tolist() == pytest.approx(
            [(reward - gold_reward).abs().mean(), len(distinct)]
        )
        probes = parts["probe_rewards"]
        rewards = model.score(probes["prompt"].tolist(), probes["completion"].tolist())
        assert probes["reward"].tolist() == pytest.approx(rewards, abs=1e-5)
    probed = data.probes[data.probes["kind"] == "one_off"]
    assert (tables["one_off"].groupby("model")["n"].sum() == len(probed)).all()


def test_the_language_models_scores_are_its_own(
    backbone: Backbone,
    reference_lm: NotebookLM,
    dictionary: Dictionary,
    task: Task,
    data: EvaluationData,
):
    """Held against the notebook's model over the same window."""
    texts = distinct_texts(data.completions, data.probes)
    (key, found), *_ = baselines.log_prob(texts, backbone, task, ALONE).items()
    row = texts.iloc[0]
    assert key == (row["prompt_id"], row["completion"])
    prompt, completion = dictionary.encode(row["prompt"]), dictionary.encode(row["completion"])
    # The prompt ends just behind the middle.
    padded = [dictionary.pad_id] * (21 - len(prompt)) + prompt + completion
    with torch.no_grad():
        logits = reference_lm(torch.tensor([padded]))[0]
    said = [*completion, dictionary.eos_id]
    expected = logits.log_softmax(-1)[20 : 20 + len(said)].gather(1, torch.tensor(said)[:, None])
    assert found == pytest.approx(expected.sum().item(), abs=1e-3)


def test_trivial_guesses_by_hand():
    validation = pd.DataFrame({"gold_reward": [7.0, 7, 5, 1], "length": [3.0, 2, 2, 1]})
    texts = pd.DataFrame({"prompt": "p", "prompt_id": 5, "completion": ["1 2", "1 2 3", "1 2 3 4"]})
    found = baselines.trivial(texts, validation)
    assert found["median"].to_dict() == {(5, "1 2"): 6, (5, "1 2 3"): 6, (5, "1 2 3 4"): 6}
    per_length = {(5, "1 2"): 6, (5, "1 2 3"): 7, (5, "1 2 3 4"): 5}  # the last: the mean of all
    assert found["mean_per_length"].to_dict() == per_length


def test_a_constant_ranks_nothing(tables: dict[str, pd.DataFrame]):
    rows = tables["statistics"][tables["statistics"]["model"] == "median"].set_index("statistic")
    assert (
        rows.loc[["accuracy", "accuracy_clear", "one_off_further"], "value"].tolist() == [0.5] * 3
    )
    assert rows.loc["best_of_four", "value"] == pytest.approx(0.25)
    assert rows.loc[["spearman", "probes_spearman", "spearman_within"], "value"].tolist() == [0] * 3


def test_the_same_again_also_beside_another_model(
    tables: dict[str, pd.DataFrame],
    models: dict[str, RewardModel],
    task: Task,
    data: EvaluationData,
    gold_reward_params: GoldRewardParams,
):
    again = evaluate_models(models, task, data, gold_reward_params, PARAMS, 0, ALONE)
    del models["small"]
    alone = evaluate_models(models, task, data, gold_reward_params, PARAMS, 0, ALONE)
    for name, table in tables.items():
        assert_frame_equal(table, again[name])
        if name == "differences":  # from the first, who is another now
            continue
        others = table[table["model"] != "small"].reset_index(drop=True)
        assert_frame_equal(others, alone[name])


def test_a_model_that_knows_the_gold_rewards_is_found_perfect(
    backbone: Backbone,
    dictionary: Dictionary,
    task: Task,
    data: EvaluationData,
    gold_reward_params: GoldRewardParams,
):
    oracle = Oracle(backbone, [], ENSEMBLE, dictionary, task, [])
    found = evaluate_models({"best": oracle}, task, data, gold_reward_params, PARAMS, 0, ALONE)
    statistics = found["statistics"][found["statistics"]["model"] == "best"]
    values = statistics.set_index("statistic")["value"]
    ones = ["accuracy", "accuracy_clear", "best_of_four", "spearman", "r_squared"]
    assert values[[*ones, "spearman_within", "kendall_within"]].tolist() == pytest.approx([1] * 7)
    assert values[["mse", "mae", "length_partial"]].tolist() == pytest.approx([0] * 3)
    assert values["probes_mae"] == 0
    assert values[["probes_spearman", "one_off_further"]].tolist() == pytest.approx([1, 1])
    assert values["reward_std_within"] == values["gold_std_within"] > 0
    assert (found["breakdown"]["value"] == 1).all()
    bins = found["calibration"]
    assert bins["mean_reward"].tolist() == pytest.approx(bins["mean_gold_reward"].tolist())
    soft = found["probability"][found["probability"]["targets"] == "soft"]
    plain, fitted = soft[["excess", "brier", "ece"]].to_numpy()
    assert plain == pytest.approx(0, abs=1e-9)
    assert fitted == pytest.approx(0, abs=1e-6)  # a temperature is found to about so much
    picks = found["best_of_n"].set_index(["model", "n"])
    assert picks.loc["best", "gold_reward"].tolist() == pytest.approx(
        picks.loc["oracle", "gold_reward"].tolist()
    )
    regret_and_best = picks.loc["best", ["regret", "best"]].to_numpy()
    assert abs(regret_and_best - [0, 1]).max() == pytest.approx(0, abs=1e-9)
    assert (found["probes"]["value"] == 1).all()
    assert found["over_estimates"]["error"].abs().max() == 0


def test_no_completion_of_the_data_is_scored_twice(
    backbone: Backbone,
    dictionary: Dictionary,
    task: Task,
    data: EvaluationData,
    gold_reward_params: GoldRewardParams,
):
    oracle = Oracle(backbone, [], ENSEMBLE, dictionary, task, [])
    params = PARAMS.model_copy(update={"search_rounds": 0})
    evaluate_models({"best": oracle}, task, data, gold_reward_params, params, 0, ALONE)
    tables = (data.completions, data.validation_completions, data.best_of, data.probes)
    both = [list(zip(table["prompt"], table["completion"], strict=True)) for table in tables]
    assert sorted(oracle.asked) == sorted({text for texts in both for text in texts})


def test_completions_without_a_number_are_no_pick(task: Task, data: EvaluationData):
    """Rows are numbered by prompt, as the parts that the stage joins."""
    prompt_ids = prompts_of(task, "test")[:2]
    best_of = edited(task, prompt_ids, 4)
    best_of.loc[1, "gold_reward"] = np.nan
    best_of.index = pd.Index([0, 1, 2, 3] * 2)
    splits: dict[Split, pd.DataFrame] = {"test": data.pairs, "validation": data.validation_pairs}
    completions = {"test": data.completions, "validation": data.validation_completions}
    prepared = EvaluationData.prepared(splits, completions, best_of, [0], task)
    assert prepared.best_of["group"].tolist() == [0] * 3 + [1] * 4
    assert prepared.best_of["prompt"].notna().all()
    first, second = map(task.family, prompt_ids)
    assert first != second
    assert prepared.best_of["family"].tolist() == [first] * 3 + [second] * 4


def test_test_prompts_are_drawn_by_the_seed(task: Task):
    drawn = drawn_test_prompts(task, 30, 0)
    assert drawn_test_prompts(task, 10, 0) == drawn[:10]
    assert drawn_test_prompts(task, 30, 1) != drawn
    assert len(set(drawn)) == 30
    assert {task.split_of(i) for i in drawn} == {"test"}


def test_test_prompts_are_of_different_families_as_far_as_there_are(task: Task):
    families = {task.family(i) for i in task.ids_in("test")}
    drawn = [task.family(i) for i in drawn_test_prompts(task, len(families) + 5, 0)]
    assert set(drawn[: len(families)]) == families
    assert len(set(drawn[len(families) :])) == 5


@dataclass(frozen=True)
class RankingOracle(Oracle):
    """Ranks by the gold rewards, on a scale of its own."""

    def score(
        self, prompts: Sequence[str], completions: Sequence[str], workers: Workers = ALONE
    ) -> list[float]:
        """Centred somewhere within the gold rewards' range."""
        return [3 * (gold - 5.5) for gold in super().score(prompts, completions, workers)]


def test_rewards_of_ranking_alone_are_brought_to_the_gold_scale_where_that_counts(
    backbone: Backbone,
    dictionary: Dictionary,
    task: Task,
    data: EvaluationData,
    gold_reward_params: GoldRewardParams,
):
    """By the model's own line; ranking and probabilities are as they were."""
    models = {
        name: RankingOracle(backbone, [], ENSEMBLE, dictionary, task, [], gold_scale=gold_scale)
        for name, gold_scale in (("ranking", Line(slope=1 / 3, intercept=5.5)), ("claiming", SAME))
    }
    found = evaluate_models(models, task, data, gold_reward_params, PARAMS, 0, ALONE)
    values = found["statistics"].set_index(["statistic", "model"])["value"]
    assert values["accuracy", "ranking"] == values["accuracy", "claiming"] == 1
    assert values["spearman", "ranking"] == pytest.approx(1)
    rewards = found["reward_vs_gold"].set_index("model").loc["ranking"]
    assert rewards["reward"].tolist() == pytest.approx(rewards["gold_reward"].tolist())
    assert values["mae", "ranking"] == pytest.approx(0, abs=1e-6)
    assert values["mae", "claiming"] > 1
    errors = found["over_estimates"].set_index("model").loc["ranking", "error"]
    assert errors.abs().max() == pytest.approx(0, abs=1e-6)
    bins = found["calibration"].set_index("model").loc["ranking"]
    assert bins["mean_reward"].tolist() == pytest.approx(bins["mean_gold_reward"].tolist())
    for name in ("probability", "reliability", "breakdown", "probes"):
        one, other = (
            found[name][found[name]["model"] == model].drop(columns="model").reset_index(drop=True)
            for model in models
        )
        assert_frame_equal(one, other)
