"""Which completions a readout is trained on: sampled ones, and edited ones with exact labels.

It must not know hidden states or files.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from random import Random
from typing import Any

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from goldrm.common.random_streams import stream_seed
from goldrm.edits.edits import MISREAD_BY, Series, other_lengths, possible_kinds
from goldrm.edits.random_edits import random_edit
from goldrm.task.series import Prompt, common_beginning
from goldrm.task.task import Task
from goldrm.training.params import EditsParams, TrainParams

COLUMNS = ["group", "prompt_id", "prompt", "read_behind", "completion", "gold_reward"]
NO_EDITS = EditsParams(
    lengths=0, misread=0, mistakes=0, of_exact=0, of_sampled=0, more_prompts=0, kinds=[]
)
ANYWHERE = 0.5  # how often a mistake is made wherever it may be
GIVEN = ["group", "prompt_id", "completion", "gold_reward"]


@dataclass(frozen=True)
class CompletionGroups:
    """Distinct labelled completions in groups, each group of one prompt.

    Edited completions are made when they are asked for, by any process, and as often: a group's
    depend on the seed and the group alone. So what is in memory is what was sampled.

    Attributes:
        sampled: group, prompt_id, completion, gold_reward of each, ascending by group.
        prompts: number and prompt_id of each group; some have nothing sampled.
        task: labels the edited ones.
        edits: which, and how many.
        seed: of the edits.
    """

    sampled: pd.DataFrame
    prompts: list[tuple[int, int]]
    task: Task
    edits: EditsParams
    seed: int

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, groups: slice) -> pd.DataFrame:
        """The completions of some groups: `COLUMNS`; a group's rows are side by side.

        `read_behind` is the prompt behind which the language model reads a completion: its own, or
        the one that it is taken for.
        """
        prompts = self.prompts[groups]
        place = {number: place for place, (number, _) in enumerate(prompts)}
        rows = self.sampled[self.sampled["group"].isin(place)]
        texts = rows.groupby("group")["completion"].agg(list).to_dict()
        edited = [
            row
            for number, prompt_id in prompts
            for row in self._edited(number, prompt_id, texts.get(number, []))
        ]
        # The edited first: the exact series, grown longer, begins like most others.
        rows = pd.concat([pd.DataFrame(edited), rows] if edited else [rows])
        rows = rows.reindex(columns=[*GIVEN, "behind_id"])
        rows = rows.sort_values("group", key=lambda group: group.map(place), kind="stable")
        rows["behind_id"] = rows["behind_id"].fillna(rows["prompt_id"]).astype("int64")
        rows = rows.drop_duplicates(["group", "behind_id", "completion"], ignore_index=True)
        behind = [self.task.space[prompt_id].text for prompt_id in rows["behind_id"].tolist()]
        return self.task.with_prompts(rows.assign(read_behind=behind))[COLUMNS]

    def _edited(self, group: int, prompt_id: int, texts: list[str]) -> Iterator[dict[str, Any]]:
        """Edits of a group's sampled completions and of its exact series, these included.

        Where the prompt is misread, `behind_id` is what it is taken for.
        """
        rng = Random(stream_seed(self.seed, "edits", group))
        prompt, max_value = self.task.space[prompt_id], self.task.params.max_value
        exact, difference = prompt.exact(max_value), prompt.difference
        found: list[Series] = []
        if self.edits.adds_exact:
            # The longest first: what begins with it or is in it needs few hidden states of its own.
            found += [exact, *other_lengths(exact, difference, max_value, self.edits.lengths)]
            found.sort(key=len, reverse=True)
            found += self._edits(exact, difference, self.edits.of_exact, rng)
        for text in texts if self.edits.of_sampled else []:
            base = tuple(map(int, text.split()))
            found += [base, *self._edits(base, difference, self.edits.of_sampled, rng)]
        for series in found:
            yield self.task.series(group, prompt_id, series)
        others = self._asked_in_other_lengths(prompt) if self.edits.misread else []
        for behind_id in rng.sample(others, min(self.edits.misread, len(others))):
            for series in (exact, self.task.space[behind_id].exact(max_value)):
                yield self.task.series(group, prompt_id, series) | {"behind_id": behind_id}

    def mistakes(
        self, first: Mapping[Hashable, Any], expected: Float[Tensor, "tokens vocabulary"]
    ) -> list[dict[Hashable, Any]]:
        """The exact series going wrong where the language model might, in a group's prompt.

        One term is a value that the language model finds likely there, but for the right one; the
        next ones follow from it by right steps, as the language model's own mostly do. Which term:
        half the time any, else the likelier the likelier the model is to be wrong there. It may be
        one too many.

        Args:
            first: one of the group's rows (`COLUMNS`); where its completion isn't the exact series'
                beginning any more, no mistake is made.
            expected: the probability, by the language model, of each token after the row's prompt
                and after each token of its completion.
        """
        rng = Random(stream_seed(self.seed, "mistakes", first["group"]))
        prompt, max_value = self.task.space[first["prompt_id"]], self.task.params.max_value
        exact = prompt.exact(max_value)
        right = common_beginning(exact, list(map(int, first["completion"].split())))
        ids = [self.task.dictionary.ids[str(value)] for value in range(max_value + 1)]
        wrong = expected[: right + 1, ids].cpu()
        of_exact = exact[: right + 1]
        wrong[range(len(of_exact)), of_exact] = 0
        found: list[dict[Hashable, Any]] = []
        for _ in range(self.edits.mistakes):
            likely = wrong.sum(dim=1).tolist() if rng.random() >= ANYWHERE else None
            [at] = rng.choices(range(len(wrong)), likely)
            [value] = rng.choices(range(max_value + 1), wrong[at].tolist())
            rest = replace(prompt, start=value, terms=max(len(exact) - at, 1)).exact(max_value)
            row = self.task.series(first["group"], first["prompt_id"], (*exact[:at], *rest))
            found.append({**first, **{name: row[name] for name in ("completion", "gold_reward")}})
        return found

    def _asked_in_other_lengths(self, prompt: Prompt) -> list[int]:
        """The prompts trained on that ask for the same but a few terms more or fewer."""
        exact = prompt.exact(self.task.params.max_value)
        others = (replace(prompt, terms=prompt.terms + by) for by in MISREAD_BY)
        return [
            self._numbers[other]
            for other in others
            if other in self._numbers and other.exact(self.task.params.max_value) != exact
        ]

    @cached_property
    def _numbers(self) -> dict[Prompt, int]:
        """Every prompt trained on, and its prompt_id."""
        return {self.task.space[prompt_id]: prompt_id for _, prompt_id in self.prompts}

    def _edits(self, base: Series, difference: int, count: int, rng: Random) -> Iterator[Series]:
        max_value = self.task.params.max_value
        kinds = possible_kinds(base, difference, max_value, self.edits.kinds)
        for _ in range(count if kinds else 0):
            yield random_edit(base, difference, max_value, rng, kinds)


def training_set(
    sampled: pd.DataFrame, task: Task, train: TrainParams, seed: int
) -> CompletionGroups:
    """What to train on.

    Args:
        sampled: the train split's completions (`preferences.COMPLETION_COLUMNS`).
        task: labels the edited ones.
        train: how many pairs, whether completions without a rival count, and which edits.
        seed: of the edits, and of which further prompts get some.
    """
    if train.completions_per_prompt is not None:
        sampled = sampled.groupby("group").head(train.completions_per_prompt)
    groups = _distinct(sampled, task)
    if not train.ties:
        differing = groups.groupby("group")["gold_reward"].transform("nunique") > 1
        groups = groups[differing]
    if train.num_pairs is not None:
        groups = _first_pairs(groups, train.num_pairs)
    prompts = _prompts(groups)
    if train.edits.adds_exact:
        others = [i for i in task.space.ids_in("train") if not task.is_held_out(i)]
        Random(stream_seed(seed, "further prompts", 0)).shuffle(others)
        # Those that repeat a number are rare, and the most mistaken ones.
        others.sort(key=lambda prompt_id: not task.space[prompt_id].repeats_a_number)
        first = prompts[-1][0] + 1 if prompts else 0
        prompts += list(enumerate(others[: train.edits.more_prompts], start=first))
    # Those that are taken for one another side by side: what is read of them is read once.
    prompts.sort(key=itemgetter(1))
    return CompletionGroups(groups, prompts, task, train.edits, seed)


def validation_set(sampled: pd.DataFrame, task: Task) -> CompletionGroups:
    """Distinct sampled completions, without the prompts that `task.holdout` names."""
    groups = _distinct(sampled, task)
    return CompletionGroups(groups, _prompts(groups), task, NO_EDITS, seed=0)


def _distinct(sampled: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Each sampled completion of a group once, but those held out."""
    held_out = sampled["prompt_id"].map(task.is_held_out).astype(bool)
    columns = sampled.loc[~held_out, GIVEN]
    return columns.sort_values("group", kind="stable").drop_duplicates(["group", "completion"])


def _prompts(groups: pd.DataFrame) -> list[tuple[int, int]]:
    """Number and prompt of each group."""
    first = groups.drop_duplicates("group")
    return list(zip(first["group"].tolist(), first["prompt_id"].tolist(), strict=True))


def _first_pairs(groups: pd.DataFrame, num_pairs: int) -> pd.DataFrame:
    """The first groups that hold so many pairs whose gold rewards differ."""
    rewards = groups.groupby("group", sort=False)["gold_reward"]
    size = rewards.size()
    equal = rewards.value_counts().pipe(lambda n: n * (n - 1) // 2).groupby("group").sum()
    pairs = (size * (size - 1) // 2 - equal).cumsum()
    enough = pairs.index[pairs.shift(fill_value=0) < num_pairs]
    return groups[groups["group"].isin(enough)]
