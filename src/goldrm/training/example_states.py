"""Hidden states of the completions trained on, computed once and kept in files."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.common.work_files import make_missing
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.reward_model.reading import Reading
from goldrm.reward_model.states import States
from goldrm.task.dictionary import Dictionary
from goldrm.training.batches import LabelledCompletions
from goldrm.training.mapped_rows import RowWriter, map_rows

GROUPS_A_CHUNK = 256  # whose hidden states are computed, and kept for resuming, together
# What `LabelledCompletions` has besides states.
LABELS = ("gold_rewards", "group_sizes", "pair_counts", "chosen", "rejected")
# The large ones of `States`, each in a file of its own; and one of all other fields of all chunks.
ROW_FILES = {"rows": "rows.bin", "prompt_rows": "prompt_rows.bin"}
JOINED = "joined.safetensors"  # where it is, the large ones are whole


def write_states(
    backbone: Backbone,
    reading: Reading,
    table: pd.DataFrame,
    dictionary: Dictionary,
    work: Path,
    workers: Workers,
) -> None:
    """Compute what a readout reads of examples into files.

    Args:
        backbone: the frozen language model.
        reading: what the readout reads.
        table: `examples.COLUMNS`, the rows of a group side by side.
        dictionary: the language model's tokens.
        work: folder in which finished chunks survive a kill; `labelled_completions` reads it.
        workers: who share the work.
    """
    group_of_row = pd.factorize(table["group"])[0]
    parts = [part for _, part in table.groupby(group_of_row // GROUPS_A_CHUNK)]

    def make(chunk: int) -> dict[str, Tensor]:
        return _tensors(read_examples(backbone, reading, parts[chunk], dictionary))

    files = [work / f"hidden-{chunk:05d}.safetensors" for chunk in range(len(parts))]
    joined = all((work / file).exists() for file in (JOINED, *ROW_FILES.values()))
    make_missing([] if joined else files, make, write_tensors, workers, work.name)
    if workers.is_leader:
        if not joined:
            _join(files, work)
        for file in files:
            file.unlink(missing_ok=True)


def read_examples(
    backbone: Backbone, reading: Reading, table: pd.DataFrame, dictionary: Dictionary
) -> LabelledCompletions:
    """What a readout reads of some groups' completions, as it is kept for training."""
    encode = cache(dictionary.encode)  # a prompt stands beside each of its completions
    prompts, completions = (
        [encode(text) for text in table[column].tolist()] for column in ("prompt", "completion")
    )
    states = reading.read(backbone, prompts, completions)
    return LabelledCompletions.paired(
        states.to(torch.device("cpu"), reading.stored_dtype),
        torch.tensor(table["gold_reward"].tolist()),
        torch.tensor(table.groupby("group", sort=False).size().tolist()),
    )


def _tensors(completions: LabelledCompletions) -> dict[str, Tensor]:
    states = {field.name: getattr(completions.states, field.name) for field in fields(States)}
    return states | {name: getattr(completions, name) for name in LABELS}


def _join(files: Sequence[Path], work: Path) -> None:
    """Join what is in the chunks' files."""
    (work / JOINED).unlink(missing_ok=True)  # where only a row file was missing
    rows, prompts = 0, 0
    parts: dict[str, list[Tensor]] = defaultdict(list)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(RowWriter(work / file)) for name, file in ROW_FILES.items()
        }
        for file in files:
            tensors = read_tensors(file)
            tensors["token_rows"] += rows
            tensors["prompt"] += prompts
            rows += len(tensors["rows"])
            prompts += len(tensors["prompt_token_counts"])
            for name, writer in writers.items():
                writer.append(tensors.pop(name))
            for name, tensor in tensors.items():
                parts[name].append(tensor)
    joined = {name: torch.cat(tensors) for name, tensors in parts.items()}
    write_tensors(work / JOINED, joined)


def labelled_completions(work: Path) -> LabelledCompletions:
    """What `write_states` left in a folder; the hidden states may be larger than the memory.

    Raises:
        GoldrmError: when a file is damaged.
    """
    joined = read_tensors(work / JOINED)
    joined |= {name: map_rows(work / file) for name, file in ROW_FILES.items()}
    labels = {name: joined.pop(name) for name in LABELS}
    return LabelledCompletions(States(**joined), **labels)
