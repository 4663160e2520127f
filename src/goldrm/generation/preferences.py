"""Completions and their gold rewards as labelled preference pairs.

It must not know how completions are decoded nor which files a stage writes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.common.tables import ParquetBuffer
from goldrm.generation.pairs import PAIR_COLUMNS, preference_pairs
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import SPLITS, Prompt, Split, split_text
from goldrm.task.task import PROMPT_COLUMNS, Task

COMPLETION_COLUMNS = PROMPT_COLUMNS | {
    "group": "int64",
    "completion": "str",
    "gold_reward": "float64",
}


class Preferences:
    """Pairs and completions by split, and their summary, collected chunk by chunk."""

    def __init__(self, task: Task, num_pairs: int) -> None:
        """Nothing collected yet; the first `num_pairs` pairs will be."""
        self._task = task
        self._missing = num_pairs
        self.pairs: dict[Split, ParquetBuffer] = {s: ParquetBuffer(PAIR_COLUMNS) for s in SPLITS}
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
            if not self._missing:
                break
            pairs = preference_pairs(chunk, self._task)[: self._missing]
            self._missing -= len(pairs)
            completions = self._task.with_prompts(chunk.dropna(subset="gold_reward"))
            self._divide(pairs, self.pairs)
            self._divide(completions, self.completions)
            self._count(pairs, chunk)
        for split, rows in self.pairs.items():
            if not len(rows):
                raise GoldrmError(
                    f"none of the {self._sums['pairs']} pairs falls in the {split} split. "
                    "Raise pairs.num_pairs."
                )

    def _divide(self, rows: pd.DataFrame, parts: Mapping[Split, ParquetBuffer]) -> None:
        splits = rows["prompt_id"].map(self._task.split_of)
        for split, part in parts.items():
            part.append(rows[splits == split])

    def _count(self, pairs: pd.DataFrame, completions: pd.DataFrame) -> None:
        labelled = completions.dropna(subset="gold_reward").groupby("group")["gold_reward"]
        sizes, kinds = labelled.size(), labelled.value_counts()
        self._sums.update(
            {
                "pairs": len(pairs),
                "chosen": pairs["chosen_gold_reward"].sum(),
                "rejected": pairs["rejected_gold_reward"].sum(),
                "completions": len(completions),
                "exact": completions["exact"].sum(),
                "sampled_pairs": (sizes * (sizes - 1) // 2).sum(),
                "equal_pairs": (kinds * (kinds - 1) // 2).sum(),
            }
        )

    def summary(self) -> dict[str, float]:
        """The headline metrics of pair generation.

        Returns:
            pairs; kept: share of the sampled pairs, both with a gold reward, in which these
            differ; exact_match: share of the completions that are exact; means of chosen_gold,
            rejected_gold and margin.
        """
        sums = self._sums
        chosen, rejected = sums["chosen"] / sums["pairs"], sums["rejected"] / sums["pairs"]
        return {
            "pairs": sums["pairs"],
            "kept": round(float(1 - sums["equal_pairs"] / sums["sampled_pairs"]), 4),
            "exact_match": round(float(sums["exact"] / sums["completions"]), 4),
            "chosen_gold": round(float(chosen), 4),
            "rejected_gold": round(float(rejected), 4),
            "margin": round(float(chosen - rejected), 4),
        }


def completions_from_sequences(
    sequences: Sequence[tuple[list[int], list[int]]],
    task: Task,
    num_pairs: int,
    name: str,
) -> pd.DataFrame:
    """The completions of ready-made pairs of sequences, labelled anew.

    Labelled anew because the notebook lets a completion's reward depend on its rival's length; so
    a pair may change its order, or be dropped because its rewards are equal.

    Args:
        sequences: for each pair the token ids of prompt + completion, of both.
        task: gives the gold rewards.
        num_pairs: how many pairs are wanted, the first ones.
        name: what to call the sequences' source in messages.

    Returns:
        Rows of `Task.completion`; the sequences of a pair are a group.

    Raises:
        GoldrmError: when a sequence doesn't begin with a prompt of the task, or there are too few.
    """
    completions = pd.DataFrame(
        _completion_of(token_ids, group, task, name)
        for group, pair in enumerate(sequences)
        for token_ids in pair
    )
    found = len(preference_pairs(completions, task)) if len(completions) else 0
    if found < num_pairs:
        raise GoldrmError(
            f"{name} holds {found} pairs whose gold rewards differ, fewer than "
            f"pairs.num_pairs ({num_pairs}). Set pairs.num_pairs to at most {found}."
        )
    return completions


def _completion_of(token_ids: list[int], group: int, task: Task, name: str) -> dict[str, Any]:
    dictionary = task.dictionary
    if not all(0 <= token_id < len(dictionary) for token_id in token_ids):
        raise GoldrmError(
            f"{name}: pair {group} holds token ids outside the dictionary's 0…"
            f"{len(dictionary) - 1}. Use the dictionary that it was made with."
        )
    prompt, completion = _prompt_of(token_ids, dictionary, name, group)
    try:
        prompt_id = task.space.id_of(prompt)
    except ValueError:
        raise GoldrmError(
            f"{name}: the prompt of pair {group}, {prompt.text!r}, lies outside the ranges of "
            "params.yaml's task section. Widen them."
        ) from None
    return task.completion(group, prompt_id, dictionary.encode(completion))


def _prompt_of(
    token_ids: list[int], dictionary: Dictionary, name: str, group: int
) -> tuple[Prompt, str]:
    text = dictionary.decode(token_ids)
    parts = split_text(text)
    if parts is None:
        raise GoldrmError(
            f"{name}: pair {group} doesn't begin with one of the task's prompts: {text!r:.120}. "
            "Use the dictionary that it was made with."
        )
    return parts
