"""Which folders of the package, and which files beside it, a script imports from."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"


def imported_files(script: Path) -> set[Path]:
    """The files that a script imports, directly or through others, anywhere in their text.

    They lie in the package or beside the script; the package's `__init__.py` are left out.
    """
    imported: set[Path] = set()
    waiting = [script]
    while waiting:
        direct = _direct(waiting.pop()) - imported
        imported |= direct
        waiting += direct
    return imported


def imported_folders(script: Path) -> set[str]:
    """The package's folders among them, such as `src/goldrm/common`."""
    files = [file for file in imported_files(script) if file.is_relative_to(SOURCE)]
    return {"/".join(file.relative_to(SOURCE.parent).parts[:3]) for file in files}


def _direct(file: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = [root / f"{name.replace('.', '/')}.py" for name in names for root in (SOURCE, ROOT)]
    return {path for path in paths if path.is_file()}
