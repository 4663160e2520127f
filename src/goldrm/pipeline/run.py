"""Runs a stage's script from a snapshot of the project: `python -EP …/run.py SCRIPT`.

The snapshot is an archive that Python runs: code, parameters and dvc.yaml as they are at one
moment. So what is edited while a stage starts is not half in it, and what else is installed as
goldrm, or lies about under the name of another module, takes nobody's place: -E and -P keep
PYTHONPATH and the script's folder out. Only the standard library is imported here.
"""

import hashlib
import io
import os
import signal
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

# All that a stage reads besides data.
PATTERNS = ("src/goldrm/**/*.py", "stages/*.py", "upstream/*.py", "*.yaml", "upstream/**/*.yaml")
ARCHIVES = Path(".work/code")  # below the project's root
MOST_ARCHIVES = 20  # stages that run side by side may have several


def project_files(root: Path) -> dict[str, bytes]:
    """The project's code and descriptions: path below its root folder → content."""
    paths = [path.relative_to(root) for pattern in PATTERNS for path in root.glob(pattern)]
    return {
        path.as_posix(): (root / path).read_bytes()
        for path in paths
        # Hidden ones are editors' own.
        if (root / path).is_file() and not any(part.startswith(".") for part in path.parts)
    }


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """An archive that Python can run, where start.py begins; the same bytes for the same files."""
    start = {
        "__main__.py": files["src/goldrm/pipeline/start.py"],
        # Packages: of other folders with these names Python would take what is installed.
        "stages/__init__.py": b"",
        "upstream/__init__.py": b"",
    }
    content = {**files, **start}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(content):
            archive.writestr(zipfile.ZipInfo(name), content[name])
    return buffer.getvalue()


def write_archive(root: Path, content: bytes) -> Path:
    """Write an archive, named by its content, whole or not at all, and remove the oldest ones."""
    folder = root / ARCHIVES
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(content).hexdigest()}.zip"
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
        part.write(content)
    os.replace(part.name, path)  # also where it is there: now it is the newest, and not damaged
    for old in sorted(folder.iterdir(), key=_modified)[:-MOST_ARCHIVES]:
        old.unlink(missing_ok=True)
    return path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another stage's start has just renamed or removed it
        return 0.0


def main() -> None:
    """Run the script that the command line names, in place of this process."""
    # Ctrl-C waits until start.py can say it in one line.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    root = Path(os.path.abspath(__file__)).parents[3].resolve()  # noqa: PTH100 - src may be a link
    script = "".join(sys.argv[1:2])
    name = Path(os.path.relpath(script or ".", root)).as_posix()
    try:
        files = project_files(root)
        if name not in files:
            sys.exit(
                f"{script or 'nothing'} is not a stage's script of {root}, whose run.py this is. "
                "Start a stage in its project's own folder, by the command in dvc.yaml."
            )
        archive = write_archive(root, archive_of(files))
    except OSError as error:
        sys.exit(
            f"{Path(script).stem}: {error.filename or root / ARCHIVES}: {error.strerror}. Make "
            "room or allow reading and writing there, then run again; finished work is kept."
        )
    os.execv(sys.executable, [sys.executable, "-EP", str(archive), name])


if __name__ == "__main__":
    main()
