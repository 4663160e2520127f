"""A small task of sorting, a language model of it with random weights, and its labels by hand."""

import torch
from notebook_reference import gold_rewards
from small_models import ROOT, sizes_for

from goldrm.commands.params import Params
from goldrm.lm.model import Backbone
from goldrm.task import dictionary
from goldrm.task.sorting import Sorting, SortingHoldoutParams
from goldrm.task.task import Task


def small_sorting(params: Params, held_out_numbers: int) -> Task:
    """60 lists of 4 to 8 numbers, in 2 orders and 2 wordings; lists of one length are held out."""
    holdout = SortingHoldoutParams(template=[], numbers=[held_out_numbers])
    changes = {"lists": 60, "orders": 2, "holdout": holdout}
    sorting = params.task.sorting.model_copy(update=changes)
    tokens = dictionary.load_source(
        ROOT / "upstream/sorting/dictionary.json", params.task.max_value, Sorting.words
    )
    task_params = params.task.model_copy(update={"name": "sorting", "sorting": sorting})
    return Task(tokens, task_params, params.gold_reward)


def random_backbone(task: Task) -> Backbone:
    """With random weights, which differ by no run."""
    torch.manual_seed(1)
    return Backbone(sizes_for(task.dictionary)).frozen()


def asked(prompt: str) -> list[int]:
    """The numbers that a prompt asks to sort."""
    return [int(word) for word in prompt.split() if word.isdigit()]


def gold_reward_of(prompt: str, completion: str) -> float:
    """By the notebook's formula, which computes in 32 bits."""
    values = list(map(int, completion.split()))
    return gold_rewards(sorted(asked(prompt)), values, values)[0]
