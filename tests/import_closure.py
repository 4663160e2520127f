"""Which of the package's modules a script imports, directly or through others."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "goldrm"


def modules_of(script: Path) -> set[str]:
    """Names of the package's files (`series.py`) that running `script` imports."""
    found: set[str] = set()
    waiting = _direct(script)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= _direct(PACKAGE / name)
    return found


def _direct(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "goldrm":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("goldrm."):
            names.add((node.module or "").removeprefix("goldrm."))
    return {f"{name}.py" for name in names} | ({"__init__.py"} if names else set())
