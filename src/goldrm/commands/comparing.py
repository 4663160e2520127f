"""Two reward models' statistics on the test split, and by how much they differ."""

from typing import Any

import pandas as pd

from goldrm.commands.trained import TrainedModel
from goldrm.common.tables import read_parquet
from goldrm.evaluation.comparison import differences, error_difference
from goldrm.evaluation.data import (
    EvaluationData,
    distinct_completions,
    pairs_right,
    pairs_with_rewards,
    rewards_and_gold,
)
from goldrm.evaluation.params import EvaluateParams
from goldrm.pipeline.paths import COMPLETIONS, PAIRS
from goldrm.statistics import metrics
from goldrm.statistics.bootstrap import Bootstrap


def compared(
    model: TrainedModel, other: TrainedModel, params: EvaluateParams, seed: int
) -> list[dict[str, Any]]:
    """A row each for accuracy, spearman and mae: both models' values and their difference.

    Args:
        model: of a recipe.
        other: the one it is compared with.
        params: of the interval.
        seed: of the resamples.

    Raises:
        GoldrmError: when a table is missing or damaged.
    """
    bootstrap = Bootstrap(params.bootstrap_samples, params.confidence, seed)
    models = (model, other)
    judged = [_judged(trained) for trained in models]
    predicted = [
        own.rescaled(trained.reward_model.gold_scale)
        for trained, own in zip(models, judged, strict=True)
    ]
    values = {
        "accuracy": [pairs_right(each.pairs).mean() for each in judged],
        "spearman": [metrics.spearman(*rewards_and_gold(each.completions)) for each in judged],
        "mae": [_mae(each.completions) for each in predicted],
    }
    tables = (
        differences(judged[0], judged[1], bootstrap),
        error_difference(predicted[0], predicted[1], bootstrap),
    )
    return [
        {
            "statistic": row["statistic"],
            "value": float(values[row["statistic"]][0]),
            "other_value": float(values[row["statistic"]][1]),
            "difference": row["value"],
            "low": row["low"],
            "high": row["high"],
            "n": row["n"],
            "of": "pairs" if row["statistic"] == "accuracy" else "completions",
            "families": row["families"],
        }
        for table in tables
        for row in table.to_dict("records")
    ]


def _judged(trained: TrainedModel) -> EvaluationData:
    """The test split's pairs and completions with a model's rewards, and nothing else."""
    completions = distinct_completions(read_parquet(COMPLETIONS / "test.parquet"), trained.task)
    rewards = trained.score(completions["prompt"].tolist(), completions["completion"].tolist())
    completions = completions.assign(reward=rewards)
    pairs = pairs_with_rewards(read_parquet(PAIRS / "test.parquet"), completions)
    nothing = completions[:0]
    return EvaluationData(pairs, completions, *[nothing] * 4)


def _mae(completions: pd.DataFrame) -> float:
    reward, gold_reward = rewards_and_gold(completions)
    return abs(reward - gold_reward).mean()
