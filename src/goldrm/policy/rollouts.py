"""Completions that a policy samples, and the logits by which it did.

A prompt ends where the decoder has it end, with padding on its left that is attended to; so the
logits of a pass over whole completions are those that the decoder sampled by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from goldrm.generation.decoding import complete
from goldrm.lm.cache import Cache
from goldrm.lm.model import Backbone, right_aligned


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Completions of prompts, as many of each; what was sampled twice is kept, and read, once.

    Attributes:
        prompts: token ids of each prompt.
        actions: token ids of each distinct completion, the end token included where the policy
            ended it.
        prompt: number of the prompt that each of them answers.
        sampled: which of them were sampled, a row a prompt.
        max_new_tokens: longest completion.
    """

    prompts: list[list[int]]
    actions: list[tuple[int, ...]]
    prompt: Int[Tensor, " completions"]
    sampled: Int[Tensor, "prompts copies"]
    max_new_tokens: int

    def without_end(self, eos_id: int) -> list[list[int]]:
        """The distinct completions without their end tokens."""
        return [list(own[:-1] if own[-1] == eos_id else own) for own in self.actions]

    @property
    def is_action(self) -> Bool[Tensor, "completions time"]:
        """Which places of the distinct completions, padded to the longest, hold an action."""
        lengths = torch.tensor(list(map(len, self.actions)))
        return torch.arange(int(lengths.max())) < lengths[:, None]

    def action_ids(self, padding_int: int) -> Int[Tensor, "completions time"]:
        """The actions, with padding behind those of shorter completions."""
        time = max(map(len, self.actions))
        padded = [[*own, *[padding_int] * (time - len(own))] for own in self.actions]
        return torch.tensor(padded)


def sample(
    policy: Backbone,
    prompts: Sequence[list[int]],
    copies: int,
    temperature: float,
    max_new_tokens: int,
) -> Rollouts:
    """Completions of some prompts, from the current random stream, without dropout.

    Args:
        policy: the language model; it is put into evaluation mode.
        prompts: token ids of each prompt.
        copies: completions of each.
        temperature: of the softmax; 0 takes the likeliest token.
        max_new_tokens: longest completion.

    Raises:
        GoldrmError: when prompt and completion don't fit the context.
    """
    repeated = [prompt for prompt in prompts for _ in range(copies)]
    completions = complete(policy.eval(), repeated, "kv_cache", temperature, max_new_tokens)
    end = policy.sizes.eos_int
    answers = [
        (row // copies, (*own, end) if len(own) < max_new_tokens else tuple(own))
        for row, own in enumerate(completions)
    ]
    numbers = {answer: number for number, answer in enumerate(dict.fromkeys(answers))}
    return Rollouts(
        prompts=list(prompts),
        actions=[actions for _, actions in numbers],
        prompt=torch.tensor([prompt for prompt, _ in numbers]),
        sampled=torch.tensor([numbers[answer] for answer in answers]).view(-1, copies),
        max_new_tokens=max_new_tokens,
    )


class _PromptCache(Cache):
    """Keys and values of prompts, read first, behind which their completions are read."""

    def __init__(self, prompt: Int[Tensor, " completions"]) -> None:
        """`prompt` says whose completion each is."""
        super().__init__()
        self._prompt = prompt
        self._prompts: list[tuple[Tensor, Tensor]] = []  # keys and values of each layer

    def append(
        self,
        layer: int,
        keys: Float[Tensor, "batch heads time head_size"],
        values: Float[Tensor, "batch heads time head_size"],
    ) -> tuple[Float[Tensor, "batch heads _positions head_size"], ...]:
        """Keep the prompts' keys and values; put each completion's behind those of its prompt."""
        if self.length == 0:
            self._prompts.append((keys, values))
            return keys, values
        both = zip(self._prompts[layer], (keys, values), strict=True)
        return tuple(
            torch.cat([of_prompts.index_select(0, self._prompt), own], dim=2)
            for of_prompts, own in both
        )


def action_logits(model: Backbone, rollouts: Rollouts) -> Float[Tensor, "completions time vocab"]:
    """The logits by which a model picks every action, with gradients where it has them.

    Behind a completion's end they mean nothing.
    """
    sizes, device = model.sizes, model.token_prediction.weight.device
    width = sizes.context_length - rollouts.max_new_tokens + 1
    prompts = right_aligned(rollouts.prompts, width, sizes.padding_int).to(device)
    prompt = rollouts.prompt.to(device)
    cache = _PromptCache(prompt)
    hidden = model.hidden_states(prompts, cache, last_only=True).index_select(0, prompt)
    read = rollouts.action_ids(sizes.padding_int)[:, :-1].to(device)  # the last isn't read
    if read.shape[1]:
        hidden = torch.cat([hidden, model.hidden_states(read, cache)], dim=1)
    return model.token_prediction(hidden)
