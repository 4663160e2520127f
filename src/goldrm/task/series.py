"""Prompts that ask for an arithmetic series, their exact answers, and their splits."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Literal

from goldrm.task.params import TaskParams

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Shares of the splits. Not parameters: a family's split is a function of the family and
# task.split_seed alone, so that no two runs that share a seed can disagree about it.
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1

# The notebook's three wordings (cell "Generate training set").
TEMPLATES: dict[int, str] = {
    1: "generate an arithmetic series with {terms} terms starting with value {start} "
    "and common difference {difference}",
    2: "make a series of arithmetic type which starts at {start} with {terms} elements "
    "and {difference} common difference value",
    3: "Let {terms} be the number of terms {start} the starting number and {difference} "
    "the common difference then write the arithmetic series",
}


@dataclass(frozen=True)
class Prompt:
    """A prompt that asks for an arithmetic series.

    Attributes:
        template: which wording, a key of `TEMPLATES`.
        start: first term.
        difference: common difference, at least 1.
        terms: number of terms asked for (fewer are right where the cut at max_value comes first).
    """

    template: int
    start: int
    difference: int
    terms: int

    @property
    def text(self) -> str:
        """The prompt as the language model reads it, tokens separated by one space."""
        return TEMPLATES[self.template].format(
            start=self.start, difference=self.difference, terms=self.terms
        )

    @property
    def repeats_a_number(self) -> bool:
        """Whether two of its numbers are equal, so that one may be taken for the other."""
        return len({self.start, self.difference, self.terms}) < 3

    def exact(self, max_value: int) -> tuple[int, ...]:
        """The series asked for, without its terms above `max_value`."""
        values = range(self.start, self.start + self.terms * self.difference, self.difference)
        return tuple(value for value in values if value <= max_value)


def split_text(text: str) -> tuple[Prompt, str] | None:
    """The prompt that a text begins with, and the rest: its completion. None: no prompt."""
    for template, wording in TEMPLATES.items():
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[0-9]{1,9})", wording)
        match = re.match(rf"{pattern}(?:\s+|$)", text)
        if match:
            values = {name: int(value) for name, value in match.groupdict().items()}
            return Prompt(template, **values), text[match.end() :]
    return None


class PromptSpace:
    """All prompts of a task, numbered 0 … len-1: every template, start, difference and terms.

    Prompt 0 has the first template and the smallest numbers; prompt 1 asks for a term more.
    """

    def __init__(self, task_params: TaskParams) -> None:
        """The space that the task's ranges span: 27,000 prompts with the notebook's."""
        self._task_params = task_params
        self._axes = (
            list(TEMPLATES),
            list(range(task_params.start.min, task_params.start.max + 1)),
            list(range(task_params.difference.min, task_params.difference.max + 1)),
            list(range(task_params.terms.min, task_params.terms.max + 1)),
        )

    def __len__(self) -> int:
        return math.prod(map(len, self._axes))

    def __getitem__(self, prompt_id: int) -> Prompt:
        if not 0 <= prompt_id < len(self):
            raise IndexError(prompt_id)
        values: list[int] = []
        for axis in reversed(self._axes):
            prompt_id, position = divmod(prompt_id, len(axis))
            values.append(axis[position])
        terms, difference, start, template = values
        return Prompt(template, start, difference, terms)

    def id_of(self, prompt: Prompt) -> int:
        """The number of a prompt; the inverse of indexing.

        Raises:
            ValueError: when the prompt lies outside the task's ranges.
        """
        prompt_id = 0
        values = (prompt.template, prompt.start, prompt.difference, prompt.terms)
        for axis, value in zip(self._axes, values, strict=True):
            prompt_id = prompt_id * len(axis) + axis.index(value)
        return prompt_id

    def ids_in(self, split: Split) -> list[int]:
        """The numbers of all prompts of a split's families, ascending."""
        templates, starts, differences, terms = self._axes
        belong = [
            split_of(Prompt(templates[0], start, difference, terms[0]), self._task_params) == split
            for start in starts
            for difference in differences
        ]
        # All wordings and lengths of a family are in its split.
        return [
            prompt_id
            for prompt_id, (_, belongs, _) in enumerate(product(templates, belong, terms))
            if belongs
        ]


def family_of(prompt: Prompt, task_params: TaskParams) -> tuple[int, ...]:
    """The prompt's family: the first two terms of its exact series, or its only one.

    A family is a start and a difference, with all its lengths and wordings. Families that spell a
    common exact series are one. The cut at max_value makes them so (of start 95, differences of 6
    and more spell just "95"), and so does a task that asks for series of one term.

    Example:
        Start 3, difference 4: (3, 7), whatever the number of terms. Start 95, difference 9: (95,).
    """
    shortest = min(task_params.terms.min, 2)
    return replace(prompt, terms=shortest).exact(task_params.max_value)


def family_spelled(values: Sequence[int], task_params: TaskParams) -> tuple[int, ...] | None:
    """The family that a series belongs to, in whatever length; None: no family asks for it.

    Args:
        values: any integers, such as a completion's.
        task_params: the prompts that there are.

    Example:
        3 7 11 belongs to (3, 7), and so does 3 7. A 3 by itself is nobody's, but 95 is (95,)'s;
        3 7 12 and 3 14 25, where differences go up to 9, are nobody's.
    """
    asked, most = task_params.difference, task_params.max_value
    if not values or not task_params.start.min <= values[0] <= task_params.start.max:
        return None
    steps = {after - before for before, after in pairwise(values)}
    if len(steps) > 1 or any(not asked.min <= step <= asked.max for step in steps):
        return None
    shortest = min(task_params.terms.min, 2)
    is_a_whole_series = len(values) >= shortest or values[0] + asked.max > most
    return tuple(values[:shortest]) if is_a_whole_series else None


def split_of_family(family: Sequence[int], split_seed: int) -> Split:
    """The split that a family's hash puts it in: a function of the two alone."""
    name = " ".join(map(str, family))
    digest = hashlib.blake2b(f"{split_seed}/{name}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < TEST_SHARE:
        return "test"
    if position < TEST_SHARE + VALIDATION_SHARE:
        return "validation"
    return "train"


def split_of(prompt: Prompt, task_params: TaskParams) -> Split:
    """The split of a prompt: its family's, for all lengths and wordings."""
    return split_of_family(family_of(prompt, task_params), task_params.split_seed)
