"""Features brought to one scale by fixed numbers."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goldrm.reward_model.states import States

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


class Scale(nn.Module):
    """Standardises all features of states."""

    def __init__(self, embds: int, expected: int, prompt_embds: int) -> None:
        """The widths of rows, of what the language model expects, and of prompts' rows."""
        super().__init__()
        self.rows = Standardised(embds)
        self.lm_log_probs = Standardised(expected)
        self.prompt_rows = Standardised(prompt_embds)

    def fit(self, states: States) -> None:
        """Let each feature have mean 0 and deviation 1 there."""
        self.rows.fit(states.rows)
        self.lm_log_probs.fit(states.lm_log_probs)
        self.prompt_rows.fit(states.prompt_rows)

    def forward(self, states: States) -> States:
        """The same states on that scale."""
        return replace(
            states,
            rows=self.rows(states.rows),
            lm_log_probs=self.lm_log_probs(states.lm_log_probs),
            prompt_rows=self.prompt_rows(states.prompt_rows),
        )
