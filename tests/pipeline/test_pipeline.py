"""The real `dvc repro` at small sizes, in a temporary copy of the project."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from notebook_reference import (
    NotebookLM,
    save_dictionary,
    save_sft_checkpoint,
    save_training_set,
    training_set,
)
from small_pipeline import SmallPipeline

from goldrm.commands.params import load_params
from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.recorded import refuse_damaged
from goldrm.task import dictionary
from goldrm.task.series import SPLITS, Split
from goldrm.task.task import Task

TRAININGS = ["train_rm@token_damage", "train_rm@notebook"]
STAGES = ["load_dictionary", "fetch_sft", "generate_pairs", *TRAININGS, "evaluate"]


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\S+)'", output)


def plots_of(pipeline: SmallPipeline) -> list[Path]:
    plots = pipeline.folder / "metrics/plots"
    return sorted(path for path in plots.rglob("*.*") if path.is_file())


def training_of(recipe: str, **changes: object) -> dict[str, object]:
    """A change of params.yaml."""
    return {"models": {recipe: {"training": changes}}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    """A pipeline that has run once. Tests leave its parameters and outputs as they were."""
    pipeline = SmallPipeline(tmp_path_factory.mktemp("finished"))
    assert stages_run(pipeline.repro().stdout) == STAGES
    pipeline.run("git", "add", ".")
    pipeline.commit("ran")
    return pipeline


@pytest.fixture
def pipeline(finished: SmallPipeline) -> Iterator[SmallPipeline]:
    """The finished pipeline, put back afterwards."""
    yield finished
    finished.run("git", "checkout", "--quiet", ".")
    finished.run("dvc", "checkout", "--quiet", "--force")


def test_second_repro_does_nothing(pipeline: SmallPipeline) -> None:
    assert stages_run(pipeline.repro().stdout) == []
    assert "up to date" in pipeline.run("dvc", "status").stdout
    assert pipeline.run("git", "status", "--porcelain").stdout == ""
    (left,) = (pipeline.folder / ".work").glob("*/*/")
    assert left.parent.name == "evaluate", "finished work goes when a later stage starts"


def test_lock_that_was_cut_short_costs_no_work(pipeline: SmallPipeline) -> None:
    lock = pipeline.folder / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: whole.index(b"cmd:")])
    assert "validation failed" in pipeline.repro(check=False).stderr
    assert "cut short" in pipeline.run("goldrm", "check").stderr
    assert stages_run(pipeline.repro().stdout) == []
    assert lock.read_bytes() == whole


@pytest.mark.parametrize("moment", ["importing", "sampling"])
def test_ctrl_c_is_one_line_where_processes_share_the_work(
    finished: SmallPipeline, tmp_path: Path, moment: str
) -> None:
    copy = finished.copied(tmp_path / "copy")
    copy.set_params({"runtime": {"processes": 2}, "pairs": {"num_pairs": 100_000}})
    command = ("python", "-EP", "src/goldrm/pipeline/run.py", "stages/generate_pairs.py")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    launcher = copy.start(*command, start_new_session=True, **pipes)
    workers: list[psutil.Process] = []

    def is_time() -> bool:
        workers[:] = psutil.Process(launcher.pid).children()
        chunks = copy.folder.glob(".work/generate_pairs/*/train/completions-*.parquet")
        return len(list(chunks)) > 1 if moment == "sampling" else len(workers) == 2

    deadline = time.monotonic() + 60
    while not is_time() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(launcher.pid, signal.SIGINT)
    out, err = launcher.communicate(timeout=60)
    assert len(workers) == 2
    assert (launcher.returncode, out) == (130, "")
    assert err == "generate_pairs: interrupted; `dvc repro` goes on from here\n"
    assert not any(worker.is_running() for worker in workers)


def written(folder: Path) -> dict[str, bytes]:
    """What the stages made, by name."""
    files = [path for out in ("data", "metrics") for path in (folder / out).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("processes", [1, 2])
def test_another_copy_gives_the_same_bytes(
    pipeline: SmallPipeline, tmp_path: Path, processes: int
) -> None:
    other = SmallPipeline(tmp_path)
    other.set_params({"runtime": {"processes": processes}})
    other.repro()
    expected, found = written(pipeline.folder), written(tmp_path)
    assert found.keys() == expected.keys() >= {"data/completions/test.parquet"}
    assert [name for name in found if found[name] != expected[name]] == []
    locks = [(folder / "dvc.lock").read_text() for folder in (tmp_path, pipeline.folder)]
    assert locks[0] == locks[1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"evaluate": {"examples": 2}}, ["evaluate"]),
        (training_of("token_damage", learning_rate=1e-3), [TRAININGS[0], "evaluate"]),
        (training_of("notebook", learning_rate=1e-3), [TRAININGS[1], "evaluate"]),
        ({"pairs": {"num_pairs": 180}}, STAGES[2:]),
        ({"runtime": {"processes": 2}}, []),
    ],
)
def test_a_parameter_runs_only_what_depends_on_it(
    pipeline: SmallPipeline, change: dict[str, object], expected: list[str]
) -> None:
    pipeline.set_params(change)
    assert stages_run(pipeline.repro().stdout) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("edits/kinds.py", [*TRAININGS, "evaluate"]),
        ("training/loss.py", TRAININGS),
        ("evaluation/plots.py", ["evaluate"]),
        ("statistics/metrics.py", ["fetch_sft", "evaluate"]),
        ("commands/summary.py", []),
    ],
)
def test_code_runs_only_what_imports_from_its_folder(
    pipeline: SmallPipeline, module: str, expected: list[str]
) -> None:
    """Another kind of edit samples nothing, another colour of a figure trains nothing."""
    path = pipeline.folder / "src/goldrm" / module
    path.write_text(f"{path.read_text()}# a comment\n")
    assert stages_run(pipeline.repro("--dry").stdout) == expected


def test_one_recipe_is_trained_alone(pipeline: SmallPipeline) -> None:
    for recipe in ("token_damage", "notebook"):
        pipeline.set_params(training_of(recipe, learning_rate=1.5e-3))
    assert stages_run(pipeline.repro("train_rm@notebook").stdout) == ["train_rm@notebook"]
    assert stages_run(pipeline.repro().stdout) == ["train_rm@token_damage", "evaluate"]


def test_recipe_in_params_is_all_that_another_model_needs(
    finished: SmallPipeline, tmp_path: Path
) -> None:
    """It is trained, evaluated and compared; and what is left of it is not compared any more."""
    copy = finished.copied(tmp_path / "copy")
    recipe = read_yaml(copy.folder / "params.yaml")["models"]["notebook"]
    recipe["ensemble"] = {"members": 2, "combine": "uncertainty", "variance_weight": 0.5}
    copy.set_params({"models": {"third": recipe}})
    assert stages_run(copy.repro().stdout) == ["train_rm@third", "evaluate"]
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
    float(copy.run("goldrm", "score", "--model", "third", prompt, "3 7").stdout)
    copy.run("git", "checkout", "--quiet", "params.yaml")
    for left in ("data/models/third", "metrics/plots/learning_curves/third.csv"):
        failed = copy.repro(check=False)
        assert failed.returncode != 0
        assert f"{left} belongs to no recipe of params.yaml; delete it" in failed.stderr
        copy.run("rm", "-r", left)
    copy.repro()
    assert json.loads((copy.folder / "metrics/eval.json").read_text()).keys() == (
        accuracies.keys() - {"third"}
    )


def test_pairs_are_as_asked_for_and_no_series_is_in_two_splits(pipeline: SmallPipeline) -> None:
    splits = {
        name: pd.read_parquet(pipeline.folder / f"data/pairs/{name}.parquet")
        for name in ("train", "validation", "test")
    }
    assert sum(map(len, splits.values())) == 300
    for name, rows in splits.items():
        completions = pd.read_parquet(pipeline.folder / f"data/completions/{name}.parquet")
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


def test_unseen_is_unseen(pipeline: SmallPipeline) -> None:
    """By brute force, from the files: all texts in them, and all that later splits ask for."""
    data = pipeline.folder / "data"
    params = load_params(pipeline.folder / "params.yaml")
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
        json.loads((pipeline.folder / f"metrics/{path.stem}.json").read_text()) for path in examples
    ]
    assert [metrics["leaks"] for metrics in met] == [0, 0]


def texts_in(path: Path) -> set[str]:
    """Of all columns."""
    return set(pd.read_parquet(path).select_dtypes("str").stack())


def test_test_pairs_are_different_and_as_many_as_asked_for(pipeline: SmallPipeline) -> None:
    pairs = pd.read_parquet(pipeline.folder / "data/pairs/test.parquet")
    assert len(pairs) == 30
    assert not pairs.duplicated(["prompt", "chosen", "rejected"]).any()


def test_dvc_shows_params_metrics_and_plots(pipeline: SmallPipeline) -> None:
    shown = json.loads(pipeline.run("dvc", "metrics", "show", "--json").stdout)
    files = shown[""]["data"]
    names = ("sft", "pairs", "token_damage", "notebook", "eval")
    assert set(files) == {f"metrics/{name}.json" for name in names}
    pipeline.set_params(training_of("token_damage", learning_rate=3e-3))
    assert "token_damage.training.learning_rate" in pipeline.run("dvc", "params", "diff").stdout
    pipeline.repro()
    assert "metrics/token_damage.json" in pipeline.run("dvc", "metrics", "diff").stdout
    page = pipeline.run("dvc", "plots", "show").stdout.strip().removeprefix("file://")
    shown = Path(page).read_text()
    assert [path.name for path in plots_of(pipeline) if path.stem not in shown] == []


def test_metrics_fit_a_terminal(pipeline: SmallPipeline) -> None:
    table = pipeline.run("dvc", "metrics", "show").stdout.splitlines()
    path, *keys = table[0].split()
    assert path == "Path"
    assert len(table) == 6
    assert len(keys) <= 10
    assert max(map(len, table)) <= 120


def test_exp_run_takes_a_parameter_in_scientific_notation(pipeline: SmallPipeline) -> None:
    name = "models.token_damage.training.learning_rate"
    done = pipeline.run("dvc", "exp", "run", "-S", f"{name}=1e-4")
    assert stages_run(done.stdout) == ["train_rm@token_damage", "evaluate"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            training_of("notebook", learning_rate=-1.0),
            "models.notebook.training.learning_rate is -1.0",
        ),
        (training_of("notebook", learning_rate=1e30), "Lower the learning_rate of 1e+30"),
        ({"sft": {"sha256": "0" * 64}}, "sft.sha256 pins 000"),
    ],
)
def test_bad_input_ends_in_a_sentence_and_what_was_made_comes_back(
    pipeline: SmallPipeline, change: dict[str, object], sentence: str
) -> None:
    before = (pipeline.folder / "dvc.lock").read_bytes()
    pipeline.set_params({"runtime": {"processes": 2}})  # all of which may meet it
    pipeline.set_params(change)
    failed = pipeline.repro(check=False)
    assert failed.returncode != 0
    said = [line for line in failed.stderr.splitlines() if line.partition(":")[0] in STAGES]
    assert [sentence in line for line in said] == [True]
    assert "Traceback" not in failed.stderr
    assert (pipeline.folder / "dvc.lock").read_bytes() == before
    pipeline.run("git", "checkout", "--quiet", "params.yaml")
    assert stages_run(pipeline.repro().stdout) == []


@pytest.mark.parametrize(
    "name",
    [
        *("data/dictionary.json", "data/models/notebook/model.safetensors"),
        *("data/pairs/test.parquet", "metrics/plots/learning_curves/notebook.csv"),
    ],
)
def test_damage_that_dvc_does_not_see_is_refused_and_the_remedy_works(
    pipeline: SmallPipeline, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A flipped bit leaves size and time as they were."""
    monkeypatch.chdir(pipeline.folder)
    refuse_damaged([Path("data"), Path("metrics")])
    path = Path(name)
    status, whole = path.stat(), path.read_bytes()
    path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "up to date" in pipeline.run("dvc", "status").stdout
    with pytest.raises(GoldrmError, match=f"Delete {name} and run `dvc repro`"):
        refuse_damaged([path])
    if path.suffix == ".parquet":
        pipeline.set_params({"evaluate": {"examples": 2}})
        failed = pipeline.repro(check=False)
        assert f"evaluate: {name} isn't what dvc.lock recorded of generate_pairs" in failed.stderr
        pipeline.run("git", "checkout", "--quiet", ".")
    path.unlink()
    assert stages_run(pipeline.repro().stdout) == []
    assert path.read_bytes() == whole
    refuse_damaged([Path("data"), Path("metrics")])


def test_the_command_line_uses_what_was_trained(pipeline: SmallPipeline) -> None:
    test_pairs = pd.read_parquet(pipeline.folder / "data/pairs/test.parquet")
    test_pairs.to_json(pipeline.folder / "pairs.jsonl", orient="records", lines=True)
    scored = pipeline.run("goldrm", "score", "--pairs", "pairs.jsonl").stdout.splitlines()
    first = test_pairs.iloc[0]
    single = pipeline.run("goldrm", "score", first["prompt"], first["chosen"]).stdout
    assert scored[0] == "chosen_reward,rejected_reward"
    assert len(scored) == len(test_pairs) + 1
    assert float(scored[1].split(",")[0]) == pytest.approx(float(single), abs=1e-5)
    score = ("goldrm", "score", "--model", "notebook")
    assert pipeline.run(*score, first["prompt"], first["chosen"]).stdout != single
    summary = pipeline.run("goldrm", "summary").stdout
    plots = pipeline.folder / "metrics/plots"
    shown = [path for path in plots_of(pipeline) if path.parent == plots]
    assert all(f"metrics/plots/{path.name}" in summary for path in shown)
    (pipeline.folder / "pairs.jsonl").unlink()


def test_the_courses_own_files_go_through_the_whole_pipeline(tmp_path: Path) -> None:
    pipeline = SmallPipeline(tmp_path)
    tokens = dictionary.load_source(tmp_path / "data/source/dictionary.json", max_value=100)
    state, declared = read_tensors_of_others(tmp_path / "small_sft.safetensors", "it")
    declared.pop("split_seed")
    lm = NotebookLM(**declared)
    lm.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    torch.manual_seed(0)
    save_dictionary(tmp_path / "dictionary.pt", list(tokens.tokens))
    save_sft_checkpoint(tmp_path / "sft.pkl", lm, ids_as_tensors=True)
    source = "data/source/pairs/training_set.pt"
    save_training_set(tmp_path / source, training_set(lm, list(tokens.tokens), num_pairs=170))
    pipeline.set_params(
        {
            "dictionary": {"source": "dictionary.pt"},
            "sft": {"source": "sft.pkl"},
            "pairs": {"source": source, "num_pairs": 120},
        }
    )
    assert stages_run(pipeline.repro().stdout) == STAGES
    assert json.loads((tmp_path / "metrics/pairs.json").read_text())["pairs"] == 120
    pipeline.run("goldrm", "export", "course", "--model", "notebook", "step3.pkl")
    saved = torch.load(tmp_path / "step3.pkl", weights_only=True)
    assert set(saved["SL_RMnet_dict"]) >= {"SFT_LM.token_prediction.weight"}
