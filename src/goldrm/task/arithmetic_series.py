"""Prompts that ask for an arithmetic series: the notebook's task."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import ClassVar, Literal

from pydantic import model_validator

from goldrm.common.params import IntRange, Section
from goldrm.task.prompts import Prompt, Prompts, Values, words_of

# The notebook's three wordings (cell "Generate training set").
TEMPLATES: dict[int, str] = {
    1: "generate an arithmetic series with {terms} terms starting with value {start} "
    "and common difference {difference}",
    2: "make a series of arithmetic type which starts at {start} with {terms} elements "
    "and {difference} common difference value",
    3: "Let {terms} be the number of terms {start} the starting number and {difference} "
    "the common difference then write the arithmetic series",
}


class HoldoutParams(Section):
    """Kinds of prompt that the reward model isn't trained on, to see how far it generalises."""

    template: list[Literal[1, 2, 3]]
    difference: list[int]
    terms: list[int]


class ArithmeticSeriesParams(Section):
    """Which series may be asked for."""

    start: IntRange
    difference: IntRange
    terms: IntRange
    holdout: HoldoutParams

    @model_validator(mode="after")
    def _possible(self) -> "ArithmeticSeriesParams":
        if self.difference.min < 1:
            raise ValueError("difference.min must be at least 1")
        if self.terms.min < 1:
            raise ValueError("terms.min must be at least 1")
        for name, asked in (("difference", self.difference), ("terms", self.terms)):
            never = [n for n in getattr(self.holdout, name) if not asked.min <= n <= asked.max]
            if never:
                raise ValueError(
                    f"holdout.{name} names {never[0]}, outside {name} ({asked.min}..{asked.max})"
                )
        return self

    def refuse_above(self, max_value: int) -> None:
        """Refuse ranges of numbers that the dictionary doesn't hold.

        Raises:
            ValueError: names the range.
        """
        for name in ("start", "difference", "terms"):
            if getattr(self, name).max > max_value:
                raise ValueError(
                    f"{name}.max ({getattr(self, name).max}) exceeds max_value ({max_value}), "
                    "and prompts hold no larger numbers"
                )


@dataclass(frozen=True)
class Series:
    """What a prompt asks for.

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
        """The prompt that asks for it."""
        return TEMPLATES[self.template].format(
            start=self.start, difference=self.difference, terms=self.terms
        )

    def exact(self, max_value: int) -> Values:
        """Its terms, without those above `max_value`."""
        end = self.start + self.terms * self.difference
        return tuple(range(self.start, min(end, max_value + 1), self.difference))


class ArithmeticSeries(Prompts):
    """Every template, start, difference and terms.

    Prompt 0 has the first template and the smallest numbers; prompt 1 asks for a term more.
    """

    properties: ClassVar = {"template": 1, "start": 10, "difference": 1, "terms": 1}
    patterns: ClassVar = [re.sub(r"{\w+}", r"[0-9]{1,9}", text) for text in TEMPLATES.values()]
    words: ClassVar = words_of(TEMPLATES.values())

    def __init__(self, params: ArithmeticSeriesParams, max_value: int) -> None:
        """The prompts that the ranges span: 27,000 with the notebook's.

        Args:
            params: the ranges.
            max_value: what larger terms are cut off.
        """
        self._params, self._max_value = params, max_value
        ranges = (params.start, params.difference, params.terms)
        self._axes = (list(TEMPLATES), *(range(each.min, each.max + 1) for each in ranges))
        self._prompt = lru_cache(maxsize=100_000)(self._new_prompt)

    @property
    def longest(self) -> int:
        """See `Prompts`."""
        return max(len(text.split()) for text in TEMPLATES.values())

    def __len__(self) -> int:
        """See `Prompts`."""
        templates, starts, differences, terms = self._axes
        return len(templates) * len(starts) * len(differences) * len(terms)

    def __getitem__(self, prompt_id: int) -> Prompt:
        """See `Prompts`."""
        return self._prompt(prompt_id)

    def _new_prompt(self, prompt_id: int) -> Prompt:
        if not 0 <= prompt_id < len(self):
            raise IndexError(prompt_id)
        rest, values = prompt_id, []
        for axis in reversed(self._axes):
            rest, position = divmod(rest, len(axis))
            values.append(axis[position])
        series = Series(*reversed(values))
        exact = series.exact(self._max_value)
        return Prompt(
            text=series.text,
            exact=exact,
            family=self._family(series.start, series.difference),
            properties=dict(vars(series)),
            step=series.difference,
            is_cut=len(exact) < series.terms,
        )

    def id_of(self, text: str) -> int:
        """See `Prompts`."""
        for template, wording in TEMPLATES.items():
            match = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[0-9]{1,9})", wording), text)
            if match:
                asked = {name: int(value) for name, value in match.groupdict().items()}
                return self.number_of(Series(template, **asked))
        raise ValueError(text)

    def number_of(self, series: Series) -> int:
        """The number of the prompt that asks for a series.

        Raises:
            ValueError: when it lies outside the ranges.
        """
        prompt_id = 0
        values = (series.template, series.start, series.difference, series.terms)
        for axis, value in zip(self._axes, values, strict=True):
            prompt_id = prompt_id * len(axis) + axis.index(value)
        return prompt_id

    def families(self) -> Iterator[tuple[Values, list[int]]]:
        """A start and a difference is a family, with all its lengths and wordings."""
        templates, starts, differences, terms = self._axes
        for position, (start, difference) in enumerate(product(starts, differences)):
            prompt_ids = [
                (wording * len(starts) * len(differences) + position) * len(terms) + length
                for wording in range(len(templates))
                for length in range(len(terms))
            ]
            yield self._family(start, difference), prompt_ids

    def _family(self, start: int, difference: int) -> Values:
        """The first two terms of its series, or the only one.

        Families that spell a common exact series are one. The cut at max_value makes them so (of
        start 95, differences of 6 and more spell just "95"), and so does a task that asks for
        series of one term.

        Example:
            Start 3, difference 4: (3, 7). Start 95, difference 9: (95,).
        """
        shortest = min(self._params.terms.min, 2)
        return Series(1, start, difference, shortest).exact(self._max_value)

    def family_spelled(self, values: Sequence[int]) -> Values | None:
        """The family that a series belongs to, in whatever length.

        Example:
            3 7 11 belongs to (3, 7), and so does 3 7. A 3 by itself is nobody's, but 95 is (95,)'s;
            3 7 12 and 3 14 25, where differences go up to 9, are nobody's.
        """
        asked, most = self._params.difference, self._max_value
        if not values or not self._params.start.min <= values[0] <= self._params.start.max:
            return None
        first, step = values[0], values[1] - values[0] if len(values) > 1 else asked.min
        if not asked.min <= step <= asked.max:
            return None
        if tuple(values) != tuple(range(first, first + step * len(values), step)):
            return None
        shortest = min(self._params.terms.min, 2)
        is_a_whole_series = len(values) >= shortest or values[0] + asked.max > most
        return tuple(values[:shortest]) if is_a_whole_series else None

    def other_mistake(self, exact: Values, values: Values) -> str:
        """The first of these that fits, so always just one.

        - wrong_first_term: the first term is wrong and the others are the exact series', or follow
          from it by right steps, however many.
        - one_term_off: as many terms as asked for, and one of them, not the first, is wrong.
        - wrong_step: the first term is right, some steps aren't, and these are all alike: another
          step throughout, another step from some term on, one slip, one inner term left out or
          repeated.
        - malformed: anything else.

        Args:
            exact: the series asked for. With just one term there is no right step.
            values: the answer's integers.
        """
        right_steps, steps = _steps(exact), _steps(values)
        if values[0] != exact[0]:
            only_first = values[1:] == exact[1:] or steps <= right_steps
            return "wrong_first_term" if only_first else "malformed"
        if len(values) == len(exact) and sum(map(int.__ne__, exact, values)) == 1:
            return "one_term_off"
        return "wrong_step" if len(steps - right_steps) == 1 else "malformed"


def _steps(series: Sequence[int]) -> set[int]:
    return {after - before for before, after in pairwise(series)}
