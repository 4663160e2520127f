"""Pairs that somebody brings (`pairs.source`): tables of texts, the course's training sets."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from goldrm.common.errors import GoldrmError
from goldrm.course.files import read_training_set
from goldrm.generation.text_tables import READERS, read_texts
from goldrm.task.task import Task

COURSE_SUFFIX = ".pt"
NO_PROMPT_ID = -1
COLUMNS = ("prompt", "chosen", "rejected")
GOLD_COLUMNS = ("chosen_gold_reward", "rejected_gold_reward")
GOLD_TOLERANCE = 1e-3  # within which a file's gold rewards must be the task's


class SourcePair(NamedTuple):
    """A pair that somebody brought.

    Attributes:
        prompt_id: of the task's prompt that the prompt begins with; `NO_PROMPT_ID`: none.
        prompt: of both completions, its words separated by one space, like theirs.
        chosen: the preferred completion.
        rejected: the other one.
        has_gold_rewards: whether the task's gold rewards are to be learned from; else the order.
    """

    prompt_id: int
    prompt: str
    chosen: str
    rejected: str
    has_gold_rewards: bool


def read_source(source: Path, task: Task) -> Iterator[SourcePair]:
    """The pairs of a file, or of all files in a folder in the order of their names.

    JSONL, CSV and Parquet have the columns prompt, chosen and rejected. Where they also have
    chosen_gold_reward and rejected_gold_reward these must be the task's, unless the prompt isn't.
    The course's training set (.pt) gets the task's gold rewards instead of its own, which depend on
    the rival completion's length, and so perhaps another order.

    Args:
        source: the file or folder.
        task: knows prompts, words and gold rewards.

    Raises:
        GoldrmError: when a file can't be read, or holds what can't be trained on.
    """
    for path in _files(source):
        if path.suffix in READERS:
            yield from _table_pairs(path, task)
        else:
            yield from _course_pairs(read_training_set(path), task, str(path))


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    files = [path for path in source.iterdir() if path.suffix in (*READERS, COURSE_SUFFIX)]
    if not files:
        endings = ", ".join((*READERS, COURSE_SUFFIX))
        raise GoldrmError(f"{source} holds no file that ends in {endings}. Put your pairs there.")
    return sorted(files)


def _table_pairs(path: Path, task: Task) -> Iterator[SourcePair]:
    columns = read_texts(path, COLUMNS, str(path), GOLD_COLUMNS)
    for row, (*texts, chosen_gold, rejected_gold) in enumerate(zip(*columns, strict=True)):
        name = f"{path}: row {row} (counted from 0)"
        pair = _texts_pair(texts, task, name)
        gold_rewards = _gold_rewards(chosen_gold, rejected_gold, name)
        if gold_rewards and pair.prompt == _prompt(pair.prompt_id, task):
            _check_gold_rewards(pair, gold_rewards, task, name)
            pair = pair._replace(has_gold_rewards=True)
        yield pair


def _texts_pair(texts: Sequence[str], task: Task, name: str) -> SourcePair:
    for text in texts:
        try:
            task.dictionary.encode(text)
        except GoldrmError as error:
            raise GoldrmError(f"{name}: {error}.") from None
    prompt, chosen, rejected = (" ".join(text.split()) for text in texts)
    if not prompt:
        raise GoldrmError(f"{name} has no prompt. Write one, or remove the row.")
    if chosen == rejected:
        raise GoldrmError(f"{name} has one text as chosen and as rejected. Remove the row.")
    return SourcePair(_prompt_id(prompt, task), prompt, chosen, rejected, has_gold_rewards=False)


def _prompt_id(text: str, task: Task) -> int:
    """The number of the task's prompt that a text begins with; `NO_PROMPT_ID` where it doesn't."""
    prompt_id, _ = task.parse(text) or (None, "")
    return NO_PROMPT_ID if prompt_id is None else prompt_id


def _prompt(prompt_id: int, task: Task) -> str | None:
    return None if prompt_id == NO_PROMPT_ID else task.space[prompt_id].text


def _gold_rewards(chosen: str, rejected: str, name: str) -> tuple[float, float] | None:
    """The numbers that a row has as gold rewards; None where it has none."""
    try:
        found = [float(text or "nan") for text in (chosen, rejected)]
    except ValueError:
        raise GoldrmError(
            f"{name}: its gold rewards, {chosen!r:.40} and {rejected!r:.40}, should be numbers."
        ) from None
    if all(map(math.isnan, found)):
        return None
    if not found[0] >= found[1]:  # nor where one of them is missing
        raise GoldrmError(
            f"{name} has the gold rewards {found[0]:g} of what is chosen and {found[1]:g} of what "
            "is rejected. Correct them, or leave out both columns to train on the order alone."
        )
    return found[0], found[1]


def _check_gold_rewards(
    pair: SourcePair, gold_rewards: tuple[float, float], task: Task, name: str
) -> None:
    for side, completion, found in zip(
        COLUMNS[1:], (pair.chosen, pair.rejected), gold_rewards, strict=True
    ):
        exact = task.gold_reward(pair.prompt_id, task.integers_in(completion))
        if not abs(found - exact) <= GOLD_TOLERANCE:  # nor where there is no number to judge
            raise GoldrmError(
                f"{name}: its {side}_gold_reward is {found:g}, but the task's is {exact:g}. "
                "Correct gold_reward in params.yaml or the file, or leave out both columns to "
                "train on the order alone."
            )


def _course_pairs(
    sequences: Sequence[tuple[list[int], list[int]]], task: Task, name: str
) -> Iterator[SourcePair]:
    for number, pair in enumerate(sequences):
        (prompt_id, chosen), (other_id, rejected) = (
            _split_sequence(token_ids, task, name, number) for token_ids in pair
        )
        if prompt_id != other_id:
            raise GoldrmError(f"{name}: pair {number} has two prompts. Get the file again.")
        prompt = task.space[prompt_id].text
        yield SourcePair(prompt_id, prompt, chosen, rejected, has_gold_rewards=True)


def _split_sequence(token_ids: list[int], task: Task, name: str, pair: int) -> tuple[int, str]:
    """The prompt's number and the completion of a sequence of the course's."""
    dictionary = task.dictionary
    if not all(0 <= token_id < len(dictionary) for token_id in token_ids):
        raise GoldrmError(
            f"{name}: pair {pair} holds token ids outside the dictionary's 0…"
            f"{len(dictionary) - 1}. Use the dictionary that it was made with."
        )
    text = dictionary.decode(token_ids)
    parsed = task.parse(text)
    if parsed is None:
        raise GoldrmError(
            f"{name}: pair {pair} doesn't begin with one of the task's prompts: {text!r:.120}. "
            "Use the dictionary that it was made with."
        )
    prompt_id, completion = parsed
    if prompt_id is None:
        raise GoldrmError(
            f"{name}: the prompt of pair {pair}, {text.removesuffix(completion).rstrip()!r}, lies "
            "outside the ranges of params.yaml's task section. Widen them."
        )
    return prompt_id, completion
