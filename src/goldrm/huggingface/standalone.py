"""The package's own source files, made into a folder that works without the package.

transformers copies the files that a model's code imports relatively, from one flat folder. So
`goldrm.lm.model` becomes `lm_model.py` there, and an import of it `from .lm_model import …`.
Annotations aren't evaluated there, and what only they need isn't imported: shapes (jaxtyping), and
the sections of params.yaml (pydantic).
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

PACKAGE = "goldrm"
SOURCE = Path(__file__).parent.parent


def standalone_files(module: str) -> dict[str, str]:
    """The texts of a module's file and of all that it imports of this package, by their names.

    Args:
        module: such as `goldrm.lm.model`.
    """
    texts: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = f"{flat_name(name)}.py"
        if file not in texts:
            texts[file], imported = _standalone(name)
            waiting += imported
    return texts


def flat_name(module: str) -> str:
    """What a module is called in the folder: `lm_model` for `goldrm.lm.model`."""
    return module.removeprefix(f"{PACKAGE}.").replace(".", "_")


def _standalone(module: str) -> tuple[str, list[str]]:
    """A module's text with its imports rewritten, and the modules of this package that it needs."""
    path = SOURCE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    docstring, *statements = ast.parse(text).body
    used = {name for statement in statements for name in _names_used(statement)}
    lines, imported = text.splitlines(), list[str]()
    for statement in reversed(statements):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            span = slice(statement.lineno - 1, statement.end_lineno)
            statement.names = [name for name in statement.names if _local_name(name) in used]
            if isinstance(statement, ast.ImportFrom) and _is_ours(statement.module):
                imported += [statement.module] if statement.names else []
                statement.module, statement.level = flat_name(statement.module), 1
            lines[span] = [ast.unparse(statement)] if statement.names else []
    lines.insert(docstring.end_lineno or 0, "\nfrom __future__ import annotations")
    origin = f"# {path.relative_to(SOURCE.parent)} of goldrm, made to work without the package."
    return "\n".join([origin, *lines, ""]), imported


def _local_name(imported: ast.alias) -> str:
    return imported.asname or imported.name


def _is_ours(module: str | None) -> TypeGuard[str]:
    return module is not None and module.startswith(f"{PACKAGE}.")


def _names_used(node: ast.AST) -> Iterator[str]:
    """The names that are read outside annotations."""
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _names_used(child)
