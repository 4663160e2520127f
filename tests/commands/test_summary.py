"""The closing summary names every stage's metrics, the accuracies, the figures, what to do next."""

import json
from pathlib import Path

import pytest
from small_models import ROOT

from goldrm.commands.params import Params
from goldrm.commands.summary import summarise
from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import read_yaml

STATISTICS = """\
model,statistic,value,low,high,n,families
token_damage,accuracy,0.9876543,0.97,0.99,1200,80
token_damage,spearman,0.95,0.94,0.96,1200,80
notebook,accuracy,0.75,0.7,0.8,1200,80
log_prob,accuracy,0.5,0.45,0.55,1200,80
notebook,spearman,0.5,0.4,0.6,1200,80
"""


@pytest.fixture
def recipes(params: Params) -> list[str]:
    return list(params.models)


@pytest.fixture
def metrics(recipes: list[str]) -> list[str]:
    """Every metrics file of the pipeline, in the order of its stages."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"].values()
    paths = [
        path
        for stage in stages
        for item in stage.get("do", stage).get("metrics", [])
        for path in item
    ]
    of_all = [path.replace("${key}", key) for path in paths for key in recipes]
    return list(dict.fromkeys(Path(path).stem for path in of_all))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: list[str]) -> Path:
    """A project after a run, in its root folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics/plots").mkdir(parents=True)
    for number, name in enumerate(metrics):
        (tmp_path / f"metrics/{name}.json").write_text(json.dumps({"a": number, "b": 0.5}))
    for name in ("probes.png", "compared.png", "probes.csv"):
        (tmp_path / "metrics/plots" / name).touch()
    (tmp_path / "metrics/plots/statistics.csv").write_text(STATISTICS)
    return tmp_path


def test_summary_has_a_line_for_each_stage(metrics: list[str], recipes: list[str]):
    assert metrics == ["sft", "pairs", "token_damage", "notebook", "eval"]
    lines = summarise(recipes).splitlines()
    expected = [[name, "a", str(number), "b", "0.5"] for number, name in enumerate(metrics)]
    assert [line.split() for line in lines[: len(metrics)]] == expected
    values = {line.index("a ", len(name)) for line, name in zip(lines, metrics, strict=False)}
    assert len(values) == 1  # in one column


def test_summary_has_accuracies_with_intervals_figures_and_tables(recipes: list[str]):
    text = summarise(recipes)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert [line for line in lines if "(" in line and ")" in line and " pairs of " in line] == [
        "token_damage 0.988 (0.970 – 0.990) 1200 pairs of 80 families",
        "notebook 0.750 (0.700 – 0.800) 1200 pairs of 80 families",
        "log_prob 0.500 (0.450 – 0.550) 1200 pairs of 80 families",
    ]
    assert "look metrics/plots/compared.png, metrics/plots/probes.png" in lines
    assert "metrics/plots/probes.csv, metrics/plots/statistics.csv" in lines
    assert text.index("dvc plots show") > text.index("probes.csv")


@pytest.mark.parametrize("name", ["metrics/sft.json", "metrics/notebook.json"])
def test_missing_metrics_are_named(project: Path, recipes: list[str], name: str):
    (project / name).unlink()
    with pytest.raises(GoldrmError, match=rf"{name} doesn't exist. `dvc repro` makes it"):
        summarise(recipes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"a,b\n1,2,3\n",
        b"model,statistic\nnotebook,accuracy\n",
        b"model,statistic,value,low,high,n,families\nnotebook,accuracy,high,0.5,0.6,10,3\n",
        b"model,statistic,value,low,high,n,families\n,accuracy,0.5,0.5,0.6,10,3\n",
    ],
)
def test_damaged_statistics_are_named(project: Path, recipes: list[str], content: bytes):
    (project / "metrics/plots/statistics.csv").write_bytes(content)
    with pytest.raises(GoldrmError, match=r"metrics/plots/statistics\.csv"):
        summarise(recipes)


def test_missing_statistics_are_named(project: Path, recipes: list[str]):
    (project / "metrics/plots/statistics.csv").unlink()
    with pytest.raises(GoldrmError, match=r"metrics/plots/statistics\.csv doesn't exist"):
        summarise(recipes)
