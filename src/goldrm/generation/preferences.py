"""The preference dataset: completions and their pairs by split, and statistics of them."""

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.common.tables import ParquetBuffer
from goldrm.generation.pairs import PAIR_COLUMNS, preference_pairs
from goldrm.task.series import SPLITS, Split
from goldrm.task.task import PROMPT_COLUMNS, Task

COMPLETION_COLUMNS = PROMPT_COLUMNS | {
    "group": "int64",
    "completion": "str",
    "gold_reward": "float64",
}


class PreferenceDataset:
    """Pairs and completions of each split, collected chunk by chunk.

    Attributes:
        pairs: the pairs of each split, with `PAIR_COLUMNS`.
        completions: the completions of each split that have a gold reward, with
            `COMPLETION_COLUMNS`; those that make no pair, too.
    """

    def __init__(self, task: Task, num_pairs: int) -> None:
        """An empty dataset, which will hold the first `num_pairs` pairs."""
        self._task = task
        self._num_missing = num_pairs
        self.pairs: dict[Split, ParquetBuffer] = {
            split: ParquetBuffer(PAIR_COLUMNS) for split in SPLITS
        }
        self.completions: dict[Split, ParquetBuffer] = {
            split: ParquetBuffer(COMPLETION_COLUMNS) for split in SPLITS
        }
        self._sums: Counter[str] = Counter()

    def collect(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Add chunks of completions until there are enough pairs.

        Args:
            chunks: rows of `Task.completion`; a group's are in one chunk.

        Raises:
            GoldrmError: when a split gets no pair.
        """
        for chunk in chunks:
            if not self._num_missing:
                break
            pairs = preference_pairs(chunk, self._task)[: self._num_missing]
            self._num_missing -= len(pairs)
            self._append(pairs, self.pairs)
            completions = self._task.with_prompts(chunk.dropna(subset="gold_reward"))
            self._append(completions, self.completions)
            self._count(pairs, chunk)
        for split, rows in self.pairs.items():
            if not len(rows):
                raise GoldrmError(
                    f"none of the {self._sums['pairs']} pairs falls in the {split} split. "
                    "Raise pairs.num_pairs."
                )

    def _append(self, rows: pd.DataFrame, tables: Mapping[Split, ParquetBuffer]) -> None:
        """Append every row to the table of its prompt's split."""
        splits = rows["prompt_id"].map(self._task.split_of)
        for split, table in tables.items():
            table.append(rows[splits == split])

    def _count(self, pairs: pd.DataFrame, completions: pd.DataFrame) -> None:
        gold_rewards = completions.dropna(subset="gold_reward").groupby("group")["gold_reward"]
        self._sums.update(
            {
                "pairs": len(pairs),
                "chosen_gold": pairs["chosen_gold_reward"].sum(),
                "rejected_gold": pairs["rejected_gold_reward"].sum(),
                "completions": len(completions),
                "exact_completions": completions["exact"].sum(),
                "possible_pairs": _pairs_among(gold_rewards.size()),
                "equal_pairs": _pairs_among(gold_rewards.value_counts()),
            }
        )

    def statistics(self) -> pd.DataFrame:
        """What the collected pairs, and the completions that were looked at for them, are like.

        Returns:
            Columns statistic, value and n (what it is the share or the mean of), and these rows:
            kept: of all pairs of a group's completions that have a gold reward, the share whose
                gold rewards differ.
            exact_match: share of the completions that are the exact answer.
            chosen_gold, rejected_gold: mean gold reward of the pairs' chosen and rejected ones.
            margin: their difference.
        """
        sums, pairs = self._sums, self._sums["pairs"]
        chosen, rejected = sums["chosen_gold"] / pairs, sums["rejected_gold"] / pairs
        kept = 1 - sums["equal_pairs"] / sums["possible_pairs"]
        exact_match = sums["exact_completions"] / sums["completions"]
        rows = [
            ("kept", float(kept), sums["possible_pairs"]),
            ("exact_match", float(exact_match), sums["completions"]),
            ("chosen_gold", float(chosen), pairs),
            ("rejected_gold", float(rejected), pairs),
            ("margin", float(chosen - rejected), pairs),
        ]
        return pd.DataFrame(rows, columns=["statistic", "value", "n"])

    def headline(self) -> dict[str, int]:
        """The stage's metric: the number of pairs."""
        return {"pairs": self._sums["pairs"]}


def _pairs_among(sizes: pd.Series) -> int:
    """How many pairs the members of sets of such sizes make, each set by itself."""
    return int((sizes * (sizes - 1) // 2).sum())
