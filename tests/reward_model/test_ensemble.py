"""Members' rewards become one as Coste et al. have it."""

import pytest
import torch

from goldrm.reward_model.ensemble import combined
from goldrm.reward_model.params import (
    EnsembleParams,
    PlainEnsembleParams,
    UncertaintyEnsembleParams,
)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (PlainEnsembleParams(members=3, combine="mean"), [3.0, 3.0]),
        (PlainEnsembleParams(members=3, combine="worst"), [1.0, 1.0]),
        (
            UncertaintyEnsembleParams(members=3, combine="uncertainty", variance_weight=0.75),
            [3 - 0.75 * 8 / 3, 3 - 1.5],
        ),
    ],
    ids=["mean", "worst", "uncertainty"],
)
def test_members_combined_by_hand(params: EnsembleParams, expected: list[float]):
    """The variances are (4 + 0 + 4) / 3 and (1 + 1 + 4) / 3."""
    rewards = torch.tensor([[1.0, 4.0], [3.0, 4.0], [5.0, 1.0]])
    assert combined(rewards, params).tolist() == pytest.approx(expected)
