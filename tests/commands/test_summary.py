"""The closing summary: metrics and where they come from, accuracies, figures, what to do next."""

import json
import subprocess
from pathlib import Path

import pytest

from goldrm.commands.origin import Origins
from goldrm.commands.run_summary import as_data, summarise
from goldrm.common.errors import GoldrmError

STATISTICS = """\
model,statistic,value,low,high,n,families
token_damage,accuracy,0.9876543,0.97,0.99,1200,80
token_damage,spearman,0.95,0.94,0.96,1200,80
notebook,accuracy,0.75,0.7,0.8,1200,80
log_prob,accuracy,0.5,0.45,0.55,1200,80
notebook,spearman,0.5,0.4,0.6,1200,80
"""


WRITTEN = {
    "metrics/sft.json": "fetch_sft",
    "metrics/plots/sft.csv": "fetch_sft",
    "metrics/pairs.json": "generate_pairs",
    "metrics/notebook.json": "train_rm@notebook",
    "data/evaluation": "evaluate",
    "metrics/eval.json": "evaluate",
    "metrics/plots/statistics.csv": "evaluate",
    "metrics/plots/probes.csv": "evaluate",
    "metrics/plots/probes.png": "evaluate",
    "metrics/plots/compared.png": "evaluate",
    "metrics/policy/notebook.json": "optimize_policy@notebook",
}
METRICS = ["sft", "pairs", "notebook", "eval", "policy/notebook"]


def origins(differences: dict[str, str]) -> Origins:
    return Origins(differences, {Path(path): stage for path, stage in WRITTEN.items()})


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project after a run, in its root folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics/plots").mkdir(parents=True)
    (tmp_path / "metrics/policy").mkdir()
    for number, name in enumerate(METRICS):
        (tmp_path / f"metrics/{name}.json").write_text(json.dumps({"a": number, "b": 0.5}))
    for name in ("probes.png", "compared.png", "probes.csv"):
        (tmp_path / "metrics/plots" / name).touch()
    (tmp_path / "metrics/plots/statistics.csv").write_text(STATISTICS)
    return tmp_path


ALL_HERE = origins({})


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def test_summary_has_a_line_for_each_file_of_metrics():
    lines = summarise(ALL_HERE).splitlines()
    expected = [
        [name, "a", str(number), "b", "0.5", "this", "folder's", "run"]
        for number, name in enumerate(METRICS)
    ]
    assert [line.split() for line in lines[: len(METRICS)]] == expected
    for word in ("a ", "this "):  # in one column
        assert len({line.rindex(word) for line in lines[: len(METRICS)]}) == 1


def test_lines_of_what_was_not_run_here_say_whose_they_are_and_why():
    """After a clone and a partial run the other results are there, but not the models."""
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "results")
    Path("metrics/sft.json").write_text('{"a": 7}')
    Path("metrics/notebook.json").write_text('{"a": 8}')
    differences = {"train_rm@notebook": "changed: seed", "evaluate": "missing: data/evaluation"}
    text = summarise(origins(differences))
    ends = [line.rsplit("  ", 1)[1] for line in text.splitlines()[: len(METRICS)]]
    assert ends == [
        *("this folder's run", "this folder's run"),
        *("an earlier run's", "the commit's", "this folder's run"),
    ]
    assert "accuracy on unseen pairs, with its interval  the commit's\n" in text
    assert "metrics/plots/probes.png  the commit's\n" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["evaluate", "missing:", "data/evaluation"] in lines
    assert ["train_rm@notebook", "changed:", "seed"] in lines
    assert "dvc.lock" not in summarise(ALL_HERE)


def test_without_git_what_is_not_of_this_folder_is_of_an_earlier_run(
    monkeypatch: pytest.MonkeyPatch,
):
    missing = origins({"evaluate": "missing: data/evaluation"})
    assert "an earlier run's" in summarise(missing)
    monkeypatch.setenv("PATH", "")
    assert "an earlier run's" in summarise(missing)


def test_summary_has_accuracies_with_intervals_figures_and_tables(project: Path):
    (project / "metrics/plots/sft.csv").touch()
    (project / "metrics/plots/._sft.csv").touch()  # as macOS leaves it
    text = summarise(ALL_HERE)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert [line for line in lines if "(" in line and ")" in line and " pairs of " in line] == [
        "token_damage 0.988 (0.970 – 0.990) 1200 pairs of 80 families",
        "notebook 0.750 (0.700 – 0.800) 1200 pairs of 80 families",
        "log_prob 0.500 (0.450 – 0.550) 1200 pairs of 80 families",
    ]
    start = lines.index(
        "look metrics/plots/compared.png, metrics/plots/probes.png this folder's run"
    )
    assert lines[start + 1 : start + 3] == [
        "metrics/plots/probes.csv, metrics/plots/statistics.csv this folder's run",
        "metrics/plots/sft.csv this folder's run",
    ]
    assert text.index("dvc plots show") > text.index("probes.csv")


def test_missing_metrics_are_named_and_the_others_shown(project: Path):
    """Of a recipe that isn't trained yet, say."""
    (project / "metrics/notebook.json").unlink()
    (project / "metrics/plots/statistics.csv").unlink()
    lines = summarise(ALL_HERE).splitlines()
    assert " ".join(lines[2].split()) == "notebook missing: `dvc repro` makes it"
    assert lines[1].split()[:3] == ["pairs", "a", "1"]
    assert "accuracy on unseen pairs, with its interval  missing: `dvc repro` makes it" in lines


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
def test_damaged_statistics_are_named(project: Path, content: bytes):
    (project / "metrics/plots/statistics.csv").write_bytes(content)
    with pytest.raises(GoldrmError, match=r"metrics/plots/statistics\.csv"):
        summarise(ALL_HERE)


def test_scripts_get_the_same_numbers(project: Path):
    (project / "metrics/notebook.json").unlink()
    data = json.loads(json.dumps(as_data(origins({"evaluate": "changed: seed"}))))
    assert list(data["metrics"]) == METRICS
    assert data["metrics"]["sft"] == {"a": 0, "b": 0.5}
    assert data["metrics"]["notebook"] is None
    models = [(row["model"], row["value"], row["n"]) for row in data["accuracy"]]
    expected = [("token_damage", 0.9876543, 1200), ("notebook", 0.75, 1200)]
    assert models == [*expected, ("log_prob", 0.5, 1200)]
    assert data["not_as_in_dvc_lock"] == {"evaluate": "changed: seed"}
    (project / "metrics/plots/statistics.csv").unlink()
    assert as_data(ALL_HERE)["accuracy"] is None
