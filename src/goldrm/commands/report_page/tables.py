"""The report's tables: the headline, every statistic, unseen pairs, and what else is no figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from goldrm.commands.origin import Origins
from goldrm.commands.report_page.project import Project, Stage, read_json
from goldrm.commands.report_page.words import JUDGED_BY, STATISTICS
from goldrm.common.tables import read_csv, read_parquet
from goldrm.pipeline.paths import PAIRS, PLOTS

SIDES = ("chosen", "rejected")
NOTHING = "–"


class Cell(NamedTuple):
    """What stands in a table.

    Attributes:
        text: shown.
        order: what it is sorted by; empty: the text.
        kind: for the style: number, wrong, long (may be broken anywhere) or empty.
    """

    text: str
    order: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        columns: their names.
        rows: a cell a column.
        searchable: whether it can be searched and sorted.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    searchable: bool = False


def number(value: float, text: str = "{:.3f}") -> Cell:
    """A number, rounded; nothing where it isn't one."""
    if pd.isna(value):
        return Cell(NOTHING, kind="number")
    return Cell(text.format(value).replace("-", "−"), f"{value:.6g}", "number")


def stages(project: Project, origins: Origins) -> Table:
    """The stages, their metrics, whose these are, and why not this folder's."""
    return Table(
        ["stage", "what it does", "metrics", "whose result", "not as in dvc.lock"],
        [
            [
                Cell(stage.name),
                Cell(stage.description),
                Cell(", ".join(f"{k} {v}" for path in stage.metrics for k, v in read_json(path))),
                Cell(_whose(stage, origins)),
                Cell(origins.differences.get(stage.name, NOTHING), kind="long"),
            ]
            for stage in project.stages
        ],
    )


def _whose(stage: Stage, origins: Origins) -> str:
    result = [*stage.metrics, *stage.written][0]
    return origins.of(result) if result.exists() else "missing"


def lock(project: Project) -> Table:
    """What each stage wrote."""
    return Table(
        ["stage", "file or folder", "MD5 in dvc.lock"],
        [
            [Cell(stage.name), Cell(str(path), kind="long"), Cell(checksum or NOTHING, kind="long")]
            for stage in project.stages
            for path, checksum in stage.written.items()
        ],
    )


def environment(notes: Path) -> Table:
    """Where stages ran, those that ran alike together."""
    stages_of: dict[str, list[str]] = {}
    for stage, note in read_json(notes):
        stages_of.setdefault(str(note), []).append(stage)
    return Table(
        ["stages", "where"],
        [[Cell(", ".join(names)), Cell(note)] for note, names in stages_of.items()],
    )


def headline() -> Table:
    """Each judge's accuracy, correlation and error on unseen pairs."""
    rows = {(row.model, row.statistic): row for row in _statistics()}
    columns = ["judge"]
    for statistic, (words, over) in JUDGED_BY.items():
        first = next(row for row in rows.values() if row.statistic == statistic)
        columns.append(f"{words} ({first.n:.0f} {over}, {first.families:.0f} families)")
    judges = dict.fromkeys(judge for judge, _ in rows)
    return Table(
        columns,
        [
            [Cell(judge), *(_value_and_interval(rows.get((judge, name))) for name in JUDGED_BY)]
            for judge in judges
        ],
    )


def of_the_default() -> Table:
    """Every statistic of the first recipe, with words."""
    rows = list(_statistics())
    return Table(
        ["statistic", "what it is", "value and interval", "n", "families"],
        [
            [
                Cell(row.statistic),
                Cell(STATISTICS.get(row.statistic, "")),
                _value_and_interval(row),
                number(row.n, "{:.0f}"),
                number(row.families, "{:.0f}"),
            ]
            for row in rows
            if row.model == rows[0].model
        ],
    )


def _statistics() -> Iterable[Any]:
    """The rows of statistics.csv: model, statistic, value, low, high, n, families."""
    return read_csv(PLOTS / "statistics.csv").itertuples()


def _value_and_interval(row: Any) -> Cell:
    """A statistic's; nothing where a judge hasn't got it."""
    if row is None or pd.isna(row.value):
        return Cell(NOTHING, kind="number")
    value, low, high = (number(x) for x in (row.value, row.low, row.high))
    if pd.isna(row.low):
        return value
    return value._replace(text=f"{value.text} ({low.text} – {high.text})")


def unseen_pairs() -> Table:
    """The test pairs, and by how much each model's reward of the chosen one is the higher one."""
    pairs = read_parquet(PAIRS / "test.parquet")
    rewards = read_csv(PLOTS / "reward_vs_gold.csv")
    models = list(rewards["model"].unique())
    of_models = rewards.set_index(["prompt", "completion", "model"])["reward"].unstack("model")
    chosen, rejected = (pairs.join(of_models, on=["prompt", side])[models] for side in SIDES)
    gold = ["chosen_gold_reward", "rejected_gold_reward", "margin"]
    rows = zip(
        pairs[["prompt", *SIDES]].itertuples(index=False),
        pairs[gold].itertuples(index=False),
        (chosen - rejected).itertuples(index=False),
        strict=True,
    )
    return Table(
        [
            *("prompt", *SIDES, "gold, chosen", "gold, rejected", "gold margin"),
            *(f"{model}, chosen less rejected" for model in models),
        ],
        [
            [*map(Cell, texts), *(number(value, "{:.2f}") for value in of_gold), *map(_ranked, own)]
            for texts, of_gold, own in rows
        ],
        searchable=True,
    )


def _ranked(difference: float) -> Cell:
    """A difference of rewards, which is wrong unless it is above 0."""
    cell = number(difference, "{:+.2f}")
    if pd.isna(difference) or difference > 0:
        return cell
    return cell._replace(text=f"{cell.text} wrong", kind="number wrong")


def plain(rows: Sequence[dict[str, str]]) -> Table:
    """Rows as they are in their file; statistics by split stand beside each other."""
    frame = pd.DataFrame(rows)
    if "split" in frame:
        return _by_split(frame)
    columns = [_cells(frame[name]) for name in frame]
    return Table(list(map(str, frame)), list(zip(*columns, strict=True)), "completion" in frame)


def _by_split(frame: pd.DataFrame) -> Table:
    splits = list(frame["split"].unique())
    wide = frame.pivot(index="statistic", columns="split", values="value")[splits]
    statistics = frame["statistic"].unique()
    return Table(
        ["statistic", *splits], [[Cell(name), *_cells(wide.loc[name])] for name in statistics]
    )


def _cells(texts: pd.Series) -> list[Cell]:
    """Texts; or numbers, rounded unless all are whole."""
    numbers = pd.to_numeric(texts, errors="coerce")
    if (numbers.isna() & (texts != "")).any():
        return [Cell(text) for text in texts]
    whole = (numbers.dropna() % 1 == 0).all()
    return [number(value, "{:.0f}" if whole else "{:.3f}") for value in numbers]
