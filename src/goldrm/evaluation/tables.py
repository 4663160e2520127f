"""What a reward model is judged by on unseen series: tables of scores, then tables of statistics.

It must not know files, figures or how rewards are made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from goldrm.edits.mistakes import mistake
from goldrm.evaluation.params import EvaluateParams
from goldrm.evaluation.statistics import groups, metrics, probability
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.evaluation.statistics.metrics import Floats, Ints
from goldrm.task.task import Task

CLEAR = 0.5  # a margin of gold reward from which on a pair should be easy
MARGINS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, np.inf)
GOLD_BINS = 12
PROBABILITY_BINS = 10
WITHIN = {"spearman_within": metrics.spearman, "kendall_within": metrics.kendall}
OVERALL = {
    "spearman": metrics.spearman,
    "kendall": metrics.kendall,
    "mse": metrics.mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r_squared": metrics.r_squared,
}


def series_numbers(prompt_ids: Iterable[int], task: Task) -> Ints:
    """A number for each prompt's exact series, by which rows are resampled; equal for equal."""
    exact = [task.space[prompt_id].exact(task.params.max_value) for prompt_id in prompt_ids]
    return pd.factorize(pd.Series(exact))[0]


def described(completions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Each completion of a prompt once, with what it is judged by besides its reward.

    Args:
        completions: of `preferences.COMPLETION_COLUMNS`.
        task: knows the exact series.

    Returns:
        The same columns and series (of `series_numbers`), length (of the completion, in terms),
        mistake (see `mistakes`).
    """
    table = completions.drop_duplicates(["prompt_id", "completion"], ignore_index=True)
    exact = [
        task.space[prompt_id].exact(task.params.max_value)
        for prompt_id in table["prompt_id"].tolist()
    ]
    values = [tuple(map(int, text.split())) for text in table["completion"]]
    return table.assign(
        series=series_numbers(table["prompt_id"].tolist(), task),
        length=[float(len(each)) for each in values],
        mistake=[mistake(*both) for both in zip(exact, values, strict=True)],
    )


def scored_pairs(
    pairs: pd.DataFrame, completions: pd.DataFrame, scores: Sequence[str]
) -> pd.DataFrame:
    """The pairs with series, the rejected completion's mistake, and both completions' scores.

    Args:
        pairs: of `preferences.PAIR_COLUMNS`.
        completions: `described`, among them the pairs', with the columns `scores`.
        scores: becomes chosen_NAME and rejected_NAME.
    """
    known = completions.set_index(["prompt_id", "completion"])
    for side in ("chosen", "rejected"):
        rows = known.loc[pd.MultiIndex.from_frame(pairs[["prompt_id", side]])]
        columns = {f"{side}_{name}": rows[name].to_numpy() for name in scores}
        pairs = pairs.assign(
            **columns, series=rows["series"].to_numpy(), mistake=rows["mistake"].to_numpy()
        )
    return pairs


def statistics(
    pairs: pd.DataFrame, completions: pd.DataFrame, bootstrap: Bootstrap
) -> pd.DataFrame:
    """Headline statistics with bootstrap intervals over series.

    Args:
        pairs: of `scored_pairs`.
        completions: `described` and scored.
        bootstrap: for the intervals.

    Returns:
        statistic, value, low, high: accuracy over the pairs, accuracy_clear over those with a
        margin above 0.5; over the completions spearman, kendall, mse, mae and r_squared, and
        length_partial (Spearman's correlation of reward with length beyond the gold reward);
        within prompts spearman_within and kendall_within (means over the prompts whose gold
        rewards differ) and reward_std_within, gold_std_within (mean standard deviation over the
        prompts with two completions or more).
    """
    right = metrics.pairs_right(
        pairs["chosen_reward"].to_numpy(), pairs["rejected_reward"].to_numpy()
    )
    series = pairs["series"].to_numpy()
    clear = (pairs["margin"] > CLEAR).to_numpy()
    rows = [
        bootstrap.share("accuracy", right, series),
        bootstrap.share("accuracy_clear", right[clear], series[clear]),
    ]
    reward, gold, length = (
        completions[name].to_numpy() for name in ("reward", "gold_reward", "length")
    )
    prompt, cluster = (completions[name].to_numpy() for name in ("prompt_id", "series"))
    rows += [
        bootstrap.of(name, lambda at, function=function: function(reward[at], gold[at]), cluster)
        for name, function in OVERALL.items()
    ]
    rows.append(
        bootstrap.of(
            "length_partial",
            lambda at: metrics.partial_spearman(reward[at], length[at], gold[at]),
            cluster,
        )
    )
    for name, function in WITHIN.items():
        within = groups.correlation_within_groups(function, reward, gold, prompt)
        rows.append(bootstrap.mean(name, within.values, cluster[within.first_rows]))
    for name, values in (("reward_std_within", reward), ("gold_std_within", gold)):
        rows.append(_spread_within(name, values, prompt, cluster, bootstrap))
    return pd.DataFrame(rows)


def _spread_within(
    name: str,
    values: Floats,
    prompt: npt.NDArray[Any],
    cluster: npt.NDArray[Any],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    several = pd.Series(prompt).duplicated(keep=False).to_numpy()
    kept, own = values[several], cluster[several]
    spread = groups.within_groups(lambda at: float(kept[at].std()), prompt[several])
    return bootstrap.mean(name, spread.values, own[spread.first_rows])


def headline(table: pd.DataFrame) -> dict[str, float]:
    """What stands in metrics/eval.json, from the table of `statistics`; nothing for a NaN."""
    rows: Any = table.set_index("statistic").round(4).to_dict("index")
    found = {
        name: rows[name]["value"] for name in ("accuracy", "accuracy_clear", "spearman", "mae")
    }
    for name in ("accuracy", "spearman"):
        found |= {f"{name}_{end}": rows[name][end] for end in ("low", "high")}
    return {name: value for name, value in found.items() if not np.isnan(value)}


def breakdown(pairs: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Pairwise accuracy by what the pairs are like.

    Returns:
        by (margin, template, terms, start, difference, mistake, held_out), label, count (pairs),
        value, low, high. The mistake is the rejected completion's; starts are in tens; held_out
        says whether the prompt's kind was held out of training.
    """
    right = metrics.pairs_right(
        pairs["chosen_reward"].to_numpy(), pairs["rejected_reward"].to_numpy()
    )
    margin_names = [f"{low:g}-{high:g}" for low, high in zip(MARGINS, MARGINS[1:], strict=False)]
    labels: dict[str, Any] = {
        "margin": pd.cut(pairs["margin"], list(MARGINS), labels=margin_names),
        "template": pairs["template"],
        "terms": pairs["terms"],
        "start": pairs["start"] // 10 * 10,
        "difference": pairs["difference"],
        "mistake": pairs["mistake"],
        "held_out": pairs["held_out"],
    }
    tables = [
        groups.mean_by_label(right, label, pairs["series"].to_numpy(), *bootstrap.options).assign(
            by=name, label=lambda rows: rows["label"].astype(str)
        )
        for name, label in labels.items()
    ]
    return pd.concat(tables)[["by", "label", "count", "value", "low", "high"]]


def compared(
    pairs: pd.DataFrame, completions: pd.DataFrame, scores: Sequence[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    """The reward beside baselines, on the same pairs and completions.

    Returns:
        scorer, statistic (accuracy, spearman), value, low, high.
    """
    gold = completions["gold_reward"].to_numpy()
    rows: list[dict[str, Any]] = []
    for name in scores:
        right = metrics.pairs_right(
            pairs[f"chosen_{name}"].to_numpy(), pairs[f"rejected_{name}"].to_numpy()
        )
        score = completions[name].to_numpy()
        found = [
            bootstrap.share("accuracy", right, pairs["series"].to_numpy()),
            bootstrap.of(
                "spearman",
                lambda at, score=score: metrics.spearman(score[at], gold[at]),
                completions["series"].to_numpy(),
            ),
        ]
        rows += [{"scorer": name, **row} for row in found]
    return pd.DataFrame(rows)


def calibration(completions: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    """What is predicted in each bin of gold rewards, which range from `low` to `high`."""
    return groups.calibration_by_gold_reward(
        completions["reward"].to_numpy(),
        completions["gold_reward"].to_numpy(),
        np.linspace(low, high, GOLD_BINS + 1),
    )


@dataclass(frozen=True)
class Probabilities:
    """How far σ(reward difference) is a probability.

    Attributes:
        table: targets (hard: the chosen one is better; soft: σ(gold difference)), temperature,
            log_loss, excess (log-loss above the targets' own entropy), brier, ece.
        reliability: targets, temperature and the columns of `probability.reliability`.
    """

    table: pd.DataFrame
    reliability: pd.DataFrame


def probabilities(pairs: pd.DataFrame, validation_pairs: pd.DataFrame) -> Probabilities:
    """Judge preference probabilities as they are and after temperature scaling.

    Args:
        pairs: of `scored_pairs`, test split.
        validation_pairs: the same of the validation split; the temperatures are fitted there.
    """
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    for kind in ("hard", "soft"):
        difference, target = _differences(pairs, kind)
        certain = kind == "hard"
        least = 0.0 if certain else probability.log_loss(pairs["margin"].to_numpy(), target)
        fitted = probability.fit_temperature(*_differences(validation_pairs, kind))
        for temperature in (1.0, fitted):
            scaled = difference / temperature
            loss = probability.log_loss(scaled, target)
            rows.append(
                {
                    "targets": kind,
                    "temperature": temperature,
                    "log_loss": loss,
                    "excess": loss - least,
                    "brier": probability.brier(scaled, target),
                    "ece": probability.expected_calibration_error(scaled, target, PROBABILITY_BINS),
                }
            )
            curve = probability.reliability(scaled, target, PROBABILITY_BINS)
            curves.append(curve.assign(targets=kind, temperature=temperature))
    return Probabilities(pd.DataFrame(rows), pd.concat(curves))


def _differences(pairs: pd.DataFrame, kind: str) -> tuple[Floats, Floats]:
    difference = (pairs["chosen_reward"] - pairs["rejected_reward"]).to_numpy()
    if kind == "hard":
        return difference, np.ones(len(difference))
    return difference, probability.preference_probability(pairs["margin"].to_numpy())


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


def examples(completions: pd.DataFrame, params: EvaluateParams, seed: int) -> pd.DataFrame:
    """Completions to look at: those predicted best, those predicted worst, and random ones.

    Args:
        completions: `described` and scored.
        params: how many of each.
        seed: of the random ones.

    Returns:
        kind, prompt, completion, gold_reward, reward, error (reward - gold_reward).
    """
    table = completions.assign(error=completions["reward"] - completions["gold_reward"])
    by_error = table.iloc[table["error"].abs().argsort(kind="stable")]
    count = min(params.examples, len(table))
    kinds = {
        "best": by_error[:count],
        "worst": by_error[::-1][:count],
        "random": table.sample(count, random_state=seed % 2**32),
    }
    shown = pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()])
    return shown[["kind", "prompt", "completion", "gold_reward", "reward", "error"]]
