"""The trained reward model: texts in, rewards out; and its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from goldrm.backbone import Backbone
from goldrm.backbone_files import load_backbone, load_checked, read_config, sft_sha256
from goldrm.checkpoint import read_tensors, write_json, write_tensors
from goldrm.config import RewardModelParams
from goldrm.dictionary import Dictionary
from goldrm.errors import GoldrmError
from goldrm.hidden_states import last_hidden_states
from goldrm.reward_model import LastTokenReadout

SCORE_BATCH = 256  # sequences whose hidden states are in memory at once


class RewardModel:
    """A trained readout on its frozen language model: texts in, rewards out."""

    def __init__(
        self, backbone: Backbone, readout: LastTokenReadout, dictionary: Dictionary
    ) -> None:
        """Both on one device; dropout is off from here on."""
        self.backbone = backbone.eval()
        self.readout = readout.eval()
        self._dictionary = dictionary

    @torch.inference_mode()
    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Reward of each completion, in the order given, on the gold reward's scale.

        Raises:
            GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
        """
        sequences: list[list[int]] = []
        for prompt, completion in zip(prompts, completions, strict=True):
            sequences.append(self._dictionary.encode(f"{prompt} {completion}"))
            if not sequences[-1]:
                raise GoldrmError("a prompt and completion without a word have no reward.")
        rewards: list[float] = []
        for first in range(0, len(sequences), SCORE_BATCH):
            batch = sequences[first : first + SCORE_BATCH]
            hidden = last_hidden_states(self.backbone, batch)
            rewards += self.readout(hidden).tolist()
        return rewards


def save_readout(
    folder: Path,
    state: Mapping[str, Tensor],
    params: RewardModelParams,
    backbone_sha256: str,
    best: Mapping[str, float],
) -> None:
    """Write model.safetensors and config.json of a trained readout.

    Args:
        folder: where to.
        state: its weights.
        params: which readout it is.
        backbone_sha256: sft_sha256 of the language model that it reads.
        best: the row of the learning curve that the weights belong to.
    """
    write_tensors(folder / "model.safetensors", state)
    config = {**params.model_dump(), "sft_sha256": backbone_sha256, "best": best}
    write_json(folder / "config.json", config)


def load_reward_model(
    folder: Path, sft_folder: Path, dictionary: Dictionary, device: torch.device
) -> RewardModel:
    """Read what `save_readout` wrote, on the language model it was trained on.

    Raises:
        GoldrmError: when a file is missing, damaged, or belongs to another language model.
    """
    config = read_config(folder / "config.json")
    if config.get("sft_sha256") != sft_sha256(sft_folder):
        raise GoldrmError(
            f"{folder} was trained on another language model than the one in {sft_folder}. "
            "Run `dvc repro`."
        )
    backbone = load_backbone(sft_folder, dictionary, device)
    state, _ = read_tensors(folder / "model.safetensors")
    readout = LastTokenReadout(backbone.sizes.d)
    load_checked(readout, state, str(folder / "model.safetensors"))
    return RewardModel(backbone, readout.to(device), dictionary)
