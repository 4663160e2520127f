"""The page of `goldrm report`: gathered, and rendered by page.html.jinja.

All scripts and styles come from packages (Vega by vl-convert, DataTables by itables) and are put
into the page, so that it needs no network.
"""

import base64
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined

from goldrm.commands.origin import GIT, Origins, find_origins
from goldrm.commands.params import PARAMS
from goldrm.commands.report_page import tables
from goldrm.commands.report_page.project import Plot, Project, read_project
from goldrm.commands.report_page.tables import Table
from goldrm.commands.report_page.words import AS_TABLES, CAPTIONS, FURTHER
from goldrm.common.errors import GoldrmError
from goldrm.pipeline.environment import ENVIRONMENT
from goldrm.pipeline.paths import PAIRS, PLOTS

TALL = 60  # rows of a table whose figure is taller than two others


@dataclass(frozen=True)
class Shown:
    """A figure, a table or a text of the page; where it is none of them, its file is missing.

    Attributes:
        heading: of the section that it belongs to.
        title: above it.
        how_to_read: a sentence or two below it.
        source: the file that it is of, and whose result that is.
        spec: of a figure, in Vega-Lite.
        table: of a table.
        text: as it is in its file.
    """

    heading: str
    title: str
    how_to_read: str
    source: str
    spec: dict[str, Any] | None = None
    table: Table | None = None
    text: str | None = None

    @property
    def layout(self) -> str:
        """Its room: the whole width, as tall as two others, or normal, beside one."""
        if self.spec is None or "facet" in self.spec:
            return "wide"
        in_lines = isinstance(self.spec.get("height"), dict)
        return "tall" if in_lines and len(self.spec["data"]["values"]) > TALL else "normal"


def render() -> str:
    """The page as HTML.

    Raises:
        GoldrmError: when dvc.yaml, dvc.lock or a table can't be read.
    """
    shown = list(_shown(read_project(), find_origins()))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(_own("page.html.jinja"))
    return template.render(
        sections=[(name, list(parts)) for name, parts in groupby(shown, lambda it: it.heading)],
        commit=_git("log", "-1", "--format=%H, %cs: %s"),
        changes=len(_git("status", "--porcelain").splitlines()),
        styles=[_of_datatables("css").decode(), _own("page.css")],
        vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"),
        datatables=base64.b64encode(_of_datatables("js")).decode(),
        script=_own("page.js"),
    )


def _own(name: str) -> str:
    """A file that lies beside this one."""
    return (files(__package__ or "") / name).read_text(encoding="utf-8")


def _of_datatables(kind: str) -> bytes:
    """DataTables' script or style; itables isn't imported, which would read a user's settings."""
    bundle = distribution("itables").locate_file(f"itables/html/dt_bundle.{kind}")
    return Path(str(bundle)).read_bytes()


def _shown(project: Project, origins: Origins) -> Iterator[Shown]:
    """All that stands on the page, in its order."""

    def source(path: Path) -> str:
        return ", ".join(filter(None, (str(path), origins.of(path))))

    def result(name: str, title: str, path: Path, table: Callable[[], Table]) -> Shown:
        try:
            return _captioned(name, title, source(path), table=table() if path.exists() else None)
        except (AttributeError, LookupError, StopIteration, TypeError, ValueError):
            raise GoldrmError(f"{path} is damaged. `dvc repro` makes it again.") from None

    statistics = PLOTS / "statistics.csv"
    yield _captioned("stages", "Stages", "dvc.yaml", table=tables.stages(project, origins))
    yield result("headline", "Every judge on unseen pairs", statistics, tables.headline)
    yield result("default", "The default in full", statistics, tables.of_the_default)
    for plot in project.plots:
        yield _plotted(plot, source(plot.path))
    pairs = PAIRS / "test.parquet"
    yield result("test_pairs", "Pairs of unseen families", pairs, tables.unseen_pairs)
    params = PARAMS.read_text(encoding="utf-8")
    yield _captioned("params", "All parameters", str(PARAMS), text=params)
    yield _captioned("lock", "What was written", "dvc.lock", table=tables.lock(project))
    notes = tables.environment(ENVIRONMENT)
    yield _captioned("environment", "Machines and versions", str(ENVIRONMENT), table=notes)


def _captioned(name: str, title: str, source: str, **content: Any) -> Shown:
    caption = CAPTIONS.get(name, FURTHER)
    return Shown(caption.heading, title, caption.how_to_read, source, **content)


def _plotted(plot: Plot, source: str) -> Shown:
    """A figure, or a table where that says it better."""
    if plot.rows and plot.name in AS_TABLES:
        return _captioned(plot.name, plot.title, source, table=tables.plain(plot.rows))
    return _captioned(plot.name, plot.title, source, spec=plot.spec or None)


def _git(*command: str) -> str:
    """What Git says; nothing where there is no Git."""
    try:
        done = subprocess.run((*GIT, *command), capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
