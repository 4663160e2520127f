"""What a stage reads: code and descriptions as they were when it was started, data as it is now."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import parse_yaml, read_yaml
from goldrm.pipeline.hashes import hashes_of, md5
from goldrm.pipeline.run import project_files


@dataclass(frozen=True)
class Snapshot:
    """The project's code and descriptions at one moment.

    Attributes:
        root: the project's folder.
        files: path below it → content.
    """

    root: Path
    files: Mapping[str, bytes]

    @classmethod
    def of_this_process(cls) -> "Snapshot":
        """The one that this process runs.

        Raises:
            GoldrmError: when it runs anything else.
        """
        archive = Path(__file__).parents[3]
        if not archive.is_file():
            raise GoldrmError(
                f"its code is taken from {archive / 'src'}, whatever folder it runs in. Start it "
                "by `dvc repro`, or by its command in dvc.yaml."
            )
        with zipfile.ZipFile(archive) as opened:
            files = {name: opened.read(name) for name in opened.namelist()}
        return cls(archive.parents[2], files)

    @classmethod
    def now(cls, root: Path) -> "Snapshot":
        """The one of this moment.

        Raises:
            GoldrmError: when a file can't be read.
        """
        try:
            return cls(root, project_files(root))
        except OSError as error:
            raise GoldrmError(f"{error.filename}: {error.strerror}. Restore it.") from None

    def read_yaml(self, path: Path) -> dict[str, Any]:
        """A YAML file by its path from the current folder.

        Raises:
            GoldrmError: when it is missing or not YAML.
        """
        content = self.files.get(self._name(path))
        return read_yaml(path) if content is None else _parsed(content, path)

    def hashes(self, path: Path) -> dict[str, str]:
        """The MD5 of a file, or of each file in a folder, by its path.

        Raises:
            GoldrmError: when a file can't be read.
        """
        name = self._name(path)
        code = {
            (path / os.path.relpath(file, name)).as_posix(): md5(content)
            for file, content in self.files.items()
            if file == name or file.startswith(f"{name}/")
        }
        return code or hashes_of(path, self.root)

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.root)).as_posix()


@lru_cache(maxsize=8)
def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    """The same dictionary for the same file, which a stage asks for several times."""
    return parse_yaml(content, path)
