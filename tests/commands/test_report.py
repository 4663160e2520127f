"""The report: all that a run brought, the same numbers, in DVC's order, without a network."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from small_results import NOTE, PROMPTS, write_results
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.report_page.page import render

# Of a library that DVC reads folders with.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
VOID = {"link", "meta"}


class Page(HTMLParser):
    """What stands on a page: texts by their tag, in order; tables; links and sources."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag in VOID:
            return
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            self.texts[tag][-1] += data
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data

    def table(self, first_column: str) -> list[list[str]]:
        """The table whose first column has this name, with its names."""
        (found,) = (table for table in self.tables if table[0][0] == first_column)
        return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_results(folder)
    return folder


@pytest.fixture(autouse=True)
def in_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


@pytest.fixture(scope="module")
def html(project: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return render()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def specs(page: Page) -> list[dict[str, Any]]:
    contents = [json.loads(text) for text in page.texts["script"] if text.startswith("{")]
    return [content for content in contents if "data" in content]


def titles_in_dvc(folder: Path) -> list[str]:
    """The titles of the page of `dvc plots show`, from top to bottom."""
    command = [sys.executable, "-m", "dvc", "plots", "show", "-o", "shown"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    shown = (folder / "shown/index.html").read_text()
    return re.findall(r'"title": {"text": "([^"]*)"', shown)


def test_figures_have_the_order_and_titles_of_dvc(project: Path, page: Page):
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    try:
        of_dvc = titles_in_dvc(project)
    finally:
        subprocess.run(["rm", "-r", ".git"], cwd=project, check=True)
    assert len(of_dvc) == 16
    assert [title for title in page.texts["h3"] if title in of_dvc] == of_dvc


def test_the_page_has_a_section_for_all_that_is_asked(page: Page):
    assert page.texts["h2"] == [
        *("What was run", "How good the rewards are", "The language model and its pairs"),
        *("Training", "Ranking unseen pairs", "Rewards against gold rewards"),
        *(
            "Picking the best of n",
            "Where they are weak",
            "A language model optimised for the reward",
        ),
        *("The unseen pairs", "Parameters", "Provenance", "Environment"),
    ]
    for caption in page.texts["figcaption"]:
        assert re.match(r".{20,}\. ", caption), caption  # a sentence, and then the source
    assert len(page.texts["figcaption"]) == len(page.texts["h3"])


def test_the_headline_is_that_of_the_table(page: Page):
    assert page.table("judge") == [
        [
            "judge",
            "accuracy (2 pairs, 2 families)",
            "Spearman (4 completions, 2 families)",
            "mean absolute error (4 completions, 2 families)",
        ],
        ["token_damage", "0.988 (0.910 – 0.995)", "0.750 (0.500 – 0.875)", "0.125 (0.100 – 0.150)"],
        ["notebook", "0.500 (0.100 – 0.900)", "−0.250 (−0.500 – 0.500)", "1.500 (1.250 – 1.750)"],
        ["log_prob", "0.750 (0.250 – 1.000)", "0.500 (0.250 – 0.750)", "–"],
    ]


def test_unseen_pairs_say_where_a_model_is_wrong(page: Page):
    (table,) = (table for table in page.tables if "rejected" in table[0])
    assert table[0][-2:] == ["token_damage, chosen less rejected", "notebook, chosen less rejected"]
    assert table[1:] == [
        [PROMPTS[0], "1 2", "1 3", "7.00", "6.40", "0.60", "+0.50", "+0.25"],
        [PROMPTS[1], "5 7", "5 9", "7.00", "6.20", "0.80", "+0.50", "−1.50 wrong"],
    ]


def test_statistics_by_split_stand_beside_each_other(page: Page):
    (table,) = (table for table in page.tables if table[0] == ["statistic", "train", "test"])
    assert table[1:] == [["kept", "0.250", "0.500"], ["prompts", "12", "2"]]


def test_completions_that_are_a_number_stay_texts(page: Page):
    (table,) = (table for table in page.tables if table[0][1:3] == ["prompt", "completion"])
    assert table[1] == ["token_damage", PROMPTS[0], "97", "3.500", "6.250", "2.750"]


def test_texts_are_never_taken_for_html(page: Page):
    (table,) = (table for table in page.tables if table[0][1:3] == ["prompt", "completion"])
    assert table[2][1] == "<b>bold & bad"
    assert "b" not in page.texts


def test_figures_hold_the_rows_of_their_tables(page: Page):
    values = [spec["data"]["values"] for spec in specs(page)]
    (points,) = (rows for rows in values if "mistake" in rows[0])
    assert [(row["model"], row["reward"]) for row in points[3:5]] == [
        ("token_damage", "6.25"),
        ("notebook", "5.25"),
    ]
    assert [len(rows) for rows in values if "train_loss" in rows[0]] == [2, 2]


def test_figures_are_of_one_revision(page: Page):
    assert all('"field": "rev"' not in json.dumps(spec) for spec in specs(page))


def test_parameters_stand_as_they_are(project: Path, page: Page):
    assert page.texts["pre"] == [(project / "params.yaml").read_text()]


def test_provenance_and_environment_are_told(page: Page):
    assert page.table("stages") == [["stages", "where"], ["evaluate, fetch_sft", NOTE]]


def test_nothing_is_loaded_from_elsewhere(html: str, page: Page):
    assert all(address.startswith("#") for address in page.addresses)
    styles = "".join(page.texts["style"])
    assert "@import" not in styles
    assert all(url.startswith(("data:", '"data:')) for url in re.findall(r"url\(([^)]*)", styles))
    (imports,) = (text for text in page.texts["script"] if text.startswith('{"imports"'))
    assert json.loads(imports)["imports"]["datatables"].startswith("data:text/javascript;base64,")


def test_the_same_results_give_the_same_page(html: str):
    assert render() == html


def changed(folder: Path, tmp_path: Path, file: str, text: str | None) -> Path:
    """A copy of the project in which a file holds something else, or isn't there."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if text is None:
        (copy / file).unlink()
    else:
        (copy / file).write_text(text)
    return copy


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("metrics/plots/probes.csv", "How often the reward falls, by what is wrong"),
        ("metrics/plots/statistics.csv", "Every judge on unseen pairs"),
        ("data/pairs/test.parquet", "Pairs of unseen families"),
    ],
)
def test_what_is_missing_is_named_and_the_rest_shown(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, title: str
):
    """After a clone the tables are there, the pairs aren't; after a new recipe it lacks a curve."""
    monkeypatch.chdir(changed(project, tmp_path, file, None))
    figures = {text.strip().split("\n")[0]: text for text in Page(render()).texts["figure"]}
    assert "Missing: dvc repro makes it." in figures[title]
    assert "Missing" not in figures["Mean reward of one term off, by how much"]


@pytest.mark.parametrize("file", ["best_of_n", "statistics"])
def test_a_damaged_table_is_one_sentence(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
):
    path = f"metrics/plots/{file}.csv"
    monkeypatch.chdir(changed(project, tmp_path, path, "a,b\n1,2\n"))
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "dvc repro" in result.stderr
    assert not Path("report.html").exists()


def test_a_figure_that_no_sentence_is_known_of_is_shown_too(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a metric that somebody adds."""
    text = (project / "dvc.yaml").read_text().replace("plots/one_off.csv", "plots/mine.csv")
    monkeypatch.chdir(changed(project, tmp_path, "dvc.yaml", text))
    shutil.copy("metrics/plots/one_off.csv", "metrics/plots/mine.csv")
    page = Page(render())
    assert "Further figures" in page.texts["h2"]
    assert any("metrics/plots/mine.csv" in text for text in page.texts["figcaption"])


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        ("plots:\n  - mine: {x: a, y: {other.csv: b}}\n", "mine"),
        (
            "  mine:\n    cmd: 'true'\n    outs: [x]\n"
            "    plots:\n      - other.csv: {cache: false, x: a, y: b}\n",
            "other.csv, an earlier run's",
        ),
    ],
    ids=["of no stage", "in another folder"],
)
def test_a_figure_that_is_elsewhere_is_shown_too(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, source: str
):
    text = (project / "dvc.yaml").read_text()
    monkeypatch.chdir(changed(project, tmp_path, "dvc.yaml", f"{text}\n{entry}"))
    Path("other.csv").write_text("a,b\n1,7\n")
    page = Page(render())
    assert page.texts["figcaption"].count(f" {source}") == 1
    first_rows = [spec["data"]["values"][0] for spec in specs(page)]
    assert [(row["a"], row["b"]) for row in first_rows if "a" in row] == [("1", "7")]


def test_the_command_writes_the_page_and_says_where(html: str):
    result = CliRunner().invoke(app, ["report"])
    assert (result.exit_code, result.stdout) == (0, "report.html\n")
    assert Path("report.html").read_text() == html
