"""`goldrm summary`: what a run brought."""

import json

import typer

from goldrm.commands.options import Json


def summary(as_json: Json = False) -> None:
    """Print the metrics and where they come from, where the figures are, and what to try next."""
    from goldrm.commands.origin import find_origins
    from goldrm.commands.run_summary import as_data, summarise

    origins = find_origins()
    if as_json:
        typer.echo(json.dumps(as_data(origins), indent=2))
    else:
        typer.echo(summarise(origins), nl=False)
