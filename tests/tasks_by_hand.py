"""Tasks whose prompts are chosen by hand, and the notebook's."""

from collections.abc import Sequence

from hypothesis import strategies as st

from goldrm.common.params import IntRange
from goldrm.task.arithmetic_series import (
    ArithmeticSeries,
    ArithmeticSeriesParams,
    HoldoutParams,
    Series,
)
from goldrm.task.gold_reward import gold_reward
from goldrm.task.params import GoldRewardParams, TaskParams

NOTEBOOKS_GOLD_REWARD = GoldRewardParams(min=1.0, max=7.0, beta=0.1)
NOTEBOOKS_PROMPTS = ArithmeticSeries(
    ArithmeticSeriesParams(
        start=IntRange(min=0, max=99),
        difference=IntRange(min=1, max=9),
        terms=IntRange(min=5, max=14),
        holdout=HoldoutParams(template=[], difference=[], terms=[]),
    ),
    max_value=100,
)


def with_series(task_params: TaskParams, **changes: object) -> TaskParams:
    """The task with other values in its section of arithmetic series."""
    series = task_params.arithmetic_series.model_copy(update=changes)
    return task_params.model_copy(update={"arithmetic_series": series})


def notebooks_gold_reward(
    exact: Sequence[int], values: Sequence[int], params: GoldRewardParams = NOTEBOOKS_GOLD_REWARD
) -> float:
    """The gold reward of an answer, in the notebook's range or another one."""
    return gold_reward(NOTEBOOKS_PROMPTS.error(exact, values), params)


any_series = st.builds(
    Series,
    template=st.sampled_from([1, 2, 3]),
    start=st.integers(0, 99),
    difference=st.integers(1, 9),
    terms=st.integers(5, 14),
)
