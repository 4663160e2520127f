"""How well rewards, or any other scores, rank and predict on unseen families, and by how much."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from goldrm.evaluation.data import EvaluationData, pairs_right, rewards_and_gold
from goldrm.evaluation.probes import off_by_one_more
from goldrm.statistics import groups, metrics
from goldrm.statistics.best_of_n import best_of_four
from goldrm.statistics.bootstrap import Bootstrap
from goldrm.statistics.metrics import Floats
from goldrm.statistics.shares import NOTHING, Estimate, share

CLEAR_MARGIN = 0.5  # of gold reward, above which a pair should be easy
CORRELATIONS_WITHIN = {"spearman_within": metrics.spearman, "kendall_within": metrics.kendall}


def ranking_statistics(judged: EvaluationData, bootstrap: Bootstrap) -> pd.DataFrame:
    """How well any score ranks, with intervals over families.

    Args:
        judged: with the scores as rewards.
        bootstrap: for the intervals.

    Returns:
        statistic, value, low, high, n (pairs, completions, prompts or probes), families: accuracy
        over the pairs, accuracy_clear over those with a margin above 0.5, accuracy_inexact over
        those whose chosen completion isn't exact; best_of_four (see there; a mean over prompts);
        over the completions spearman, over those that aren't exact spearman_inexact, over the
        probes probes_spearman; one_off_further: the share of terms off by one more that get a lower
        score than the same term off by one less.
    """
    pairs, near = judged.pairs, off_by_one_more(judged.probes)
    accuracies = {
        "accuracy": pairs,
        "accuracy_clear": pairs[pairs["margin"] > CLEAR_MARGIN],
        "accuracy_inexact": pairs[~pairs["chosen_exact"]],
    }
    right = {name: (pairs_right(rows), rows["family"]) for name, rows in accuracies.items()}
    right["best_of_four"] = _best_of_four(pd.concat([judged.completions, judged.best_of]))
    right["one_off_further"] = (
        metrics.pairs_right(near["reward"].to_numpy(), near["reward_further"].to_numpy()),
        near["family"],
    )
    shares = {
        name: share(values, families.to_numpy(), bootstrap.confidence)
        for name, (values, families) in right.items()
    }
    correlations = {
        "spearman": _spearman(judged.completions, bootstrap),
        "spearman_inexact": _spearman(_inexact(judged.completions), bootstrap),
        "probes_spearman": _spearman(judged.probes, bootstrap),
    }
    return _rows(shares | correlations)


def error_statistics(judged: EvaluationData, bootstrap: Bootstrap) -> pd.DataFrame:
    """How well rewards predict gold rewards, with intervals over families.

    Args:
        judged: with rewards on the gold rewards' scale.
        bootstrap: for the intervals.

    Returns:
        The columns of `ranking_statistics`: over the completions mse, mae and r_squared (1 - mse /
        variance of the gold rewards), and length_partial (Spearman's correlation of reward with
        length beyond the gold reward); over those that aren't exact mae_inexact, over the probes
        probes_mae; within prompts spearman_within and kendall_within (means over the prompts whose
        gold rewards differ) and reward_std_within, gold_std_within (mean standard deviation over
        the prompts with two completions or more).
    """
    completions = judged.completions
    reward, gold_reward = rewards_and_gold(completions)
    length, family = (completions[name].to_numpy() for name in ("length", "family"))
    squared_error = (reward - gold_reward) ** 2
    return _rows(
        {
            "mse": bootstrap.mean(squared_error, family),
            "mae": _mae(completions, bootstrap),
            "mae_inexact": _mae(_inexact(completions), bootstrap),
            "probes_mae": _mae(judged.probes, bootstrap),
            "r_squared": bootstrap.of_sums(
                metrics.r_squared,
                family,
                *(squared_error, gold_reward, gold_reward**2, np.ones(len(family))),
            ),
            "length_partial": bootstrap.of(
                metrics.resampled_partial_spearman(reward, length, gold_reward, family), family
            ),
            **_within_prompts(completions, bootstrap),
        }
    )


def differences(
    judged: EvaluationData, other: EvaluationData, bootstrap: Bootstrap
) -> pd.DataFrame:
    """What one model's statistics are more than another's, on the same pairs and completions.

    Both are resampled together, so that what is hard for both cancels out.

    Args:
        judged: with the one's rewards.
        other: the same rows with the other's. Its scale may be its own: see `error_difference`.
        bootstrap: for the intervals.

    Returns:
        The columns of `ranking_statistics`: accuracy, spearman.
    """
    family = judged.completions["family"].to_numpy()
    own, others = (
        metrics.resampled_spearman(*rewards_and_gold(each.completions), family)
        for each in (judged, other)
    )
    more_right = pairs_right(judged.pairs) - pairs_right(other.pairs)
    return _rows(
        {
            "accuracy": bootstrap.mean(more_right, judged.pairs["family"].to_numpy()),
            "spearman": bootstrap.of(lambda counts: own(counts) - others(counts), family),
        }
    )


def error_difference(
    judged: EvaluationData, other: EvaluationData, bootstrap: Bootstrap
) -> pd.DataFrame:
    """Like `differences`: mae. Both models' rewards are on the gold rewards' scale."""
    more = _absolute_errors(judged.completions) - _absolute_errors(other.completions)
    return _rows({"mae": bootstrap.mean(more, judged.completions["family"].to_numpy())})


def _best_of_four(completions: pd.DataFrame) -> tuple[Floats, pd.Series]:
    """`best_of_four` of each prompt that has any, and its family."""
    distinct = completions.drop_duplicates(["prompt_id", "completion"])
    of_prompts = groups.within_groups(
        best_of_four, distinct["prompt_id"].to_numpy(), *rewards_and_gold(distinct)
    )
    some = ~np.isnan(of_prompts.values)
    return of_prompts.values[some], distinct["family"].iloc[of_prompts.first_rows[some]]


def _inexact(completions: pd.DataFrame) -> pd.DataFrame:
    return completions[completions["mistake"] != "exact"]


def _spearman(completions: pd.DataFrame, bootstrap: Bootstrap) -> Estimate:
    if completions.empty:
        return NOTHING
    family = completions["family"].to_numpy()
    return bootstrap.of(metrics.resampled_spearman(*rewards_and_gold(completions), family), family)


def _mae(completions: pd.DataFrame, bootstrap: Bootstrap) -> Estimate:
    return bootstrap.mean(_absolute_errors(completions), completions["family"].to_numpy())


def _absolute_errors(completions: pd.DataFrame) -> Floats:
    return (completions["reward"] - completions["gold_reward"]).abs().to_numpy()


def _within_prompts(completions: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """The statistics of `error_statistics` that are means over prompts."""
    estimates: dict[str, Estimate] = {}
    reward, gold_reward = rewards_and_gold(completions)
    prompt, family = (completions[name].to_numpy() for name in ("prompt_id", "family"))
    for name, correlation in CORRELATIONS_WITHIN.items():
        within = groups.correlation_within_groups(correlation, reward, gold_reward, prompt)
        estimates[name] = bootstrap.mean(within.values, family[within.first_rows])
    several = completions["prompt_id"].duplicated(keep=False).to_numpy()
    for name, values in (("reward_std_within", reward), ("gold_std_within", gold_reward)):
        spread = groups.within_groups(np.std, prompt[several], values[several])
        estimates[name] = bootstrap.mean(spread.values, family[several][spread.first_rows])
    return estimates


def headline(statistics: pd.DataFrame, models: Sequence[str]) -> dict[str, float]:
    """What stands in metrics/eval.json: each model's accuracy, and over how many pairs.

    Args:
        statistics: of `ranking_statistics`, with a column model.
        models: whose accuracy is told, unless there is none, for want of pairs.
    """
    accuracy = statistics[statistics["statistic"] == "accuracy"].set_index("model")
    values = {name: round(float(accuracy["value"][name]), 4) for name in models}
    told = {name: value for name, value in values.items() if not np.isnan(value)}
    return {**told, "pairs": int(accuracy["n"].iloc[0])}


def _rows(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Estimates by name as rows of statistic, value, low, high, n, families."""
    return pd.DataFrame(
        {"statistic": name, **estimate._asdict()} for name, estimate in estimates.items()
    )
