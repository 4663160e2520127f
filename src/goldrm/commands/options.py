"""Options that several commands share, and how every command ends: well, or with one sentence."""

import functools
import re
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import requires
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

import goldrm
from goldrm.common.errors import GoldrmError

A = ParamSpec("A")


def recipe_names(incomplete: str) -> list[str]:
    """The recipes of params.yaml whose names begin so, for a shell to complete."""
    from goldrm.common.yaml_file import read_yaml

    with suppress(GoldrmError):
        return [
            name for name in read_yaml(Path("params.yaml"))["models"] if name.startswith(incomplete)
        ]
    return []


Model = Annotated[
    str | None,
    typer.Option(
        help="A recipe of params.yaml's models.",
        show_default="the first recipe",
        autocompletion=recipe_names,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def errors_as_sentences(command: Callable[A, None]) -> Callable[A, None]:
    """The command, which says what the user can mend in a sentence, and ends with status 1."""

    @functools.wraps(command)
    def wrapped(*args: A.args, **kwargs: A.kwargs) -> None:
        try:
            _refuse_another_folders_code()
            _with_extras_named(command, *args, **kwargs)
        except GoldrmError as error:
            typer.echo(f"goldrm: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def _with_extras_named(command: Callable[A, None], *args: A.args, **kwargs: A.kwargs) -> None:
    """Run a command.

    Raises:
        GoldrmError: when it imports a package of an extra that isn't installed.
    """
    try:
        command(*args, **kwargs)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0].replace("_", "-")
        for requirement in requires("goldrm") or []:
            extra = re.match(rf"({name}(?:-python)?)\b(?!-).*\bextra == .(\w+)", requirement)
            if extra:
                raise GoldrmError(
                    f"this needs the package {extra[1]}. Run `pip install 'goldrm[{extra[2]}]'`."
                ) from None
        raise


def _refuse_another_folders_code() -> None:
    """In a folder with a package of its own, such as a copy or a worktree, only that one is right.

    Raises:
        GoldrmError: when another one runs.
    """
    here, running = Path("src/goldrm").absolute(), Path(goldrm.__file__).parent
    if here.is_dir() and not here.samefile(running):
        raise GoldrmError(
            f"this folder has its own code, {here}, but the command that runs is of {running}. "
            "Run `make setup` here, then `.venv/bin/goldrm`."
        )
