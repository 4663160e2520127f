"""What is trained on of somebody's pairs: those of the train split's prompts, and of no task's."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.common.tables import ParquetBuffer
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.source import NO_PROMPT_ID, SourcePair
from goldrm.task.task import Task

PREFERENCE_COLUMNS = {"prompt_id": "int64", "prompt": "str", "chosen": "str", "rejected": "str"}
PAIRS_A_CHUNK = 10_000  # whose rows are in memory at once


class SourceDataset:
    """All different pairs of a source, collected chunk by chunk.

    Attributes:
        labelled: the pairs with gold rewards, by which they are ordered, and their completions.
        preferences: the others, of which only the order is known, with `PREFERENCE_COLUMNS`; a
            `NO_PROMPT_ID` stands where the prompt isn't the task's.
    """

    def __init__(self, labelled: PreferenceDataset, task: Task) -> None:
        """An empty one.

        Args:
            labelled: the train split's, empty, which wants all pairs.
            task: knows the splits.
        """
        self.labelled = labelled
        self.preferences = ParquetBuffer(PREFERENCE_COLUMNS)
        self._task = task
        self._seen: set[bytes] = set()  # hashes of 64 bits of all preferences that were met
        self._counts: Counter[str] = Counter()

    @property
    def num_pairs(self) -> int:
        """How many different pairs there are."""
        return len(self.labelled.pairs) + len(self.preferences)

    def collect(self, pairs: Iterator[SourcePair], name: str) -> None:
        """Add all different pairs, in their order.

        Left out are those of another split's prompts, and completions that spell an answer of one.

        Args:
            pairs: what somebody brought.
            name: what to call that in messages.

        Raises:
            GoldrmError: when there is none.
        """
        while chunk := list(islice(pairs, PAIRS_A_CHUNK)):
            self._collect_labelled([pair for pair in chunk if pair.has_gold_rewards])
            self._collect_preferences([pair for pair in chunk if not pair.has_gold_rewards])
            self._counts["pairs"] += len(chunk)
            self._counts["unseen"] += sum(self._is_unseen(pair) for pair in chunk)
        if not self.num_pairs:
            raise GoldrmError(
                f"{name} holds no pair of the train split whose gold rewards differ or aren't "
                "known. Name another file in pairs.source."
            )

    def _collect_labelled(self, pairs: Sequence[SourcePair]) -> None:
        answers = [
            (group, pair.prompt_id, self._task.integers_in(text))
            for group, pair in enumerate(pairs, self._counts["labelled"])
            for text in (pair.chosen, pair.rejected)
        ]
        if answers:
            self.labelled.collect(self._task.labelled(answers))
        self._counts["labelled"] += len(pairs)

    def _collect_preferences(self, pairs: Sequence[SourcePair]) -> None:
        new: list[SourcePair] = []
        for pair in pairs:
            texts = "\0".join((pair.prompt, pair.chosen, pair.rejected))
            key = hashlib.blake2b(texts.encode(), digest_size=8).digest()
            if key not in self._seen and not self._is_unseen(pair):
                new.append(pair)
                self._count_agreement(pair)
            self._seen.add(key)
        rows = pd.DataFrame(new, columns=list(SourcePair._fields))
        self.preferences.append(rows.astype(PREFERENCE_COLUMNS))

    def _is_unseen(self, pair: SourcePair) -> bool:
        """Whether a pair is about another split's family: by its prompt, or by what it spells."""
        task = self._task
        if pair.prompt_id != NO_PROMPT_ID and task.split_of(pair.prompt_id) != "train":
            return True
        texts = [pair.chosen, pair.rejected]
        if pair.prompt_id == NO_PROMPT_ID:  # which may give an example
            texts.append(pair.prompt)
        spelled = {task.split_spelled(task.integers_in(text)) for text in texts}
        return not spelled <= {"train", None}

    def _count_agreement(self, pair: SourcePair) -> None:
        """Count a pair whose gold rewards are known after all, and whether it is in their order."""
        if pair.prompt_id == NO_PROMPT_ID:
            return
        chosen, rejected = (
            self._task.gold_reward(pair.prompt_id, self._task.integers_in(text))
            for text in (pair.chosen, pair.rejected)
        )
        if chosen > rejected or chosen < rejected:  # not where there is no number to judge
            self._counts["judged"] += 1
            self._counts["agreeing"] += chosen > rejected

    def summary(self) -> str:
        """What became of the pairs, in words."""
        counts = self._counts
        return (
            f"{self.num_pairs} different pairs to train on, {len(self.preferences)} of them by "
            f"their order alone; {counts['unseen']} of {counts['pairs']} are about families that "
            "are kept for validation and test"
        )

    def statistics(self) -> pd.DataFrame:
        """What the pairs are like.

        Returns:
            The columns of `PreferenceDataset.statistics`, its rows where there are pairs with gold
            rewards, and these:
            unseen: of the pairs that were looked at, the share that is about families of another
                split.
            agreeing: of the pairs of which only the order is known, but whose prompt is the task's,
                the share in which that is the gold rewards' order; none where there are no such.
        """
        counts = self._counts
        shares = {"unseen": ("unseen", "pairs"), "agreeing": ("agreeing", "judged")}
        rows = [
            ("train", name, counts[part] / counts[whole], counts[whole])
            for name, (part, whole) in shares.items()
            if counts[whole]
        ]
        own = pd.DataFrame(rows, columns=["split", "statistic", "value", "n"])
        return pd.concat([self.labelled.statistics(), own]) if len(self.labelled.pairs) else own
