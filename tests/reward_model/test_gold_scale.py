"""The line that brings rewards to the gold rewards' scale."""

import numpy as np
import pytest

from goldrm.reward_model.gold_scale import rising_line


def test_rising_line_is_the_nearest_that_does_not_fall():
    """Against numpy's; where that falls, and where all values are equal, the targets' mean."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=30)
    targets = 2 * values + generator.normal(size=30)
    line, nearest = rising_line(values, targets), np.polyfit(values, targets, 1)
    assert (line.slope, line.intercept) == pytest.approx(nearest)
    assert line(3.0) == pytest.approx(np.polyval(nearest, 3.0))
    for level in (rising_line(values, -targets), rising_line(np.ones(30), -targets)):
        assert (level.slope, level.intercept) == pytest.approx((0, -targets.mean()))
