"""Whether metrics are of the models that are here: dvc.lock has the hashes of both in one stage.

Git brings metrics and dvc.lock, and not the models; a run may have changed any of the three since.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LOCK = Path("dvc.lock")


def measured_with(metrics: Path, models: Iterable[Path]) -> bool:
    """Whether a stage wrote metrics when models were as they are now.

    Args:
        metrics: a file that a stage writes.
        models: files and folders that the same stage reads or writes.

    Returns:
        False where that isn't known, as without a dvc.lock.

    Raises:
        GoldrmError: when dvc.lock is damaged, or a file can't be read.
    """
    if not LOCK.exists():
        return False
    from goldrm.pipeline.recorded import stages_in  # which needs the extra pipeline

    for entry in stages_in(LOCK.read_bytes()).values():
        outs = _hashes(entry, "outs")
        if metrics.as_posix() in outs:
            recorded = outs | _hashes(entry, "deps")
            return all(_is_as_recorded(path, recorded) for path in (metrics, *models))
    return False


def _hashes(entry: dict[str, Any], part: str) -> dict[str, str | None]:
    return {file["path"]: file.get("md5") for file in entry.get(part, [])}


def _is_as_recorded(path: Path, recorded: Mapping[str, str | None]) -> bool:
    from goldrm.pipeline.hashes import folder_md5, hashes_of  # which needs the extra pipeline

    if not path.exists():
        return False
    hashes = hashes_of(path, Path())
    found = {Path(file).relative_to(path).as_posix(): md5 for file, md5 in hashes.items()}
    return recorded.get(path.as_posix()) == (folder_md5(found) if path.is_dir() else found["."])
