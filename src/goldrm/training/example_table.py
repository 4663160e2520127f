"""The table of all examples: mistakes are drawn from the language model while it is made."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from goldrm.common.tables import read_parquet, write_parquet
from goldrm.common.work_files import make_missing
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.reward_model.lm_log_probs import completion_room, next_token_probs
from goldrm.training.edited import Answer, EditedCompletions, Group
from goldrm.training.examples import Examples

GROUPS_A_CHUNK = 256  # whose rows are made, and kept for resuming, together


def example_table(
    examples: Examples, backbone: Backbone, work: Path, workers: Workers
) -> pd.DataFrame:
    """All completions to train on: a function of the seed and the parameters alone.

    Args:
        examples: what is asked for.
        backbone: the frozen language model, which says what mistakes are likely.
        work: folder in which finished chunks survive a kill.
        workers: who share the work; all of them get the table.

    Returns:
        `examples.COLUMNS`, the rows of a group side by side.
    """

    def make(chunk: int) -> pd.DataFrame:
        groups = examples.groups[chunk * GROUPS_A_CHUNK : (chunk + 1) * GROUPS_A_CHUNK]
        return examples.table(groups, drawn_mistakes(examples.edited, groups, backbone))

    chunks = range(-(-len(examples.groups) // GROUPS_A_CHUNK))
    files = [work / f"examples-{chunk:05d}.parquet" for chunk in chunks]
    make_missing(files, make, write_parquet, workers, f"{work.name} examples")
    if not workers.is_leader:
        return workers.broadcast(None)
    tables = [*map(read_parquet, files), examples.preferences]
    return workers.broadcast(pd.concat(tables, ignore_index=True))


def drawn_mistakes(
    edited: EditedCompletions | None, groups: Sequence[Group], backbone: Backbone
) -> Iterator[Answer]:
    """Mistakes of groups, of exact series that leave room in the context for a term more."""
    if edited is None or not edited.params.mistakes:
        return
    task, encode, room = edited.task, edited.task.dictionary.encode, completion_room(backbone.sizes)
    fitting = [group for group in groups if len(task.exact(group.prompt_id)) < room]
    if not fitting:
        return
    probs = next_token_probs(
        backbone,
        [encode(task.space[group.prompt_id].text) for group in fitting],
        [encode(" ".join(map(str, task.exact(group.prompt_id)))) for group in fitting],
    )
    for group, own_probs in zip(fitting, probs, strict=True):
        yield from edited.mistakes(group, own_probs)
