"""Features get mean 0 and deviation 1."""

import pytest
import torch
from small_states import states_of

from goldrm.reward_model import scale as scale_module
from goldrm.reward_model.lm_log_probs import LM_LOG_PROBS
from goldrm.reward_model.scale import Scale, Standardised


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_feature_is_standardised(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype):
    """In several parts; far from 0, where float32's squares would cancel; one feature constant."""
    monkeypatch.setattr(scale_module, "ROWS_FITTED_TOGETHER", 7)
    generator = torch.Generator().manual_seed(0)
    rows, prompt_rows = (
        500 + 3 * torch.randn(100, width, generator=generator).to(dtype) for width in (51, 24)
    )
    rows[:, 5] = rows[:, 50] = prompt_rows[:, 5] = 2.0
    states = states_of(rows.split(50), [prompt_rows])
    scale = Scale(48, LM_LOG_PROBS, 24)
    scale.fit(states)
    scaled = scale(states.to(torch.device("cpu"), torch.float32))
    for name in ("rows", "lm_log_probs", "prompt_rows"):
        values = getattr(states, name).double()
        fitted: Standardised = getattr(scale, name)
        mean, deviation = values.mean(0), values.std(0, correction=0).clamp(min=1e-3)
        torch.testing.assert_close(fitted.mean.double(), mean, atol=1e-4, rtol=0)
        torch.testing.assert_close(fitted.deviation.double(), deviation, atol=1e-4, rtol=0)
        expected = (values - mean) / deviation
        torch.testing.assert_close(getattr(scaled, name).double(), expected, atol=1e-3, rtol=0)
    assert torch.equal(scaled.token_rows, states.token_rows)
    assert torch.equal(scaled.prompt, states.prompt)


def test_nothing_fitted_changes_nothing():
    rows = torch.randn(3, 4)
    assert torch.equal(Standardised(4)(rows), rows)
