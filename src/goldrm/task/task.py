"""The task: prompts by number, their exact answers and splits, and any answer's gold reward."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.task.dictionary import Dictionary
from goldrm.task.gold_reward import gold_reward
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.series import (
    SPLITS,
    PromptSpace,
    Split,
    family_of,
    family_spelled,
    split_of,
    split_of_family,
)

PROMPT_COLUMNS = {
    "prompt_id": "int64",
    "template": "int64",
    "start": "int64",
    "difference": "int64",
    "terms": "int64",
    "prompt": "str",
}


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
        self.space = PromptSpace(task_params)
        self._gold_reward_params = gold_reward_params

    def exact(self, prompt_id: int) -> tuple[int, ...]:
        """The exact answer to a prompt: the series that it asks for."""
        return self.space[prompt_id].exact(self.params.max_value)

    def family(self, prompt_id: int) -> tuple[int, ...]:
        """The prompt's family: see `series.family_of`."""
        return family_of(self.space[prompt_id], self.params)

    def split_of(self, prompt_id: int) -> Split:
        """The split of a prompt's family."""
        return split_of(self.space[prompt_id], self.params)

    def leaks(self, prompt_id: int, values: Sequence[int]) -> bool:
        """Whether an answer spells a series that is to be unseen wherever the prompt is seen.

        It does where the series belongs to a family of a later split, in the order of `SPLITS`:
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
        """The split of the family whose series some integers spell; None: no family's."""
        family = family_spelled(values, self.params)
        return None if family is None else split_of_family(family, self.params.split_seed)

    def ids_in(self, split: Split) -> list[int]:
        """The numbers of all prompts of a split's families, ascending.

        Raises:
            GoldrmError: when there are none.
        """
        prompt_ids = self.space.ids_in(split)
        if not prompt_ids:
            raise GoldrmError(
                f"the {split} split has no prompts. Widen task.start or task.difference, or "
                "change task.split_seed."
            )
        return prompt_ids

    def is_held_out(self, prompt_id: int) -> bool:
        """Whether `task.holdout` keeps the prompt's kind out of the reward model's training."""
        prompt, holdout = self.space[prompt_id], self.params.holdout
        return (
            prompt.template in holdout.template
            or prompt.difference in holdout.difference
            or prompt.terms in holdout.terms
        )

    def completion(self, group: int, prompt_id: int, token_ids: Sequence[int]) -> dict[str, Any]:
        """A row of a table: a completion with its gold reward.

        Tokens that aren't integers are left out, as in the notebook.

        Args:
            group: number of the completion's group; completions of a group make pairs.
            prompt_id: what is answered.
            token_ids: the completion, without the token that ends it.

        Returns:
            group; prompt_id; completion: its integers, separated by spaces; gold_reward, NaN where
            there is no integer; exact: whether it is the exact answer.
        """
        return self.series(group, prompt_id, self.dictionary.integers_in(token_ids))

    def series(self, group: int, prompt_id: int, values: Sequence[int]) -> dict[str, Any]:
        """The row that `completion` returns, of a completion that is given as integers."""
        exact = self.exact(prompt_id)
        return {
            "group": group,
            "prompt_id": prompt_id,
            "completion": " ".join(map(str, values)),
            "gold_reward": (
                gold_reward(exact, values, self._gold_reward_params) if values else float("nan")
            ),
            "exact": tuple(values) == exact,
        }

    def with_prompts(self, rows: pd.DataFrame) -> pd.DataFrame:
        """A table with what its `prompt_id` stands for: the other columns of `PROMPT_COLUMNS`."""
        distinct = [(i, self.space[i]) for i in rows["prompt_id"].unique().tolist()]
        prompts = pd.DataFrame(
            [
                (prompt_id, p.template, p.start, p.difference, p.terms, p.text)
                for prompt_id, p in distinct
            ],
            columns=list(PROMPT_COLUMNS),
        ).astype(PROMPT_COLUMNS)
        return rows.merge(prompts, on="prompt_id", how="left")
