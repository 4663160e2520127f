"""Scripts of tests/huggingface run as a user runs them: in a process of their own."""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "huggingface"


def needs_extra() -> None:
    """Skips a file's tests, in one line, where the extra hf isn't installed."""
    if find_spec("trl") is None:
        pytest.skip("the extra hf isn't installed; `make test-hf` does it", allow_module_level=True)


def run_script(name: str, *arguments: object) -> str:
    """The last line that a script prints."""
    return _run(None, SCRIPTS / name, *arguments).splitlines()[-1]


def run_code(code: str, *arguments: object, folder: Path) -> str:
    """What some code prints in a folder."""
    return _run(folder, "-c", code, *arguments)


def _run(folder: Path | None, *arguments: object) -> str:
    with tempfile.TemporaryDirectory() as cache:  # of what transformers and datasets keep
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"HF_HOME": cache, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            text=True,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout
