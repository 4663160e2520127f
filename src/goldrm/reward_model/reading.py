"""What a readout reads of completions: the prompt's states and all tokens, or the last state."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.completion_reader import CompletionReader, numbered
from goldrm.reward_model.states import States


class Reading(ABC):
    """What a readout reads.

    Attributes:
        layers: after which blocks hidden states are read of every token, ascending.
        stored_dtype: in which the states are kept for training.
    """

    layers: tuple[int, ...] = ()
    stored_dtype: ClassVar[torch.dtype]

    def reader(self, backbone: Backbone) -> CompletionReader:
        """A reader, of which `read` can be asked, that has read nothing yet."""
        return CompletionReader(backbone, self.layers)

    @abstractmethod
    def read(
        self,
        reader: CompletionReader,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
    ) -> States:
        """Read completions.

        Args:
            reader: what `reader` made; what it has read before it doesn't read again.
            prompts: token ids of each completion's prompt, not empty where the completion is.
            completions: token ids of each, at least one.
        """

    @abstractmethod
    def is_cut(self, reader: CompletionReader, prompt: list[int], completion: list[int]) -> bool:
        """Whether the first tokens of a prompt aren't read, because the context is too short."""


class LastTokenReading(Reading):
    """The last token's final hidden state.

    As in the notebook: right-aligned in the context, padding on the left attended to. Unlike it,
    without dropout, and of a sequence longer than the context the last tokens count.
    """

    stored_dtype = torch.float32

    def read(
        self,
        reader: CompletionReader,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
    ) -> States:
        """See `Reading.read`; of the prompt nothing is read by itself."""
        sequences = [prompt + own for prompt, own in zip(prompts, completions, strict=True)]
        rows = last_hidden_states(reader.backbone, sequences)
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

    def is_cut(self, reader: CompletionReader, prompt: list[int], completion: list[int]) -> bool:
        """See `Reading.is_cut`: both share the context."""
        return len(prompt) + len(completion) > reader.backbone.sizes.context_length


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
        reader: CompletionReader,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
    ) -> States:
        """See `Reading.read`."""
        distinct, numbers = numbered(map(tuple, prompts))
        read = reader.read(list(map(list, distinct)), [[]] * len(distinct))
        prompt_rows = reader.rows(read.prompt_nodes)
        last = [prompt[-1] if prompt else reader.backbone.sizes.padding_int for prompt in prompts]
        tokens = [[first, *own] for first, own in zip(last, completions, strict=True)]
        row_token_ids = read.prompt.new_tensor(list(chain.from_iterable(tokens)))
        return States(
            rows=prompt_rows.new_empty((len(row_token_ids), 0)),
            row_token_ids=row_token_ids,
            token_rows=torch.arange(len(row_token_ids), device=row_token_ids.device),
            token_counts=read.prompt.new_tensor([len(own) for own in tokens]),
            prompt_rows=prompt_rows,
            prompt_row_token_ids=reader.token_ids(read.prompt_nodes),
            prompt_token_counts=read.prompt_token_counts,
            prompt=read.prompt[read.prompt.new_tensor(numbers)],
        )

    def is_cut(self, reader: CompletionReader, prompt: list[int], completion: list[int]) -> bool:
        """See `Reading.is_cut`: the prompt is read by itself."""
        return len(prompt) > reader.prompt_width
