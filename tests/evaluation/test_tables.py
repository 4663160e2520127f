"""Tables of statistics on a few completions and pairs that can be worked out by hand."""

from collections.abc import Callable
from math import e, exp, log, sqrt

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from goldrm.evaluation import tables
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.task.params import GoldRewardParams
from goldrm.task.series import Prompt
from goldrm.task.task import Task

# Prompt 5 has three completions and all pairs of them, ranked right, right and wrong. Prompts 8
# and 9 ask for the same series; 8 has a pair, a tie, and 9 a single completion.
COMPLETIONS = pd.DataFrame(
    [
        (5, 0, "a", 7.0, 6.0, 5.0, 0.0),
        (5, 0, "b", 5.0, 4.0, 4.0, 0.0),
        (5, 0, "c", 2.0, 5.0, 7.0, 0.0),
        (8, 1, "a", 6.0, 4.0, 5.0, 1.0),
        (8, 1, "b", 5.5, 4.0, 6.0, 2.0),
        (9, 1, "a", 3.0, 2.5, 2.0, 3.0),
    ],
    columns=["prompt_id", "series", "completion", "gold_reward", "reward", "length", "other"],
).assign(prompt=lambda rows: "p" + rows["prompt_id"].astype(str), mistake=list("uvwxyz"))
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
SCORED = tables.pairs_with_rewards(PAIRS, COMPLETIONS).assign(held_out=[False, False, False, True])
OTHER = COMPLETIONS.assign(reward=COMPLETIONS["other"])  # as another model would score them
GOLD, REWARD = (COMPLETIONS[name].to_numpy() for name in ("gold_reward", "reward"))


@pytest.fixture
def bootstrap() -> Bootstrap:
    return Bootstrap(200, 0.95, seed=0)


def test_completions_are_distinct_and_know_their_series(task: Task):
    # Cut off at 100, six terms from 95 by 5 are the same series as five; two templates of it.
    prompts = [Prompt(1, 95, 5, 6), Prompt(3, 95, 5, 5), Prompt(1, 2, 2, 5)]
    given = [(0, (95, 100)), (1, (95,)), (0, (95, 99)), (2, (1, 9)), (0, (95, 100)), (1, (95, 100))]
    rows = [task.series(0, task.space.id_of(prompts[i]), values) for i, values in given]
    found = tables.distinct_completions(task.with_prompts(pd.DataFrame(rows)), task)
    columns = ["template", "completion", "series", "length", "mistake"]
    assert list(found[columns].itertuples(index=False, name=None)) == [
        (1, "95 100", 0, 2.0, "exact"),
        (3, "95", 0, 1.0, "early_stop"),
        (1, "95 99", 0, 2.0, "one_term_off"),
        (1, "1 9", 1, 2.0, "malformed"),
        (3, "95 100", 0, 2.0, "exact"),
    ]


def test_pairs_get_the_rewards_of_both_completions():
    assert SCORED["chosen_reward"].tolist() == [6, 6, 4, 4]
    assert SCORED["rejected_reward"].tolist() == [4, 5, 5, 4]
    assert SCORED["series"].tolist() == [0, 0, 0, 1]
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


def test_statistics_by_hand(bootstrap: Bootstrap):
    table = tables.statistics(SCORED, COMPLETIONS, bootstrap)
    assert list(table) == ["statistic", "value", "low", "high", "n"]
    values = dict(zip(table["statistic"], table["value"], strict=True))
    # Rewards are off by -1, -1, 3, -2, -1.5, -0.5; the gold rewards' mean is 4.75. Within prompt 5
    # gold rewards rank 3 2 1 and rewards 3 1 2; within prompt 8 all rewards are equal.
    assert values == pytest.approx(
        {
            "accuracy": (1 + 1 + 0 + 0.5) / 4,
            "accuracy_clear": 2 / 3,  # a margin of just 0.5 isn't clear
            "spearman": stats.spearmanr(REWARD, GOLD).statistic,
            "kendall": stats.kendalltau(REWARD, GOLD).statistic,
            "mse": (1 + 1 + 9 + 4 + 2.25 + 0.25) / 6,
            "mae": (1 + 1 + 3 + 2 + 1.5 + 0.5) / 6,
            "r_squared": 1 - 17.5 / ((GOLD - 4.75) ** 2).sum(),
            "length_partial": partial_spearman(REWARD, COMPLETIONS["length"].to_numpy(), GOLD),
            "spearman_within": (0.5 + 0) / 2,
            "kendall_within": (1 / 3 + 0) / 2,
            "reward_std_within": (sqrt(2 / 3) + 0) / 2,
            "gold_std_within": (sqrt(38 / 9) + 0.25) / 2,
        }
    )


def test_statistics_say_how_many_are_behind_them(bootstrap: Bootstrap):
    table = tables.statistics(SCORED, COMPLETIONS, bootstrap)
    counts = dict(zip(table["statistic"], table["n"], strict=True))
    pairs = {"accuracy": 4, "accuracy_clear": 3}
    within = [f"{name}_within" for name in ("spearman", "kendall", "reward_std", "gold_std")]
    prompts = dict.fromkeys(within, 2)  # with two completions or more, and different gold rewards
    assert counts == {**dict.fromkeys(counts, 6), **pairs, **prompts}


@pytest.mark.parametrize(
    ("statistic", "ends"),
    [
        ("accuracy", (1 / 2, 2 / 3)),
        ("accuracy_clear", (2 / 3, 2 / 3)),
        ("mae", (4 / 3, 5 / 3)),
        ("mse", (6.5 / 3, 11 / 3)),
        ("spearman_within", (0, 1 / 2)),
        ("gold_std_within", (0.25, sqrt(38 / 9))),
    ],
)
def test_intervals_resample_series(bootstrap: Bootstrap, statistic: str, ends: tuple[float, float]):
    """Of two series there are three resamples, and the ends are each of them alone."""
    table = tables.statistics(SCORED, COMPLETIONS, bootstrap).set_index("statistic")
    assert tuple(table.loc[statistic, ["low", "high"]]) == pytest.approx(ends)


@pytest.mark.parametrize("seed", [3, 2**63 - 1])
def test_intervals_follow_the_seed(seed: int):
    many = [COMPLETIONS.assign(series=i, reward=REWARD + 0.1 * (i % 7)) for i in range(40)]
    first, again, other = (
        tables.statistics(SCORED, pd.concat(many), Bootstrap(200, 0.95, of_bootstrap))
        for of_bootstrap in (seed, seed, 4)
    )
    assert_frame_equal(first, again)
    assert not first.equals(other)


def test_headline_is_each_models_rounded_accuracy(bootstrap: Bootstrap):
    table = pd.concat(
        [
            tables.statistics(SCORED, COMPLETIONS, bootstrap).assign(model="recipe"),
            tables.ranking_statistics(SCORED[:3], OTHER, bootstrap).assign(model="log_prob"),
            tables.ranking_statistics(SCORED[3:], OTHER, bootstrap).assign(model="length"),
        ]
    )
    found = tables.headline(table, ["recipe", "log_prob"])
    assert list(found.items()) == [("recipe", 0.625), ("log_prob", 0.6667), ("n", 4)]
    assert [type(value) for value in found.values()] == [float, float, int]


def test_what_there_are_no_data_for_is_nan(bootstrap: Bootstrap):
    """Prompt 9 alone has no clear pair, nothing to rank within, and no spread."""
    alone = COMPLETIONS[COMPLETIONS["prompt_id"] == 9]
    table = tables.statistics(SCORED[SCORED["prompt_id"] == 8], alone, bootstrap)
    missing = table[table["value"].isna()]
    assert missing["statistic"].tolist() == [
        *("accuracy_clear", "spearman_within", "kendall_within"),
        *("reward_std_within", "gold_std_within"),
    ]
    assert missing[["low", "high"]].isna().all(axis=None)
    assert (missing["n"] == 0).all()


def test_an_accuracy_on_no_pairs_is_no_headline(bootstrap: Bootstrap):
    table = tables.ranking_statistics(SCORED[:0], COMPLETIONS, bootstrap).assign(model="recipe")
    assert tables.headline(table, ["recipe"]) == {"n": 0}


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
def test_breakdown_by_hand(bootstrap: Bootstrap, by: str, expected: list[tuple[str, int, float]]):
    table = tables.breakdown(SCORED, bootstrap)
    assert list(table) == ["by", "label", "value", "low", "high", "n"]
    rows = table[table["by"] == by]
    assert rows["label"].tolist() == [label for label, _, _ in expected]
    assert rows["n"].tolist() == [count for _, count, _ in expected]
    assert rows["value"].tolist() == pytest.approx([value for *_, value in expected])
    lows, highs = rows["value"].replace(1.0, 0.025), rows["value"]  # 0.025¹, of one right series
    ends = (1 / 2, 2 / 3) if by == "difference" else (lows, highs)
    assert np.allclose(rows["low"], ends[0])  # other labels have one series each
    assert np.allclose(rows["high"], ends[1])


def test_how_another_score_ranks(bootstrap: Bootstrap):
    table = tables.ranking_statistics(tables.pairs_with_rewards(PAIRS, OTHER), OTHER, bootstrap)
    assert list(table) == ["statistic", "value", "low", "high", "n"]
    assert table.set_index("statistic")["value"].to_dict() == pytest.approx(
        {
            "accuracy": (0.5 + 0.5 + 0.5 + 0) / 4,
            "spearman": stats.spearmanr(COMPLETIONS["other"], GOLD).statistic,
        }
    )
    whole = tables.statistics(SCORED, COMPLETIONS, bootstrap)
    assert_frame_equal(whole[:2], tables.ranking_statistics(SCORED, COMPLETIONS, bootstrap))


def test_a_scatter_plot_has_a_point_a_completion(task: Task):
    rows = [task.series(0, prompt_id, (1, 2)) for prompt_id in (5, 6)]
    completions = task.with_prompts(pd.DataFrame(rows)).assign(reward=[2.0, 3.0], mistake="exact")
    table = tables.reward_vs_gold(completions)
    assert list(table) == [
        *("template", "start", "difference", "terms", "completion", "mistake"),
        *("gold_reward", "reward"),
    ]
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


def test_best_of_n_counts_as_many_completions_of_every_prompt(task: Task, bootstrap: Bootstrap):
    """Prompt 5 has three completions, 8 four, of which the first three count."""
    best_of = pd.DataFrame(
        {
            "group": [1, 0, 0, 1, 1, 0, 1],
            "prompt_id": [8, 5, 5, 8, 8, 5, 8],
            "gold_reward": [1.0, 2, 3, 4, 5, 6, 7],
        },
        index=[3, 1, 4, 1, 5, 9, 2],
    )
    rewards = {"recipe": np.array([1.0, 2, 1, 2, 3, 1, 9])}
    table = tables.best_of_n(best_of, rewards, task, bootstrap)
    assert table["n"].tolist() == [1] * 3 + [2] * 3
    found = table.set_index(["model", "n"])["gold_reward"]
    # Prompt 5: gold 2 3 6, rewards 2 1 1; prompt 8: gold 1 4 5, rewards 1 2 3.
    assert found["random", 1] == found["recipe", 1] == pytest.approx((11 + 10) / 6)
    of_5, of_8 = (2 + 2 + 4.5) / 3, (4 + 5 + 5) / 3
    assert found["recipe", 2] == pytest.approx((of_5 + of_8) / 2)
    assert found["oracle", 2] == pytest.approx(((3 + 6 + 6) / 3 + of_8) / 2)
