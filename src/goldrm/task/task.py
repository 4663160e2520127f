"""The task: prompts by number, their exact answers and splits, and any answer's gold reward."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.task.dictionary import Dictionary
from goldrm.task.gold_reward import gold_reward
from goldrm.task.params import TASKS, GoldRewardParams, TaskParams
from goldrm.task.prompts import Prompts, split_text
from goldrm.task.splits import SPLITS, Split, ids_in_split, split_of_family

LABEL_COLUMNS = {
    "prompt_id": "int64",
    "completion": "str",
    "gold_reward": "float64",
    "exact": "bool",
    "leaks": "bool",
}


def prompts_of(params: TaskParams) -> Prompts:
    """The prompts of the task that the parameters name."""
    return TASKS[params.name](params.own, params.max_value)


class Task:
    """Which prompts there are, what their exact answers are, and what any answer is worth.

    Attributes:
        dictionary: the tokens of prompts and completions.
        params: the prompts' ranges, and what decides their splits.
        space: all prompts; `space[prompt_id]` is a `Prompt`.
    """

    def __init__(
        self, dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
    ) -> None:
        """The task that the parameters describe."""
        self.dictionary = dictionary
        self.params = task_params
        self.space = prompts_of(task_params)
        self._gold_reward_params = gold_reward_params

    @cached_property
    def _holdout(self) -> list[tuple[str, list[int]]]:
        """The properties that keep a prompt out, and with which values; most often none."""
        return [(name, values) for name, values in self.params.own.holdout if values]

    @property
    def prompt_columns(self) -> dict[str, str]:
        """What tables say of a prompt: the columns' types by their names."""
        properties = dict.fromkeys(self.space.properties, "int64")
        return {"prompt_id": "int64", **properties, "prompt": "str"}

    def exact(self, prompt_id: int) -> tuple[int, ...]:
        """The exact answer to a prompt."""
        return self.space[prompt_id].exact

    def family(self, prompt_id: int) -> str:
        """The name of the prompt's family, such as "3 7" where it asks for 3 7 11 15.

        Families are the clusters of intervals, since what is said of one isn't independent.
        """
        return " ".join(map(str, self.space[prompt_id].family))

    def split_of(self, prompt_id: int) -> Split:
        """The split of a prompt's family."""
        return split_of_family(self.space[prompt_id].family, self.params.split_seed)

    def leaks(self, prompt_id: int, values: Sequence[int]) -> bool:
        """Whether an answer spells another prompt's, to be unseen wherever this prompt is seen.

        It does where that belongs to a family of a later split, in the order of `SPLITS`:
        training may meet none of the validation's and none of the test's.

        Args:
            prompt_id: what is answered.
            values: the answer's integers.
        """
        spelled = self.split_spelled(values)
        return spelled is not None and SPLITS.index(spelled) > SPLITS.index(
            self.split_of(prompt_id)
        )

    def split_spelled(self, values: Sequence[int]) -> Split | None:
        """The split of the family whose answer some integers spell; None: no family's."""
        family = self.space.family_spelled(values)
        return None if family is None else split_of_family(family, self.params.split_seed)

    def ids_in(self, split: Split) -> list[int]:
        """The numbers of all prompts of a split's families, ascending.

        Raises:
            GoldrmError: when there are none.
        """
        prompt_ids = ids_in_split(self.space, split, self.params.split_seed)
        if not prompt_ids:
            raise GoldrmError(
                f"the {split} split has no prompts. Let task.{self.params.name} have more, or "
                "change task.split_seed."
            )
        return prompt_ids

    def is_held_out(self, prompt_id: int) -> bool:
        """Whether `holdout` keeps the prompt's kind out of the reward model's training."""
        return any(
            self.space[prompt_id].properties[name] in values for name, values in self._holdout
        )

    def parse(self, text: str) -> tuple[int | None, str] | None:
        """The prompt that a text begins with, and the rest: its completion.

        Args:
            text: tokens separated by one space.

        Returns:
            The prompt's number (None: it is worded like one, but outside the task's ranges) and the
            completion. None: no prompt.
        """
        parts = split_text(text, self.space.patterns)
        if parts is None:
            return None
        prompt, completion = parts
        try:
            return self.space.id_of(prompt), completion
        except ValueError:
            return None, completion

    def gold_reward(self, prompt_id: int, values: Sequence[int]) -> float:
        """The gold reward of an answer; NaN where it has no integer.

        Args:
            prompt_id: what is answered.
            values: the answer's integers.
        """
        if not values:
            return math.nan
        error = self.space.error(self.space[prompt_id].exact, values)
        return gold_reward(error, self._gold_reward_params)

    def integers_in(self, completion: str) -> tuple[int, ...]:
        """The integers of a completion; other tokens are left out, as in the notebook.

        Raises:
            GoldrmError: when a word isn't in the dictionary.
        """
        return tuple(self.dictionary.integers_in(self.dictionary.encode(completion)))

    def labelled(self, answers: Iterable[tuple[int, int, Sequence[int]]]) -> pd.DataFrame:
        """A table of completions with their gold rewards.

        Args:
            answers: of each completion its group's number, what is answered, and its integers;
                completions of a group make pairs.

        Returns:
            group; prompt_id; completion: its integers, separated by spaces; gold_reward, NaN where
            there is no integer; exact: whether it is the exact answer; leaks: see `leaks`.
        """
        groups: list[int] = []
        numbers: list[int] = []
        distinct: dict[tuple[int, tuple[int, ...]], int] = {}  # most are alike
        for group, prompt_id, values in answers:
            groups.append(group)
            numbers.append(distinct.setdefault((prompt_id, tuple(values)), len(distinct)))
        labels = _typed([self._labels(*answer) for answer in distinct], LABEL_COLUMNS)
        table = labels.take(numbers).reset_index(drop=True)
        table.insert(0, "group", pd.Series(groups, dtype="int64"))
        return table

    def _labels(self, prompt_id: int, values: tuple[int, ...]) -> tuple[Any, ...]:
        """An answer's `LABEL_COLUMNS`."""
        return (
            prompt_id,
            " ".join(map(str, values)),
            self.gold_reward(prompt_id, values),
            values == self.space[prompt_id].exact,
            self.leaks(prompt_id, values),
        )

    def with_prompts(self, rows: pd.DataFrame) -> pd.DataFrame:
        """A table with what its `prompt_id` stands for: the other columns of `prompt_columns`."""
        numbers, prompt_ids = pd.factorize(rows["prompt_id"])
        distinct = [self.space[i] for i in prompt_ids.tolist()]
        columns = {name: kind for name, kind in self.prompt_columns.items() if name != "prompt_id"}
        prompts = _typed([(*each.properties.values(), each.text) for each in distinct], columns)
        return rows.reset_index(drop=True).join(prompts.take(numbers).reset_index(drop=True))


def _typed(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, str]) -> pd.DataFrame:
    """A table of these columns and types, also where it has no rows."""
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
