"""The frozen language model as a folder of model.safetensors and config.json, checked on reading.

It must not know where it came from. The names in the files are the notebook's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_json
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes, sizes_from
from goldrm.task.dictionary import Dictionary

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def build_backbone(
    sizes: BackboneSizes, state: Mapping[str, Tensor], dictionary: Dictionary, name: str
) -> Backbone:
    """A frozen float32 language model from a state dict, every shape checked.

    Args:
        sizes: as declared beside the weights.
        state: weights of any floating type.
        dictionary: what the model must have been trained with.
        name: what to call the weights in messages.

    Raises:
        GoldrmError: when sizes, weights and dictionary don't agree, or a weight isn't finite.
    """
    expected = {
        "num_tokens": len(dictionary),
        "padding_int": dictionary.pad_id,
        "eos_int": dictionary.eos_id,
    }
    for key, value in expected.items():
        if getattr(sizes, key) != value:
            raise GoldrmError(
                f"{name} declares {key} = {getattr(sizes, key)}, the dictionary says {value}. "
                "Use the dictionary that the model was trained with (dictionary.source)."
            )
    with torch.device("meta"):
        backbone = Backbone(sizes)
    load_checked(backbone, state, name)
    return backbone.frozen()


def load_checked(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Give a module its weights, in float32, after checking names, shapes and values.

    Raises:
        GoldrmError: names the first tensor that is missing, unknown, of another shape, not finite.
    """
    wanted = module.state_dict()
    for key in [*wanted, *state]:
        if key not in state or key not in wanted:
            problem = "lacks" if key not in state else "holds an unknown"
            raise GoldrmError(
                f"{name} {problem} tensor {key}. It was made with another architecture; get the "
                "right file."
            )
        if state[key].shape != wanted[key].shape:
            raise GoldrmError(
                f"{name}: {key} has shape {tuple(state[key].shape)}, the declared sizes ask for "
                f"{tuple(wanted[key].shape)}. Get the right file."
            )
        if not _finite(state[key]):
            raise GoldrmError(f"{name}: {key} holds values that aren't finite numbers.")
    module.load_state_dict({key: state[key].float() for key in wanted}, assign=True)


def _finite(weights: Tensor) -> bool:
    dense = weights.layout == torch.strided and weights.device.type != "meta"
    return dense and weights.dtype in FLOATS and bool(torch.isfinite(weights.float()).all())


def save_backbone(
    folder: Path, sizes: BackboneSizes, state: Mapping[str, Tensor], provenance: Mapping[str, Any]
) -> None:
    """Write model.safetensors and config.json (sizes and provenance)."""
    write_tensors(folder / "model.safetensors", state)
    write_json(folder / "config.json", {**asdict(sizes), **provenance})


def load_backbone(folder: Path, dictionary: Dictionary, device: torch.device) -> Backbone:
    """Read what `save_backbone` wrote.

    Raises:
        GoldrmError: when a file is missing, damaged or doesn't fit the dictionary.
    """
    config = read_config(folder / "config.json")
    state, _ = read_tensors(folder / "model.safetensors")
    sizes = sizes_from(config, str(folder / "config.json"))
    return build_backbone(sizes, state, dictionary, str(folder / "model.safetensors")).to(device)


def read_config(path: Path) -> dict[str, Any]:
    """A model's config.json.

    Raises:
        GoldrmError: when it is missing or damaged.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise GoldrmError(f"{path} is damaged. Delete it; `dvc repro` makes it again.")
    return config


def sft_sha256(folder: Path) -> str:
    """The sha256 of the file that the language model in `folder` was fetched from."""
    return str(read_config(folder / "config.json").get("sha256"))
