"""Writes preference pairs as TRL reads them."""

from pathlib import Path

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic
from goldrm.common.tables import read_parquet, write_parquet
from goldrm.pipeline.paths import PAIRS


def write_pairs(path: Path, split: str) -> int:
    """Write a split's pairs as JSONL or Parquet, by the path's ending; returns how many.

    Columns prompt, chosen, rejected. TRL puts prompt and completion together without a space, so
    completions begin with one: without it the last number of one and the first of the other would
    be read as one word.

    Raises:
        GoldrmError: when the ending is another, there are no pairs yet, or the file can't be
            written.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise GoldrmError(f"{path} must end in .jsonl or .parquet.")
    pairs = read_parquet(PAIRS / f"{split}.parquet")[["prompt", "chosen", "rejected"]]
    pairs[["chosen", "rejected"]] = " " + pairs[["chosen", "rejected"]]
    if path.suffix == ".jsonl":
        write_atomic(path, pairs.to_json(orient="records", lines=True).encode())
    else:
        write_parquet(path, pairs)
    return len(pairs)
