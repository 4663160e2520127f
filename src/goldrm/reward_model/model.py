"""The trained reward model: texts in, rewards out; and its folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json, write_checked_json
from goldrm.common.params import Section
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.common.workers import ALONE, Workers
from goldrm.lm.model import Backbone
from goldrm.lm.weights import load_backbone, load_checked, sft_sha256, without_values
from goldrm.reward_model.build import empty_readout
from goldrm.reward_model.ensemble import ensemble_rewards
from goldrm.reward_model.gold_scale import SAME, Line
from goldrm.reward_model.params import EnsembleParams, ReadoutParams
from goldrm.reward_model.readout import Readout
from goldrm.task.dictionary import Dictionary

SCORE_BATCH = 512  # completions whose hidden states are in memory at once


@dataclass(frozen=True)
class RewardModel:
    """Trained readouts on their frozen language model: texts in, rewards out.

    Attributes:
        backbone: the language model; dropout is off whenever it is read.
        members: readouts of one kind, trained from different seeds.
        ensemble: how the members' rewards become one.
        dictionary: the language model's tokens.
        gold_scale: what brings rewards to the gold rewards' scale. `SAME` where they were taught
            by gold rewards; else ranking alone taught them, so that only their differences mean
            something, and 0 is their mean over the validation split.
    """

    backbone: Backbone
    members: Sequence[Readout]
    ensemble: EnsembleParams
    dictionary: Dictionary
    gold_scale: Line = field(default=SAME, kw_only=True)

    def score(
        self, prompts: Sequence[str], completions: Sequence[str], workers: Workers = ALONE
    ) -> list[float]:
        """Reward of each completion, in the order given; `gold_scale` tells on which scale.

        Args:
            prompts: of each completion.
            completions: what is scored.
            workers: who share the work; all of them ask for this together, and all get the rewards.

        Raises:
            GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
        """
        for prompt, completion in zip(prompts, completions, strict=True):
            if not prompt.split() and not completion.split():
                raise GoldrmError("a prompt and completion without a word have no reward.")

        def rewards(first: int) -> Tensor:
            end = first + SCORE_BATCH
            return self._rewards(prompts[first:end], completions[first:end])

        parts = workers.map_to_all(range(0, len(prompts), SCORE_BATCH), rewards)
        return torch.cat(parts).tolist() if parts else []

    def cut(self, prompts: Sequence[str], completions: Sequence[str]) -> list[int]:
        """The numbers of those whose prompt's first words aren't read: the context is too short."""
        reading, encode = self.members[0].reading, self.dictionary.encode
        return [
            number
            for number, texts in enumerate(zip(prompts, completions, strict=True))
            if reading.is_cut(self.backbone.sizes, *map(encode, texts))
        ]

    @torch.inference_mode()
    def _rewards(
        self, prompts: Sequence[str], completions: Sequence[str]
    ) -> Float[Tensor, " completions"]:
        reading, encode = self.members[0].reading, self.dictionary.encode
        states = reading.read(
            self.backbone,
            [encode(prompt) for prompt in prompts],
            [encode(completion) for completion in completions],
        )
        return ensemble_rewards(self.members, self.ensemble, states)


class RewardModelConfig(Section):
    """What stands in a reward model's config.json.

    Attributes:
        readout: what each member is.
        ensemble: how the members' rewards become one.
        sft_sha256: of the file that the language model was fetched from.
        best: the row of the first member's learning curve that its weights belong to.
        gold_scale: see `RewardModel`; it stands there where it isn't `SAME`.
    """

    readout: ReadoutParams
    ensemble: EnsembleParams
    sft_sha256: str
    best: dict[str, int | float]
    gold_scale: Line = SAME


def save_reward_model(
    folder: Path,
    states: Sequence[Mapping[str, Tensor]],
    readout: ReadoutParams,
    ensemble: EnsembleParams,
    backbone_sha256: str,
    best: Mapping[str, float],
    gold_scale: Line = SAME,
) -> None:
    """Write model.safetensors and config.json of trained readouts.

    Args:
        folder: where to.
        states: the members' weights.
        readout: what each member is.
        ensemble: how the members' rewards become one.
        backbone_sha256: `sft_sha256` of the language model that they read.
        best: the row of the first member's learning curve that its weights belong to.
        gold_scale: see `RewardModel`.
    """
    tensors = {f"{i}.{name}": state[name] for i, state in enumerate(states) for name in state}
    write_tensors(folder / "model.safetensors", tensors)
    config = RewardModelConfig(
        readout=readout,
        ensemble=ensemble,
        sft_sha256=backbone_sha256,
        best=dict(best),
        gold_scale=gold_scale,
    )
    write_checked_json(folder / "config.json", config.model_dump(exclude_defaults=True))


def load_reward_model(
    folder: Path, sft_folder: Path, dictionary: Dictionary, device: torch.device
) -> RewardModel:
    """Read what `save_reward_model` wrote, on the language model it was trained on.

    Raises:
        GoldrmError: when a file is missing, damaged, or belongs to another language model.
    """
    config = read_reward_model_config(folder)
    if config.sft_sha256 != sft_sha256(sft_folder):
        raise GoldrmError(
            f"{folder} was trained on another language model than the one in {sft_folder}. "
            "Run `dvc repro`."
        )
    backbone = load_backbone(sft_folder, dictionary, device)
    members = [member.to(device) for member in _members(folder, config, backbone)]
    return RewardModel(backbone, members, config.ensemble, dictionary, gold_scale=config.gold_scale)


def read_reward_model_config(folder: Path) -> RewardModelConfig:
    """The config.json that `save_reward_model` wrote.

    Raises:
        GoldrmError: when it is missing or damaged.
    """
    path = folder / "config.json"
    try:
        return RewardModelConfig.model_validate(read_checked_json(path))
    except ValidationError:
        raise GoldrmError(f"{path} is damaged. Delete it; `dvc repro` makes it again.") from None


def _members(folder: Path, config: RewardModelConfig, backbone: Backbone) -> Iterator[Readout]:
    path = folder / "model.safetensors"
    tensors = read_tensors(path)
    for number in range(config.ensemble.members):
        with without_values():
            member = empty_readout(config.readout, backbone.sizes)
        prefix = f"{number}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        load_checked(member, own, str(path))
        yield member
