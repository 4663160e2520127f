"""Features brought to one scale by fixed numbers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

ROWS_FITTED_TOGETHER = 8_192  # their float64 copies are in memory at once
LOWEST_VARIANCE = 1e-6  # of a feature that is constant, say


class Standardised(nn.Module):
    """Gives each feature mean 0 and deviation 1."""

    def __init__(self, features: int) -> None:
        """Nothing fitted: features stay as they are."""
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(features))
        self.deviation = nn.Buffer(torch.ones(features))

    def fit(self, rows: Float[Tensor, "rows features"]) -> None:
        """Take mean and deviation from these rows."""
        total, squares = torch.zeros(()).double(), torch.zeros(()).double()
        for part in rows.split(ROWS_FITTED_TOGETHER):
            values = part.double()
            total, squares = total + values.sum(0), squares + (values**2).sum(0)
        mean = total / len(rows)
        self.mean.copy_(mean)
        variance = (squares / len(rows) - mean**2).clamp(min=LOWEST_VARIANCE)
        self.deviation.copy_(variance.sqrt())

    def forward(self, rows: Float[Tensor, "rows features"]) -> Float[Tensor, "rows features"]:
        """The rows on that scale."""
        return (rows - self.mean).div_(self.deviation)
