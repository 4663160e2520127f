"""Completions of a training set that was made elsewhere, with the gold rewards of this task."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.generation.params import NUM_PAIRS_PARAMETERS
from goldrm.generation.preferences import PreferenceDataset
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import Prompt, split_text
from goldrm.task.task import Task


def collect_course_pairs(
    sequences: Sequence[tuple[list[int], list[int]]],
    dataset: PreferenceDataset,
    task: Task,
    name: str,
) -> None:
    """Collect the completions of ready-made pairs, such as the course's, with new gold rewards.

    New ones, because in the notebook a completion's reward depends on its rival's length. So a
    pair's order may change, or the pair may be dropped because its rewards are equal.

    Args:
        sequences: token ids of prompt + completion, of both completions of each pair, which are
            a group.
        dataset: gets the completions, and leaves out those of other splits' prompts.
        task: gives the gold rewards.
        name: what to call the sequences' source in messages.

    Raises:
        GoldrmError: when a sequence doesn't begin with a prompt of the task, or there are too few.
    """
    if sequences:
        dataset.collect(
            pd.DataFrame(
                _completion_of(token_ids, group, task, name)
                for group, pair in enumerate(sequences)
                for token_ids in pair
            )
        )
    if not dataset.is_complete:
        raise GoldrmError(
            f"{name} holds {len(dataset.pairs)} different pairs of the {dataset.split} split whose "
            f"gold rewards differ, fewer than pairs.{NUM_PAIRS_PARAMETERS[dataset.split]} "
            f"({dataset.num_wanted}). Lower it, or name a larger file in pairs.source."
        )


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
