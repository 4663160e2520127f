"""What brings rewards to the gold rewards' scale, where ranking alone taught them."""

from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field, FiniteFloat

from goldrm.common.params import Section


class Line(Section):
    """A straight line: what is on one scale, on another.

    Attributes:
        slope: not negative.
        intercept: where 0 goes.
    """

    slope: FiniteFloat = Field(ge=0)
    intercept: FiniteFloat

    def __call__(self, values: Any) -> Any:
        """Where numbers go: one, or an array of them."""
        return self.slope * values + self.intercept


SAME = Line(slope=1.0, intercept=0.0)


def rising_line(values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Line:
    """The line that comes nearest to the targets, by squared error, among those that don't fall.

    Args:
        values: at least one.
        targets: of each value.
    """
    variance = float(values.var())
    slope = float(np.cov(values, targets, bias=True)[0, 1]) / variance if variance else 0.0
    slope = max(slope, 0.0)
    return Line(slope=slope, intercept=float(targets.mean() - slope * values.mean()))
