"""Labelled completions in batches to train on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from goldrm.reward_model.ragged import Ragged, distinct
from goldrm.reward_model.states import States

GROUPS_FOUND_TOGETHER = 4096  # a batch by itself takes 0.2 ms to find, a training step may take 1.2


@dataclass(frozen=True, eq=False)
class Batch:
    """Some labelled completions, those of each prompt side by side.

    Attributes:
        states: what a readout reads of them.
        gold_rewards: exact reward of each, NaN where it isn't known.
        chosen: number of the preferred completion of each pair: two of a group.
        rejected: number of the other one.
    """

    states: States
    gold_rewards: Float[Tensor, " completions"]
    chosen: Int[Tensor, " pairs"]
    rejected: Int[Tensor, " pairs"]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, in float32."""
        return Batch(
            self.states.to(device, torch.float32),
            self.gold_rewards.to(device, torch.float32),
            self.chosen.to(device),
            self.rejected.to(device),
        )


@dataclass(frozen=True, eq=False)
class LabelledCompletions:
    """Completions in groups, each group of one prompt, and the pairs that they make.

    Attributes:
        states: what a readout reads of them; its rows may lie in a file.
        gold_rewards: exact reward of each completion, NaN where it isn't known.
        group_sizes: how many completions each group has, at least one.
        pair_counts: how many pairs each group has.
        chosen: of each pair, group after group, the preferred completion's number in its group.
        rejected: of each pair the other completion's.
    """

    states: States
    gold_rewards: Float[Tensor, " completions"]
    group_sizes: Int[Tensor, " groups"]
    pair_counts: Int[Tensor, " groups"]
    chosen: Int[Tensor, " pairs"]
    rejected: Int[Tensor, " pairs"]

    @classmethod
    def paired(
        cls,
        states: States,
        gold_rewards: Float[Tensor, " completions"],
        group_sizes: Int[Tensor, " groups"],
    ) -> "LabelledCompletions":
        """Completions with all pairs of a group whose order is known.

        The one with the higher gold reward is preferred. Of completions without gold rewards those
        that stand earlier are.
        """
        groups = Ragged(group_sizes)
        gold = groups.to_padded(gold_rewards[:, None], float("nan"))  # (groups, longest, 1)
        unknown = groups.to_padded(gold_rewards[:, None].isnan().float()) > 0
        earlier = (unknown & unknown.mT).triu(diagonal=1)
        group, chosen, rejected = ((gold - gold.mT > 0) | earlier).nonzero().unbind(1)
        pair_counts = torch.bincount(group, minlength=len(group_sizes))
        return cls(states, gold_rewards, group_sizes, pair_counts, chosen, rejected)

    def __len__(self) -> int:
        return len(self.group_sizes)

    @cached_property
    def groups(self) -> Ragged:
        """Which completions are each group's."""
        return Ragged(self.group_sizes)

    @cached_property
    def pairs(self) -> Ragged:
        """Which pairs are each group's."""
        return Ragged(self.pair_counts)

    def with_flipped(self, flipped: Bool[Tensor, " pairs"]) -> "LabelledCompletions":
        """The same with the other order of some pairs."""
        return replace(
            self,
            chosen=torch.where(flipped, self.rejected, self.chosen),
            rejected=torch.where(flipped, self.chosen, self.rejected),
        )

    def batches(self, groups: Int[Tensor, " chosen"], size: int) -> Iterator[Batch]:
        """The completions of some groups, `size` groups at a time; the last ones may be fewer."""
        for part in groups.split(max(GROUPS_FOUND_TOGETHER // size, 1) * size):
            yield from self._batches(part, size)

    def _batches(self, groups: Int[Tensor, " chosen"], size: int) -> Iterator[Batch]:
        completions, own_groups = self.groups.select(groups)
        batches = own_groups.owners // size  # of each completion
        for tokens, prompts, gold_rewards, chosen, rejected in zip(
            _tokens_by_batch(self.states, completions, batches),
            _prompts_by_batch(self.states, completions, batches),
            _by_batch(self.gold_rewards[completions], batches, batches),
            *self._pairs_by_batch(groups, own_groups, batches),
            strict=True,
        ):
            yield Batch(States(**tokens, **prompts), gold_rewards, chosen, rejected)

    def _pairs_by_batch(
        self,
        groups: Int[Tensor, " chosen"],
        own_groups: Ragged,
        batches: Int[Tensor, " completions"],
    ) -> Iterator[tuple[Tensor, ...]]:
        """Of each batch the numbers of the chosen completions, and of each the rejected ones'."""
        pairs, own_pairs = self.pairs.select(groups)
        first = own_groups.offsets[own_pairs.owners]  # completion of each pair's group
        pair_batches = batches[first]
        first = first - Ragged(torch.bincount(batches)).offsets[pair_batches]
        for side in (self.chosen, self.rejected):
            yield _by_batch(first + side[pairs], pair_batches, batches)


def _tokens_by_batch(
    states: States, completions: Int[Tensor, " chosen"], batches: Int[Tensor, " chosen"]
) -> Iterator[dict[str, Tensor]]:
    """The fields of each batch's `States` that are about tokens.

    Args:
        states: of all completions.
        completions: the numbers of the chosen ones, batch after batch.
        batches: the batch of each of them.
    """
    tokens, own_tokens = states.tokens.select(completions)
    token_batches = batches[own_tokens.owners]
    rows = distinct(states.token_rows[tokens], token_batches)
    for row_numbers, token_rows, token_counts in zip(
        _by_batch(rows.values, rows.owners, batches),
        _by_batch(rows.index, token_batches, batches),
        _by_batch(own_tokens.lengths, batches, batches),
        strict=True,
    ):
        yield {
            "rows": states.rows.index_select(0, row_numbers),
            "row_token_ids": states.row_token_ids.index_select(0, row_numbers),
            "token_rows": token_rows,
            "token_counts": token_counts,
        }


def _prompts_by_batch(
    states: States, completions: Int[Tensor, " chosen"], batches: Int[Tensor, " chosen"]
) -> Iterator[dict[str, Tensor]]:
    """The fields of each batch's `States` that are about prompts."""
    prompts = distinct(states.prompt[completions], batches)
    rows, own_rows = states.prompt_tokens.select(prompts.values)
    row_batches = prompts.owners[own_rows.owners]
    for row_numbers, prompt_token_counts, prompt in zip(
        _by_batch(rows, row_batches, batches),
        _by_batch(own_rows.lengths, prompts.owners, batches),
        _by_batch(prompts.index, batches, batches),
        strict=True,
    ):
        yield {
            "prompt_rows": states.prompt_rows.index_select(0, row_numbers),
            "prompt_row_token_ids": states.prompt_row_token_ids.index_select(0, row_numbers),
            "prompt_token_counts": prompt_token_counts,
            "prompt": prompt,
        }


def _by_batch(
    values: Tensor, owners: Int[Tensor, " values"], batches: Int[Tensor, " completions"]
) -> tuple[Tensor, ...]:
    """The values of each batch; `owners`, ascending, are the values' batches."""
    count = int(batches[-1]) + 1
    return values.split(torch.bincount(owners, minlength=count).tolist())
