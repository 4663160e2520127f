"""Pairs that a reward model was trained on, pairs that it has never met, and its rewards."""

from typing import Any

import pandas as pd

from goldrm.commands.labels import label
from goldrm.commands.trained import TrainedModel
from goldrm.common.tables import read_parquet
from goldrm.pipeline.paths import EXAMPLES, PAIRS


def trained_on(recipe: str) -> pd.DataFrame:
    """The train split's pairs of which a recipe was trained on both completions."""
    examples = read_parquet(EXAMPLES / f"{recipe}.parquet")
    known = set(zip(examples["prompt_id"], examples["completion"], strict=True))
    pairs = read_parquet(PAIRS / "train.parquet")
    sides = zip(pairs["prompt_id"], pairs["chosen"], pairs["rejected"], strict=True)
    return pairs[[(i, chosen) in known and (i, rejected) in known for i, chosen, rejected in sides]]


def unseen() -> pd.DataFrame:
    """The test split's pairs."""
    return read_parquet(PAIRS / "test.parquet")


def judged(pairs: pd.DataFrame, trained: TrainedModel) -> list[dict[str, Any]]:
    """Each pair's texts, gold rewards, rewards and mistakes."""
    rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in pairs["prompt"]]
    for side in ("chosen", "rejected"):
        rewards = trained.score(pairs["prompt"].tolist(), pairs[side].tolist())
        gold_rewards = pairs[f"{side}_gold_reward"]
        columns = zip(rows, pairs[side], gold_rewards, rewards, strict=True)
        for row, text, gold_reward, reward in columns:
            known = label(row["prompt"], text, trained.task)
            row |= {
                side: text,
                f"{side}_gold_reward": gold_reward,
                f"{side}_reward": reward,
                f"{side}_mistake": known and known.mistake,
            }
    return rows
