"""What a readout reads of completions: hidden states of every token, or of the last one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.completion_reader import CompletionReader
from goldrm.reward_model.lm_log_probs import lm_log_probs
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
        context_prompts: Sequence[list[int]] | None = None,
    ) -> States:
        """Read completions.

        Args:
            reader: what `reader` made; what it has read before it doesn't read again.
            prompts: token ids of each completion's prompt, not empty where the completion is.
            completions: token ids of each, at least one.
            context_prompts: token ids of the prompts behind which the completions are read; None:
                behind their own.
        """


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
        context_prompts: Sequence[list[int]] | None = None,
    ) -> States:
        """See `Reading.read`; of the prompt nothing is read by itself."""
        contexts = prompts if context_prompts is None else context_prompts
        sequences = [context + own for context, own in zip(contexts, completions, strict=True)]
        rows = last_hidden_states(reader.backbone, sequences)
        token_rows = torch.arange(len(rows), device=rows.device)
        no_prompt = token_rows.new_zeros(1)  # one prompt, without tokens
        return States(
            rows=rows,
            token_rows=token_rows,
            lm_log_probs=rows[:, :0],
            token_counts=torch.ones_like(token_rows),
            prompt_rows=rows[:0, :0],
            prompt_token_counts=no_prompt,
            prompt=torch.zeros_like(token_rows),
        )


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


class EveryTokenReading(Reading):
    """Every token's hidden states, what the language model expects there, and the prompt's."""

    stored_dtype = torch.float16

    def __init__(self, completion_layers: Sequence[int], prompt_layers: Sequence[int]) -> None:
        """After which blocks a completion's states and a prompt's are read, 0: the embeddings."""
        self.completion_layers, self.prompt_layers = completion_layers, prompt_layers
        self.layers = tuple(sorted({*completion_layers, *prompt_layers}))

    def read(
        self,
        reader: CompletionReader,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
        context_prompts: Sequence[list[int]] | None = None,
    ) -> States:
        """See `Reading.read`."""
        read = reader.read(prompts, completions, context_prompts)
        return States(
            rows=reader.rows(read.nodes, self.completion_layers),
            token_rows=read.token_rows,
            lm_log_probs=lm_log_probs(reader, read),
            token_counts=read.token_counts,
            prompt_rows=reader.rows(read.prompt_nodes, self.prompt_layers),
            prompt_token_counts=read.prompt_token_counts,
            prompt=read.prompt,
        )
