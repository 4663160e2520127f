"""Reward models trained against a gold reward that is known exactly.

    model = goldrm.load("data/models/token_damage")
    model.score(prompts, completions)        # what the reward model says
    model.gold_reward(prompts, completions)  # what is right
    model.sample(prompts, n=4)               # completions by its language model

`model.reward_func` is a reward function for TRL's trainers; `goldrm.reward_func` is that of the
model which the environment variable GOLDRM_MODEL names. docs/api.md has examples.
"""

# torch takes seconds to import: nothing is imported before it is used.
# ruff: noqa: PLC0415

import functools
import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from goldrm.commands.trained import TrainedModel
    from goldrm.common.errors import GoldrmError

__all__ = ["GoldrmError", "TrainedModel", "load", "reward_func"]

_MODULES = {"GoldrmError": "goldrm.common.errors", "TrainedModel": "goldrm.commands.trained"}
_MODEL_VARIABLE = "GOLDRM_MODEL"


def load(folder: "str | os.PathLike[str]", device: "str | torch.device" = "cpu") -> "TrainedModel":
    """The reward model in a folder, with its language model and its task.

    The number of threads, the random streams and all other settings of the process stay as they
    are.

    Args:
        folder: data/models/RECIPE of a project after `dvc repro`, or of a release: params.yaml,
            data/dictionary.json and data/sft lie where they lie there.
        device: where it computes, such as cpu or cuda.

    Raises:
        GoldrmError: when it isn't such a folder, or a file is missing, damaged, or belongs to
            another language model.
    """
    from pathlib import Path

    import torch

    from goldrm.commands.trained import load_model

    return load_model(Path(folder), torch.device(device))


def reward_func(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: object
) -> list[float]:
    """The reward of each completion, by the model in the folder that GOLDRM_MODEL names.

    For TRL where a function is given by its name; elsewhere `load(folder).reward_func` does.

    Args:
        prompts: the prompt of each completion, a string or the ids of its tokens.
        completions: likewise.
        columns: what TRL passes besides, which isn't used.

    Raises:
        GoldrmError: as `load` and `TrainedModel.reward_func`; or when the variable isn't set.
    """
    from goldrm.common.errors import GoldrmError

    folder = os.environ.get(_MODEL_VARIABLE)
    if not folder:
        raise GoldrmError(
            f"goldrm.reward_func needs the environment variable {_MODEL_VARIABLE}. Set it to a "
            "model's folder, such as data/models/token_damage, or use goldrm.load(folder)."
        )
    return _loaded(folder).reward_func(prompts, completions, **columns)


@functools.cache
def _loaded(folder: str) -> "TrainedModel":
    return load(folder)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
