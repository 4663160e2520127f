"""The frozen language model as a folder of model.safetensors and config.json, checked when read.

Tensors and sizes have the notebook's names.
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

FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def build_backbone(
    sizes: BackboneSizes, state: Mapping[str, Tensor], dictionary: Dictionary, name: str
) -> Backbone:
    """A frozen float32 language model from a state dict, every shape checked.

    Args:
        sizes: as the weights' file declares them.
        state: weights in one of `FLOAT_DTYPES`.
        dictionary: the one that the model must have been trained with.
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
    """Give a module its weights, as float32, after checking their names, shapes and values.

    Raises:
        GoldrmError: names the first tensor that is missing, unknown, of another shape or not
            finite.
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
        if not _is_finite(state[key]):
            raise GoldrmError(f"{name}: {key} holds values that aren't finite numbers.")
    module.load_state_dict({key: state[key].float() for key in wanted}, assign=True)


def _is_finite(weights: Tensor) -> bool:
    """Whether all weights are there and are finite numbers, as float32 too."""
    is_dense = weights.layout == torch.strided and weights.device.type != "meta"
    is_float = weights.dtype in FLOAT_DTYPES
    return is_dense and is_float and bool(torch.isfinite(weights.float()).all())


def save_backbone(
    folder: Path, sizes: BackboneSizes, state: Mapping[str, Tensor], provenance: Mapping[str, Any]
) -> None:
    """Write a model's weights to model.safetensors, its sizes and provenance to config.json."""
    write_tensors(folder / "model.safetensors", state)
    write_json(folder / "config.json", {**asdict(sizes), **provenance})


def load_backbone(folder: Path, dictionary: Dictionary, device: torch.device) -> Backbone:
    """The frozen language model that `save_backbone` wrote, on a device.

    Raises:
        GoldrmError: when a file is missing, damaged or doesn't fit the dictionary.
    """
    config = read_config(folder / "config.json")
    state, _ = read_tensors(folder / "model.safetensors")
    sizes = sizes_from(config, str(folder / "config.json"))
    return build_backbone(sizes, state, dictionary, str(folder / "model.safetensors")).to(device)


def read_config(path: Path) -> dict[str, Any]:
    """What a model's config.json holds.

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
    """The sha256 of the file from which the language model in `folder` was fetched."""
    return str(read_config(folder / "config.json").get("sha256"))
