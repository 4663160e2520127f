"""The preference dataset of a split: completions, their different pairs, and statistics of them."""

from collections import Counter

import pandas as pd

from goldrm.common.tables import ParquetBuffer
from goldrm.generation.pairs import PAIR_COLUMNS, PAIR_KEY, preference_pairs
from goldrm.task.splits import Split
from goldrm.task.task import Task

# Behind those of `Task.prompt_columns`.
COMPLETION_COLUMNS = {"group": "int64", "completion": "str", "gold_reward": "float64"}


class PreferenceDataset:
    """Different pairs of a split and the completions behind them, collected chunk by chunk.

    Attributes:
        split: whose prompts they are.
        num_wanted: how many pairs it will hold.
        pairs: those so far, with `Task.prompt_columns` and `PAIR_COLUMNS`; each `PAIR_KEY` once.
        completions: the completions so far that have a gold reward, with `Task.prompt_columns` and
            `COMPLETION_COLUMNS`, as often as they were sampled; those that make no pair, too.
    """

    def __init__(self, split: Split, num_wanted: int, task: Task) -> None:
        """An empty dataset, which will hold the first `num_wanted` different pairs."""
        self.split: Split = split
        self.num_wanted = num_wanted
        self.pairs = ParquetBuffer(task.prompt_columns | PAIR_COLUMNS)
        self.completions = ParquetBuffer(task.prompt_columns | COMPLETION_COLUMNS)
        self._task = task
        self._seen: set[int] = set()  # hashes of 64 bits of all pairs that were met
        self._prompt_ids: set[int] = set()
        self._sums: Counter[str] = Counter()

    @property
    def is_complete(self) -> bool:
        """Whether all wanted pairs are there."""
        return len(self.pairs) >= self.num_wanted

    def collect(self, chunk: pd.DataFrame) -> None:
        """Add the completions of a chunk and, as far as they are wanted, their new pairs.

        Left out are completions of another split's prompts, and those that leak an answer of a
        later split (see `Task.leaks`).

        Args:
            chunk: columns of `Task.labelled`; a group's are in one chunk.
        """
        prompt_ids = chunk["prompt_id"]
        own = [i for i in prompt_ids.unique().tolist() if self._task.split_of(i) == self.split]
        completions = self._task.with_prompts(chunk[prompt_ids.isin(own) & ~chunk["leaks"]])
        rewarded = completions.dropna(subset="gold_reward")
        pairs = self._new(preference_pairs(rewarded, self._task))
        self.pairs.append(pairs)
        self.completions.append(rewarded)
        self._prompt_ids.update(pairs["prompt_id"].tolist())
        self._count(pairs, completions, len(chunk))

    def _new(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Those of some different pairs that no chunk has held, as far as they are wanted."""
        hashes = pd.util.hash_pandas_object(pairs[PAIR_KEY], index=False)
        is_new = [number not in self._seen for number in hashes.tolist()]
        self._seen.update(hashes.tolist())
        return pairs.loc[is_new][: self.num_wanted - len(self.pairs)]

    def _count(self, pairs: pd.DataFrame, completions: pd.DataFrame, num_looked_at: int) -> None:
        equal = completions.groupby(["group", "gold_reward"], sort=False).size()
        self._sums.update(
            {
                "chosen_gold": pairs["chosen_gold_reward"].sum(),
                "rejected_gold": pairs["rejected_gold_reward"].sum(),
                "looked_at": num_looked_at,
                "completions": len(completions),
                "exact_completions": completions["exact"].sum(),
                "possible_pairs": _pairs_among(equal.groupby(level="group").sum()),
                "equal_pairs": _pairs_among(equal),
            }
        )

    def statistics(self) -> pd.DataFrame:
        """What the pairs, and the completions behind them, are like. There must be a pair.

        Returns:
            Columns split, statistic, value and n (what it is the share or the mean of), and these
            rows:
            kept: of all pairs of a group's completions that have a gold reward, the share whose
                gold rewards differ.
            exact_match: share of the completions that are the exact answer.
            chosen_gold, rejected_gold: mean gold reward of the pairs' chosen and rejected ones.
            margin: their difference.
            leaking: of all completions that were looked at, the share that was left out; no other
                row counts those.
            prompts, families: how many there are behind the pairs.
        """
        sums, pairs = self._sums, len(self.pairs)
        chosen, rejected = sums["chosen_gold"] / pairs, sums["rejected_gold"] / pairs
        families = {self._task.family(prompt_id) for prompt_id in self._prompt_ids}
        rows = [
            ("kept", 1 - sums["equal_pairs"] / sums["possible_pairs"], sums["possible_pairs"]),
            ("exact_match", sums["exact_completions"] / sums["completions"], sums["completions"]),
            ("chosen_gold", chosen, pairs),
            ("rejected_gold", rejected, pairs),
            ("margin", chosen - rejected, pairs),
            ("leaking", 1 - sums["completions"] / sums["looked_at"], sums["looked_at"]),
            ("prompts", len(self._prompt_ids), pairs),
            ("families", len(families), pairs),
        ]
        table = pd.DataFrame(rows, columns=["statistic", "value", "n"])
        table.insert(0, "split", self.split)
        return table.astype({"value": "float64"})


def _pairs_among(sizes: pd.Series) -> int:
    """How many pairs the members of sets of such sizes make, each set by itself."""
    return int((sizes * (sizes - 1) // 2).sum())
