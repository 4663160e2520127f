"""Where tensors live, and with how many threads they are computed."""

import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.params import RuntimeParams


def set_up(runtime: RuntimeParams) -> torch.device:
    """Make this process compute as `runtime` says, repeatably, and return the device.

    The number of threads is set because it decides the order of additions, hence the last bits.

    Raises:
        GoldrmError: when the device asked for isn't there.
    """
    torch.set_num_threads(runtime.threads)
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
