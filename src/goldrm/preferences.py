"""Completions and their gold rewards as labelled preference pairs.

It must not know how completions are decoded nor which files a stage writes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from goldrm.config import GoldRewardParams, TaskParams
from goldrm.dictionary import Dictionary
from goldrm.errors import GoldrmError
from goldrm.gold_reward import gold_reward
from goldrm.series import SPLITS, Prompt, PromptSpace, Split, split_of, split_text
from goldrm.tables import ParquetBuffer

PROMPT_COLUMNS = {
    "prompt_id": "int64",
    "template": "int64",
    "start": "int64",
    "difference": "int64",
    "terms": "int64",
    "prompt": "str",
}
PAIR_COLUMNS = PROMPT_COLUMNS | {
    "chosen": "str",
    "rejected": "str",
    "chosen_gold_reward": "float64",
    "rejected_gold_reward": "float64",
    "margin": "float64",
}
COMPLETION_COLUMNS = PROMPT_COLUMNS | {
    "group": "int64",
    "completion": "str",
    "gold_reward": "float64",
}


class Labeller:
    """Gives completions their gold rewards, and pairs their order."""

    def __init__(
        self, dictionary: Dictionary, task: TaskParams, gold_reward_params: GoldRewardParams
    ) -> None:
        """What a label depends on besides prompt and completion."""
        self.dictionary = dictionary
        self.task = task
        self.space = PromptSpace(task)
        self._gold_reward_params = gold_reward_params

    def completion(self, group: int, prompt_id: int, token_ids: Sequence[int]) -> dict[str, Any]:
        """One completion as a row of `group, prompt_id, completion, gold_reward, exact`.

        Tokens that aren't integers are removed, as in the notebook. Where none is left there is no
        gold reward: NaN.
        """
        kept = self.dictionary.keep_integers(token_ids)
        return self.series(group, prompt_id, self.dictionary.values(kept))

    def series(self, group: int, prompt_id: int, values: Sequence[int]) -> dict[str, Any]:
        """The same of a completion that is given as numbers."""
        exact = self.space[prompt_id].exact(self.task.max_value)
        return {
            "group": group,
            "prompt_id": prompt_id,
            "completion": " ".join(map(str, values)),
            "gold_reward": (
                gold_reward(exact, values, self._gold_reward_params) if values else float("nan")
            ),
            "exact": tuple(values) == exact,
        }

    def pairs(self, completions: pd.DataFrame) -> pd.DataFrame:
        """All pairs of a group's completions whose gold rewards differ, the better one chosen.

        Args:
            completions: rows of `completion`; a group's are all of one prompt.

        Returns:
            The columns of `PAIR_COLUMNS`, in the order of the groups.
        """
        usable = completions.dropna(subset="gold_reward").sort_values("group", kind="stable")
        usable = usable[["group", "prompt_id", "completion", "gold_reward"]].reset_index(drop=True)
        usable["place"] = usable.index
        both = usable.merge(usable, on=["group", "prompt_id"])
        both = both[both["place_x"] < both["place_y"]]
        both = both[both["gold_reward_x"] != both["gold_reward_y"]].reset_index(drop=True)
        first_is_better = both["gold_reward_x"] > both["gold_reward_y"]
        better = both["completion_x"].where(first_is_better, both["completion_y"])
        worse = both["completion_y"].where(first_is_better, both["completion_x"])
        gold_rewards = both[["gold_reward_x", "gold_reward_y"]]
        pairs = self.with_prompts(both[["prompt_id"]]).assign(
            chosen=better,
            rejected=worse,
            chosen_gold_reward=gold_rewards.max(axis=1),
            rejected_gold_reward=gold_rewards.min(axis=1),
            margin=gold_rewards.max(axis=1) - gold_rewards.min(axis=1),
        )
        return pairs.astype(PAIR_COLUMNS)

    def with_prompts(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with what their `prompt_id` stands for: template … terms, and the text."""
        distinct = [(i, self.space[i]) for i in rows["prompt_id"].unique().tolist()]
        prompts = pd.DataFrame(
            [
                (prompt_id, p.template, p.start, p.difference, p.terms, p.text)
                for prompt_id, p in distinct
            ],
            columns=list(PROMPT_COLUMNS),
        ).astype(PROMPT_COLUMNS)
        return rows.merge(prompts, on="prompt_id", how="left")

    def is_held_out(self, prompt_id: int) -> bool:
        """Whether `task.holdout` keeps the prompt's kind out of the reward model's training."""
        prompt, holdout = self.space[prompt_id], self.task.holdout
        return (
            prompt.template in holdout.template
            or prompt.difference in holdout.difference
            or prompt.terms in holdout.terms
        )

    def split_of(self, prompt_id: int) -> Split:
        """The split of a prompt's series."""
        return split_of(self.space[prompt_id], self.task)


class Preferences:
    """Pairs and completions by split, and their summary, collected chunk by chunk."""

    def __init__(self, labeller: Labeller, num_pairs: int) -> None:
        """Nothing collected yet; the first `num_pairs` pairs will be."""
        self._labeller = labeller
        self._missing = num_pairs
        self.pairs: dict[Split, ParquetBuffer] = {s: ParquetBuffer(PAIR_COLUMNS) for s in SPLITS}
        self.completions: dict[Split, ParquetBuffer] = {
            split: ParquetBuffer(COMPLETION_COLUMNS) for split in SPLITS
        }
        self._sums: Counter[str] = Counter()

    def collect(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Add chunks of completions until there are enough pairs.

        Args:
            chunks: rows of `Labeller.completion`; a group's are in one chunk.

        Raises:
            GoldrmError: when a split gets no pair.
        """
        for chunk in chunks:
            if not self._missing:
                break
            pairs = self._labeller.pairs(chunk)[: self._missing]
            self._missing -= len(pairs)
            completions = self._labeller.with_prompts(chunk.dropna(subset="gold_reward"))
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
        splits = rows["prompt_id"].map(self._labeller.split_of)
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
    labeller: Labeller,
    num_pairs: int,
    name: str,
) -> pd.DataFrame:
    """The completions of ready-made pairs of sequences, labelled anew.

    Labelled anew because the notebook lets a completion's reward depend on its rival's length; so
    a pair may change its order, or be dropped because its rewards are equal.

    Args:
        sequences: for each pair the token ids of prompt + completion, of both.
        labeller: gives the gold rewards.
        num_pairs: how many pairs are wanted, the first ones.
        name: what to call the sequences' source in messages.

    Returns:
        Rows of `Labeller.completion`; the sequences of a pair are a group.

    Raises:
        GoldrmError: when a sequence doesn't begin with a prompt of the task, or there are too few.
    """
    completions = pd.DataFrame(
        _completion_of(token_ids, group, labeller, name)
        for group, pair in enumerate(sequences)
        for token_ids in pair
    )
    found = len(labeller.pairs(completions)) if len(completions) else 0
    if found < num_pairs:
        raise GoldrmError(
            f"{name} holds {found} pairs whose gold rewards differ, fewer than "
            f"pairs.num_pairs ({num_pairs}). Set pairs.num_pairs to at most {found}."
        )
    return completions


def _completion_of(
    token_ids: list[int], group: int, labeller: Labeller, name: str
) -> dict[str, Any]:
    dictionary = labeller.dictionary
    if not all(0 <= token_id < len(dictionary) for token_id in token_ids):
        raise GoldrmError(
            f"{name}: pair {group} holds token ids outside the dictionary's 0…"
            f"{len(dictionary) - 1}. Use the dictionary that it was made with."
        )
    prompt, completion = _prompt_of(token_ids, dictionary, name, group)
    try:
        prompt_id = labeller.space.id_of(prompt)
    except ValueError:
        raise GoldrmError(
            f"{name}: the prompt of pair {group}, {prompt.text!r}, lies outside the ranges of "
            "params.yaml's task section. Widen them."
        ) from None
    return labeller.completion(group, prompt_id, dictionary.encode(completion))


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
