"""The task: prompts by number, exact answers, gold rewards, splits."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from goldrm.task.dictionary import Dictionary
from goldrm.task.gold_reward import gold_reward
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.series import PromptSpace, Split, split_of

PROMPT_COLUMNS = {
    "prompt_id": "int64",
    "template": "int64",
    "start": "int64",
    "difference": "int64",
    "terms": "int64",
    "prompt": "str",
}


class Task:
    """Gives completions their gold rewards, and pairs their order."""

    def __init__(
        self, dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
    ) -> None:
        """What a label depends on besides prompt and completion."""
        self.dictionary = dictionary
        self.params = task_params
        self.space = PromptSpace(task_params)
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
        exact = self.space[prompt_id].exact(self.params.max_value)
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
        prompt, holdout = self.space[prompt_id], self.params.holdout
        return (
            prompt.template in holdout.template
            or prompt.difference in holdout.difference
            or prompt.terms in holdout.terms
        )

    def split_of(self, prompt_id: int) -> Split:
        """The split of a prompt's series."""
        return split_of(self.space[prompt_id], self.params)
