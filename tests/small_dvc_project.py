"""A DVC project of two quick stages, for what is asked of DVC itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from small_models import ROOT

STAGES = """\
stages:
  first:
    cmd: mkdir -p data metrics && cp code/a.py data/first && cp code/a.py metrics/first.json
    deps: [code]
    params: [x]
    outs: [data/first]
    metrics:
      - metrics/first.json: {cache: false}
  second:
    cmd: mkdir -p data/second && cp data/first data/second/a && cp code/a.py metrics/second.json
    deps: [data/first]
    params: [y]
    outs: [data/second]
    metrics:
      - metrics/second.json: {cache: false}
"""


def write_project(folder: Path) -> None:
    """The project as a clone has it, before a run."""
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "params.yaml").write_text("x: 1\ny: 1\n")
    (folder / "code").mkdir()
    (folder / "code/a.py").write_text("{}\n")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    (folder / ".dvc/config.local").write_text("[core]\n    site_cache_dir = .dvc/tmp/site\n")
    for name in (".dvcignore", ".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC in the project."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": programs},
        text=True,
        capture_output=True,
        check=True,
    )
