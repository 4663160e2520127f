"""The language model from where `sft.source` says, checked before it is used."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.course.files import read_sft_checkpoint
from goldrm.course.kinds import kind_of_other
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes, sizes_from
from goldrm.lm.weights import build_backbone
from goldrm.sft.fetch import fetch
from goldrm.sft.params import SAFETENSORS_SUFFIX, SftParams, suffix_of
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import TaskParams

# What torch.compile, DataParallel, FSDP and checkpointing put before names, or in their middle.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(frozen=True)
class FetchedSft:
    """A language model whose file, sizes and weights have been checked.

    Attributes:
        backbone: frozen, float32, on the CPU.
        sizes: as the file declares them.
        state: its weights in the type they were stored in.
        provenance: source, sha256, number of parameters, and the split_seed it was trained with
            (None where the file doesn't say).
    """

    backbone: Backbone
    sizes: BackboneSizes
    state: Mapping[str, Tensor]
    provenance: Mapping[str, Any]


def fetch_sft(
    params: SftParams, dictionary: Dictionary, task_params: TaskParams, copy: Path
) -> FetchedSft:
    """Fetch the language model and check everything about it.

    Args:
        params: the source and the pinned checksum.
        dictionary: the one that the model must have been trained with.
        task_params: the prompts that it will be asked.
        copy: where to put the fetched file, without its suffix.

    Raises:
        GoldrmError: when the source can't be read, isn't the pinned file, isn't a language model,
            or doesn't fit the dictionary or the task.
    """
    source = params.source
    copy = copy.with_suffix(suffix_of(source))
    sha256 = fetch(source, params.sha256, copy)
    declared, state = _read(copy, source)
    sizes = sizes_from(declared, source)
    backbone = build_backbone(sizes, state, dictionary, source)
    trained_seed = declared.get("split_seed")
    _warn_of_other_splits(trained_seed, task_params.split_seed, source)
    provenance = {
        "source": source,
        "sha256": sha256,
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "split_seed": trained_seed,
    }
    return FetchedSft(backbone, sizes, state, provenance)


def _read(copy: Path, source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a fetched file declares, and its weights by the names that the notebook gives them.

    Raises:
        GoldrmError: when it isn't of the kind that its suffix says, or is damaged.
    """
    if copy.suffix != SAFETENSORS_SUFFIX:
        declared, state = read_sft_checkpoint(copy, source)
    else:
        found = kind_of_other(copy, SAFETENSORS_SUFFIX)
        if found is not None:
            raise GoldrmError(f"{source} can't be read as .safetensors: {found}")
        state, declared = read_tensors_of_others(copy, source)
    return declared, _unwrapped(state, source)


def _unwrapped(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Weights without the names of what a model was wrapped in, each in memory of its own.

    Raises:
        GoldrmError: when two tensors would have one name.
    """
    unwrapped: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own_name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if own_name in unwrapped:
            raise GoldrmError(
                f"{source} holds {own_name} twice, wrapped ({', '.join(WRAPPERS)}) and not. Save "
                "the state_dict of one model."
            )
        unwrapped[own_name] = tensor.detach().clone()
    return unwrapped


def _warn_of_other_splits(trained_seed: Any, split_seed: int, source: str) -> None:
    if trained_seed not in (None, split_seed):
        logging.getLogger(__name__).warning(
            "warning: %s was trained with task.split_seed %s; with %s it has seen series that "
            "count as unseen here. `make upstream` trains one that hasn't.",
            source,
            trained_seed,
            split_seed,
        )
