"""`goldrm report`: everything that a run brought, on one page that needs no network."""

from pathlib import Path
from typing import Annotated

import typer

REPORT = Path("report.html")


def report(
    path: Annotated[Path, typer.Argument(help="The page to write.")] = REPORT,
) -> None:
    """Write a page with the headline, every figure, the unseen pairs, parameters and provenance."""
    from goldrm.commands.report_page.page import render
    from goldrm.common.files import write_atomic

    write_atomic(path, render().encode())
    typer.echo(path)
