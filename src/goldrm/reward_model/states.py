"""What a readout reads of completions."""

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.reward_model.ragged import Ragged


@dataclass(frozen=True, eq=False)
class States:
    """Hidden states of completions and of the prompts that they answer.

    A completion's first token is its prompt's last one, which had to predict what is said first;
    then come its own. Completions that begin alike share rows. The completions `3 7` and `3 9` of
    a prompt that ends with the word `value`, for example:

        rows           the states at value, 3, 7 and 9
        row_token_ids  the ids of value, 3, 7 and 9
        token_rows     0 1 2, 0 1 3
        token_counts   3, 3
        prompt         0, 0

    Attributes:
        rows: hidden states of completions; no columns where a readout reads the prompts' only.
        row_token_ids: the token of each row.
        token_rows: the row of each token, completion after completion.
        token_counts: how many tokens each completion has, at least one.
        prompt_rows: hidden states of the prompts' tokens, prompt after prompt.
        prompt_row_token_ids: the token of each of these.
        prompt_token_counts: how many tokens each prompt has; 0 where a readout reads no prompts.
        prompt: the number of the prompt that each completion answers, from 0.
    """

    rows: Float[Tensor, "rows embds"]
    row_token_ids: Int[Tensor, " rows"]
    token_rows: Int[Tensor, " tokens"]
    token_counts: Int[Tensor, " completions"]
    prompt_rows: Float[Tensor, "prompt_tokens prompt_embds"]
    prompt_row_token_ids: Int[Tensor, " prompt_tokens"]
    prompt_token_counts: Int[Tensor, " prompts"]
    prompt: Int[Tensor, " completions"]

    @cached_property
    def tokens(self) -> Ragged:
        """Which tokens are each completion's."""
        return Ragged(self.token_counts)

    @cached_property
    def prompt_tokens(self) -> Ragged:
        """Which prompt rows are each prompt's."""
        return Ragged(self.prompt_token_counts)

    @cached_property
    def is_own(self) -> Float[Tensor, "tokens 1"]:
        """1 for a completion's own tokens, 0 for its first one, which is its prompt's last."""
        ones = torch.ones(len(self.token_rows), 1, device=self.token_rows.device)
        return ones.index_fill(0, self.tokens.offsets, 0.0)

    def to(self, device: torch.device, dtype: torch.dtype) -> "States":
        """The same on a device, its floating-point numbers in a dtype."""
        tensors: list[Tensor] = [getattr(self, field.name) for field in fields(self)]
        return States(*(t.to(device, dtype if t.is_floating_point() else t.dtype) for t in tensors))
