"""Which completions a readout is trained on: sampled ones, and edited ones with exact labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from random import Random

import numpy as np
import pandas as pd

from goldrm.common.random_streams import stream_seed
from goldrm.task.task import Task
from goldrm.training.edited import Answer, EditedCompletions, Group
from goldrm.training.params import DataParams

COLUMNS = {
    "group": "int64",
    "prompt_id": "int64",
    "prompt": "str",
    "completion": "str",
    "gold_reward": "float64",
}
SAMPLED_COLUMNS = ["group", "prompt_id", "completion", "gold_reward"]


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)


@dataclass(frozen=True)
class Examples:
    """Completions in groups, each group of one prompt.

    Edited completions are made when they are asked for, so that processes can share that work.

    Attributes:
        sampled: `SAMPLED_COLUMNS` of each sampled completion, ascending by group.
        groups: those with gold rewards; some have nothing sampled.
        task: knows the prompts.
        edited: makes the others; None: there are no others.
        preferences: `COLUMNS` of pairs of which only the order is known: groups of two completions
            without gold rewards, the chosen one first.
    """

    sampled: pd.DataFrame
    groups: list[Group]
    task: Task
    edited: EditedCompletions | None
    preferences: pd.DataFrame = field(default_factory=_no_rows)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to train on."""
        return not self.groups and self.preferences.empty

    def table(self, groups: Sequence[Group], mistakes: Iterable[Answer] = ()) -> pd.DataFrame:
        """The distinct completions of some groups: `COLUMNS`; a group's rows are side by side.

        None of them spells a series that is to be unseen (`Task.leaks`).

        Args:
            groups: whose completions.
            mistakes: `EditedCompletions.mistakes` of these groups, to be among them.
        """
        order = {group.number: position for position, group in enumerate(groups)}
        sampled = self.sampled[self.sampled["group"].isin(order)]
        leaks = [
            self.task.leaks(prompt_id, tuple(map(int, text.split())))
            for prompt_id, text in sampled[["prompt_id", "completion"]].itertuples(index=False)
        ]
        sampled = sampled.assign(leaks=np.array(leaks, dtype=bool))
        edited = self.edited
        answers = [] if edited is None else chain.from_iterable(map(edited.completions, groups))
        tables = [self.task.labelled(answers), sampled, self.task.labelled(mistakes)]
        table = pd.concat(table.loc[~table["leaks"], SAMPLED_COLUMNS] for table in tables)
        table = table.drop_duplicates(["group", "completion"])
        table = table.sort_values("group", key=lambda number: number.map(order), kind="stable")
        return self.task.with_prompts(table)[list(COLUMNS)].astype(COLUMNS)


def training_set(
    sampled: pd.DataFrame, preferences: pd.DataFrame, task: Task, params: DataParams, seed: int
) -> Examples:
    """What to train on.

    Args:
        sampled: the train split's completions (`preferences.COMPLETION_COLUMNS`).
        preferences: pairs of which only the order is known: prompt_id (-1: not the task's),
            prompt, chosen, rejected.
        task: knows the prompts, and labels edited completions.
        params: how many pairs, whether completions without a rival count, and which edits.
        seed: of the edits, and of which further prompts get some.
    """
    if params.completions_per_prompt is not None:
        sampled = sampled.groupby("group").head(params.completions_per_prompt)
    sampled = _distinct(sampled, task)
    if not params.ties:
        differing = sampled.groupby("group")["gold_reward"].transform("nunique") > 1
        sampled = sampled[differing]
    preferences = preferences[~_held_out(preferences["prompt_id"], task)]
    if params.num_pairs is not None:
        sampled = _first_pairs(sampled, params.num_pairs)
        further = max(params.num_pairs - int(_pair_counts(sampled).sum()), 0)
        preferences = preferences[:further]
    groups, edited = _groups(sampled), None
    if params.edits is not None:
        groups += _further_groups(groups, task, params.edits.further_prompts, seed)
        edited = EditedCompletions(params.edits, task, seed)
    # Prompts that begin alike side by side: what they share is read once.
    groups.sort(key=attrgetter("prompt_id"))
    first = max((group.number + 1 for group in groups), default=0)
    return Examples(sampled, groups, task, edited, _in_groups(preferences, first))


def validation_set(sampled: pd.DataFrame, task: Task) -> Examples:
    """Distinct sampled completions, without the prompts that the task's `holdout` names."""
    sampled = _distinct(sampled, task)
    return Examples(sampled, _groups(sampled), task, None)


def met_test_series(table: pd.DataFrame, task: Task) -> int:
    """How many exact answers of the test split are among the completions trained on: none should.

    Args:
        table: `COLUMNS`.
        task: knows the answers.
    """
    unseen = {" ".join(map(str, task.exact(i))) for i in task.ids_in("test")}
    return len(unseen.intersection(table["completion"]))


def _distinct(sampled: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Each sampled completion of a group once, but those held out."""
    columns = sampled.loc[~_held_out(sampled["prompt_id"], task), SAMPLED_COLUMNS]
    return columns.sort_values("group", kind="stable").drop_duplicates(["group", "completion"])


def _held_out(prompt_ids: pd.Series, task: Task) -> pd.Series:
    """Whether `holdout` names each prompt, which it doesn't where it isn't the task's."""
    held_out = [i >= 0 and task.is_held_out(i) for i in prompt_ids.tolist()]
    return pd.Series(held_out, prompt_ids.index, dtype=bool)


def _in_groups(preferences: pd.DataFrame, first_group: int) -> pd.DataFrame:
    """Pairs as rows of `COLUMNS`, the chosen completion first; those of a prompt side by side."""
    pairs = preferences.sort_values("prompt", kind="stable", ignore_index=True)
    sides = [
        pairs[["prompt_id", "prompt"]].assign(completion=pairs[side])
        for side in ("chosen", "rejected")
    ]
    rows = pd.concat(sides).sort_index(kind="stable").rename_axis("group").reset_index()
    return rows.assign(group=rows["group"] + first_group, gold_reward=np.nan).astype(COLUMNS)[
        list(COLUMNS)
    ]


def _groups(sampled: pd.DataFrame) -> list[Group]:
    first = sampled.drop_duplicates("group")
    return list(map(Group, first["group"].tolist(), first["prompt_id"].tolist()))


def _further_groups(groups: list[Group], task: Task, count: int, seed: int) -> list[Group]:
    """Groups of other prompts of the train split, numbered on from the ones there are."""
    sampled = {group.prompt_id for group in groups}
    prompt_ids = [i for i in task.ids_in("train") if i not in sampled and not task.is_held_out(i)]
    Random(stream_seed(seed, "further prompts", 0)).shuffle(prompt_ids)
    # Those that repeat a number are rare, and the most mistaken ones.
    prompt_ids.sort(key=lambda prompt_id: not task.space[prompt_id].repeats_a_number)
    first = groups[-1].number + 1 if groups else 0
    return list(map(Group, range(first, first + count), prompt_ids))


def _first_pairs(sampled: pd.DataFrame, num_pairs: int) -> pd.DataFrame:
    """The first groups that hold so many pairs whose gold rewards differ."""
    pairs = _pair_counts(sampled).cumsum()
    needed = pairs.index[pairs.shift(fill_value=0) < num_pairs]
    return sampled[sampled["group"].isin(needed)]


def _pair_counts(sampled: pd.DataFrame) -> pd.Series:
    """How many pairs each group holds whose gold rewards differ."""
    rewards = sampled.groupby("group", sort=False)["gold_reward"]
    sizes = rewards.size()
    ties = rewards.value_counts().pipe(lambda n: n * (n - 1) // 2).groupby("group").sum()
    return sizes * (sizes - 1) // 2 - ties
