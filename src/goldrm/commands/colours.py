"""Colours of mistakes, where they can be seen: on a terminal, unless NO_COLOR is set."""

import os

import typer

# Of kinds of mistake: the exact answer, what is nearly right, and what isn't.
COLOURS = {
    "exact": typer.colors.GREEN,
    "early_stop": typer.colors.CYAN,
    "too_many": typer.colors.CYAN,
    "one_term_off": typer.colors.YELLOW,
    "wrong_first_term": typer.colors.MAGENTA,
    "wrong_step": typer.colors.MAGENTA,
    "wrong_order": typer.colors.MAGENTA,
    "left_out": typer.colors.MAGENTA,
    "malformed": typer.colors.RED,
}


def by_mistake(text: str, mistake: str | None) -> str:
    """A text in the colour of a kind of mistake; as it is where there is none."""
    return text if mistake is None else typer.style(text, fg=COLOURS[mistake])


def echo(text: str) -> None:
    """Print a result, without its colours where they can't be seen or aren't wanted."""
    # An empty NO_COLOR counts as unset: no-color.org.
    typer.echo(text, color=False if os.environ.get("NO_COLOR") else None)
