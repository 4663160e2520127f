"""Labelled completions as what a readout trains on: hidden states, gold rewards, groups.

It must not know how a readout uses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from goldrm import distributed
from goldrm.backbone import Backbone
from goldrm.checkpoint import read_tensors, write_tensors
from goldrm.config import RewardModelParams
from goldrm.dictionary import Dictionary
from goldrm.hidden_states import completion_hidden_states, last_hidden_states

CHUNK = 1024  # completions whose hidden states are computed, and kept for resuming, together


@dataclass(frozen=True)
class States:
    """What a readout reads of some completions.

    Attributes:
        rows: hidden states, those of a completion side by side.
        lengths: how many rows each completion has, at least one.
    """

    rows: Float[Tensor, "rows embds"]
    lengths: Int[Tensor, " completions"]


def read_completions(
    backbone: Backbone,
    dictionary: Dictionary,
    params: RewardModelParams,
    prompts: Sequence[str],
    completions: Sequence[str],
) -> States:
    """The hidden states that the readout of `params` reads, in float32.

    Raises:
        GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
    """
    before = [dictionary.encode(prompt) for prompt in prompts]
    after = [dictionary.encode(completion) for completion in completions]
    if params.readout == "last_token":
        both = [first + second for first, second in zip(before, after, strict=True)]
        rows = last_hidden_states(backbone, both)
        return States(rows, torch.ones(len(rows), dtype=torch.int64, device=rows.device))
    states = completion_hidden_states(backbone, before, after, params.layers)
    lengths = torch.tensor([len(each) for each in states], device=states[0].device)
    return States(torch.cat(states), lengths)


@dataclass(frozen=True)
class LabelledCompletions:
    """Completions in groups, of which each is one prompt's.

    Attributes:
        rows: hidden states of all completions, one after the other.
        ends: where the rows of each completion end.
        gold_rewards: exact reward of each completion.
        groups: where the completions of each group end.
    """

    rows: Float[Tensor, "rows embds"]
    ends: Int[Tensor, " completions"]
    gold_rewards: Float[Tensor, " completions"]
    groups: Int[Tensor, " groups"]

    def __len__(self) -> int:
        return len(self.groups)

    def batch(
        self, groups: Int[Tensor, " batch"]
    ) -> tuple[States, Float[Tensor, " completions"], Int[Tensor, " completions"]]:
        """States and gold rewards of the groups' completions, and the group of each, from 0."""
        completions, group = _spans(self.groups, groups)
        rows, _ = _spans(self.ends, completions)
        lengths = self.ends[completions] - _starts(self.ends)[completions]
        return States(self.rows[rows].float(), lengths), self.gold_rewards[completions], group


def _starts(ends: Int[Tensor, " spans"]) -> Int[Tensor, " spans"]:
    return torch.cat((ends.new_zeros(1), ends[:-1]))


def _spans(
    ends: Int[Tensor, " all"], chosen: Int[Tensor, " spans"]
) -> tuple[Int[Tensor, " elements"], Int[Tensor, " elements"]]:
    """The elements of the chosen spans, and the number of its span for each."""
    starts = _starts(ends)[chosen]
    lengths = ends[chosen] - starts
    owner = torch.repeat_interleave(lengths)
    before = torch.cumsum(lengths, 0) - lengths
    return torch.arange(len(owner), device=ends.device) - before[owner] + starts[owner], owner


def write_states(
    backbone: Backbone,
    dictionary: Dictionary,
    params: RewardModelParams,
    completions: pd.DataFrame,
    work: Path,
) -> None:
    """Compute the hidden states of completions, shared by all processes, into files.

    Args:
        backbone: the frozen language model.
        dictionary: its tokens.
        params: of the readout that will read them.
        completions: with columns prompt and completion.
        work: folder in which finished chunks survive a kill; `labelled_completions` reads them.
    """

    def make(chunk: int) -> States:
        part = completions[chunk * CHUNK : (chunk + 1) * CHUNK]
        return read_completions(
            backbone, dictionary, params, part["prompt"].tolist(), part["completion"].tolist()
        )

    chunks = range(-(-len(completions) // CHUNK))
    missing = [chunk for chunk in chunks if not _file(work, chunk).exists()]
    hidden = None if distributed.leads() else True
    made = distributed.shared(missing, make)
    progress = tqdm(total=len(missing), desc=work.name, unit="chunk", disable=hidden)
    for chunk, states in made:
        rows = states.rows if params.readout == "last_token" else states.rows.half()
        write_tensors(_file(work, chunk), {"rows": rows, "lengths": states.lengths})
        progress.update()
    progress.close()


def labelled_completions(completions: pd.DataFrame, work: Path) -> LabelledCompletions:
    """Completions with the hidden states that `write_states` left for them.

    The states stay in a file that is mapped into memory, so they may be larger than it.

    Args:
        completions: as given to `write_states`, with columns group and gold_reward; those of a
            group are side by side.
        work: the folder.
    """
    all_rows = work / "rows.bin"
    lengths: list[Tensor] = []
    with all_rows.open("wb") as file:
        for chunk in range(-(-len(completions) // CHUNK)):
            states, _ = read_tensors(_file(work, chunk))
            lengths.append(states["lengths"])
            file.write(states["rows"].numpy().data)
    ends = torch.cumsum(torch.cat(lengths), 0)
    first = read_tensors(_file(work, 0))[0]["rows"][:1]
    size = int(ends[-1]) * first.numel()
    rows = torch.from_file(str(all_rows), shared=False, size=size, dtype=first.dtype)
    rows = rows.view(-1, first.numel())
    group = completions["group"].to_numpy()
    last_of_group = np.flatnonzero(np.append(group[1:] != group[:-1], True))
    gold_rewards = torch.from_numpy(completions["gold_reward"].to_numpy(copy=True)).float()
    return LabelledCompletions(rows, ends, gold_rewards, torch.from_numpy(last_of_group + 1))


def _file(work: Path, chunk: int) -> Path:
    return work / f"hidden-{chunk:05d}.safetensors"
