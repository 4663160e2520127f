"""What the measurements share: copies of a commit, runs with several seeds, tables in Markdown."""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from ruamel.yaml import YAML

from goldrm.commands.presets import PRESETS, change_values
from goldrm.common.tables import read_csv
from goldrm.generation.params import WATCHED
from goldrm.pipeline.paths import PLOTS

ROOT = Path(__file__).resolve().parent.parent
SEEDS = [0, 1, 2]
HEADLINES = (
    *("accuracy", "accuracy_clear", "accuracy_inexact", "best_of_four", "one_off_further"),
    *("spearman", "spearman_inexact", "probes_spearman", "mae", "mae_inexact", "probes_mae"),
)
# The copies keep their outputs with the project's own, so that what has the same inputs is made
# once: the pairs of a seed, say, for all recipes. DVC's state stays with the project's, too.
DVC_CONFIG = f"""
[cache]
    dir = {ROOT}/.dvc/cache
[core]
    site_cache_dir = {ROOT}/.dvc/tmp/site
"""


@dataclass(frozen=True)
class Commit:
    """A commit of the project, of which there can be copies, whoever commits meanwhile."""

    name: str

    @classmethod
    def last(cls) -> "Commit":
        """The project's last one, just now."""
        return cls(_git(ROOT, "rev-parse", "HEAD").strip())

    def params(self, preset: str | None = None) -> dict[str, Any]:
        """What its params.yaml holds.

        Args:
            preset: a file of its presets/, without the .yaml, that changes it.
        """
        values = self._yaml("params.yaml")
        if preset is not None:
            path = f"{PRESETS}/{preset}.yaml"
            there = _git(ROOT, "ls-tree", "--name-only", self.name, f"{PRESETS}/").split()
            if path not in there:
                sys.exit(f"The last commit has no {path}, but {', '.join(there)}. Commit it first.")
            change_values(values, self._yaml(path))
        return values

    def _yaml(self, path: str) -> dict[str, Any]:
        return YAML(typ="safe", pure=True).load(_git(ROOT, "show", f"{self.name}:{path}"))

    def copy_to(self, folder: Path, params: dict[str, Any]) -> None:
        """Have a copy in a folder, with parameters of its own.

        Args:
            folder: where. A copy of this commit that is there stays, with all that it has made;
                what else is there goes.
            params: what its params.yaml is to hold.
        """
        if not (folder.exists() and _git(folder, "rev-parse", "HEAD").strip() == self.name):
            self._clone(folder)
        # JSON is YAML, and keeps the order, which says what the default recipe is.
        (folder / "params.yaml").write_text(json.dumps(params, indent=2) + "\n")

    def _clone(self, folder: Path) -> None:
        """A new copy, which appears whole or not at all, as what was there before goes."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            clone = Path(name) / "new"
            _git(ROOT, "clone", "--quiet", "--no-checkout", ".", str(clone))
            _git(clone, "checkout", "--quiet", "--detach", self.name)
            (clone / ".dvc/config.local").write_text(DVC_CONFIG)
            if folder.exists():
                folder.rename(Path(name) / "old")
            clone.rename(folder)


def _git(folder: Path, *command: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *command], check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def changed(recipe: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a recipe with other values.

    Args:
        recipe: of params.yaml.
        changes: the values by their dotted names.
    """
    other = copy.deepcopy(recipe)
    for name, value in changes.items():
        *sections, last = name.split(".")
        section = other
        for each in sections:
            section = section[each]
        section[last] = value
    return other


def environment(folder: Path) -> dict[str, str]:
    """Of a process that is to run a copy's code, not the installed one, in this Python."""
    first = {"PATH": Path(sys.executable).parent, "PYTHONPATH": folder.absolute() / "src"}
    return os.environ | {
        name: os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])])
        for name, path in first.items()
    }


def run(
    commit: Commit,
    name: str,
    params: dict[str, Any],
    targets: Sequence[str],
    pairs: Mapping[str, Path] | None = None,
) -> Path:
    """Run stages of a commit in a copy; go on where an earlier call ended.

    Args:
        commit: whose code runs.
        name: of the copy, a folder below .work.
        params: what its params.yaml is to hold.
        targets: of `dvc repro`; all stages where there is none.
        pairs: files that its data/source/pairs is to hold, by their names there.

    Returns:
        The copy, when its stages are done.
    """
    folder = ROOT / ".work" / name
    typer.echo(f"{name}: commit {commit.name[:7]} in {folder}", err=True)
    commit.copy_to(folder, params)
    for file, source in (pairs or {}).items():
        shutil.copyfile(source, folder / WATCHED / file)
    done = subprocess.run(
        ["dvc", "repro", *targets],
        cwd=folder,
        env=environment(folder),
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        sys.exit(f"dvc repro failed in {folder}. Mend what it says, commit and run this again.")
    return folder


def runs(
    commit: Commit, name: str, params: dict[str, Any], seeds: Sequence[int], targets: Sequence[str]
) -> Iterator[tuple[int, Path]]:
    """Run stages of a commit with several seeds, each in a copy of its own; see `run`.

    Args:
        commit: whose code runs.
        name: of the folder below .work in which the copies are.
        params: what their params.yaml is to hold, but for the seed.
        seeds: one a copy.
        targets: of `dvc repro`.

    Yields:
        Each seed and its copy, when its stages are done.
    """
    for seed in seeds:
        yield seed, run(commit, f"{name}/{seed}", params | {"seed": seed}, targets)


def statistics_by_seed(
    commit: Commit, name: str, params: dict[str, Any], seeds: Sequence[int]
) -> pd.DataFrame:
    """Run the pipeline of a commit with several seeds, as far as the statistics; see `runs`.

    Returns:
        The headlines among metrics/plots/statistics.csv of each copy, with a first column seed.
    """
    tables = {
        seed: read_csv(folder / PLOTS / "statistics.csv")
        for seed, folder in runs(commit, name, params, seeds, ["evaluate"])
    }
    table = pd.concat(tables, names=["seed"]).reset_index("seed")
    return table[table["statistic"].isin(HEADLINES)]


def ranges(table: pd.DataFrame) -> pd.DataFrame:
    """What statistics are over seeds.

    Args:
        table: of `statistics_by_seed`.

    Returns:
        model, statistic, mean, lowest, highest, seeds (how many have the statistic), n and families
        (of the seed with the fewest).
    """
    groups = table.groupby(["model", "statistic"], sort=False)
    return groups.agg(
        mean=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        seeds=("value", "count"),
        n=("n", "min"),
        families=("families", "min"),
    ).reset_index()


def ranges_in_markdown(table: pd.DataFrame) -> str:
    """A line a statistic: n, families, and each model's mean with the lowest and the highest.

    Args:
        table: of `ranges`.
    """
    models = list(table["model"].unique())
    cells = {
        (row.statistic, row.model): f"{row.mean:z.3f} ({row.lowest:z.3f} – {row.highest:z.3f})"
        for row in table[table["seeds"] > 0].itertuples()
    }
    counts = table.groupby("statistic", sort=False)[["n", "families"]].min()
    lines = (
        [name, f"{n:,}", str(families), *(cells.get((name, model), "") for model in models)]
        for name, n, families in counts.itertuples()
    )
    return markdown(["statistic", "n", "families", *models], lines)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    table = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"
