"""Labelled completions as what a readout trains on: hidden states, gold rewards, groups.

It must not know how a readout uses them.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
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
from goldrm.hidden_states import completion_hidden_states, last_hidden_states, outlook

CHUNK = 1024  # completions whose hidden states are computed, and kept for resuming, together


@dataclass(frozen=True)
class States:
    """What a readout reads of some completions.

    Attributes:
        rows: hidden states, those of a completion side by side.
        lengths: how many rows each completion has, at least one.
        prompt_rows: hidden states of the prompts' tokens; empty where a readout reads none.
        prompt_lengths: how many rows each prompt has.
        prompt: which prompt each completion answers, from 0.
    """

    rows: Float[Tensor, "rows embds"]
    lengths: Int[Tensor, " completions"]
    prompt_rows: Float[Tensor, "prompt_rows prompt_embds"]
    prompt_lengths: Int[Tensor, " prompts"]
    prompt: Int[Tensor, " completions"]

    def to(self, device: torch.device) -> "States":
        """The same on a device, in float32."""
        return States(
            self.rows.to(device).float(),
            self.lengths.to(device),
            self.prompt_rows.to(device).float(),
            self.prompt_lengths.to(device),
            self.prompt.to(device),
        )


def read_completions(
    backbone: Backbone,
    dictionary: Dictionary,
    params: RewardModelParams,
    prompts: Sequence[str],
    completions: Sequence[str],
) -> States:
    """The hidden states that the readout of `params` reads, in float32.

    A readout of every token also reads what the language model expected there: `outlook`.

    Args:
        backbone: the frozen language model.
        dictionary: its tokens.
        params: of the readout.
        prompts: of each completion.
        completions: at least one.

    Raises:
        GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
    """
    before = [dictionary.encode(prompt) for prompt in prompts]
    after = [dictionary.encode(completion) for completion in completions]
    if params.readout == "last_token":
        both = [first + second for first, second in zip(before, after, strict=True)]
        return _last_token(last_hidden_states(backbone, both))
    d = backbone.sizes.d
    layers = sorted({*params.layers, backbone.sizes.num_layers})
    states = completion_hidden_states(backbone, before, after, layers, params.prompt_layers)
    device = states.completions[0].device
    seen = [
        torch.cat(
            (hidden[:, : len(params.layers) * d], outlook(backbone, hidden[:, -d:], completion)),
            dim=1,
        )
        for hidden, completion in zip(states.completions, after, strict=True)
    ]
    return States(
        torch.cat(seen),
        torch.tensor([len(each) for each in states.completions], device=device),
        torch.cat(states.prompts),
        torch.tensor([len(each) for each in states.prompts], device=device),
        torch.tensor(states.prompt, device=device),
    )


def _last_token(rows: Float[Tensor, "completions embd"]) -> States:
    one = torch.ones(len(rows), dtype=torch.int64, device=rows.device)
    return States(rows, one, rows.new_empty((0, 0)), one[:0], torch.zeros_like(one))


@dataclass(frozen=True)
class LabelledCompletions:
    """Completions in groups, of which each is one prompt's.

    Attributes:
        rows: hidden states of all completions, one after the other.
        ends: where the rows of each completion end.
        prompt_rows: hidden states of all prompts.
        prompt_ends: where the rows of each prompt end.
        prompt: which prompt each completion answers.
        gold_rewards: exact reward of each completion.
        groups: where the completions of each group end.
    """

    rows: Float[Tensor, "rows embds"]
    ends: Int[Tensor, " completions"]
    prompt_rows: Float[Tensor, "prompt_rows prompt_embds"]
    prompt_ends: Int[Tensor, " prompts"]
    prompt: Int[Tensor, " completions"]
    gold_rewards: Float[Tensor, " completions"]
    groups: Int[Tensor, " groups"]

    def __len__(self) -> int:
        return len(self.groups)

    def batch(
        self, groups: Int[Tensor, " batch"]
    ) -> tuple[States, Float[Tensor, " completions"], Int[Tensor, " completions"]]:
        """States and gold rewards of the groups' completions, and the group of each, from 0."""
        completions, group = _spans(self.groups, groups)
        rows, owner = _spans(self.ends, completions)
        prompts, prompt = torch.unique(self.prompt[completions], return_inverse=True)
        if not len(self.prompt_ends):
            prompts = prompts[:0]
        prompt_rows, prompt_owner = _spans(self.prompt_ends, prompts)
        states = States(
            self.rows[rows],
            torch.bincount(owner, minlength=len(completions)),
            self.prompt_rows[prompt_rows],
            torch.bincount(prompt_owner, minlength=len(prompts)),
            prompt,
        )
        return states, self.gold_rewards[completions], group


def _spans(
    ends: Int[Tensor, " all"], chosen: Int[Tensor, " spans"]
) -> tuple[Int[Tensor, " elements"], Int[Tensor, " elements"]]:
    """The elements of the chosen spans, and the number of its span for each."""
    starts = torch.cat((ends.new_zeros(1), ends))[chosen]
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

    missing = [c for c in _chunks(completions) if not _file(work, c).exists()]
    hidden = None if distributed.leads() else True
    made = distributed.shared(missing, make)
    for chunk, states in tqdm(
        made, total=len(missing), desc=work.name, unit="chunk", disable=hidden
    ):
        tensors = {field.name: getattr(states, field.name) for field in fields(states)}
        if params.readout != "last_token":
            tensors |= {name: tensors[name].half() for name in ("rows", "prompt_rows")}
        write_tensors(_file(work, chunk), tensors)


def labelled_completions(completions: pd.DataFrame, work: Path) -> LabelledCompletions:
    """Completions with the hidden states that `write_states` left for them.

    The states stay in files that are mapped into memory, so they may be larger than it.

    Args:
        completions: as given to `write_states`, with columns group and gold_reward; those of a
            group are side by side.
        work: the folder.
    """
    small: dict[str, list[Tensor]] = {"lengths": [], "prompt_lengths": [], "prompt": []}
    prompts = 0
    names = ("rows", "prompt_rows")
    with ExitStack() as files:
        whole = {name: files.enter_context((work / f"{name}.bin").open("wb")) for name in names}
        for chunk in _chunks(completions):
            states, _ = read_tensors(_file(work, chunk))
            states["prompt"] += prompts
            prompts += len(states["prompt_lengths"])
            for name, parts in small.items():
                parts.append(states[name])
            for name, file in whole.items():
                file.write(states[name].numpy().data)
    first, _ = read_tensors(_file(work, 0))
    mapped = {name: _mapped(work / f"{name}.bin", first[name]) for name in names}
    group = completions["group"].to_numpy()
    last_of_group = np.flatnonzero(np.append(group[1:] != group[:-1], True))
    return LabelledCompletions(
        rows=mapped["rows"],
        ends=torch.cumsum(torch.cat(small["lengths"]), 0),
        prompt_rows=mapped["prompt_rows"],
        prompt_ends=torch.cumsum(torch.cat(small["prompt_lengths"]), 0),
        prompt=torch.cat(small["prompt"]),
        gold_rewards=torch.from_numpy(completions["gold_reward"].to_numpy(copy=True)).float(),
        groups=torch.from_numpy(last_of_group + 1),
    )


def _mapped(path: Path, like: Float[Tensor, "some embds"]) -> Float[Tensor, "all embds"]:
    """A file's content as rows of `like`'s width and type."""
    size = path.stat().st_size // like.element_size()
    if not size:
        return like[:0]
    rows = torch.from_file(str(path), shared=False, size=size, dtype=like.dtype)
    return rows.view(-1, like.shape[1])


def _chunks(completions: pd.DataFrame) -> range:
    return range(-(-len(completions) // CHUNK))


def _file(work: Path, chunk: int) -> Path:
    return work / f"hidden-{chunk:05d}.safetensors"
