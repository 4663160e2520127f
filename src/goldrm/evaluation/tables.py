"""What reward models are judged by on unseen series: tables of rewards, then of statistics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from goldrm.edits.mistakes import mistake
from goldrm.evaluation.statistics import groups, metrics, probability
from goldrm.evaluation.statistics.best_of_n import best_of_n_table
from goldrm.evaluation.statistics.bootstrap import Bootstrap, Estimate, one_by_one
from goldrm.evaluation.statistics.metrics import Floats, Ints
from goldrm.task.params import GoldRewardParams
from goldrm.task.task import Task

CLEAR_MARGIN = 0.5  # of gold reward, above which a pair should be easy
MARGIN_EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, np.inf)
GOLD_REWARD_BINS = 12
CONFIDENCE_BINS = 10
CORRELATIONS_WITHIN = {"spearman_within": metrics.spearman, "kendall_within": metrics.kendall}


def series_numbers(prompt_ids: Iterable[int], task: Task) -> Ints:
    """The number of each prompt's exact series: equal for prompts that ask for the same.

    They are the clusters of `Bootstrap`, since completions of a series aren't independent.
    """
    return pd.factorize(pd.Series(list(map(task.exact, prompt_ids))))[0]


def distinct_completions(completions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Each completion of a prompt once, with what it is judged by besides its reward.

    Args:
        completions: of `preferences.COMPLETION_COLUMNS`.
        task: knows the exact series.

    Returns:
        The same columns and series (of `series_numbers`), length (of the completion, in terms),
        mistake (see `mistakes`).
    """
    table = completions.drop_duplicates(["prompt_id", "completion"], ignore_index=True)
    exact = map(task.exact, table["prompt_id"].tolist())
    terms = [tuple(map(int, text.split())) for text in table["completion"]]
    return table.assign(
        series=series_numbers(table["prompt_id"].tolist(), task),
        length=[float(len(values)) for values in terms],
        mistake=[mistake(*both) for both in zip(exact, terms, strict=True)],
    )


def pairs_with_rewards(pairs: pd.DataFrame, completions: pd.DataFrame) -> pd.DataFrame:
    """The pairs with both rewards, their series and the rejected completion's mistake.

    Args:
        pairs: of `preferences.PAIR_COLUMNS`.
        completions: `distinct_completions`, among them the pairs', with a column reward.

    Returns:
        The pairs' columns and chosen_reward, rejected_reward, series, mistake.
    """
    of_completion = completions.set_index(["prompt_id", "completion"])
    chosen, rejected = (
        of_completion.loc[pd.MultiIndex.from_frame(pairs[["prompt_id", side]])]
        for side in ("chosen", "rejected")
    )
    return pairs.assign(
        chosen_reward=chosen["reward"].to_numpy(),
        rejected_reward=rejected["reward"].to_numpy(),
        series=rejected["series"].to_numpy(),
        mistake=rejected["mistake"].to_numpy(),
    )


def reward_vs_gold(completions: pd.DataFrame) -> pd.DataFrame:
    """Each completion with its reward: what a scatter plot needs, and what the completion is.

    Args:
        completions: `distinct_completions`, with a column reward.

    Returns:
        template, start, difference, terms (which tell the prompt), completion, mistake,
        gold_reward, reward.
    """
    prompt = ["template", "start", "difference", "terms"]
    return completions[[*prompt, "completion", "mistake", "gold_reward", "reward"]]


def ranking_statistics(
    pairs: pd.DataFrame, completions: pd.DataFrame, bootstrap: Bootstrap
) -> pd.DataFrame:
    """How well any score ranks; see `statistics`, of which it is the first rows.

    Returns:
        statistic (accuracy over the pairs, spearman over the completions), value, low, high, n.
    """
    return _rows(
        {
            "accuracy": bootstrap.share(_pairs_right(pairs), pairs["series"].to_numpy()),
            "spearman": bootstrap.of(
                lambda counts: metrics.spearman(*_rewards(completions), counts),
                completions["series"].to_numpy(),
            ),
        }
    )


def statistics(
    pairs: pd.DataFrame, completions: pd.DataFrame, bootstrap: Bootstrap
) -> pd.DataFrame:
    """How well rewards rank and predict, with bootstrap intervals over series.

    Args:
        pairs: `pairs_with_rewards`.
        completions: `distinct_completions`, with a column reward.
        bootstrap: for the intervals.

    Returns:
        statistic, value, low, high, n (pairs, completions or prompts): accuracy over the pairs,
        accuracy_clear over those with a margin above 0.5; over the completions spearman, kendall,
        mse, mae and r_squared, and length_partial (Spearman's correlation of reward with length
        beyond the gold reward); within prompts spearman_within and kendall_within (means over the
        prompts whose gold rewards differ) and reward_std_within, gold_std_within (mean standard
        deviation over the prompts with two completions or more).
    """
    clear = pairs[pairs["margin"] > CLEAR_MARGIN]
    reward, gold_reward = _rewards(completions)
    length, series = (completions[name].to_numpy() for name in ("length", "series"))
    error = reward - gold_reward
    more = {
        "accuracy_clear": bootstrap.share(_pairs_right(clear), clear["series"].to_numpy()),
        "kendall": bootstrap.of(one_by_one(metrics.kendall, reward, gold_reward), series),
        "mse": bootstrap.mean(error**2, series),
        "mae": bootstrap.mean(np.abs(error), series),
        "r_squared": bootstrap.of(one_by_one(metrics.r_squared, reward, gold_reward), series),
        "length_partial": bootstrap.of(
            lambda counts: metrics.partial_spearman(reward, length, gold_reward, counts), series
        ),
        **_within_prompts(completions, bootstrap),
    }
    return pd.concat([ranking_statistics(pairs, completions, bootstrap), _rows(more)])


def _within_prompts(completions: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """The statistics of `statistics` that are means over prompts."""
    estimates: dict[str, Estimate] = {}
    reward, gold_reward = _rewards(completions)
    prompt, series = (completions[name].to_numpy() for name in ("prompt_id", "series"))
    for name, correlation in CORRELATIONS_WITHIN.items():
        within = groups.correlation_within_groups(correlation, reward, gold_reward, prompt)
        estimates[name] = bootstrap.mean(within.values, series[within.first_rows])
    several = completions["prompt_id"].duplicated(keep=False).to_numpy()
    for name, values in (("reward_std_within", reward), ("gold_std_within", gold_reward)):
        spread = groups.within_groups(np.std, prompt[several], values[several])
        estimates[name] = bootstrap.mean(spread.values, series[several][spread.first_rows])
    return estimates


def headline(statistics: pd.DataFrame, models: Sequence[str]) -> dict[str, float]:
    """What stands in metrics/eval.json: each model's accuracy, and on how many pairs.

    Args:
        statistics: of `ranking_statistics`, with a column model.
        models: whose accuracy is told, unless there is none, for want of pairs.
    """
    accuracy = statistics[statistics["statistic"] == "accuracy"].set_index("model")
    values = {name: round(float(accuracy["value"][name]), 4) for name in models}
    told = {name: value for name, value in values.items() if not np.isnan(value)}
    return {**told, "n": int(accuracy["n"].iloc[0])}


def breakdown(pairs: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Pairwise accuracy by what the pairs are like.

    Args:
        pairs: `pairs_with_rewards`, with a column held_out.
        bootstrap: for the intervals.

    Returns:
        by (margin, template, terms, start, difference, mistake, held_out), label, value, low, high,
        n (pairs). The mistake is the rejected completion's; starts are in tens; held_out says
        whether the prompt's kind was held out of training.
    """
    margin_names = [
        f"{low:g}-{high:g}" for low, high in zip(MARGIN_EDGES, MARGIN_EDGES[1:], strict=False)
    ]
    labels: dict[str, Any] = {
        "margin": pd.cut(pairs["margin"], list(MARGIN_EDGES), labels=margin_names),
        "template": pairs["template"],
        "terms": pairs["terms"],
        "start": pairs["start"] // 10 * 10,
        "difference": pairs["difference"],
        "mistake": pairs["mistake"],
        "held_out": pairs["held_out"],
    }
    right, series = _pairs_right(pairs), pairs["series"].to_numpy()
    tables = [
        groups.mean_by_label(right, label, series, bootstrap).assign(
            by=name, label=lambda rows: rows["label"].astype(str)
        )
        for name, label in labels.items()
    ]
    return pd.concat(tables)[["by", "label", *Estimate._fields]]


def calibration(completions: pd.DataFrame, gold_reward: GoldRewardParams) -> pd.DataFrame:
    """What is predicted in each bin of gold rewards; see `groups.calibration_by_gold_reward`."""
    edges = np.linspace(gold_reward.min, gold_reward.max, GOLD_REWARD_BINS + 1)
    return groups.calibration_by_gold_reward(*_rewards(completions), edges)


def probability_table(pairs: pd.DataFrame, validation_pairs: pd.DataFrame) -> pd.DataFrame:
    """How good σ(reward difference) is as a probability, as it is and after temperature scaling.

    Args:
        pairs: `pairs_with_rewards` of the test split.
        validation_pairs: the same of the validation split; the temperatures are fitted there.

    Returns:
        targets (hard: the chosen one is better; soft: σ(gold difference)), temperature, log_loss,
        excess (log-loss above the targets' own entropy), brier, ece, n (pairs).
    """
    margin = pairs["margin"].to_numpy()
    rows: list[dict[str, Any]] = []
    for kind, temperature, difference, target in _scaled(pairs, validation_pairs):
        loss = probability.log_loss(difference, target)
        soft = kind == "soft"  # hard targets are certain, hence without entropy
        rows.append(
            {
                "targets": kind,
                "temperature": temperature,
                "log_loss": loss,
                "excess": probability.excess_log_loss(difference, margin) if soft else loss,
                "brier": probability.brier(difference, target),
                "ece": probability.expected_calibration_error(difference, target, CONFIDENCE_BINS),
                "n": len(pairs),
            }
        )
    return pd.DataFrame(rows)


def reliability_table(pairs: pd.DataFrame, validation_pairs: pd.DataFrame) -> pd.DataFrame:
    """Targets by confidence, of the same probabilities as `probability_table`.

    Returns:
        targets, temperature and the columns of `probability.reliability`.
    """
    curves: list[pd.DataFrame] = []
    for kind, temperature, difference, target in _scaled(pairs, validation_pairs):
        curve = probability.reliability(difference, target, CONFIDENCE_BINS)
        curve.insert(0, "targets", kind)
        curve.insert(1, "temperature", temperature)
        curves.append(curve)
    return pd.concat(curves)


def _scaled(
    pairs: pd.DataFrame, validation_pairs: pd.DataFrame
) -> Iterator[tuple[str, float, Floats, Floats]]:
    """Targets' kind, temperature, reward differences at that temperature, and targets."""
    for kind in ("hard", "soft"):
        difference, target = _differences(pairs, kind)
        fitted = probability.fit_temperature(*_differences(validation_pairs, kind))
        for temperature in (1.0, fitted):
            yield kind, temperature, difference / temperature, target


def _differences(pairs: pd.DataFrame, kind: str) -> tuple[Floats, Floats]:
    """Each pair's reward difference, and its target."""
    difference = (pairs["chosen_reward"] - pairs["rejected_reward"]).to_numpy()
    if kind == "hard":
        return difference, np.ones(len(difference))
    return difference, probability.preference_probability(pairs["margin"].to_numpy())


def best_of_n(
    best_of: pd.DataFrame, scores: Mapping[str, Floats], task: Task, bootstrap: Bootstrap
) -> pd.DataFrame:
    """Gold rewards of the best of n completions, by who picks; see `best_of_n_table`.

    Every prompt counts with as many completions as the prompt that has the fewest: those without
    a number have no gold reward.

    Args:
        best_of: completions with their gold rewards, a group for each prompt.
        scores: of the same completions, by the name of the model that picks.
        task: knows the exact series.
        bootstrap: for the intervals.
    """
    size = int(best_of.groupby("group").size().min())
    ordered = best_of.reset_index(drop=True).sort_values("group", kind="stable")
    rows = ordered.groupby("group").head(size).index.to_numpy().reshape(-1, size)
    sizes = [n for n in (2**power for power in range(13)) if n <= size]
    clusters = series_numbers(best_of["prompt_id"].to_numpy()[rows[:, 0]].tolist(), task)
    return best_of_n_table(
        {name: values[rows] for name, values in scores.items()},
        best_of["gold_reward"].to_numpy()[rows],
        sizes,
        clusters,
        bootstrap,
    )


def over_estimates(completions: pd.DataFrame, count: int) -> pd.DataFrame:
    """The completions that fool the model most.

    Args:
        completions: from anywhere, with prompt, completion, gold_reward and reward.
        count: how many.

    Returns:
        prompt, completion, gold_reward, reward, error (reward - gold_reward), the largest first.
    """
    table = completions.assign(error=completions["reward"] - completions["gold_reward"])
    table = table.drop_duplicates(["prompt", "completion"])
    worst = table.sort_values("error", ascending=False, kind="stable")[:count]
    return worst[["prompt", "completion", "gold_reward", "reward", "error"]]


def examples(completions: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Completions to look at: those predicted best, those predicted worst, and random ones.

    Args:
        completions: `distinct_completions`, with a column reward.
        count: how many of each.
        seed: of the random ones.

    Returns:
        kind, prompt, completion, gold_reward, reward, error (reward - gold_reward).
    """
    table = completions.assign(error=completions["reward"] - completions["gold_reward"])
    by_error = table.iloc[table["error"].abs().argsort(kind="stable")]
    count = min(count, len(table))
    kinds = {
        "best": by_error[:count],
        "worst": by_error[::-1][:count],
        "random": table.sample(count, random_state=seed % 2**32),
    }
    shown = pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()])
    return shown[["kind", "prompt", "completion", "gold_reward", "reward", "error"]]


def _rows(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Estimates by name as rows of statistic, value, low, high, n."""
    return pd.DataFrame(
        {"statistic": name, **estimate._asdict()} for name, estimate in estimates.items()
    )


def _pairs_right(pairs: pd.DataFrame) -> Floats:
    return metrics.pairs_right(
        pairs["chosen_reward"].to_numpy(), pairs["rejected_reward"].to_numpy()
    )


def _rewards(completions: pd.DataFrame) -> tuple[Floats, Floats]:
    """Each completion's reward and gold reward."""
    return completions["reward"].to_numpy(), completions["gold_reward"].to_numpy()
