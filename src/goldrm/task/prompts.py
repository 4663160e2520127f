"""What a task is: numbered prompts with their families, exact answers and errors of other answers.

`arithmetic_series` and `sorting` are two. For one of your own write a module like them, and add its
section and class in `params`; docs/contributing.md shows how.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

Values = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and all that is known of it.

    Attributes:
        text: as the language model reads it, tokens separated by one space.
        exact: the integers that are its exact answer, at least one.
        family: what it shares with the prompts of its split (see `Prompts.families`).
        properties: a number for each of `Prompts.properties`.
        step: what an integer is more than the one before it, where an answer goes on too long.
        is_cut: whether the exact answer ends where it does because of `max_value`.
    """

    text: str
    exact: Values
    family: Values
    properties: Mapping[str, int]
    step: int
    is_cut: bool = False

    @property
    def repeats_a_number(self) -> bool:
        """Whether two of its numbers are equal, so that one may be taken for the other."""
        numbers = [word for word in self.text.split() if word.isdigit()]
        return len(set(numbers)) < len(numbers)


class Prompts(ABC):
    """All prompts of a task, numbered 0 … len-1.

    Attributes:
        properties: the names of numbers that describe a prompt, such as the length asked for; for
            each how wide the bins are in which results are broken down by it (1: no bins). Tables
            of prompts have a column for each, and `holdout` may name values.
        patterns: regular expressions of the prompts' texts. None may match the beginning of a
            longer prompt: a completion of integers may follow.
        words: the words of the prompts, besides integers.
    """

    properties: ClassVar[Mapping[str, int]]
    patterns: ClassVar[Sequence[str]]
    words: ClassVar[Sequence[str]]

    @abstractmethod
    def __init__(self, params: Any, max_value: int) -> None:
        """The prompts.

        Args:
            params: the task's own section of params.yaml.
            max_value: the largest integer of prompts and answers.
        """

    @property
    @abstractmethod
    def longest(self) -> int:
        """How many tokens the longest prompt has."""

    @abstractmethod
    def __len__(self) -> int:
        """How many prompts there are."""

    @abstractmethod
    def __getitem__(self, prompt_id: int) -> Prompt:
        """A prompt by its number.

        Raises:
            IndexError: when there is none.
        """

    @abstractmethod
    def id_of(self, text: str) -> int:
        """The number of the prompt with a text; the inverse of indexing.

        Raises:
            ValueError: when the task has no such prompt.
        """

    @abstractmethod
    def families(self) -> Iterator[tuple[Values, Iterable[int]]]:
        """Families, each with numbers of its prompts, so that each prompt comes once.

        Prompts with a common exact answer must be of one family: it is families that are unseen.
        """

    @abstractmethod
    def family_spelled(self, values: Sequence[int]) -> Values | None:
        """The family with an exact answer of such integers; None: there is none.

        Where a part of the answer, or another order, gives it away, that counts, too.
        """

    def mistake(self, exact: Values, values: Values) -> str:
        """The kind of mistake that an answer makes: the first of these that fits.

        - malformed: an answer without an integer. Words between integers can't be seen here: they
          are removed before.
        - exact: the same integers.
        - early_stop: the exact answer's first integers and no more.
        - too_many: the whole exact answer and then more, whatever it is. The last term repeated is
          too_many as well, though the gold reward doesn't mind it.
        - what `other_mistake` says.

        Args:
            exact: a prompt's exact answer.
            values: integers, perhaps none.
        """
        if not values:
            return "malformed"
        if exact[: len(values)] == values:
            return "exact" if exact == values else "early_stop"
        if values[: len(exact)] == exact:
            return "too_many"
        return self.other_mistake(exact, values)

    @abstractmethod
    def other_mistake(self, exact: Values, values: Values) -> str:
        """The kind of mistake, by the task's own names, where none of `mistake`'s fits.

        Args:
            exact: a prompt's exact answer.
            values: integers that neither begin it nor begin with it.
        """

    def error(self, exact: Sequence[int], values: Sequence[int]) -> int:
        """How far an answer is from the exact one: the sum of the terms' absolute differences.

        The shorter of the two is first padded with its own last term to the length of the other.

        Args:
            exact: at least one integer.
            values: likewise.

        Raises:
            ValueError: when either is empty.
        """
        if not exact or not values:
            raise ValueError("an answer without integers has no error")
        missing = len(exact) - len(values)
        if missing > 0:
            values = (*values, *[values[-1]] * missing)
        elif missing < 0:
            exact = (*exact, *[exact[-1]] * -missing)
        return sum(map(abs, map(int.__sub__, exact, values)))


def split_text(text: str, patterns: Sequence[str]) -> tuple[str, str] | None:
    """The prompt that a text begins with, and the rest: its completion. None: no prompt.

    Args:
        text: tokens separated by one space.
        patterns: `Prompts.patterns`.
    """
    for pattern in patterns:
        match = re.match(rf"(?:{pattern})(?=\s|$)", text)
        if match:
            return match[0], text[match.end() :].lstrip()
    return None


def words_of(wordings: Iterable[str]) -> list[str]:
    """The words of wordings, but for fields in braces: each once, in order of appearance."""
    words = (word for wording in wordings for word in wording.split() if "{" not in word)
    return list(dict.fromkeys(words))
