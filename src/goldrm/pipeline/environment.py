"""What a run's last bits depend on besides params.yaml: versions and the kind of processor.

Each stage that runs notes it in environment.json, which is committed beside dvc.lock: so a lock
that comes out different elsewhere has an explanation.
"""

import json
import platform
from pathlib import Path

import torch

from goldrm.common.files import write_json

ENVIRONMENT = Path("environment.json")


def here() -> str:
    """PyTorch's and Python's versions, the processor and the instructions that PyTorch uses."""
    capability = torch.backends.cpu.get_cpu_capability()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{versions}, {platform.system()} {platform.machine()} {capability}"


def record(stage: str) -> None:
    """Note that a stage ran here.

    Raises:
        GoldrmError: when the note can't be written.
    """
    notes = _notes()
    if notes.get(stage) != here():
        write_json(ENVIRONMENT, dict(sorted({**notes, stage: here()}.items())))


def difference() -> str | None:
    """A sentence about stages that ran elsewhere; None where there are none."""
    elsewhere = {stage: noted for stage, noted in _notes().items() if noted != here()}
    if not elsewhere:
        return None
    found = "; ".join(sorted(set(elsewhere.values())))
    return (
        f"{', '.join(sorted(elsewhere))} ran with {found}; here is {here()}. What runs again here "
        "may differ in last bits, and so dvc.lock; neither is wrong."
    )


def _notes() -> dict[str, str]:
    """Stage → where it ran; empty where nothing readable is noted."""
    try:
        notes = json.loads(ENVIRONMENT.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in notes.items()} if isinstance(notes, dict) else {}
