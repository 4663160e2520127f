"""How a reward model does on labelled pairs: tables of scores, statistics and examples.

It must not know files or figures.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from goldrm import metrics
from goldrm.config import EvaluateParams
from goldrm.scoring import RewardModel

COMPLETION_COLUMNS = ["prompt_id", "prompt", "completion", "gold_reward", "reward"]


def score_pairs(reward_model: RewardModel, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with two more columns, chosen_reward and rejected_reward.

    Args:
        reward_model: what is judged.
        pairs: with columns prompt, chosen and rejected.
    """
    prompts = pairs["prompt"].tolist()
    rewards = {
        f"{side}_reward": reward_model.score(prompts, pairs[side].tolist())
        for side in ("chosen", "rejected")
    }
    return pairs.assign(**rewards)


def completions_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Every distinct completion of every prompt among scored pairs, once.

    Returns:
        `COMPLETION_COLUMNS`, in the order of first appearance.
    """
    sides = [
        pairs[["prompt_id", "prompt"]].assign(
            completion=pairs[side],
            gold_reward=pairs[f"{side}_gold_reward"],
            reward=pairs[f"{side}_reward"],
        )
        for side in ("chosen", "rejected")
    ]
    both = pd.concat(sides).sort_index(kind="stable")
    return both.drop_duplicates(["prompt_id", "completion"], ignore_index=True)[COMPLETION_COLUMNS]


def statistics(pairs: pd.DataFrame, params: EvaluateParams, seed: int) -> pd.DataFrame:
    """Headline statistics with bootstrap intervals over prompts.

    Args:
        pairs: scored by `score_pairs`.
        params: how many resamples and which confidence.
        seed: the run's.

    Returns:
        statistic, value, low, high: accuracy over the pairs; spearman, mse and mae over the
        distinct completions.
    """
    completions = completions_of(pairs)
    accuracy = _of(metrics.pairwise_accuracy, pairs, "chosen_reward", "rejected_reward")
    of_completions = {
        "spearman": metrics.spearman,
        "mse": metrics.mean_squared_error,
        "mae": metrics.mean_absolute_error,
    }
    rows = [_with_interval("accuracy", accuracy, pairs, params, seed)] + [
        _with_interval(
            name, _of(function, completions, "reward", "gold_reward"), completions, params, seed
        )
        for name, function in of_completions.items()
    ]
    return pd.DataFrame(rows)


def _of(
    function: Callable[[metrics.Floats, metrics.Floats], float],
    table: pd.DataFrame,
    first: str,
    second: str,
) -> Callable[[metrics.Ints], float]:
    """A statistic of two columns as a function of the rows that it is taken over."""
    left, right = table[first].to_numpy(), table[second].to_numpy()
    return lambda rows: function(left[rows], right[rows])


def _with_interval(
    name: str,
    statistic: Callable[[metrics.Ints], float],
    table: pd.DataFrame,
    params: EvaluateParams,
    seed: int,
) -> dict[str, Any]:
    low, high = metrics.bootstrap_interval(
        statistic,
        table["prompt_id"].to_numpy(),
        params.bootstrap_samples,
        params.confidence,
        np.random.default_rng(seed),
    )
    value = statistic(np.arange(len(table)))
    return {"statistic": name, "value": value, "low": low, "high": high}


def headline(table: pd.DataFrame) -> dict[str, float]:
    """What stands in metrics/eval.json, from the table of `statistics`."""
    rows: Any = table.set_index("statistic").round(4).to_dict("index")
    headline = {name: row["value"] for name, row in rows.items()}
    for name in ("accuracy", "spearman"):
        headline |= {f"{name}_{end}": rows[name][end] for end in ("low", "high")}
    return headline


def examples(completions: pd.DataFrame, params: EvaluateParams, seed: int) -> pd.DataFrame:
    """Completions to look at: those predicted best, those predicted worst, and random ones.

    Args:
        completions: of `completions_of`.
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
