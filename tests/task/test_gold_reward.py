"""The gold reward against values worked out by hand and the notebook's."""

from math import inf, sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from notebook_reference import gold_rewards
from tasks_by_hand import NOTEBOOKS_GOLD_REWARD, notebooks_gold_reward

from goldrm.task.gold_reward import gold_reward
from goldrm.task.params import GoldRewardParams

EXACT = [3, 7, 11, 15, 19]

values = st.integers(0, 100)
a_series = st.lists(values, min_size=1, max_size=20)
ranges = st.builds(
    lambda low, width, beta: GoldRewardParams(min=low, max=low + width, beta=beta),
    st.floats(-10, 10),
    st.floats(0.5, 10),
    st.floats(0.01, 10),
)


def test_committed_range_is_the_notebooks(gold_reward_params: GoldRewardParams):
    assert gold_reward_params == NOTEBOOKS_GOLD_REWARD


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ([3, 7, 11, 15, 25], 5.819474697113037),  # one term off by 6, as the notebook prints it
        ([3, 7, 14, 15, 19], 6.1142),
        ([3, 7, 11, 12, 19], 6.1142),
        ([2, 7, 11, 15, 19], 6.4545),
        (EXACT, 7.0),
        ([4, 6, 12, 14, 20], 1 + 6 / (1 + 0.1 * sqrt(5))),  # the errors add up: 5 * 1
        ([3, 7, 11], 1 + 6 / (1 + 0.1 * sqrt(4 + 8))),  # padded to 3 7 11 11 11
        ([*EXACT, 23], 1 + 6 / (1 + 0.1 * sqrt(4))),  # against 3 7 11 15 19 19
        ([*EXACT, 19], 7.0),
        ([100], 1 + 6 / (1 + 0.1 * sqrt(97 + 93 + 89 + 85 + 81))),
    ],
)
def test_known_values(generated: list[int], expected: float):
    tolerance = 1e-6 if expected == 5.819474697113037 else 5e-5
    assert notebooks_gold_reward(EXACT, generated) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("low", "high", "beta", "expected"), [(0, 1, 0.5, 0.5), (-2, 2, 1.0, -2 + 4 / 3)]
)
def test_range_and_steepness_count(low: float, high: float, beta: float, expected: float):
    other = GoldRewardParams(min=low, max=high, beta=beta)
    assert gold_reward(4, other) == pytest.approx(expected)  # sqrt(4) = 2


@given(a_series, a_series, a_series)
def test_equals_the_notebooks_beside_a_short_rival(
    exact: list[int], generated: list[int], rival: list[int]
):
    assume(len(rival) <= max(len(exact), len(generated)))
    notebooks, _ = gold_rewards(exact, generated, rival)
    assert notebooks_gold_reward(exact, generated) == pytest.approx(notebooks, abs=1e-6)


def test_does_not_depend_on_a_rival():
    """In the notebook a longer rival lowers the reward of the same completion."""
    generated = [3, 7, 11, 15, 18]
    beside_itself, _ = gold_rewards(EXACT, generated, generated)
    beside_longer, _ = gold_rewards(EXACT, generated, [*EXACT, 23, 27])
    assert beside_longer < beside_itself
    assert notebooks_gold_reward(EXACT, generated) == pytest.approx(beside_itself, abs=1e-6)


@given(a_series, a_series, ranges)
def test_lies_between_min_and_max(exact: list[int], generated: list[int], other: GoldRewardParams):
    assert other.min < notebooks_gold_reward(exact, generated, other) <= other.max


def padded(series: list[int]) -> list[int]:
    return series + [series[-1]] * (40 - len(series))


@given(a_series, st.data())
def test_is_max_only_when_equal(exact: list[int], data: st.DataObject):
    repeated = [*exact, *[exact[-1]] * data.draw(st.integers(0, 3))]
    generated = data.draw(st.one_of(a_series, st.just(repeated)))
    is_max = notebooks_gold_reward(exact, generated) == 7.0
    assert is_max == (padded(exact) == padded(generated))


@given(a_series, a_series, st.data())
def test_falls_as_an_error_grows(exact: list[int], generated: list[int], data: st.DataObject):
    generated = [*generated, *exact[len(generated) :]]  # at least as long as the exact series
    index = data.draw(st.integers(0, len(generated) - 1))
    right = padded(exact)[index]
    sign = data.draw(st.sampled_from([-1, 1]))
    last = inf
    for error in (0, 1, 2, 5, 30):
        generated[index] = right + sign * error
        reward = notebooks_gold_reward(exact, generated)
        assert reward < last
        last = reward


@given(a_series, a_series)
def test_is_symmetric(exact: list[int], generated: list[int]):
    assert notebooks_gold_reward(exact, generated) == notebooks_gold_reward(generated, exact)


@given(a_series, a_series, st.data())
def test_padding_by_hand_changes_nothing(
    exact: list[int], generated: list[int], data: st.DataObject
):
    shorter, longer = sorted((exact, generated), key=len)
    repeats = data.draw(st.integers(0, len(longer) - len(shorter)))
    by_hand = [*shorter, *[shorter[-1]] * repeats]
    assert notebooks_gold_reward(by_hand, longer) == notebooks_gold_reward(shorter, longer)
