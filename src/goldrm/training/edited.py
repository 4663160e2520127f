"""Completions made by editing the series that prompts ask for, with exact labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from goldrm.common.random_streams import stream_seed
from goldrm.edits.kinds import Series, other_lengths, possible_kinds
from goldrm.edits.random_edits import random_edit
from goldrm.task.task import Task
from goldrm.training.params import EditsParams

ANYWHERE_SHARE = 0.5  # of mistakes, which may be in any term; the others are in likely ones


class Group(NamedTuple):
    """Completions of one prompt."""

    number: int
    prompt_id: int


class Answer(NamedTuple):
    """A completion of a group, by its integers: what `Task.labelled` labels."""

    group: int
    prompt_id: int
    values: Series


@dataclass(frozen=True)
class EditedCompletions:
    """Makes completions of groups; a group's depend on the seed and the group alone.

    Attributes:
        params: which, and how many.
        task: labels them.
        seed: of what is random.
    """

    params: EditsParams
    task: Task
    seed: int

    def completions(self, group: Group) -> Iterator[Answer]:
        """The exact answer, in other lengths, edited at random."""
        rng = Random(stream_seed(self.seed, "edits", group.number))
        prompt, max_value = self.task.space[group.prompt_id], self.task.params.max_value
        exact, step = prompt.exact, prompt.step
        kinds = possible_kinds(exact, step, max_value, self.params.kinds)
        yield Answer(*group, exact)
        for series in other_lengths(exact, step, max_value, self.params.lengths):
            yield Answer(*group, series)
        for _ in range(self.params.random if kinds else 0):
            yield Answer(*group, random_edit(exact, step, max_value, rng, kinds))

    def mistakes(
        self, group: Group, next_token_probs: Float[Tensor, "terms vocabulary"]
    ) -> Iterator[Answer]:
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
            terms = range(max(len(exact) - position, 1))
            rest = (value + prompt.step * i for i in terms)
            in_range = (term for term in rest if 0 <= term <= max_value)
            yield Answer(*group, (*exact[:position], *in_range))
