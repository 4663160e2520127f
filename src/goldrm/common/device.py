"""Where tensors live, and with how many threads they are computed."""

import logging
import os

import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.params import RuntimeParams

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
ROWS_ON_A_GPU = 2048  # half a gigabyte of activations of 40 tokens at the notebook's sizes


def rows_together(device: torch.device, on_cpu: int) -> int:
    """How many rows are computed together: on a GPU many, which else waits for Python.

    Args:
        device: where.
        on_cpu: how many where activations should fit a processor's cache.
    """
    return on_cpu if device.type == "cpu" else ROWS_ON_A_GPU


def set_up(runtime: RuntimeParams) -> torch.device:
    """Make this process compute as `runtime` says, repeatably, and return the device.

    The number of threads is set because it decides the order of additions, hence the last bits.

    Raises:
        GoldrmError: when the device asked for isn't there.
    """
    torch.set_num_threads(runtime.threads)
    _take_one_gpu()
    _make_cublas_repeatable()
    # As use_deterministic_algorithms(True, warn_only=True), which imports a compiler for a second.
    torch.set_deterministic_debug_mode("warn")
    # That takes time, and nothing reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if runtime.device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[runtime.device]:
        raise GoldrmError(
            f"runtime.device is {runtime.device}, which PyTorch doesn't find on this machine. "
            "Set it to auto or cpu."
        )
    return torch.device(runtime.device)


def _take_one_gpu() -> None:
    """See one GPU only, where a launcher started several processes: to each of them it is cuda:0.

    So what they exchange is at home in all of them. CUDA reads the variable when it starts, which
    counting doesn't make it do. Where there are fewer GPUs than processes, some share one.
    """
    rank, count = os.environ.get("LOCAL_RANK"), torch.cuda.device_count()
    if rank is not None and count > 1 and not torch.cuda.is_initialized():
        gpus = os.environ.get(VISIBLE_GPUS) or ",".join(map(str, range(count)))
        os.environ[VISIBLE_GPUS] = gpus.split(",")[int(rank) % count]


def _make_cublas_repeatable() -> None:
    """Give cuBLAS a workspace with which it adds in one order; it reads that when CUDA starts."""
    if CUBLAS_WORKSPACE not in os.environ and torch.cuda.is_initialized():
        logging.getLogger(__name__).warning(
            "warning: CUDA was used before %s was set, so two runs may differ in the last bits. "
            "Set it to :4096:8 before Python starts.",
            CUBLAS_WORKSPACE,
        )
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
