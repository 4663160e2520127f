"""The reward models that `dvc repro` trained, by the names of their recipes."""

from dataclasses import dataclass
from pathlib import Path

from goldrm.commands.params import load_params
from goldrm.common.device import set_up
from goldrm.common.errors import GoldrmError
from goldrm.pipeline.paths import DICTIONARY, MODELS, SFT
from goldrm.reward_model.model import RewardModel, load_reward_model
from goldrm.task import dictionary
from goldrm.training.params import Recipe


@dataclass(frozen=True)
class TrainedModel:
    """A reward model and what it was made by.

    Attributes:
        folder: where it lies.
        reward_model: on its language model, on params.yaml's device.
        recipe: as params.yaml has it now.
    """

    folder: Path
    reward_model: RewardModel
    recipe: Recipe


def load_trained(name: str | None) -> TrainedModel:
    """The reward model of a recipe; of the first one where none is named.

    Raises:
        GoldrmError: when there is no such recipe, or a file is missing, damaged, or belongs to
            another language model.
    """
    params = load_params()
    name = next(iter(params.models)) if name is None else name
    if name not in params.models:
        raise GoldrmError(
            f"params.yaml has no recipe {name!r:.60} under models, but {', '.join(params.models)}."
        )
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    reward_model = load_reward_model(MODELS / name, SFT, tokens, device)
    return TrainedModel(MODELS / name, reward_model, params.models[name])
