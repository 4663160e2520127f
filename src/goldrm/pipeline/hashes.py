"""Hashes of files and folders, by the rules of DVC, so that they can be compared with dvc.lock."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pathspec import GitIgnoreSpec

from goldrm.common.errors import GoldrmError


def md5(content: bytes) -> str:
    """Of a file: it tells damage, not forgery."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def folder_md5(hashes: Mapping[str, str]) -> str:
    """Of a folder.

    Args:
        hashes: path below the folder → MD5, of all its files.
    """
    listed = [{"md5": hashes[path], "relpath": path} for path in sorted(hashes)]
    return f"{md5(json.dumps(listed, sort_keys=True).encode())}.dir"


def hashes_of(path: Path, root: Path) -> dict[str, str]:
    """The MD5 of a file, or of each file in a folder, by its path.

    Args:
        path: of the file or folder.
        root: the project's, whose .dvcignore says what counts for nothing.

    Raises:
        GoldrmError: when a file can't be read.
    """
    return {file.as_posix(): _md5_of(file) for file in _files(path, root)}


def _files(path: Path, root: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    ignoring = root / ".dvcignore"
    ignored = GitIgnoreSpec.from_lines(
        ignoring.read_text().split("\n") if ignoring.exists() else []
    )
    for folder, _, names in os.walk(path):
        for file in sorted(Path(folder, name) for name in names):
            if not ignored.match_file(os.path.relpath(file, root)):
                yield file


def _md5_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise GoldrmError(f"{path} can't be read: {error.strerror}. Restore it.") from None
