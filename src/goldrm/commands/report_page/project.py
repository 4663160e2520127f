"""What dvc.yaml says: stages, what they wrote, and the figures as `dvc plots show` draws them.

DVC's own code fills the templates, so order, titles and colours are the same there and here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.render import FIELD, FILENAME, REVISION
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo
from dvc.scm import SCMError
from dvc_render.exceptions import DvcRenderError
from dvc_render.vega import VegaRenderer

from goldrm.common.errors import GoldrmError
from goldrm.pipeline.paths import PLOTS


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: as DVC has it.
        description: a sentence.
        written: each file or folder, with the checksum in dvc.lock, empty where it has none.
        metrics: its files of metrics.
    """

    name: str
    description: str
    written: dict[Path, str]
    metrics: list[Path]


@dataclass(frozen=True)
class Plot:
    """A plot of dvc.yaml: a table and how it is drawn.

    Attributes:
        path: of the table; of a plot of several tables, which is no stage's, its name.
        title: as in dvc.yaml.
        rows: of the table, all values as texts; none where it is missing.
        spec: in Vega-Lite; empty where the table is missing.
    """

    path: Path
    title: str
    rows: list[dict[str, str]]
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """The table's name in metrics/plots, or that of the folder of such tables."""
        path = self.path.relative_to(PLOTS) if self.path.is_relative_to(PLOTS) else self.path
        return Path(path.parts[0]).stem


@dataclass(frozen=True)
class Project:
    """Stages and plots in the order of dvc.yaml."""

    stages: list[Stage]
    plots: list[Plot]


def read_project() -> Project:
    """What dvc.yaml, dvc.lock and metrics/plots hold.

    Raises:
        GoldrmError: when DVC can't read one of them, or a table lacks what is to be drawn.
    """
    try:
        with Repo(config={"core": {"no_scm": True}}) as repo:
            stages = [_stage(stage) for stage in repo.index.stages]
            titles = {Path(str(out)): _title(out) for out in repo.index.plots}
            tables = repo.plots.show(onerror=_leave_out_missing)
            drawn = match_defs_renderers(tables, templates_dir=repo.plots.templates_dir)
            for error in (error for each in drawn for error in each.definition_errors.values()):
                raise error
            renderers = [each.renderer for each in drawn if isinstance(each.renderer, VegaRenderer)]
            return Project(stages, [_plot(renderer, titles) for renderer in renderers])
    except (DvcException, DvcRenderError, SCMError, OSError) as error:
        raise GoldrmError(
            f"DVC can't draw what was run here: {' '.join(str(error).split()):.300}. "
            "`goldrm check` may say more, and `dvc repro` makes tables again."
        ) from None


def read_json(path: Path) -> list[tuple[str, Any]]:
    """The names and values of a file of metrics or notes; none where it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return list(values.items()) if isinstance(values, dict) else []


def _stage(stage: Any) -> Stage:
    written = {Path(str(out)): str(out.hash_info.value or "") for out in stage.outs}
    metrics = [Path(str(out)) for out in stage.outs if out.metric]
    return Stage(stage.addressing, stage.desc or "", written, metrics)


def _title(out: Any) -> str:
    properties = out.plot if isinstance(out.plot, dict) else {}
    return properties.get("title", Path(str(out)).stem)


def _leave_out_missing(_result: Any, error: Exception, *_args: Any, **_options: Any) -> None:
    """Take a table that isn't there for an empty one; DVC would only talk about it."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _plot(renderer: VegaRenderer, titles: dict[Path, str]) -> Plot:
    path, spec = Path(renderer.name), renderer.get_filled_template()
    for taken in ("$schema", "title"):  # the page has its own heading
        spec.pop(taken, None)
    added = {REVISION, FILENAME, FIELD}  # DVC's own columns
    rows = [{k: v for k, v in row.items() if k not in added} for row in renderer.datapoints]
    return Plot(path, titles.get(path, path.stem), rows, _without_revision(spec))


def _without_revision(spec: Any) -> Any:
    """A specification without what tells revisions apart: on the page there is only one."""
    if isinstance(spec, dict):
        return {k: _without_revision(v) for k, v in spec.items() if not _is_revision(v)}
    if isinstance(spec, list):
        return [_without_revision(item) for item in spec if not _is_revision(item)]
    return spec


def _is_revision(part: Any) -> bool:
    return isinstance(part, dict) and part.get("field") == REVISION
