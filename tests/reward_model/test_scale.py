"""Features get mean 0 and deviation 1."""

import pytest
import torch

from goldrm.reward_model import scale as scale_module
from goldrm.reward_model.scale import Standardised


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_feature_is_standardised(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype):
    """In several parts; far from 0, where float32's squares would cancel; one feature constant."""
    monkeypatch.setattr(scale_module, "ROWS_FITTED_TOGETHER", 7)
    generator = torch.Generator().manual_seed(0)
    rows = 500 + 3 * torch.randn(100, 24, generator=generator).to(dtype)
    rows[:, 5] = 2.0
    scale = Standardised(24)
    scale.fit(rows)
    values = rows.double()
    mean, deviation = values.mean(0), values.std(0, correction=0).clamp(min=1e-3)
    torch.testing.assert_close(scale.mean.double(), mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(scale.deviation.double(), deviation, atol=1e-4, rtol=0)
    expected = (values - mean) / deviation
    torch.testing.assert_close(scale(rows.float()).double(), expected, atol=1e-3, rtol=0)


def test_nothing_fitted_changes_nothing():
    rows = torch.randn(3, 4)
    assert torch.equal(Standardised(4)(rows), rows)
