"""What a readout reads of completions, and labelled completions in batches to train on.

It must not know how hidden states are made nor how a readout uses them.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.reward_model.ragged import chosen_spans


@dataclass(frozen=True)
class States:
    """What a readout reads of some completions.

    Attributes:
        rows: hidden states; completions of one prompt may share some.
        place: the row of each place in a completion, those of a completion side by side.
        outlook: what the language model expects at each place (`hidden_states.outlook`); empty
            where a readout doesn't read it.
        lengths: how many places each completion has, at least one.
        prompt_rows: hidden states of the prompts' tokens; empty where a readout reads none.
        prompt_lengths: how many rows each prompt has.
        prompt: which prompt each completion answers, from 0.
    """

    rows: Float[Tensor, "rows embds"]
    place: Int[Tensor, " places"]
    outlook: Float[Tensor, "places expected"]
    lengths: Int[Tensor, " completions"]
    prompt_rows: Float[Tensor, "prompt_rows prompt_embds"]
    prompt_lengths: Int[Tensor, " prompts"]
    prompt: Int[Tensor, " completions"]

    def to(self, device: torch.device) -> "States":
        """The same on a device, in float32."""
        return States(
            self.rows.to(device).float(),
            self.place.to(device),
            self.outlook.to(device).float(),
            self.lengths.to(device),
            self.prompt_rows.to(device).float(),
            self.prompt_lengths.to(device),
            self.prompt.to(device),
        )

    def of(self, completions: Int[Tensor, " chosen"]) -> "States":
        """The same of some of the completions, in the order given; all rows are kept."""
        places, _ = chosen_spans(torch.cumsum(self.lengths, 0), completions)
        return replace(
            self,
            place=self.place[places],
            outlook=self.outlook[places],
            lengths=self.lengths[completions],
            prompt=self.prompt[completions],
        )
