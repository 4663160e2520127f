"""A language model that was optimised against a reward, by the reward's name."""

from dataclasses import dataclass
from pathlib import Path

import torch

from goldrm.commands.params import load_params
from goldrm.common.errors import GoldrmError
from goldrm.lm.model import Backbone
from goldrm.lm.weights import load_backbone
from goldrm.pipeline.paths import DICTIONARY, POLICIES
from goldrm.task import dictionary
from goldrm.task.task import Task


@dataclass(frozen=True)
class OptimisedPolicy:
    """A policy that `dvc repro` made.

    Attributes:
        folder: where it lies; it is called as the recipe whose reward it was optimised for, or
            gold.
        backbone: the language model, frozen, on the CPU.
        task: its prompts, their exact answers and gold rewards.
    """

    folder: Path
    backbone: Backbone
    task: Task


def load_policy(name: str) -> OptimisedPolicy:
    """The policy of a recipe of this folder's params.yaml, or gold's.

    Raises:
        GoldrmError: when there is no such recipe, or a file is missing or damaged.
    """
    params = load_params()
    if name not in (names := [*params.models, "gold"]):
        raise GoldrmError(f"there is no policy {name!r:.60}, but of {', '.join(names)}.")
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    backbone = load_backbone(POLICIES / name, tokens, torch.device("cpu"))
    return OptimisedPolicy(POLICIES / name, backbone, Task(tokens, params.task, params.gold_reward))
