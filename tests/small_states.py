"""What readouts read, made by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor

from goldrm.reward_model.hidden_states import OUTLOOK
from goldrm.reward_model.states import States
from goldrm.training.batches import LabelledCompletions


def states_of(
    completions: Sequence[Tensor], prompts: Sequence[Tensor] = (), prompt: Sequence[int] = ()
) -> States:
    """States of the completions and prompts whose rows are given; `prompt` is each one's.

    Where there are prompts, the last columns of the completions are their outlook.
    """
    both = torch.cat(list(completions))
    width = both.shape[1] - (OUTLOOK if prompts else 0)
    return States(
        rows=both[:, :width],
        place=torch.arange(len(both)),
        outlook=both[:, width:],
        lengths=torch.tensor([len(rows) for rows in completions]),
        prompt_rows=torch.cat(list(prompts)) if prompts else torch.zeros(0, 0),
        prompt_lengths=torch.tensor([len(rows) for rows in prompts], dtype=torch.int64),
        prompt=torch.tensor(prompt or [0] * len(completions)),
    )


def labelled(states: States, gold_rewards: Tensor, sizes: Sequence[int]) -> LabelledCompletions:
    """The completions of some states with gold rewards, in groups of such sizes."""
    return LabelledCompletions(
        rows=states.rows,
        place=states.place,
        outlook=states.outlook,
        ends=states.lengths.cumsum(0),
        prompt_rows=states.prompt_rows,
        prompt_ends=states.prompt_lengths.cumsum(0),
        prompt=states.prompt,
        gold_rewards=gold_rewards,
        groups=torch.tensor(sizes).cumsum(0),
    )
