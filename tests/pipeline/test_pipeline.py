"""The real `dvc repro` at small sizes, in a temporary copy of the project."""

import json
from pathlib import Path

import pandas as pd
import pytest
from small_pipeline import POLICIES, STAGES, TRAININGS, SmallPipeline, stages_run, training_of

from goldrm.commands.params import load_params
from goldrm.common.yaml_file import read_yaml
from goldrm.task import dictionary
from goldrm.task.splits import SPLITS, Split
from goldrm.task.task import Task


def plots_of(pipeline: SmallPipeline) -> list[Path]:
    plots = pipeline.folder / "metrics/plots"
    return sorted(path for path in plots.rglob("*.*") if path.is_file())


def test_second_repro_does_nothing(finished: SmallPipeline) -> None:
    assert stages_run(finished.repro().stdout) == []
    assert "up to date" in finished.run("dvc", "status").stdout
    assert finished.run("git", "status", "--porcelain").stdout == ""
    (left,) = (finished.folder / ".work").glob("*/*/")
    assert left.parent.name == STAGES[-1], "finished work goes when a later stage starts"


def written(folder: Path) -> dict[str, bytes]:
    """What the stages made, by name."""
    files = [path for out in ("data", "metrics") for path in (folder / out).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_another_copy_with_more_processes_gives_the_same_bytes(
    finished: SmallPipeline, tmp_path: Path
) -> None:
    other = SmallPipeline.new(tmp_path / "other")
    other.set_params({"runtime": {"processes": 2}})
    ran = stages_run(other.repro("evaluate", POLICIES[0]).stdout)
    assert ran == STAGES[: STAGES.index(POLICIES[0]) + 1]  # the other policies share its code
    expected, found = written(finished.folder), written(other.folder)
    assert found.keys() >= {"data/completions/test.parquet", "metrics/policy/token_damage.json"}
    assert [name for name in found if found[name] != expected[name]] == []
    recorded = [read_yaml(copy.folder / "dvc.lock")["stages"] for copy in (other, finished)]
    assert recorded[0] == {stage: recorded[1][stage] for stage in ran}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"evaluate": {"examples": 2}}, ["evaluate", "compare_policies"]),
        (
            training_of("notebook", learning_rate=1e-3),
            [TRAININGS[1], "evaluate", POLICIES[1], "compare_policies"],
        ),
        ({"policy": {"steps": 3}}, POLICIES),
        ({"pairs": {"num_pairs": 180}}, ["generate_pairs"]),
        ({"runtime": {"processes": 2}}, []),
    ],
)
def test_a_parameter_runs_only_what_reads_it(
    edited: SmallPipeline, change: dict[str, object], expected: list[str]
) -> None:
    """What depends on the outputs of that comes after, where they change."""
    edited.set_params(change)
    assert stages_run(edited.repro("--dry").stdout) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("edits/kinds.py", [*TRAININGS, "evaluate", "compare_policies"]),
        ("training/loss.py", TRAININGS),
        ("evaluation/plots.py", ["evaluate", "compare_policies"]),
        ("policy/loss.py", [*POLICIES, "compare_policies"]),
        ("statistics/metrics.py", ["fetch_sft", "evaluate", *POLICIES, "compare_policies"]),
        ("commands/summary.py", []),
    ],
)
def test_code_runs_only_what_imports_from_its_folder(
    edited: SmallPipeline, module: str, expected: list[str]
) -> None:
    """Another kind of edit samples nothing, another colour of a figure trains nothing."""
    path = edited.folder / "src/goldrm" / module
    path.write_text(f"{path.read_text()}# a comment\n")
    assert stages_run(edited.repro("--dry").stdout) == expected


def test_recipes_are_trained_alone_and_dvc_shows_what_changed(pipeline: SmallPipeline) -> None:
    """`dvc exp run` takes a parameter in scientific notation."""
    for recipe in ("token_damage", "notebook"):
        pipeline.set_params(training_of(recipe, learning_rate=1.5e-3))
    assert stages_run(pipeline.repro("train_rm@notebook").stdout) == ["train_rm@notebook"]
    name = "models.token_damage.training.learning_rate"
    done = pipeline.run("dvc", "exp", "run", "-S", f"{name}=1e-4", "evaluate")
    assert stages_run(done.stdout) == ["train_rm@token_damage", "evaluate"]
    assert name.removeprefix("models.") in pipeline.run("dvc", "params", "diff").stdout
    assert "metrics/token_damage.json" in pipeline.run("dvc", "metrics", "diff").stdout
    page = pipeline.run("dvc", "plots", "show").stdout.strip().removeprefix("file://")
    shown = Path(page).read_text()
    assert [path.name for path in plots_of(pipeline) if path.stem not in shown] == []


def test_recipe_in_params_is_all_that_another_model_needs(
    finished: SmallPipeline, tmp_path: Path
) -> None:
    """It is trained, evaluated, compared and optimised against; and what is left is refused."""
    copy = finished.copied(tmp_path / "copy")
    recipe = read_yaml(copy.folder / "params.yaml")["models"]["notebook"]
    recipe["ensemble"] = {"members": 2, "combine": "uncertainty", "variance_weight": 0.5}
    copy.set_params({"models": {"third": recipe}})
    assert stages_run(copy.repro().stdout) == [
        *("train_rm@third", "evaluate", "optimize_policy@third", "compare_policies"),
    ]
    assert json.loads((copy.folder / "metrics/third.json").read_text()).keys() == {
        "train",
        "validation",
        "leaks",
    }
    accuracies = json.loads((copy.folder / "metrics/eval.json").read_text())
    assert accuracies.keys() >= {"token_damage", "notebook", "third"}
    statistics = pd.read_csv(copy.folder / "metrics/plots/statistics.csv")
    by_model = statistics.groupby("model")["statistic"].agg(set)
    assert by_model["third"] == by_model["notebook"] >= {"accuracy"}
    assert "third" in copy.run("goldrm", "summary").stdout
    prompt = pd.read_parquet(copy.folder / "data/pairs/test.parquet")["prompt"][0]
    float(copy.run("goldrm", "score", "--model", "third", prompt, "3 7").stdout.split()[0])
    copy.run("git", "checkout", "--quiet", "params.yaml")
    failed = copy.repro(check=False)
    assert failed.returncode != 0
    assert "data/models/third belongs to no recipe of params.yaml; delete it" in failed.stderr
    copy.run("rm", "-r", "data/models/third", "metrics/plots/learning_curves/third.csv")
    failed = copy.repro(check=False)
    assert "data/policies/third belongs to no recipe of params.yaml; delete it" in failed.stderr
    copy.run("rm", "-r", "data/policies/third")
    copy.repro()
    assert json.loads((copy.folder / "metrics/eval.json").read_text()).keys() == (
        accuracies.keys() - {"third"}
    )


def test_pairs_are_as_asked_for_and_no_series_is_in_two_splits(finished: SmallPipeline) -> None:
    splits = {
        name: pd.read_parquet(finished.folder / f"data/pairs/{name}.parquet")
        for name in ("train", "validation", "test")
    }
    assert sum(map(len, splits.values())) == 300
    for name, rows in splits.items():
        completions = pd.read_parquet(finished.folder / f"data/completions/{name}.parquet")
        texts = set(zip(completions["prompt_id"], completions["completion"], strict=True))
        for side in ("chosen", "rejected"):
            assert set(zip(rows["prompt_id"], rows[side], strict=True)) <= texts
    series = {
        name: set(zip(rows["start"], rows["difference"], rows["terms"], strict=True))
        for name, rows in splits.items()
    }
    assert not series["train"] & series["test"]
    assert not series["train"] & series["validation"]
    assert not series["validation"] & series["test"]


def test_unseen_is_unseen(finished: SmallPipeline) -> None:
    """By brute force, from the files: all texts in them, and all that later splits ask for."""
    data = finished.folder / "data"
    params = load_params(finished.folder / "params.yaml")
    tokens = dictionary.load(data / "dictionary.json", max_value=100)
    task = Task(tokens, params.task, params.gold_reward)
    of_split: dict[Split, set[str]] = {split: set() for split in SPLITS}
    for prompt_id in range(len(task.space)):
        series = " ".join(map(str, task.exact(prompt_id)))
        of_split[task.split_of(prompt_id)] |= {task.space[prompt_id].text, series}
    examples = sorted((data / "examples").iterdir())
    assert [path.stem for path in examples] == ["notebook", "token_damage"]
    for path in (*examples, data / "completions/train.parquet", data / "pairs/train.parquet"):
        texts = texts_in(path)
        assert texts & of_split["train"]
        assert not texts & (of_split["validation"] | of_split["test"])
    for folder in ("completions", "pairs"):
        assert not texts_in(data / folder / "validation.parquet") & of_split["test"]
        assert texts_in(data / folder / "test.parquet") & of_split["test"]
    met = [
        json.loads((finished.folder / f"metrics/{path.stem}.json").read_text()) for path in examples
    ]
    assert [metrics["leaks"] for metrics in met] == [0, 0]


def texts_in(path: Path) -> set[str]:
    """Of all columns."""
    return set(pd.read_parquet(path).select_dtypes("str").stack())


def test_test_pairs_are_different_and_as_many_as_asked_for(finished: SmallPipeline) -> None:
    pairs = pd.read_parquet(finished.folder / "data/pairs/test.parquet")
    assert len(pairs) == 30
    assert not pairs.duplicated(["prompt", "chosen", "rejected"]).any()


def test_all_metrics_are_shown_and_fit_a_wide_terminal(finished: SmallPipeline) -> None:
    table = finished.run("dvc", "metrics", "show").stdout.splitlines()
    path, *keys = table[0].split()
    assert path == "Path"
    policies = [f"policy/{name}" for name in ("token_damage", "notebook", "gold", "sft")]
    names = ("sft", "pairs", "token_damage", "notebook", "eval", *policies)
    assert {line.split()[0] for line in table[1:]} == {f"metrics/{name}.json" for name in names}
    assert len(table) == 10
    assert len(keys) <= 10
    assert max(map(len, table)) <= 150


def test_the_command_line_uses_what_was_trained(finished: SmallPipeline) -> None:
    test_pairs = pd.read_parquet(finished.folder / "data/pairs/test.parquet")
    test_pairs.to_json(finished.folder / "pairs.jsonl", orient="records", lines=True)
    scored = finished.run("goldrm", "score", "--pairs", "pairs.jsonl").stdout.splitlines()
    first = test_pairs.iloc[0]
    single = finished.run("goldrm", "score", first["prompt"], first["chosen"]).stdout
    header = "chosen_reward,chosen_gold_reward,rejected_reward,rejected_gold_reward"
    assert scored[0] == header
    assert len(scored) == len(test_pairs) + 1
    assert float(scored[1].split(",")[0]) == pytest.approx(float(single.split()[0]), abs=1e-5)
    score = ("goldrm", "score", "--model", "notebook")
    assert finished.run(*score, first["prompt"], first["chosen"]).stdout != single
    summary = finished.run("goldrm", "summary").stdout
    plots = finished.folder / "metrics/plots"
    shown = [path for path in plots_of(finished) if path.parent == plots]
    assert all(f"metrics/plots/{path.name}" in summary for path in shown)
    (finished.folder / "pairs.jsonl").unlink()
