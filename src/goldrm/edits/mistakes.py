"""The kind of mistake that a completion makes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

Mistake = Literal[
    "exact",
    "early_stop",
    "too_many",
    "wrong_first_term",
    "one_term_off",
    "wrong_step",
    "malformed",
]
MISTAKES: tuple[Mistake, ...] = get_args(Mistake)


def _steps(series: Sequence[int]) -> set[int]:
    return {after - before for before, after in pairwise(series)}


def _mistaken_term(exact: tuple[int, ...], completion: tuple[int, ...]) -> Mistake:
    right_steps, steps = _steps(exact), _steps(completion)
    if completion[0] != exact[0]:
        only_first = completion[1:] == exact[1:] or steps <= right_steps
        return "wrong_first_term" if only_first else "malformed"
    if len(completion) == len(exact) and sum(map(int.__ne__, exact, completion)) == 1:
        return "one_term_off"
    return "wrong_step" if len(steps - right_steps) == 1 else "malformed"


def mistake(exact: Sequence[int], completion: Sequence[int]) -> Mistake:
    """The kind of mistake of a completion: the first of these that fits, so always just one.

    - exact: the same terms.
    - early_stop: the exact series' first terms and no more, at least one.
    - too_many: the whole exact series and then more, whatever it is. The last term repeated is
      too_many as well, though the gold reward doesn't mind it.
    - wrong_first_term: the first term is wrong and the others are the exact series', or follow
      from it by right steps, however many.
    - one_term_off: as many terms as asked for, and one of them, not the first, is wrong.
    - wrong_step: the first term is right, some steps aren't, and these are all alike: another step
      throughout, another step from some term on, one slip, one inner term left out or repeated.
    - malformed: anything else, also a completion without an integer. Words between the integers
      can't be seen here: they are removed before.

    Args:
        exact: the series asked for, arithmetic, at least one term. With just one there is no right
            step.
        completion: the completion's integers.

    Raises:
        ValueError: when `exact` is empty.
    """
    exact, completion = tuple(exact), tuple(completion)
    if not exact:
        raise ValueError("a series without terms has no mistakes")
    if not completion:
        return "malformed"
    if exact[: len(completion)] == completion:
        return "exact" if exact == completion else "early_stop"
    if completion[: len(exact)] == exact:
        return "too_many"
    return _mistaken_term(exact, completion)
