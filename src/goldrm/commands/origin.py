"""Where a result in metrics/ comes from: what is in this folder, the commit, or an earlier run.

Git brings metrics/ and not data/, so a result may be there without the model that it is of.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import SCMError

from goldrm.common.errors import GoldrmError

MOST_SHOWN = 4  # names of what has changed
GIT = ("git", "-c", "safe.directory=*")  # in whoever's folder


@dataclass(frozen=True)
class Origins:
    """How the files, parameters and code that are here differ from those that stages ran with.

    Attributes:
        differences: stage → in words; no entry where nothing differs from dvc.lock.
        written: each file and folder that a stage writes → the stage, in dvc.yaml's order.
    """

    differences: dict[str, str]
    written: dict[Path, str]

    def of(self, result: Path) -> str:
        """Where a file comes from; empty where no stage writes it or the folder that it is in."""
        around = (result, *result.parents)
        stage = next((self.written[path] for path in around if path in self.written), None)
        if stage is None:
            return ""
        if stage not in self.differences:
            return "this folder's run"
        return "the commit's" if _is_committed(result) else "an earlier run's"


def find_origins() -> Origins:
    """Compare what is here with dvc.lock, as DVC does; nothing is asked of other machines.

    Raises:
        GoldrmError: when DVC can't.
    """
    try:
        with Repo(config={"core": {"no_scm": True}}) as repo:
            stages = repo.index.stages
            found = {stage.addressing: _difference(stage) for stage in stages}
            written = {Path(str(out)): each.addressing for each in stages for out in each.outs}
    except (DvcException, SCMError, OSError) as error:
        raise GoldrmError(
            f"DVC can't tell what was run in this folder: {' '.join(str(error).split())}. "
            "`goldrm check` may say more."
        ) from None
    return Origins({stage: words for stage, words in found.items() if words}, written)


def _difference(stage: Any) -> str:
    states: dict[str, str] = {}
    for part in (*stage.outs, *(() if stage.frozen else stage.deps)):
        if part.protocol == "local":
            for path, state in part.workspace_status().items():
                states |= state if isinstance(state, Mapping) else {path: state}
    missing = [name for name, state in states.items() if state == "deleted"]
    changed = [name for name in states if name not in missing]
    changed += ["its command"] if stage.cmd_changed else []
    if len(changed) > MOST_SHOWN:
        changed[MOST_SHOWN:] = [f"{len(changed) - MOST_SHOWN} more"]
    said = (("missing", missing), ("changed", changed))
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in said if names)


def _is_committed(path: Path) -> bool:
    """Whether a file is as the last commit has it; False where there is no Git."""
    command = (*GIT, "show", f"HEAD:./{path.as_posix()}")
    try:
        shown = subprocess.run(command, capture_output=True, check=False)
        return shown.returncode == 0 and shown.stdout == path.read_bytes()
    except OSError:
        return False
