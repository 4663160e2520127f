"""The frozen language model as a folder of model.safetensors and config.json, checked when read.

Tensors and sizes have the notebook's names.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json, write_checked_json
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes, sizes_from
from goldrm.task.dictionary import Dictionary

MAX_NAMED = 3  # tensors in a message
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
    with without_values():
        backbone = Backbone(sizes)
    load_checked(backbone, state, name)
    return backbone.frozen()


class _WithoutNormal(TorchFunctionMode):
    """Leaves `nn.init.normal_` out: without values to fill, PyTorch imports its compiler for it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called in place of each function of PyTorch's."""
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)


@contextmanager
def without_values() -> Generator[None]:
    """Build modules whose weights have shapes but no values yet, for `load_checked`."""
    with torch.device("meta"), _WithoutNormal():
        yield


def load_checked(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Give a module its weights, as float32, after checking their names, shapes and values.

    Raises:
        GoldrmError: names the tensors that are missing or unknown, or the first one of another
            shape, of another type, or with a value that isn't finite.
    """
    wanted = module.state_dict()
    lacking = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted]
    problems = [f"lacks {_listed(lacking)}"] if lacking else []
    problems += [f"holds unknown {_listed(unknown)}"] if unknown else []
    if problems:
        raise GoldrmError(
            f"{name} {' and '.join(problems)}. It was made with another architecture; get the "
            "right file."
        )
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise GoldrmError(
                f"{name}: {key} has shape {tuple(tensor.shape)}, the declared sizes ask for "
                f"{tuple(wanted[key].shape)}. Get the right file."
            )
        problem = _problem_of(tensor)
        if problem is not None:
            raise GoldrmError(f"{name}: {key} {problem}")
    module.load_state_dict({key: state[key].float() for key in wanted}, assign=True)


def _listed(keys: list[str]) -> str:
    """Tensors in words, the first ones by their names."""
    more = f" and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else ""
    names = ", ".join(f"{key if key.isprintable() else repr(key):.80}" for key in keys[:MAX_NAMED])
    return f"tensor{'s' if len(keys) > 1 else ''} {names}{more}"


def _problem_of(weights: Tensor) -> str | None:
    """Why weights can't be used; None where all are there and are finite, as float32 too."""
    kinds = {
        "quantised": weights.is_quantized,
        "sparse": weights.layout != torch.strided,
        "without values": weights.is_meta,
        str(weights.dtype).removeprefix("torch."): weights.dtype not in FLOAT_DTYPES,
    }
    for kind, applies in kinds.items():
        if applies:
            return f"is {kind}. Save it as a dense tensor of float32, bfloat16 or float16."
    wrong = int((~torch.isfinite(weights.float())).sum())
    if wrong:
        return (
            f"holds values that aren't finite numbers, {wrong} of {weights.numel()}. Its training "
            "diverged; get another checkpoint."
        )
    return None


def save_backbone(
    folder: Path, sizes: BackboneSizes, state: Mapping[str, Tensor], provenance: Mapping[str, Any]
) -> None:
    """Write a model's weights, its sizes and provenance for `load_backbone`.

    Sizes and provenance are in config.json, and in model.safetensors too, so that this file alone
    can be a run's sft.source.
    """
    described = {**asdict(sizes), **provenance}
    write_tensors(folder / "model.safetensors", state, described)
    write_checked_json(folder / "config.json", described)


def load_backbone(folder: Path, dictionary: Dictionary, device: torch.device) -> Backbone:
    """The frozen language model that `save_backbone` wrote, on a device.

    Raises:
        GoldrmError: when a file is missing, damaged or doesn't fit the dictionary.
    """
    config = read_checked_json(folder / "config.json")
    state = read_tensors(folder / "model.safetensors")
    sizes = sizes_from(config, str(folder / "config.json"))
    return build_backbone(sizes, state, dictionary, str(folder / "model.safetensors")).to(device)


def sft_sha256(folder: Path) -> str:
    """The sha256 of the file from which the language model in `folder` was fetched."""
    return str(read_checked_json(folder / "config.json").get("sha256"))
