"""Labelled completions in batches to train on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.reward_model.ragged import apart, chosen_spans, distinct, places, starts
from goldrm.reward_model.states import States
from goldrm.training.row_file import RowFile

LOOKED_UP = 4096  # groups whose rows and pairs are found together


@dataclass(frozen=True)
class Batch:
    """Some labelled completions in groups, of which each is one prompt's.

    Attributes:
        states: what a readout reads of them.
        gold_rewards: exact reward of each.
        chosen: number of the better completion of each pair: two of a group whose gold rewards
            differ.
        rejected: number of the worse one.
    """

    states: States
    gold_rewards: Float[Tensor, " completions"]
    chosen: Int[Tensor, " pairs"]
    rejected: Int[Tensor, " pairs"]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, in float32."""
        return Batch(
            self.states.to(device),
            self.gold_rewards.to(device),
            self.chosen.to(device),
            self.rejected.to(device),
        )


@dataclass(frozen=True)
class LabelledCompletions:
    """Completions in groups, of which each is one prompt's.

    Attributes:
        rows: hidden states; completions of one prompt may share some.
        place: the row of each place in a completion, of all completions one after the other.
        outlook: what the language model expects at each place; empty where it isn't read.
        ends: where the places of each completion end.
        prompt_rows: hidden states of all prompts.
        prompt_ends: where the rows of each prompt end.
        prompt: which prompt each completion answers.
        gold_rewards: exact reward of each completion.
        groups: where the completions of each group end.
    """

    rows: Float[Tensor, "rows embds"] | RowFile
    place: Int[Tensor, " places"]
    outlook: Float[Tensor, "places expected"]
    ends: Int[Tensor, " completions"]
    prompt_rows: Float[Tensor, "prompt_rows prompt_embds"] | RowFile
    prompt_ends: Int[Tensor, " prompts"]
    prompt: Int[Tensor, " completions"]
    gold_rewards: Float[Tensor, " completions"]
    groups: Int[Tensor, " groups"]

    def __len__(self) -> int:
        return len(self.groups)

    def batches(self, groups: Int[Tensor, " chosen"], size: int) -> Iterator[Batch]:
        """The completions of some groups, `size` groups at a time; the last ones may be fewer."""
        for together in groups.split(max(LOOKED_UP // size, 1) * size):
            yield from self._looked_up(together, size)

    def _looked_up(self, groups: Int[Tensor, " chosen"], size: int) -> Iterator[Batch]:
        """The same; what belongs to each batch is found for all of them at once."""
        completions, group = chosen_spans(self.groups, groups)
        in_place, completion = chosen_spans(self.ends, completions)
        batch = group // size  # of each completion
        of_place = batch[completion]
        rows, of_row, place = distinct(self.place[in_place], of_place)
        prompts, of_prompt, prompt = distinct(self.prompt[completions], batch)
        if not len(self.prompt_ends):  # nothing is read of them
            prompts, of_prompt = prompts[:0], of_prompt[:0]
        prompt_rows, owner = chosen_spans(self.prompt_ends, prompts)
        gold_rewards = self.gold_rewards[completions]
        chosen, rejected = _pairs(gold_rewards, torch.bincount(group, minlength=len(groups)))
        sizes = torch.bincount(batch)
        of_pair = batch[chosen]
        first = starts(sizes)[of_pair]
        numbers = [(each - first, of_pair) for each in (chosen, rejected)]
        parts = (
            (rows, of_row),
            (place, of_place),
            (in_place, of_place),
            (torch.bincount(completion, minlength=len(completions)), batch),
            (prompt_rows, of_prompt[owner]),
            (torch.bincount(owner, minlength=len(prompts)), of_prompt),
            (prompt, batch),
            (gold_rewards, batch),
            *numbers,
        )
        split = (
            values.split(torch.bincount(owners, minlength=len(sizes)).tolist())
            for values, owners in parts
        )
        for rows, place, in_place, lengths, prompt_rows, prompt_lengths, prompt, *judged in zip(
            *split, strict=True
        ):
            states = States(
                self.rows.index_select(0, rows),
                place,
                self.outlook[in_place],
                lengths,
                self.prompt_rows.index_select(0, prompt_rows),
                prompt_lengths,
                prompt,
            )
            yield Batch(states, *judged)


def _pairs(
    gold_rewards: Float[Tensor, " completions"], sizes: Int[Tensor, " groups"]
) -> list[Int[Tensor, " pairs"]]:
    """The better and the worse one of each two completions of a group that differ, by number."""
    by_group = apart(gold_rewards[:, None], places(sizes), float("nan"))
    group, *place = (by_group - by_group.mT > 0).nonzero().unbind(1)
    first = starts(sizes)[group]
    return [first + each for each in place]
