"""Models that are small, and wide enough for OPT to have their logits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exported_models import ENSEMBLES, READOUTS
from small_models import sizes_for

from goldrm.common.random_streams import random_stream
from goldrm.huggingface.export import write_language_model, write_reward_model
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.model import RewardModel
from goldrm.task.dictionary import Dictionary
from goldrm.task.task import Task


@pytest.fixture(scope="session")
def wide_sizes(dictionary: Dictionary) -> BackboneSizes:
    """Wider than there are tokens."""
    return replace(sizes_for(dictionary), d=264)


@pytest.fixture(scope="session")
def wide_backbone(wide_sizes: BackboneSizes) -> Backbone:
    """With random weights, biases and gains too."""
    with random_stream(0, "wide backbone"):
        backbone = Backbone(wide_sizes)
        for weights in backbone.parameters():
            weights.data += 0.05 * torch.randn_like(weights)
    return backbone.frozen()


@pytest.fixture(scope="session")
def reward_models(wide_backbone: Backbone, dictionary: Dictionary) -> dict[str, RewardModel]:
    """One of each kind of readout, with random weights that make different rewards."""
    models: dict[str, RewardModel] = {}
    for kind, readout in READOUTS.items():
        members = [
            new_readout(readout, wide_backbone.sizes, seed)
            for seed in range(ENSEMBLES[kind].members)
        ]
        with random_stream(0, "readouts"):
            for weights in (weights for member in members for weights in member.parameters()):
                weights.data += 0.2 * torch.randn_like(weights)
        models[kind] = RewardModel(wide_backbone, members, ENSEMBLES[kind], dictionary)
    return models


@pytest.fixture(scope="session")
def exported(
    wide_backbone: Backbone,
    reward_models: dict[str, RewardModel],
    task: Task,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with language_model, and a folder of each kind of readout."""
    folder = tmp_path_factory.mktemp("exported")
    write_language_model(folder / "language_model", wide_backbone, task, "a card")
    for kind, model in reward_models.items():
        write_reward_model(folder / kind, model, READOUTS[kind], task.space.patterns, "a card")
    return folder
