"""Tables of a reward model on unseen families: what it predicts where, and where it is weak."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from goldrm.evaluation.data import pairs_right, rewards_and_gold
from goldrm.statistics import groups, probability
from goldrm.statistics.best_of_n import best_of_n_table
from goldrm.statistics.bootstrap import Bootstrap
from goldrm.statistics.metrics import Floats
from goldrm.statistics.shares import Estimate
from goldrm.task.params import GoldRewardParams

MARGIN_EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, np.inf)
GOLD_REWARD_BINS = 12
CONFIDENCE_BINS = 10


def reward_vs_gold(completions: pd.DataFrame) -> pd.DataFrame:
    """Each completion with its reward: what a scatter plot needs, and what the completion is.

    Args:
        completions: `distinct_completions`, with a column reward.

    Returns:
        prompt, completion, mistake, gold_reward, reward.
    """
    return completions[["prompt", "completion", "mistake", "gold_reward", "reward"]]


def breakdown(
    pairs: pd.DataFrame, properties: Mapping[str, int], confidence: float
) -> pd.DataFrame:
    """Pairwise accuracy by what the pairs are like.

    Args:
        pairs: `pairs_with_rewards`, with a column held_out.
        properties: of the prompts, each with the width of its bins (`Prompts.properties`).
        confidence: of the intervals, 0 to 1.

    Returns:
        by (margin, the properties, mistake, held_out), label, value, low, high, n (pairs),
        families. The label of a bin is where it begins. The mistake is the rejected completion's;
        held_out says whether the prompt's kind was held out of training.
    """
    margin_names = [
        f"{low:g}-{high:g}" for low, high in zip(MARGIN_EDGES, MARGIN_EDGES[1:], strict=False)
    ]
    labels: dict[str, Any] = {
        "margin": pd.cut(pairs["margin"], list(MARGIN_EDGES), labels=margin_names),
        **{name: pairs[name] // width * width for name, width in properties.items()},
        "mistake": pairs["mistake"],
        "held_out": pairs["held_out"],
    }
    right, family = pairs_right(pairs), pairs["family"].to_numpy()
    tables = [
        groups.share_by_label(right, label, family, confidence).assign(
            by=name, label=lambda rows: rows["label"].astype(str)
        )
        for name, label in labels.items()
    ]
    return pd.concat(tables)[["by", "label", *Estimate._fields]]


def calibration(completions: pd.DataFrame, gold_reward: GoldRewardParams) -> pd.DataFrame:
    """What is predicted in each bin of gold rewards; see `groups.calibration_by_gold_reward`."""
    edges = np.linspace(gold_reward.min, gold_reward.max, GOLD_REWARD_BINS + 1)
    return groups.calibration_by_gold_reward(*rewards_and_gold(completions), edges)


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
    best_of: pd.DataFrame, scores: Mapping[str, Floats], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Gold rewards of the best of n completions, by who picks; see `best_of_n_table`.

    Every prompt counts with as many completions as the prompt that has the fewest: those without
    a number have no gold reward.

    Args:
        best_of: completions with gold_reward and family, a group for each prompt.
        scores: of the same completions, by the name of the model that picks.
        bootstrap: for the intervals.
    """
    size = int(best_of.groupby("group").size().min())
    ordered = best_of.reset_index(drop=True).sort_values("group", kind="stable")
    rows = ordered.groupby("group").head(size).index.to_numpy().reshape(-1, size)
    sizes = [n for n in (2**power for power in range(13)) if n <= size]
    return best_of_n_table(
        {name: values[rows] for name, values in scores.items()},
        best_of["gold_reward"].to_numpy()[rows],
        sizes,
        best_of["family"].to_numpy()[rows[:, 0]],
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
