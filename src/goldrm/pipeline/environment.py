"""What a run's last bits depend on besides params.yaml: versions, processor, settings.

Each stage that runs notes it in environment.json, which is committed beside dvc.lock: so a lock
that comes out different elsewhere has an explanation.
"""

import json
import os
import platform
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from goldrm.common.files import write_json

ENVIRONMENT = Path("environment.json")
# What MKL, oneDNN and PyTorch choose their kernels by, as /proc/cpuinfo calls it; of x86, then ARM.
INSTRUCTIONS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16", "amx_fp16", "avx10_1", "asimd", "i8mm", "bf16", "sve", "sve2"),
)
# Variables that steer them, but for the number of threads, which runtime.threads decides.
SETTINGS = (
    *("ATEN_", "MKL_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "GOMP_", "OPENBLAS_", "VECLIB_"),
    *("CUBLAS", "CUDNN_", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32"),
)
THREADS = "_NUM_THREADS"


def here() -> str:
    """All that was seen to change bytes, or may, in a line."""
    return ", ".join(_parts())


def _parts() -> Iterator[str]:
    yield f"torch {torch.__version__}"
    yield f"Python {platform.python_version()}"
    processor = _processor()
    vendor = processor.get("vendor_id") or processor.get("CPU implementer") or platform.processor()
    yield f"{platform.system()} {platform.machine()} {vendor}".strip()
    yield f"PyTorch uses {torch.backends.cpu.get_cpu_capability()}"
    there = (processor.get("flags") or processor.get("Features") or "").split()
    yield f"processor has {' '.join(i for i in INSTRUCTIONS if i in there) or 'nothing noted'}"
    if torch.cuda.is_available():
        yield torch.cuda.get_device_name()
        yield f"CUDA {torch.version.cuda}"
        yield f"cuDNN {torch.backends.cudnn.version()}"
    for name, value in sorted(os.environ.items()):
        if name.startswith(SETTINGS) and not name.endswith(THREADS):
            yield f"{name}={value}"


def _processor() -> dict[str, str]:
    """What Linux says of the first processor."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except (OSError, ValueError):
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def record(stage: str, stages: Collection[str]) -> None:
    """Note that a stage ran here.

    Args:
        stage: its name.
        stages: all that there are; notes of others go.

    Raises:
        GoldrmError: when the note can't be written.
    """
    notes = _notes()
    new = {name: note for name, note in notes.items() if name in stages} | {stage: here()}
    if new != notes:
        write_json(ENVIRONMENT, dict(sorted(new.items())))


def difference() -> str | None:
    """A sentence about stages that ran elsewhere; None where there are none."""
    ours, stages_of = here(), dict[str, list[str]]()
    for stage, note in sorted(_notes().items()):
        stages_of.setdefault(note, []).append(stage)
    stages_of.pop(ours, None)
    if not stages_of:
        return None
    found = "; ".join(
        f"{', '.join(stages)} ran with {_without(theirs, ours)}, here is {_without(ours, theirs)}"
        for theirs, stages in stages_of.items()
    )
    return (
        f"{found}. What runs again here may differ in last bits, and so dvc.lock; neither is wrong."
    )


def _without(note: str, other: str) -> str:
    """The parts of a note that another one lacks."""
    parts = [part for part in note.split(", ") if part not in other.split(", ")]
    return ", ".join(parts) or "none of that"


def _notes() -> dict[str, str]:
    """Stage → where it ran; empty where nothing readable is noted."""
    try:
        notes = json.loads(ENVIRONMENT.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in notes.items()} if isinstance(notes, dict) else {}
