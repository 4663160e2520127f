"""Completions of a training set that was made elsewhere, with the gold rewards of this task."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.generation.pairs import preference_pairs
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import Prompt, split_text
from goldrm.task.task import Task


def completions_from_sequences(
    sequences: Sequence[tuple[list[int], list[int]]],
    task: Task,
    num_pairs: int,
    name: str,
) -> pd.DataFrame:
    """The completions of ready-made pairs, such as the course's, with new gold rewards.

    New ones, because in the notebook a completion's reward depends on its rival's length. So a
    pair's order may change, or the pair may be dropped because its rewards are equal.

    Args:
        sequences: token ids of prompt + completion, of both completions of each pair.
        task: gives the gold rewards.
        num_pairs: how many pairs are wanted.
        name: what to call the sequences' source in messages.

    Returns:
        Rows of `Task.completion`; the two completions of a pair are a group.

    Raises:
        GoldrmError: when a sequence doesn't begin with a prompt of the task, or there are too few.
    """
    completions = pd.DataFrame(
        _completion_of(token_ids, group, task, name)
        for group, pair in enumerate(sequences)
        for token_ids in pair
    )
    num_found = len(preference_pairs(completions, task)) if len(completions) else 0
    if num_found < num_pairs:
        raise GoldrmError(
            f"{name} holds {num_found} pairs whose gold rewards differ, fewer than "
            f"pairs.num_pairs ({num_pairs}). Set pairs.num_pairs to at most {num_found}."
        )
    return completions


def _completion_of(token_ids: list[int], group: int, task: Task, name: str) -> dict[str, Any]:
    dictionary = task.dictionary
    if not all(0 <= token_id < len(dictionary) for token_id in token_ids):
        raise GoldrmError(
            f"{name}: pair {group} holds token ids outside the dictionary's 0…"
            f"{len(dictionary) - 1}. Use the dictionary that it was made with."
        )
    prompt, completion = _split_sequence(token_ids, dictionary, name, group)
    try:
        prompt_id = task.space.id_of(prompt)
    except ValueError:
        raise GoldrmError(
            f"{name}: the prompt of pair {group}, {prompt.text!r}, lies outside the ranges of "
            "params.yaml's task section. Widen them."
        ) from None
    return task.completion(group, prompt_id, dictionary.encode(completion))


def _split_sequence(
    token_ids: list[int], dictionary: Dictionary, name: str, group: int
) -> tuple[Prompt, str]:
    text = dictionary.decode(token_ids)
    prompt_and_completion = split_text(text)
    if prompt_and_completion is None:
        raise GoldrmError(
            f"{name}: pair {group} doesn't begin with one of the task's prompts: {text!r:.120}. "
            "Use the dictionary that it was made with."
        )
    return prompt_and_completion
