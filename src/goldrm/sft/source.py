"""The language model from where `sft.source` says, checked before it is used."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import read_tensors
from goldrm.course.files import read_sft_checkpoint
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes, sizes_from
from goldrm.lm.weights import build_backbone
from goldrm.sft.fetch import fetch
from goldrm.sft.params import SftParams
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import TaskParams

SAFETENSORS_SUFFIX = ".safetensors"
COURSE_SUFFIXES = (".pkl", ".pt", ".pth")


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
    suffix = _suffix(source)
    copy = copy.with_suffix(suffix)
    sha256 = fetch(source, params.sha256, copy)
    if suffix == SAFETENSORS_SUFFIX:
        state, declared = read_tensors(copy, source)
    else:
        declared, state = read_sft_checkpoint(copy, source)
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


def _suffix(source: str) -> str:
    """The suffix of a path or URL, which says what is in the file."""
    suffix = PurePosixPath(urlsplit(source).path).suffix
    if suffix not in (SAFETENSORS_SUFFIX, *COURSE_SUFFIXES):
        raise GoldrmError(
            f"sft.source is {source}, whose name must end in {SAFETENSORS_SUFFIX} or, for the "
            f"course's checkpoint, in {', '.join(COURSE_SUFFIXES)}."
        )
    return suffix


def _warn_of_other_splits(trained_seed: Any, split_seed: int, source: str) -> None:
    if trained_seed not in (None, split_seed):
        logging.getLogger(__name__).warning(
            "warning: %s was trained with task.split_seed %s; with %s it has seen series that "
            "count as unseen here. `make upstream` trains one that hasn't.",
            source,
            trained_seed,
            split_seed,
        )
