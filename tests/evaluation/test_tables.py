"""Tables and statistics of a few completions and pairs that can be worked out by hand."""

from collections.abc import Callable
from math import e, exp, log, sqrt

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from goldrm.evaluation import comparison, tables
from goldrm.evaluation.data import EvaluationData, distinct_completions, pairs_with_rewards
from goldrm.statistics.bootstrap import Bootstrap
from goldrm.statistics.shares import share
from goldrm.task.arithmetic_series import ArithmeticSeries, Series
from goldrm.task.params import GoldRewardParams
from goldrm.task.task import Task

# Prompt 5 has three completions and all pairs of them, ranked right, right and wrong. Prompts 8
# and 9 are of one family; 8 has a pair, a tie, and 9 a single completion.
COMPLETIONS = pd.DataFrame(
    [
        (5, "F", "a", 7.0, 6.0, 5.0, 0.0),
        (5, "F", "b", 5.0, 4.0, 4.0, 0.0),
        (5, "F", "c", 2.0, 5.0, 7.0, 0.0),
        (8, "G", "a", 6.0, 4.0, 5.0, 1.0),
        (8, "G", "b", 5.5, 4.0, 6.0, 2.0),
        (9, "G", "a", 3.0, 2.5, 2.0, 3.0),
    ],
    columns=["prompt_id", "family", "completion", "gold_reward", "reward", "length", "other"],
).assign(prompt=lambda rows: "p" + rows["prompt_id"].astype(str), mistake=["exact", *"vwxyz"])
PAIRS = pd.DataFrame(
    [
        (5, 1, 0, 2, 5, "a", "b", 2.0),
        (5, 1, 0, 2, 5, "a", "c", 5.0),
        (5, 1, 0, 2, 5, "b", "c", 3.0),
        (8, 3, 19, 2, 9, "a", "b", 0.5),
    ],
    columns=["prompt_id", "template", "start", "difference", "terms", "chosen", "rejected"]
    + ["margin"],
)
SCORED = pairs_with_rewards(PAIRS, COMPLETIONS).assign(held_out=[False, False, False, True])
OTHER = COMPLETIONS.assign(reward=COMPLETIONS["other"])  # as another model would score them
# Two more of prompt 5: a repeated "c", and a "d" that is better than "c" alone.
BEST_OF = pd.DataFrame(
    [(5, "F", "c", 2.0, 5.0, 0.0), (5, "F", "d", 3.0, 5.0, 0.0)],
    columns=["prompt_id", "family", "completion", "gold_reward", "reward", "other"],
)
# A term off by 1, 2 and 3, one of another sign, and a swap.
PROBES = pd.DataFrame(
    [
        (5, "F", "one_off", 1, 2, 6.5, 5.5, 0.0),
        (5, "F", "one_off", 2, 2, 6.25, 5.0, 0.0),
        (5, "F", "one_off", 3, 2, 6.0, 5.0, 0.0),
        (5, "F", "one_off", -1, 2, 6.5, 9.0, 0.0),
        (8, "G", "swapped", 1, 0, 4.0, 4.5, 1.0),
    ],
    columns=["prompt_id", "family", "kind", "size", "position", "gold_reward", "reward", "other"],
)
GOLD, REWARD = (COMPLETIONS[name].to_numpy() for name in ("gold_reward", "reward"))


JUDGED = EvaluationData(SCORED, COMPLETIONS, SCORED, COMPLETIONS, BEST_OF, PROBES)
OTHERS = EvaluationData(
    pairs_with_rewards(PAIRS, OTHER),
    *(OTHER, SCORED, COMPLETIONS),
    *(table.assign(reward=table["other"]) for table in (BEST_OF, PROBES)),
)
COLUMNS = ["statistic", "value", "low", "high", "n", "families"]


@pytest.fixture
def bootstrap() -> Bootstrap:
    return Bootstrap(200, 0.95, seed=0)


def test_completions_are_distinct_and_know_their_families(task: Task):
    # Cut off at 100, six terms from 95 by 5 are the same series as five; two templates of it.
    prompts = [Series(1, 95, 5, 6), Series(3, 95, 5, 5), Series(1, 2, 2, 5)]
    given = [(0, (95, 100)), (1, (95,)), (0, (95, 99)), (2, (1, 9)), (0, (95, 100)), (1, (95, 100))]
    answers = ((0, task.space.id_of(prompts[i].text), values) for i, values in given)
    found = distinct_completions(task.with_prompts(task.labelled(answers)), task)
    columns = ["template", "completion", "family", "length", "mistake"]
    assert list(found[columns].itertuples(index=False, name=None)) == [
        (1, "95 100", "95 100", 2.0, "exact"),
        (3, "95", "95 100", 1.0, "early_stop"),
        (1, "95 99", "95 100", 2.0, "one_term_off"),
        (1, "1 9", "2 4", 2.0, "malformed"),
        (3, "95 100", "95 100", 2.0, "exact"),
    ]


def test_pairs_get_the_rewards_of_both_completions():
    assert SCORED["chosen_reward"].tolist() == [6, 6, 4, 4]
    assert SCORED["rejected_reward"].tolist() == [4, 5, 5, 4]
    assert SCORED["family"].tolist() == ["F", "F", "F", "G"]
    assert SCORED["chosen_exact"].tolist() == [True, True, False, False]
    assert SCORED["mistake"].tolist() == ["v", "w", "w", "y"]  # the rejected one's
    assert_frame_equal(SCORED[list(PAIRS)], PAIRS)


def partial_spearman(first: np.ndarray, second: np.ndarray, control: np.ndarray) -> float:
    """What is left of the ranks after regression on the control's, correlated."""
    known = np.column_stack((np.ones(len(control)), stats.rankdata(control)))
    left = [
        ranks - known @ np.linalg.lstsq(known, ranks, rcond=None)[0]
        for ranks in map(stats.rankdata, (first, second))
    ]
    return stats.pearsonr(*left).statistic


def values_and_counts(table: pd.DataFrame) -> dict[str, tuple[float, int, int]]:
    assert list(table) == COLUMNS
    rows = table[["statistic", "value", "n", "families"]].itertuples(index=False, name=None)
    return {name: (pytest.approx(value, abs=1e-9), *counts) for name, value, *counts in rows}


def test_ranking_by_hand(bootstrap: Bootstrap):
    inexact, probes = slice(1, 6), ([5.5, 5, 5, 9, 4.5], [6.5, 6.25, 6, 6.5, 4])
    found = values_and_counts(comparison.ranking_statistics(JUDGED, bootstrap))
    assert found == {
        "accuracy": ((1 + 1 + 0 + 0.5) / 4, 4, 2),
        "accuracy_clear": (2 / 3, 3, 1),  # a margin of just 0.5 isn't clear
        "accuracy_inexact": ((0 + 0.5) / 2, 2, 2),
        # Prompt 5's "a" alone has three worse ones, b, c and d, and scores above them.
        "best_of_four": (1, 1, 1),
        "one_off_further": ((1 + 0.5) / 2, 2, 1),
        "spearman": (stats.spearmanr(REWARD, GOLD).statistic, 6, 2),
        "spearman_inexact": (stats.spearmanr(REWARD[inexact], GOLD[inexact]).statistic, 5, 2),
        "probes_spearman": (stats.spearmanr(*probes).statistic, 5, 2),
    }


def test_errors_by_hand(bootstrap: Bootstrap):
    found = values_and_counts(comparison.error_statistics(JUDGED, bootstrap))
    length = COMPLETIONS["length"].to_numpy()
    # Rewards are off by -1, -1, 3, -2, -1.5, -0.5; the gold rewards' mean is 4.75. Within prompt 5
    # gold rewards rank 3 2 1 and rewards 3 1 2; within prompt 8 all rewards are equal.
    assert found == {
        "mse": ((1 + 1 + 9 + 4 + 2.25 + 0.25) / 6, 6, 2),
        "mae": ((1 + 1 + 3 + 2 + 1.5 + 0.5) / 6, 6, 2),
        "mae_inexact": ((1 + 3 + 2 + 1.5 + 0.5) / 5, 5, 2),
        "probes_mae": ((1 + 1.25 + 1 + 2.5 + 0.5) / 5, 5, 2),
        "r_squared": (1 - 17.5 / ((GOLD - 4.75) ** 2).sum(), 6, 2),
        "length_partial": (partial_spearman(REWARD, length, GOLD), 6, 2),
        "spearman_within": ((0.5 + 0) / 2, 2, 2),
        "kendall_within": ((1 / 3 + 0) / 2, 2, 2),
        "reward_std_within": ((sqrt(2 / 3) + 0) / 2, 2, 2),
        "gold_std_within": ((sqrt(38 / 9) + 0.25) / 2, 2, 2),
    }


def test_differences_by_hand(bootstrap: Bootstrap):
    """The other gets 0.5, 0.5, 0.5 and 0 of the pairs, and is off by 7, 5, 2, 5, 3.5 and 0."""
    rows = [
        comparison.differences(JUDGED, OTHERS, bootstrap),
        comparison.error_difference(JUDGED, OTHERS, bootstrap),
    ]
    found = values_and_counts(pd.concat(rows))
    spearman = stats.spearmanr(REWARD, GOLD).statistic
    assert found == {
        "accuracy": ((0.5 + 0.5 - 0.5 + 0.5) / 4, 4, 2),
        "spearman": (spearman - stats.spearmanr(OTHER["other"], GOLD).statistic, 6, 2),
        "mae": ((9 - 22.5) / 6, 6, 2),
    }


def test_a_difference_is_paired(bootstrap: Bootstrap):
    """A model that is always better by the same has no doubt about it, though both vary."""
    rng = np.random.default_rng(0)
    parts = [
        COMPLETIONS.assign(family=str(i), reward=GOLD + rng.exponential() + 0.5) for i in range(30)
    ]
    completions = pd.concat(parts, ignore_index=True)
    better = completions.assign(reward=completions["reward"] - 0.5)
    first, second = (
        EvaluationData(SCORED, rows, SCORED, rows, BEST_OF, PROBES)
        for rows in (better, completions)
    )
    found = comparison.error_difference(first, second, bootstrap).iloc[0]
    assert found[["value", "low", "high"]].tolist() == pytest.approx([-0.5] * 3)
    alone = comparison.error_statistics(first, bootstrap).set_index("statistic").loc["mae"]
    assert alone["high"] - alone["low"] > 0.3


def test_intervals_are_over_families(bootstrap: Bootstrap):
    table = comparison.ranking_statistics(JUDGED, bootstrap).set_index("statistic")
    right = np.array([1, 1, 0, 0.5])
    expected = share(right, np.array([0, 0, 0, 1]), 0.95)
    assert tuple(table.loc["accuracy"]) == pytest.approx(expected)
    errors = comparison.error_statistics(JUDGED, bootstrap).set_index("statistic").loc["mae"]
    assert (errors["low"], errors["high"]) == pytest.approx((4 / 3, 5 / 3))  # each family alone


@pytest.mark.parametrize("seed", [3, 2**63 - 1])
def test_intervals_follow_the_seed(seed: int):
    many = [COMPLETIONS.assign(family=str(i), reward=REWARD + 0.1 * (i % 7)) for i in range(40)]
    judged = EvaluationData(SCORED, pd.concat(many), SCORED, COMPLETIONS, BEST_OF, PROBES)
    first, again, other = (
        comparison.error_statistics(judged, Bootstrap(200, 0.95, of_bootstrap))
        for of_bootstrap in (seed, seed, 4)
    )
    assert_frame_equal(first, again)
    assert not first.equals(other)


def test_headline_is_each_models_rounded_accuracy_and_what_it_is_of(bootstrap: Bootstrap):
    first = EvaluationData(SCORED[:3], OTHER, SCORED, COMPLETIONS, BEST_OF, PROBES)
    table = pd.concat(
        [
            comparison.ranking_statistics(JUDGED, bootstrap).assign(model="recipe"),
            comparison.ranking_statistics(first, bootstrap).assign(model="log_prob"),
            comparison.ranking_statistics(OTHERS, bootstrap).assign(model="median"),
        ]
    )
    found = comparison.headline(table, ["recipe", "log_prob"])
    assert list(found.items()) == [("recipe", 0.625), ("log_prob", 0.6667), ("pairs", 4)]
    assert [type(value) for value in found.values()] == [float, float, int]


def test_what_there_are_no_data_for_is_nan(bootstrap: Bootstrap):
    """Prompt 9 alone has no clear pair, nothing to rank within, and no spread."""
    alone = COMPLETIONS[COMPLETIONS["prompt_id"] == 9]
    pairs = SCORED[SCORED["prompt_id"] == 8]
    judged = EvaluationData(pairs, alone, pairs, alone, BEST_OF[:0], PROBES[4:])
    table = pd.concat(
        [
            comparison.ranking_statistics(judged, bootstrap),
            comparison.error_statistics(judged, bootstrap),
        ]
    )
    missing = table[table["value"].isna()]
    assert missing["statistic"].tolist() == [
        *("accuracy_clear", "best_of_four", "one_off_further"),
        *("spearman_within", "kendall_within", "reward_std_within", "gold_std_within"),
    ]
    assert missing[["low", "high"]].isna().all(axis=None)
    assert (missing[["n", "families"]] == 0).all(axis=None)


def test_all_exact_completions_have_no_inexact_statistics(bootstrap: Bootstrap):
    exact = COMPLETIONS.assign(mistake="exact")
    pairs = pairs_with_rewards(PAIRS, exact)
    judged = EvaluationData(pairs, exact, pairs, exact, BEST_OF, PROBES)
    table = pd.concat(
        [
            comparison.ranking_statistics(judged, bootstrap),
            comparison.error_statistics(judged, bootstrap),
        ]
    ).set_index("statistic")
    names = ["accuracy_inexact", "spearman_inexact", "mae_inexact"]
    assert table.loc[names, "value"].isna().all()


def test_an_accuracy_on_no_pairs_is_no_headline(bootstrap: Bootstrap):
    none = EvaluationData(SCORED[:0], COMPLETIONS, SCORED, COMPLETIONS, BEST_OF, PROBES)
    table = comparison.ranking_statistics(none, bootstrap).assign(model="recipe")
    found = comparison.headline(table, ["recipe"])
    assert found == {"pairs": 0}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("margin", [("0.25-0.5", 1, 0.5), ("1-2", 1, 1.0), ("2-inf", 2, 0.5)]),
        ("template", [("1", 3, 2 / 3), ("3", 1, 0.5)]),
        ("terms", [("5", 3, 2 / 3), ("9", 1, 0.5)]),
        ("start", [("0", 3, 2 / 3), ("10", 1, 0.5)]),
        ("difference", [("2", 4, 2.5 / 4)]),
        ("mistake", [("v", 1, 1.0), ("w", 2, 0.5), ("y", 1, 0.5)]),
        ("held_out", [("False", 3, 2 / 3), ("True", 1, 0.5)]),
    ],
)
def test_breakdown_by_hand(by: str, expected: list[tuple[str, int, float]]):
    table = tables.breakdown(SCORED, ArithmeticSeries.properties, 0.95)
    assert list(table) == ["by", "label", *COLUMNS[1:]]
    rows = table[table["by"] == by]
    assert rows["label"].tolist() == [label for label, _, _ in expected]
    assert rows["n"].tolist() == [count for _, count, _ in expected]
    assert rows["value"].tolist() == pytest.approx([value for *_, value in expected])
    if by == "template":
        expected = share(np.array([1, 1, 0.0]), np.zeros(3), 0.95)
        assert tuple(rows.iloc[0])[2:] == pytest.approx(expected)


def test_a_scatter_plot_has_a_point_a_completion(task: Task):
    labelled = task.labelled((0, prompt_id, (1, 2)) for prompt_id in (5, 6))
    completions = task.with_prompts(labelled).assign(reward=[2.0, 3.0], mistake="exact")
    table = tables.reward_vs_gold(completions)
    assert list(table) == ["prompt", "completion", "mistake", "gold_reward", "reward"]
    assert table["prompt"].tolist() == [task.space[prompt_id].text for prompt_id in (5, 6)]
    assert table["reward"].tolist() == [2, 3]


def test_calibration_bins_span_the_gold_rewards():
    gold_reward = GoldRewardParams(min=1.0, max=7.0, beta=0.1)
    found = tables.calibration(COMPLETIONS, gold_reward).set_index("low")
    assert found.index.tolist() == [2.0, 3.0, 5.0, 5.5, 6.0, 6.5]  # half a unit wide
    assert found["mean_reward"].tolist() == [5, 2.5, 4, 4, 4, 6]
    assert found.loc[6.5, "high"] == 7.0


def scaled(pairs: pd.DataFrame, factor: Callable[[pd.Series], pd.Series]) -> pd.DataFrame:
    """The pairs with rewards whose difference is a function of the margin."""
    return pairs.assign(chosen_reward=factor(pairs["margin"]), rejected_reward=0.0)


def test_over_confidence_is_measured_and_scaled_away():
    thrice = scaled(PAIRS, lambda margin: 3 * margin)
    found = tables.probability_table(thrice, thrice)
    soft = found[found["targets"] == "soft"].reset_index()
    assert soft["temperature"].tolist() == pytest.approx([1, 3], rel=1e-3)
    assert soft.loc[0, "excess"] > 0.1
    assert soft.loc[1, ["excess", "brier", "ece"]].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_temperatures_are_fitted_on_validation():
    right = scaled(PAIRS, lambda margin: margin)
    found = tables.probability_table(right, scaled(PAIRS, lambda margin: 2 * margin))
    (fitted,) = found.query("targets == 'soft' and temperature != 1")["temperature"]
    assert fitted == pytest.approx(2, rel=1e-3)


def test_probabilities_of_two_pairs_by_hand():
    """Differences of ln 4 and -ln 4 are probabilities of 0.8 and 0.2; margins of 1, of σ(1)."""
    pairs = PAIRS[:2].assign(margin=1.0, chosen_reward=[log(4), 0], rejected_reward=[0, log(4)])
    found = tables.probability_table(pairs, pairs)
    plain = found[found["temperature"] == 1].set_index("targets")
    hard_loss = -(log(0.8) + log(0.2)) / 2
    target = e / (1 + e)
    entropy = -(target * log(target) + (1 - target) * log(1 - target))
    assert plain.loc["hard"].to_dict() == pytest.approx(
        {
            **{"temperature": 1, "log_loss": hard_loss, "excess": hard_loss},
            **{"brier": (0.2**2 + 0.8**2) / 2, "ece": 0.8 - 0.5, "n": 2},
        }
    )
    # Of both pairs the mean probability of the chosen one is 1/2, so the loss is the same.
    assert plain.loc["soft"].to_dict() == pytest.approx(
        {
            **{"temperature": 1, "log_loss": hard_loss, "excess": hard_loss - entropy},
            "brier": ((0.8 - target) ** 2 + (0.2 - target) ** 2) / 2,
            **{"ece": 0.8 - 0.5, "n": 2},
        }
    )
    curves = tables.reliability_table(pairs, pairs)
    assert list(curves)[:2] == ["targets", "temperature"]
    curve = curves[curves["temperature"] == 1]
    assert curve["targets"].tolist() == ["hard", "soft"]
    assert (
        curve[["n", "mean_confidence", "mean_target"]].to_numpy().tolist()
        == [pytest.approx([2, 0.8, 0.5])] * 2
    )
    # A coin's rewards are best scaled to nothing.
    fitted = found[found["temperature"] != 1]
    assert fitted["log_loss"].tolist() == pytest.approx([log(2)] * 2, abs=1e-4)
    assert exp(-fitted["log_loss"].max()) <= 0.5


def test_over_estimates_are_the_worst_and_distinct():
    twice = pd.concat([COMPLETIONS, COMPLETIONS])
    found = tables.over_estimates(twice, 3)
    assert list(found.itertuples(index=False, name=None)) == [
        ("p5", "c", 2.0, 5.0, 3.0),
        ("p9", "a", 3.0, 2.5, -0.5),
        ("p5", "a", 7.0, 6.0, -1.0),
    ]
    assert list(found) == ["prompt", "completion", "gold_reward", "reward", "error"]


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_examples_are_best_worst_and_random(seed: int):
    found = tables.examples(COMPLETIONS, 2, seed)
    assert list(found) == ["kind", "prompt", "completion", "gold_reward", "reward", "error"]
    assert list(found[:4].itertuples(index=False, name=None)) == [
        ("best", "p9", "a", 3.0, 2.5, -0.5),
        ("best", "p5", "a", 7.0, 6.0, -1.0),  # before its equal, as it came first
        ("worst", "p5", "c", 2.0, 5.0, 3.0),
        ("worst", "p8", "a", 6.0, 4.0, -2.0),
    ]
    drawn = found[4:]
    assert drawn["kind"].tolist() == ["random"] * 2
    assert len(drawn.merge(COMPLETIONS, on=["prompt", "completion", "reward"])) == 2


def test_random_examples_follow_the_seed():
    many = pd.concat([COMPLETIONS.assign(prompt=str(i)) for i in range(200)], ignore_index=True)
    first, again, other = (tables.examples(many, 2, seed)[4:] for seed in (3, 3, 4))
    assert_frame_equal(first, again)
    assert not first.equals(other)


def test_few_completions_are_all_shown():
    kinds = tables.examples(COMPLETIONS, 10, seed=0)["kind"].tolist()
    assert kinds == ["best"] * 6 + ["worst"] * 6 + ["random"] * 6


def test_best_of_n_counts_as_many_completions_of_every_prompt(bootstrap: Bootstrap):
    """Prompt 5 has three completions, 8 four, of which the first three count."""
    best_of = pd.DataFrame(
        {
            "group": [1, 0, 0, 1, 1, 0, 1],
            "family": list("gffggfg"),
            "gold_reward": [1.0, 2, 3, 4, 5, 6, 7],
        },
        index=[3, 1, 4, 1, 5, 9, 2],
    )
    rewards = {"recipe": np.array([1.0, 2, 1, 2, 3, 1, 9])}
    table = tables.best_of_n(best_of, rewards, bootstrap)
    assert table["n"].tolist() == [1] * 3 + [2] * 3
    assert (table["families"] == 2).all()
    found = table.set_index(["model", "n"])["gold_reward"]
    # Prompt 5: gold 2 3 6, rewards 2 1 1; prompt 8: gold 1 4 5, rewards 1 2 3.
    assert found["random", 1] == found["recipe", 1] == pytest.approx((11 + 10) / 6)
    of_5, of_8 = (2 + 2 + 4.5) / 3, (4 + 5 + 5) / 3
    assert found["recipe", 2] == pytest.approx((of_5 + of_8) / 2)
    assert found["oracle", 2] == pytest.approx(((3 + 6 + 6) / 3 + of_8) / 2)
