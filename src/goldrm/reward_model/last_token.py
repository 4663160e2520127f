"""The notebook's head: one hidden state in, a reward out."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.reward_model.reading import LastTokenReading
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.states import States


class LastTokenReadout(Readout):
    """The notebook's head: LayerNorm → Linear → ReLU → Linear on the last token's hidden state."""

    reading = LastTokenReading()

    def __init__(self, d: int) -> None:
        """`d` is the width of the hidden states; 148,993 parameters with the notebook's 384."""
        super().__init__()
        self.reward_prediction = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)
        )

    def unbounded(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion, of which there is one token, the last one.

        The normalisation's gain and bias go into the next layer's weights, being fewer: so no
        gradient goes back to the rows, which would be a third of a step's matrix products.
        """
        gain, shift, weight, bias, *reward = self.reward_prediction.parameters()
        rows = F.layer_norm(states.rows.index_select(0, states.token_rows), gain.shape)
        hidden = F.relu(F.linear(rows, weight * gain, bias + weight @ shift))
        return F.linear(hidden, *reward).squeeze(-1)
