"""Completions made by editing the series that prompts ask for, with exact labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from goldrm.common.random_streams import stream_seed
from goldrm.edits.kinds import MISREAD_ADDED_TERMS, other_lengths, possible_kinds
from goldrm.edits.random_edits import random_edit
from goldrm.task.series import Prompt
from goldrm.task.task import Task
from goldrm.training.params import EditsParams

Row = dict[str, Any]

ANYWHERE_SHARE = 0.5  # of mistakes, which may be in any term; the others are in likely ones


class Group(NamedTuple):
    """Completions of one prompt."""

    number: int
    prompt_id: int


@dataclass(frozen=True)
class EditedCompletions:
    """Makes completions of groups; a group's depend on the seed and the group alone.

    Rows are group, prompt_id, completion, gold_reward and context_prompt_id: of the prompt behind
    which the completion is read, the own one or one that it is taken for.

    Attributes:
        params: which, and how many.
        task: labels them.
        prompt_ids: of the prompts trained on, which may be taken for one another.
        seed: of what is random.
    """

    params: EditsParams
    task: Task
    prompt_ids: Mapping[Prompt, int]
    seed: int

    def completions(self, group: Group) -> Iterator[Row]:
        """The exact series: itself, in other lengths, edited at random, behind other prompts."""
        rng = Random(stream_seed(self.seed, "edits", group.number))
        exact, max_value = self.task.exact(group.prompt_id), self.task.params.max_value
        difference = self.task.space[group.prompt_id].difference
        kinds = possible_kinds(exact, difference, max_value, self.params.kinds)
        yield self._row(group, exact)
        for series in other_lengths(exact, difference, max_value, self.params.lengths):
            yield self._row(group, series)
        for _ in range(self.params.random if kinds else 0):
            yield self._row(group, random_edit(exact, difference, max_value, rng, kinds))
        others = self._asked_in_other_lengths(group.prompt_id)
        for other in rng.sample(others, min(self.params.misread, len(others))):
            for series in (exact, self.task.exact(other)):
                yield self._row(group, series) | {"context_prompt_id": other}

    def mistakes(
        self, group: Group, next_token_probs: Float[Tensor, "terms vocabulary"]
    ) -> Iterator[Row]:
        """The exact series going wrong where the language model might.

        One term is a value that the language model finds likely there, but for the right one; the
        next ones follow from it by right steps, as the language model's own mostly do. Which term:
        half the time any, else the likelier the likelier the model is to be wrong there. It may be
        one too many.

        Args:
            group: whose exact series it is.
            next_token_probs: the language model's probability of each token after the group's
                prompt, and after each term of its exact series.
        """
        rng = Random(stream_seed(self.seed, "mistakes", group.number))
        prompt, max_value = self.task.space[group.prompt_id], self.task.params.max_value
        exact = self.task.exact(group.prompt_id)
        ids = [self.task.dictionary.ids[str(value)] for value in range(max_value + 1)]
        wrong = next_token_probs[:, ids].cpu()  # (terms, values)
        wrong[range(len(exact)), exact] = 0
        for _ in range(self.params.mistakes):
            weights = wrong.sum(dim=1).tolist() if rng.random() >= ANYWHERE_SHARE else None
            [position] = rng.choices(range(len(wrong)), weights)
            [value] = rng.choices(range(max_value + 1), wrong[position].tolist())
            rest = replace(prompt, start=value, terms=max(len(exact) - position, 1))
            yield self._row(group, (*exact[:position], *rest.exact(max_value)))

    def _row(self, group: Group, series: Sequence[int]) -> Row:
        row = self.task.series(*group, series)
        return row | {"context_prompt_id": group.prompt_id}

    def _asked_in_other_lengths(self, prompt_id: int) -> list[int]:
        """The prompts trained on that ask for the same but a few terms more or fewer."""
        prompt = self.task.space[prompt_id]
        others = (replace(prompt, terms=prompt.terms + added) for added in MISREAD_ADDED_TERMS)
        known = [self.prompt_ids[other] for other in others if other in self.prompt_ids]
        exact = self.task.exact(prompt_id)
        return [other for other in known if self.task.exact(other) != exact]
