"""What a readout reads of completions: the prompt's states and all tokens, or the last state."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.lm.model import Backbone, right_aligned
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.prefix_tree import prompt_width, read_shared
from goldrm.reward_model.states import States


class Reading(ABC):
    """What a readout reads.

    Attributes:
        layers: after which blocks hidden states are read of every token, ascending.
        stored_dtype: in which the states are kept for training.
    """

    layers: tuple[int, ...] = ()
    stored_dtype: ClassVar[torch.dtype]

    @abstractmethod
    def read(
        self,
        backbone: Backbone,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
    ) -> States:
        """Read completions.

        Args:
            backbone: the frozen language model; it is put into evaluation mode.
            prompts: token ids of each completion's prompt, not empty where the completion is.
            completions: token ids of each, at least one.
        """

    @abstractmethod
    def is_cut(self, sizes: BackboneSizes, prompt: list[int], completion: list[int]) -> bool:
        """Whether the first tokens of a prompt aren't read, because the context is too short."""


class LastTokenReading(Reading):
    """The last token's final hidden state.

    As in the notebook: right-aligned in the context, padding on the left attended to. Unlike it,
    without dropout, and of a sequence longer than the context the last tokens count.
    """

    stored_dtype = torch.float32

    def read(
        self,
        backbone: Backbone,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
    ) -> States:
        """See `Reading.read`; of the prompt nothing is read by itself."""
        sequences = [prompt + own for prompt, own in zip(prompts, completions, strict=True)]
        rows = last_hidden_states(backbone, sequences)
        token_rows = torch.arange(len(rows), device=rows.device)
        no_prompt = token_rows.new_zeros(1)  # one prompt, without tokens
        return States(
            rows=rows,
            row_token_ids=token_rows.new_tensor([sequence[-1] for sequence in sequences]),
            token_rows=token_rows,
            token_counts=torch.ones_like(token_rows),
            prompt_rows=rows[:0, :0],
            prompt_row_token_ids=token_rows[:0],
            prompt_token_counts=no_prompt,
            prompt=torch.zeros_like(token_rows),
        )

    def is_cut(self, sizes: BackboneSizes, prompt: list[int], completion: list[int]) -> bool:
        """See `Reading.is_cut`: both share the context."""
        return len(prompt) + len(completion) > sizes.context_length


@torch.no_grad()
def last_hidden_states(
    backbone: Backbone, sequences: Sequence[list[int]]
) -> Float[Tensor, "sequences embd"]:
    """The last token's final hidden state of each sequence, without dropout.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        sequences: token ids of prompt + completion of each, none empty.
    """
    return backbone.eval().last_states(sequences)


class PromptReading(Reading):
    """The hidden states of the prompt's tokens; of the completion which tokens it has.

    So what the language model makes of a completion isn't read: on families that it hasn't seen it
    often takes its own mistakes for right.
    """

    stored_dtype = torch.float16

    def __init__(self, layers: Sequence[int]) -> None:
        """After which blocks the states are read, 0: the embeddings."""
        self.layers = tuple(layers)

    def read(
        self,
        backbone: Backbone,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
    ) -> States:
        """See `Reading.read`."""
        sizes, device = backbone.sizes, backbone.token_prediction.weight.device
        width = prompt_width(sizes)
        # An empty one is a padding token; of a long one the last tokens count.
        own = [tuple(prompt[-width:]) or (sizes.padding_int,) for prompt in prompts]
        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(own))}
        aligned = right_aligned(list(map(list, numbers)), width, sizes.padding_int).to(device)
        read = read_shared(backbone, aligned, self.layers)
        counts = torch.tensor(list(map(len, numbers)), device=device)
        is_own = torch.arange(width, device=device) >= width - counts[:, None]
        prompt_rows = read.rows[read.nodes[is_own]]
        tokens = [[prompt[-1], *said] for prompt, said in zip(own, completions, strict=True)]
        row_token_ids = counts.new_tensor(np.fromiter(chain.from_iterable(tokens), np.int64))
        return States(
            rows=prompt_rows.new_empty((len(row_token_ids), 0)),
            row_token_ids=row_token_ids,
            token_rows=torch.arange(len(row_token_ids), device=device),
            token_counts=counts.new_tensor(list(map(len, tokens))),
            prompt_rows=prompt_rows,
            prompt_row_token_ids=aligned[is_own],
            prompt_token_counts=counts,
            prompt=counts.new_tensor([numbers[prompt] for prompt in own]),
        )

    def is_cut(self, sizes: BackboneSizes, prompt: list[int], completion: list[int]) -> bool:
        """See `Reading.is_cut`: the prompt is read by itself."""
        return len(prompt) > prompt_width(sizes)
