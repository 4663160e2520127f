"""The trained reward model: texts in, rewards out; and its folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from goldrm.common import workers as distributed
from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_json
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.lm.model import Backbone
from goldrm.lm.weights import load_backbone, load_checked, read_config, sft_sha256
from goldrm.reward_model.build import empty_readout
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.reading import read_completions
from goldrm.reward_model.readout import Readout, combined
from goldrm.task.dictionary import Dictionary

SCORE_BATCH = 512  # completions whose hidden states are in memory at once


@dataclass(frozen=True)
class RewardModel:
    """Trained readouts on their frozen language model: texts in, rewards out.

    Attributes:
        backbone: the language model; dropout is off whenever it is read.
        members: readouts of one kind, trained from different seeds.
        params: which kind, and how the members' rewards become one.
        dictionary: the language model's tokens.
    """

    backbone: Backbone
    members: Sequence[Readout]
    params: RewardModelParams
    dictionary: Dictionary

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Reward of each completion, in the order given, on the gold reward's scale.

        Where processes share a stage's work, all of them ask for this together.

        Raises:
            GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
        """
        for prompt, completion in zip(prompts, completions, strict=True):
            if not prompt.split() and not completion.split():
                raise GoldrmError("a prompt and completion without a word have no reward.")

        def rewards(first: int) -> Tensor:
            end = first + SCORE_BATCH
            return self._rewards(prompts[first:end], completions[first:end])

        parts = distributed.shared_with_all(range(0, len(prompts), SCORE_BATCH), rewards)
        return torch.cat(parts).tolist() if parts else []

    @torch.inference_mode()
    def _rewards(
        self, prompts: Sequence[str], completions: Sequence[str]
    ) -> Float[Tensor, " completions"]:
        states = read_completions(self.backbone, self.dictionary, self.params, prompts, completions)
        of_members = torch.stack([member.eval().unbounded(states) for member in self.members])
        # Bounded last: what one member doubts and another is sure of may still be the best.
        return self.members[0].bounded(combined(of_members, self.params))


def save_reward_model(
    folder: Path,
    states: Sequence[Mapping[str, Tensor]],
    params: RewardModelParams,
    backbone_sha256: str,
    best: Mapping[str, float],
) -> None:
    """Write model.safetensors and config.json of trained readouts.

    Args:
        folder: where to.
        states: the members' weights.
        params: which readout they are.
        backbone_sha256: sft_sha256 of the language model that they read.
        best: the row of the first member's learning curve that its weights belong to.
    """
    tensors = {f"{i}.{name}": state[name] for i, state in enumerate(states) for name in state}
    write_tensors(folder / "model.safetensors", tensors)
    config = {**params.model_dump(), "sft_sha256": backbone_sha256, "best": best}
    write_json(folder / "config.json", config)


def load_reward_model(
    folder: Path, sft_folder: Path, dictionary: Dictionary, device: torch.device
) -> RewardModel:
    """Read what `save_reward_model` wrote, on the language model it was trained on.

    Raises:
        GoldrmError: when a file is missing, damaged, or belongs to another language model.
    """
    config = read_config(folder / "config.json")
    if config.get("sft_sha256") != sft_sha256(sft_folder):
        raise GoldrmError(
            f"{folder} was trained on another language model than the one in {sft_folder}. "
            "Run `dvc repro`."
        )
    params = _params(config, folder / "config.json")
    backbone = load_backbone(sft_folder, dictionary, device)
    state, _ = read_tensors(folder / "model.safetensors")
    members = list(_members(state, params, backbone, folder / "model.safetensors"))
    return RewardModel(backbone, [member.to(device) for member in members], params, dictionary)


def _params(config: Mapping[str, Any], path: Path) -> RewardModelParams:
    declared = {name: config.get(name) for name in RewardModelParams.model_fields}
    try:
        return RewardModelParams.model_validate(declared)
    except ValidationError:
        raise GoldrmError(f"{path} is damaged. Delete it; `dvc repro` makes it again.") from None


def _members(
    state: Mapping[str, Tensor], params: RewardModelParams, backbone: Backbone, path: Path
) -> Iterator[Readout]:
    for number in range(params.members):
        with torch.device("meta"):
            member = empty_readout(params, backbone.sizes)
        prefix = f"{number}."
        own = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        load_checked(member, own, str(path))
        yield member
