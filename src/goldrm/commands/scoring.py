"""What is to be scored, and its rewards and gold rewards."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from goldrm.commands.pairs_file import Completions, Pairs, read_completions, read_pairs
from goldrm.commands.trained import TrainedModel
from goldrm.common.errors import GoldrmError
from goldrm.reward_model.model import RewardModel

MAX_ROWS_NAMED = 5
CUT = "the prompt is longer than the model can read; its first words are left out."


def read_texts(
    prompt: str | None, completion: str | None, pairs: Path | None, completions: Path | None
) -> Pairs | Completions:
    """What is to be scored, which must be said in one way: two texts, or one of the files.

    Raises:
        GoldrmError: when it isn't, or the file can't be read.
    """
    ways = [way for way in (prompt, pairs, completions) if way is not None]
    if len(ways) != 1 or (prompt is None) != (completion is None):
        raise GoldrmError(
            "score takes a PROMPT and a COMPLETION, or --pairs FILE, or --completions FILE."
        )
    if pairs is not None:
        return read_pairs(pairs)
    if completions is not None:
        return read_completions(completions)
    return Completions([prompt or ""], [completion or ""])


def rewards_of(texts: Pairs | Completions, trained: TrainedModel) -> pd.DataFrame:
    """Rewards and gold rewards, NaN where there is none: reward, gold_reward; of pairs four."""
    prompts, *sides = texts
    columns: dict[str, list[float | None]] = {}
    for name, completions in zip(texts._fields[1:], sides, strict=True):
        prefix = "" if name == "completion" else f"{name}_"
        columns[f"{prefix}reward"] = [*trained.score(prompts, completions)]
        columns[f"{prefix}gold_reward"] = trained.gold_reward(prompts, completions)
    return pd.DataFrame(columns, dtype=float)


def warnings(texts: Pairs | Completions, reward_model: RewardModel) -> Iterator[str]:
    """A sentence for whatever is scored, but may not be what its writer meant."""
    for column, values in texts._asdict().items():
        if rows := [row for row, text in enumerate(values) if not text.split()]:
            yield f"no {column} in {_named(rows)}; scored as a text without a word."
    prompts, *sides = texts
    cut = {row for side in sides for row in reward_model.cut(prompts, side)}
    if cut:
        yield f"{_named(sorted(cut))}: {CUT}"


def _named(rows: list[int]) -> str:
    """Some rows in words, the first ones by their numbers: "rows 2, 5 (counted from 0)"."""
    more = len(rows) - MAX_ROWS_NAMED
    listed = ", ".join(map(str, rows[:MAX_ROWS_NAMED])) + (f" and {more} more" if more > 0 else "")
    return f"row{'s' if len(rows) > 1 else ''} {listed} (counted from 0)"
