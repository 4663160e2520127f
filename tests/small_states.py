"""What readouts read, made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from goldrm.reward_model.states import States
from goldrm.training.batches import LabelledCompletions

PAD, EOS = 127, 128
PROMPT_AND_COMPLETION_LENGTHS = list(product([14, 20, 21, 1, 33, 0], [0, 1, 5, 19, 20, 21, 39, 45]))


def states_of(
    completions: Sequence[Tensor], prompts: Sequence[Tensor] = (), prompt: Sequence[int] = ()
) -> States:
    """States of the completions and prompts whose rows are given; `prompt` is each one's.

    No two rows have the same token. Where there are no prompts, all completions answer one without
    tokens, as for readouts of the last token.
    """
    rows = torch.cat(list(completions))
    prompt_rows = torch.cat(list(prompts)) if prompts else torch.zeros(0, 0)
    return States(
        rows=rows,
        row_token_ids=torch.arange(len(rows)),
        token_rows=torch.arange(len(rows)),
        token_counts=torch.tensor([len(rows) for rows in completions]),
        prompt_rows=prompt_rows,
        prompt_row_token_ids=torch.arange(len(prompt_rows)),
        prompt_token_counts=torch.tensor([len(rows) for rows in prompts] or [0]),
        prompt=torch.tensor(prompt or [0] * len(completions)),
    )


def token_states(
    completions: Sequence[list[int]],
    prompts: Sequence[tuple[list[int], Tensor]],
    prompt: Sequence[int],
) -> States:
    """States as a `PromptReading` gives them.

    Args:
        completions: the token ids of each.
        prompts: the token ids of each, and their rows.
        prompt: the number of each completion's prompt.
    """
    tokens = [[prompts[n][0][-1], *own] for n, own in zip(prompt, completions, strict=True)]
    states = states_of(
        [torch.zeros(len(own), 0) for own in tokens], [p[1] for p in prompts], prompt
    )
    return replace(
        states,
        row_token_ids=torch.tensor(sum(tokens, [])),
        prompt_row_token_ids=torch.tensor(sum((ids for ids, _ in prompts), [])),
    )


def labelled(states: States, gold_rewards: Tensor, sizes: Sequence[int]) -> LabelledCompletions:
    """The completions of some states with gold rewards, in groups of such sizes."""
    return LabelledCompletions.paired(states, gold_rewards, torch.tensor(sizes))


def texts_of_every_length() -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of prompts and completions; two completions of each length for a prompt.

    Some end in PAD or EOS, and one prompt begins as another does.
    """
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(129, (40,), generator=generator).tolist()
    prompts = [ids[:length] for length, _ in PROMPT_AND_COMPLETION_LENGTHS] * 2
    completions = [
        torch.randint(120, 129, (length,), generator=generator).tolist()
        for _, length in PROMPT_AND_COMPLETION_LENGTHS * 2
    ]
    return prompts, completions


def in_context(prompt: list[int], completion: list[int]) -> tuple[Tensor, int]:
    """[PAD …, prompt, completion] in one piece, and the position of the prompt's last token."""
    completion = completion[-39:]
    end = min(21, 40 - len(completion))
    padded = [PAD] * 21 + prompt
    return torch.tensor([padded[len(padded) - end :] + completion]), end - 1
