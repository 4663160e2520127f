"""Hidden states of training completions, computed once and kept in files."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from goldrm.common import workers as distributed
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.lm.model import Backbone
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.reading import read_completions
from goldrm.task.dictionary import Dictionary
from goldrm.training.batches import LabelledCompletions
from goldrm.training.row_file import RowFile, RowWriter

CHUNK = 256  # groups whose hidden states are computed, and kept for resuming, together
ROWS = ("rows", "prompt_rows")  # the large ones of what a readout reads
SMALL = ("place", "outlook", "lengths", "prompt_lengths", "prompt", "gold_rewards", "sizes")
AT_HAND = 2**26  # bytes of hidden states that are kept in memory; more are read as they are used
JOINED = "joined.safetensors"  # the small ones of all chunks; where it is, the large ones are too


@runtime_checkable
class Groups(Protocol):
    """Labelled completions that may be too many to hold, each group of one prompt."""

    def __len__(self) -> int:
        """How many groups."""
        ...

    def __getitem__(self, groups: slice, /) -> pd.DataFrame:
        """Columns group, prompt, read_behind, completion, gold_reward.

        A group's rows are side by side. Where `read_behind` isn't the prompt, another row of the
        slice is read behind the prompt.
        """
        ...

    def mistakes(
        self, first: Mapping[Hashable, Any], expected: Float[Tensor, "tokens vocabulary"]
    ) -> list[dict[Hashable, Any]]:
        """More completions of a group, at most a token longer than its first: rows like its own.

        Args:
            first: the first row of the group.
            expected: the probability, by the language model, of each token after the row's prompt
                and after each token of its completion.
        """
        ...


def write_states(
    backbone: Backbone,
    dictionary: Dictionary,
    params: RewardModelParams,
    groups: Groups,
    work: Path,
) -> None:
    """Compute the hidden states of completions, shared by all processes, into files.

    Args:
        backbone: the frozen language model.
        dictionary: its tokens.
        params: of the readout that will read them.
        groups: the completions.
        work: folder in which finished chunks survive a kill; `labelled_completions` reads it.
    """

    def make(chunk: int) -> dict[str, Tensor]:
        part = groups[chunk * CHUNK : (chunk + 1) * CHUNK]
        of_own = part["read_behind"] == part["prompt"]
        # Each prompt's own completions first, for they have the most in common.
        read = part[of_own].to_dict("records")
        own = len(read)
        if params.readout != "last_token":  # it reads no prompt that could be another one
            read += part[~of_own].to_dict("records")

        def further(first: int, expected: Float[Tensor, "tokens vocabulary"]) -> list[str]:
            found = groups.mistakes(read[first], expected) if first < own else []
            read.extend(found)
            return [row["completion"] for row in found]

        states = read_completions(
            backbone,
            dictionary,
            params,
            [row["read_behind"] for row in read],
            [row["completion"] for row in read],
            further,
        )
        rows = pd.DataFrame(read)
        number = dict(zip(rows["read_behind"], states.prompt.tolist(), strict=True))
        states = replace(states, prompt=torch.tensor([number[each] for each in rows["prompt"]]))
        place = {group: place for place, group in enumerate(part["group"].unique())}
        rows = rows.drop_duplicates(["group", "read_behind", "completion"])
        rows = rows.sort_values("group", key=lambda group: group.map(place), kind="stable")
        states = states.of(torch.tensor(rows.index.tolist()))
        tensors = {field.name: getattr(states, field.name).cpu() for field in fields(states)}
        if params.readout != "last_token":
            tensors |= {name: tensors[name].half() for name in (*ROWS, "outlook")}
        sizes = rows.groupby("group", sort=False).size()
        return tensors | {
            "gold_rewards": torch.tensor(rows["gold_reward"].tolist()),
            "sizes": torch.tensor(sizes.tolist()),  # of the groups
        }

    chunks = range(-(-len(groups) // CHUNK))
    files = [work / f"hidden-{chunk:05d}.safetensors" for chunk in chunks]
    joined = (work / JOINED).exists()
    missing = [] if joined else [chunk for chunk in chunks if not files[chunk].exists()]
    for chunk, tensors in tqdm(
        distributed.shared(missing, make),
        total=len(missing),
        desc=work.name,
        unit="chunk",
        disable=distributed.hides_progress(),
    ):
        write_tensors(files[chunk], tensors)
    if distributed.leads():
        _join(files, work)


def _join(files: Sequence[Path], work: Path) -> None:
    """Make one of the chunks' files, and delete them."""
    if not (work / JOINED).exists():
        small: dict[str, list[Tensor]] = {name: [] for name in SMALL}
        count, prompts, half, widths = 0, 0, False, {}
        with ExitStack() as stack:
            rows = {name: stack.enter_context(RowWriter(work / f"{name}.bin")) for name in ROWS}
            for file in files:
                tensors, _ = read_tensors(file)
                tensors["place"] += count
                count += len(tensors["rows"])
                tensors["prompt"] += prompts
                prompts += len(tensors["prompt_lengths"])
                for name, parts in small.items():
                    parts.append(tensors[name])
                for name, writer in rows.items():
                    writer.append(tensors[name])
                    widths[name] = tensors[name].shape[1]
                half = tensors["rows"].dtype == torch.float16
        joined = {name: torch.cat(parts) for name, parts in small.items()}
        write_tensors(work / JOINED, joined, {"widths": widths, "half": half})
    for file in files:
        file.unlink(missing_ok=True)


def labelled_completions(work: Path) -> LabelledCompletions:
    """What `write_states` left in a folder.

    Many states stay in files, so they may be larger than the memory.
    """
    joined, described = read_tensors(work / JOINED)
    dtype = torch.float16 if described["half"] else torch.float32
    files = {name: RowFile(work / f"{name}.bin", described["widths"][name], dtype) for name in ROWS}
    rows = {
        name: file.index_select(0, torch.arange(len(file))) if file.size <= AT_HAND else file
        for name, file in files.items()
    }
    return LabelledCompletions(
        rows=rows["rows"],
        place=joined["place"],
        outlook=joined["outlook"],
        ends=torch.cumsum(joined["lengths"], 0),
        prompt_rows=rows["prompt_rows"],
        prompt_ends=torch.cumsum(joined["prompt_lengths"], 0),
        prompt=joined["prompt"],
        gold_rewards=joined["gold_rewards"],
        groups=torch.cumsum(joined["sizes"], 0),
    )
