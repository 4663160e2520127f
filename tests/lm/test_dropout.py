"""Our dropout does what PyTorch's does."""

import pytest
import torch

from goldrm.lm.dropout import Dropout, dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_drops_with_its_probability_and_keeps_the_mean(probability: float) -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.ones(1000, 1001), probability)
    spread = (probability * (1 - probability) / dropped.numel()) ** 0.5
    assert float((dropped == 0).float().mean()) == pytest.approx(probability, abs=5 * spread)
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)))


def test_every_place_in_a_random_word_drops_alike() -> None:
    torch.manual_seed(0)
    shares = (dropout(torch.ones(400_000), 0.1) == 0).float().view(-1, 4).mean(0)
    torch.testing.assert_close(shares, torch.full((4,), 0.1), atol=0.005, rtol=0)


def test_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(0)
    values = torch.randn(50, requires_grad=True)
    dropped = dropout(values, 0.5)
    dropped.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.where(dropped == 0, 0.0, 2.0))


@pytest.mark.parametrize(("probability", "most"), [(0.0, 1.0), (1e-6, 1.0), (0.999999, 0.0)])
def test_extreme_probabilities_work(probability: float, most: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(10_000)
    kept = dropout(values, probability) != 0
    assert float(kept.float().mean()) == pytest.approx(most, abs=1e-3)
    assert dropout(values, probability).isfinite().all()
    assert torch.equal(dropout(values, 0.0), values)


def test_nothing_is_dropped_in_evaluation_mode() -> None:
    values = torch.randn(3, 5)
    assert torch.equal(Dropout(0.5).eval()(values), values)
    assert not torch.equal(Dropout(0.5).train()(values), values)
