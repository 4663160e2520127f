"""Prompts that ask to sort numbers: a second task, with a language model of its own."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from random import Random
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from goldrm.common.params import IntRange, Section
from goldrm.task.prompts import Prompt, Prompts, Values, words_of

WORDINGS: dict[int, str] = {
    1: "sort {numbers} from small to large",
    2: "write the numbers {numbers} in ascending order",
}
NUMBERS = r"[0-9]{1,9}(?: [0-9]{1,9})*"


class SortingHoldoutParams(Section):
    """Kinds of prompt that the reward model isn't trained on, to see how far it generalises."""

    template: list[Literal[1, 2]]
    numbers: list[int]


class SortingParams(Section):
    """Which numbers are to be sorted."""

    numbers: IntRange
    lists: int = Field(ge=1, le=100_000)
    orders: int = Field(ge=1, le=100)
    holdout: SortingHoldoutParams

    @model_validator(mode="after")
    def _possible(self) -> "SortingParams":
        if self.numbers.min < 2:
            raise ValueError("numbers.min must be at least 2")
        never = [n for n in self.holdout.numbers if not self.numbers.min <= n <= self.numbers.max]
        if never:
            raise ValueError(
                f"holdout.numbers names {never[0]}, outside numbers "
                f"({self.numbers.min}..{self.numbers.max})"
            )
        return self

    def refuse_above(self, max_value: int) -> None:
        """Refuse more different lists, or orders of them, than can be drawn.

        Raises:
            ValueError: names the parameter.
        """
        most = {
            "lists": math.comb(max_value + 1, self.numbers.min) // 2,
            "orders": math.factorial(self.numbers.min) // 2,
        }
        for name, number in most.items():
            if getattr(self, name) > number:
                raise ValueError(
                    f"{name} ({getattr(self, name)}) is more than half ({number}) of those there "
                    f"are of {self.numbers.min} numbers up to max_value ({max_value})"
                )


class Sorting(Prompts):
    """Lists of numbers in several orders, by every wording.

    The lists and their orders are drawn once and for all: they depend on the parameters alone.
    Numbers may come twice. A list is a family, in whatever order it is given.
    """

    properties: ClassVar = {"template": 1, "numbers": 1}
    patterns: ClassVar = [text.format(numbers=NUMBERS) for text in WORDINGS.values()]
    words: ClassVar = words_of(WORDINGS.values())

    def __init__(self, params: SortingParams, max_value: int) -> None:
        """The prompts.

        Args:
            params: how many lists, orders and numbers.
            max_value: the largest number.
        """
        self._params, self._max_value = params, max_value

    @cached_property
    def _lists(self) -> dict[Values, list[Values]]:
        """The orders in which each list is given, by the sorted list."""
        rng, lists = Random(0), dict[Values, list[Values]]()
        wanted = self._params.orders
        while len(lists) < self._params.lists:
            count = rng.randint(self._params.numbers.min, self._params.numbers.max)
            numbers = [rng.randint(0, self._max_value) for _ in range(count)]
            drawn = (tuple(rng.sample(numbers, count)) for _ in range(3 * wanted))
            orders = list(dict.fromkeys(drawn))[:wanted]
            if len(orders) == wanted:  # which equal numbers may prevent
                lists.setdefault(tuple(sorted(numbers)), orders)
        return lists

    @cached_property
    def _prompts(self) -> list[Prompt]:
        return [
            Prompt(
                text=wording.format(numbers=" ".join(map(str, order))),
                exact=family,
                family=family,
                properties={"template": template, "numbers": len(family)},
                step=1,
            )
            for family, orders in self._lists.items()
            for order in orders
            for template, wording in WORDINGS.items()
        ]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {prompt.text: prompt_id for prompt_id, prompt in enumerate(self._prompts)}

    @property
    def longest(self) -> int:
        """See `Prompts`."""
        words = max(len(wording.split()) - 1 for wording in WORDINGS.values())
        return words + self._params.numbers.max

    def __len__(self) -> int:
        """See `Prompts`."""
        return self._params.lists * self._params.orders * len(WORDINGS)

    def __getitem__(self, prompt_id: int) -> Prompt:
        """See `Prompts`."""
        if not 0 <= prompt_id < len(self):
            raise IndexError(prompt_id)
        return self._prompts[prompt_id]

    def id_of(self, text: str) -> int:
        """See `Prompts`."""
        if text not in self._ids:
            raise ValueError(text)
        return self._ids[text]

    def families(self) -> Iterator[tuple[Values, range]]:
        """See `Prompts`."""
        size = self._params.orders * len(WORDINGS)
        for number, family in enumerate(self._lists):
            yield family, range(number * size, (number + 1) * size)

    def family_spelled(self, values: Sequence[int]) -> Values | None:
        """The list, in whatever order, where it is one of the task's."""
        spelled = tuple(sorted(values))
        return spelled if spelled in self._lists else None

    def other_mistake(self, exact: Values, values: Values) -> str:
        """The first of these that fits, so always just one.

        - wrong_order: all of them, not sorted.
        - one_term_off: as many numbers, and one of them is wrong.
        - left_out: sorted, but for numbers that are missing.
        - malformed: anything else.
        """
        if tuple(sorted(values)) == exact:
            return "wrong_order"
        if len(values) == len(exact) and sum(map(int.__ne__, exact, values)) == 1:
            return "one_term_off"
        rest = iter(exact)
        return "left_out" if all(value in rest for value in values) else "malformed"
