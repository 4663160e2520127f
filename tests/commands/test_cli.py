"""The command `goldrm`: results on stdout, one sentence on stderr, status 1."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import Result
from notebook_reference import NotebookLM, NotebookRM, load_rm_checkpoint
from small_models import ROOT
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.options import recipe_names
from goldrm.common.files import read_checked_json, write_checked_json
from goldrm.common.tensor_files import write_tensors
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.lm.weights import save_backbone
from goldrm.pipeline import environment
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import RewardModel, save_reward_model
from goldrm.reward_model.params import (
    EnsembleParams,
    LastTokenParams,
    PlainEnsembleParams,
    ReadoutParams,
    TokenDamageParams,
    UncertaintyEnsembleParams,
)
from goldrm.task.dictionary import Dictionary

PROMPT = "generate an arithmetic series with 5 terms starting with value 3 and common difference 4"
PAIRS = [
    (PROMPT, "3 7 11 15 19", "3 7 11 15 25"),
    ("make a series of arithmetic type", "7", "100 99"),
    (PROMPT, "0", "3 7 11 15 19"),
    (PROMPT, "1 2 3", "50"),
]
BEST = {"epoch": 3, "step": 15, "train_loss": 0.25, "validation_loss": 0.5}
METRICS = {
    "sft": {"exact_match": 0.913},
    "pairs": {"pairs": 2500, "kept": 0.4321},
    "token_damage": {"train": 0.99, "validation": 0.97},
    "notebook": {"train": 0.9, "validation": 0.75},
    "eval": {"token_damage": 0.66, "notebook": 0.61},
}
STATISTICS = """\
model,statistic,value,low,high,n,families
token_damage,accuracy,0.9876,0.97,0.99,1200,80
notebook,accuracy,0.75,0.7,0.8,1200,80
"""

# What a reward model is loaded from.
PARTS = [
    "params.yaml",
    "data/dictionary.json",
    "data/sft/config.json",
    "data/sft/model.safetensors",
    "data/models/token_damage/config.json",
    "data/models/token_damage/model.safetensors",
]


@pytest.fixture(autouse=True)
def process_settings() -> Iterator[None]:
    """A command sets up its whole process, which here is the tests' too."""
    threads, deterministic = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
    )
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def notebooks(
    lm: NotebookLM, params: LastTokenParams, sizes: BackboneSizes, seed: int
) -> NotebookRM:
    """The notebook's reward model with the weights that a readout of that seed has."""
    rm = NotebookRM(lm).eval()
    readout = new_readout(params, sizes, seed)
    assert isinstance(readout, LastTokenReadout)
    rm.reward_prediction.load_state_dict(readout.reward_prediction.state_dict())
    return rm


@pytest.fixture
def reference_rm(
    last_token: LastTokenParams, small_sizes: BackboneSizes, reference_lm: NotebookLM
) -> NotebookRM:
    """The notebook's reward model with the weights that the project's default one has."""
    return notebooks(reference_lm, last_token, small_sizes, seed=3)


def save_members(
    folder: Path,
    params: ReadoutParams,
    sizes: BackboneSizes,
    seeds: list[int],
    ensemble: EnsembleParams | None = None,
) -> None:
    """Write a reward model of readouts with the weights that these seeds give them."""
    states = [new_readout(params, sizes, seed).state_dict() for seed in seeds]
    if ensemble is None:
        ensemble = PlainEnsembleParams(members=len(seeds), combine="mean")
    save_reward_model(folder, states, params, ensemble, "ab" * 32, BEST)


@pytest.fixture
def project(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    last_token: LastTokenParams,
    dictionary: Dictionary,
    small_sizes: BackboneSizes,
    reference_lm: NotebookLM,
) -> Path:
    """A project after `dvc repro`, with small models, in its root folder.

    Both its reward models have the notebook's readout.
    """
    monkeypatch.chdir(tmp_path)
    params = re.sub(r"sha256: \w{64}", "sha256: null", (ROOT / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(params)
    dictionary.save(tmp_path / "data/source/dictionary.json")
    write_tensors(
        tmp_path / "upstream/sft_lm.safetensors", reference_lm.state_dict(), asdict(small_sizes)
    )
    dictionary.save(tmp_path / "data/dictionary.json")
    save_backbone(
        tmp_path / "data/sft", small_sizes, reference_lm.state_dict(), {"sha256": "ab" * 32}
    )
    save_members(tmp_path / "data/models/token_damage", last_token, small_sizes, [3])
    save_members(tmp_path / "data/models/notebook", last_token, small_sizes, [4])
    (tmp_path / "metrics/plots").mkdir(parents=True)
    for stage, values in METRICS.items():
        (tmp_path / f"metrics/{stage}.json").write_text(json.dumps(values))
    (tmp_path / "metrics/plots/statistics.csv").write_text(STATISTICS)
    (tmp_path / "metrics/plots/learning_curves.png").touch()
    (tmp_path / "metrics/plots/examples.csv").touch()
    return tmp_path


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def sentence_of(*arguments: str | Path) -> str:
    """What a command says that fails as it should."""
    result = invoke(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("goldrm: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def expected_rewards(rm: NotebookRM, dictionary: Dictionary, texts: list[str]) -> list[float]:
    """The notebook's predictions."""
    with torch.no_grad():
        return rm.predict(
            [torch.tensor([dictionary.ids[word] for word in text.split()]) for text in texts]
        ).tolist()


def write_pairs(path: Path) -> Path:
    columns = ["prompt", "chosen", "rejected"]
    if path.suffix == ".jsonl":
        rows = [json.dumps(dict(zip(columns, pair, strict=True))) for pair in PAIRS]
        path.write_text("\n".join(rows))
    elif path.suffix == ".csv":
        path.write_text("\n".join(",".join(row) for row in [columns, *PAIRS]))
    else:
        pd.DataFrame(PAIRS, columns=columns).to_parquet(path)
    return path


def test_help_lists_the_commands():
    result = invoke("--help")
    assert result.exit_code == 0
    commands = ("score", "sample", "examples", "compare", "export", "check", "try", "summary")
    for command in commands:
        assert re.search(rf"\b{command}\b", result.stdout)
    assert invoke("export", "--help").exit_code == 0
    assert "course" in invoke("export", "--help").stdout


def test_help_does_not_wait_for_torch():
    code = "import sys, goldrm.commands.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-B", "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("completion", "gold_reward"),
    [
        ("3 7 11 15 19", "  gold reward 7.000000"),
        ("3 7 11 15 25", "  gold reward 5.819475"),  # the notebook's, of one term off by 6
        ("", ""),
    ],
)
def test_score_is_the_notebooks_with_the_gold_reward_beside(
    reference_rm: NotebookRM, dictionary: Dictionary, completion: str, gold_reward: str
):
    result = invoke("score", PROMPT, completion)
    assert (result.exit_code, result.stderr) == (0, "")
    reward, beside = re.fullmatch(r"(-?\d+\.\d{6})(.*)\n", result.stdout).groups()
    expected = expected_rewards(reference_rm, dictionary, [f"{PROMPT} {completion}"])
    assert float(reward) == pytest.approx(expected[0], abs=1e-5)
    assert beside == gold_reward


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("prompt", ["make a series of arithmetic type", f"{PROMPT} 3", "7"])
def test_prompt_that_is_not_the_tasks_has_no_gold_reward(prompt: str):
    assert re.fullmatch(r"-?\d+\.\d{6}\n", invoke("score", prompt, "3 7").stdout)
    (row,) = map(json.loads, invoke("score", prompt, "3 7", "--json").stdout.splitlines())
    assert row["gold_reward"] is None


@pytest.mark.usefixtures("project")
def test_score_for_scripts_is_an_object_a_line():
    printed = invoke("score", PROMPT, "3 7 11 15 25").stdout
    (row,) = map(json.loads, invoke("score", PROMPT, "3 7 11 15 25", "--json").stdout.splitlines())
    assert list(row) == ["reward", "gold_reward"]
    assert row["reward"] == pytest.approx(float(printed.split()[0]), abs=2e-6)
    assert row["gold_reward"] == pytest.approx(5.819474697, abs=1e-6)


@pytest.mark.parametrize(
    "ensemble",
    [
        PlainEnsembleParams(members=2, combine="mean"),
        PlainEnsembleParams(members=2, combine="worst"),
        UncertaintyEnsembleParams(members=2, combine="uncertainty", variance_weight=3.0),
    ],
    ids=lambda ensemble: ensemble.combine,
)
def test_score_is_that_of_all_members(
    project: Path,
    token_damage: TokenDamageParams,
    backbone: Backbone,
    dictionary: Dictionary,
    ensemble: EnsembleParams,
):
    folder = project / "data/models/token_damage"
    save_members(folder, token_damage, backbone.sizes, [3, 4], ensemble)
    members = [new_readout(token_damage, backbone.sizes, seed) for seed in (3, 4)]
    expected = RewardModel(backbone, members, ensemble, dictionary).score([PROMPT], ["3 7"])
    result = invoke("score", PROMPT, "3 7")
    assert float(result.stdout.split()[0]) == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("options", "seed"), [([], 3), (["--model", "notebook"], 4)])
def test_score_is_the_chosen_models_and_else_the_first_recipes(
    last_token: LastTokenParams,
    small_sizes: BackboneSizes,
    reference_lm: NotebookLM,
    dictionary: Dictionary,
    options: list[str],
    seed: int,
):
    result = invoke("score", PROMPT, "3 7", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    rm = notebooks(reference_lm, last_token, small_sizes, seed)
    expected = expected_rewards(rm, dictionary, [f"{PROMPT} 3 7"])
    assert float(result.stdout.split()[0]) == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("model", ["baseline", "", "../sft", "notebook/", "Notebook"])
def test_model_of_no_recipe_is_named_with_those_that_there_are(model: str):
    for command in (["score", PROMPT, "7"], ["export", "course", "out.pkl"]):
        sentence = sentence_of(*command, "--model", model)
        assert f"params.yaml has no recipe {model!r} under models" in sentence
        assert "token_damage, notebook" in sentence
    assert not Path("out.pkl").exists()


def test_recipe_that_is_not_trained_yet_is_named(project: Path):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  notebook: ", "  newer: "))
    sentence = sentence_of("score", PROMPT, "7", "--model", "newer")
    assert "data/models/newer/config.json doesn't exist" in sentence
    assert "dvc repro" in sentence


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "pairs.parquet"])
def test_pairs_are_scored_in_the_files_order(
    project: Path, reference_rm: NotebookRM, dictionary: Dictionary, name: str
):
    result = invoke("score", "--pairs", write_pairs(project / name))
    assert (result.exit_code, result.stderr) == (0, "")
    header, *rows = result.stdout.splitlines()
    assert header == "chosen_reward,chosen_gold_reward,rejected_reward,rejected_gold_reward"
    found = [[float(cell) for cell in row.split(",")[::2]] for row in rows]
    # One term off by 6, and a prompt that isn't the task's.
    assert [row.split(",")[1::2] for row in rows[:2]] == [["7.000000", "5.819475"], ["", ""]]
    chosen, rejected = (
        expected_rewards(reference_rm, dictionary, [f"{pair[0]} {pair[side]}" for pair in PAIRS])
        for side in (1, 2)
    )
    assert [row[0] for row in found] == pytest.approx(chosen, abs=1e-5)
    assert [row[1] for row in found] == pytest.approx(rejected, abs=1e-5)
    assert len({cell for row in found for cell in row}) > 4  # else the order would show nothing


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "pairs.parquet"])
def test_empty_text_is_scored_as_at_the_command_line_with_a_warning(project: Path, name: str):
    table = pd.DataFrame([PAIRS[0], (PROMPT, "", None)], columns=["prompt", "chosen", "rejected"])
    if name == "pairs.jsonl":
        table.to_json(name, orient="records", lines=True)
    else:
        (table.to_csv if name == "pairs.csv" else table.to_parquet)(name, index=False)
    result = invoke("score", "--pairs", name)
    alone = invoke("score", PROMPT, "")
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert result.stdout.splitlines()[2] == f"{alone.stdout.strip()},,{alone.stdout.strip()},"
    assert result.stderr.splitlines() == [
        f"warning: {name}: no {side} in row 1 (counted from 0); scored as a text without a word."
        for side in ("chosen", "rejected")
    ]


@pytest.mark.parametrize("readout", ["token_damage", "last_token"])
def test_prompt_that_is_cut_is_scored_with_a_warning(
    project: Path, request: pytest.FixtureRequest, small_sizes: BackboneSizes, readout: str
):
    """Of a context of 40 tokens a prompt has 21 by itself, or what its completion leaves."""
    params = request.getfixturevalue(readout)
    save_members(project / "data/models/token_damage", params, small_sizes, [3])
    fits = 21 if readout == "token_damage" else 39
    rows = ["prompt,chosen,rejected"]
    rows += [f"{' '.join(['series'] * n)},7,7 8" for n in (1, fits - 1, fits, *[60] * 6)]
    (project / "pairs.csv").write_text("\n".join(rows))
    result = invoke("score", "--pairs", "pairs.csv")
    assert result.exit_code == 0
    first = [] if readout == "token_damage" else [2]
    named = ", ".join(map(str, [*first, *range(3, 8)][:5]))
    assert result.stderr.splitlines() == [
        f"warning: pairs.csv: rows {named} and {len(first) + 1} more (counted from 0): the prompt "
        "is longer than the model can read; its first words are left out."
    ]
    alone = invoke("score", " ".join(["series"] * 60), "7")
    assert alone.stderr.startswith("warning: the prompt is longer than the model can read")
    assert result.stdout.splitlines()[4].split(",")[0] == alone.stdout.strip()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_completions_are_scored_from_a_file_and_from_stdin(project: Path, name: str):
    rows = pd.DataFrame(PAIRS, columns=["prompt", "completion", "other"])[["prompt", "completion"]]
    if name == "rows.jsonl":
        rows.to_json(name, orient="records", lines=True)
    else:
        (rows.to_csv if name == "rows.csv" else rows.to_parquet)(name, index=False)
    result = invoke("score", "--completions", name)
    assert (result.exit_code, result.stderr) == (0, "")
    header, *lines = result.stdout.splitlines()
    assert header == "reward,gold_reward"
    pairs = invoke("score", "--pairs", write_pairs(project / "pairs.csv")).stdout.splitlines()
    assert lines == [",".join(line.split(",")[:2]) for line in pairs[1:]]
    piped = CliRunner().invoke(app, ["score", "--completions", "-"], Path(name).read_bytes())
    assert piped.stdout == result.stdout


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "standard input holds no"),
        (b"prompt,chosen\n7,8\n", "standard input has no column rejected"),
        (b'{"prompt": ', "standard input can't be read (line 1 isn't JSON"),
        (b"PAR1", "standard input can't be read"),
    ],
)
def test_damaged_stdin_is_named(content: bytes, said: str):
    result = CliRunner().invoke(app, ["score", "--pairs", "-"], content)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_no_pairs_are_refused(project: Path):
    (project / "none.csv").write_text("prompt,chosen,rejected\n")
    assert "none.csv holds no" in sentence_of("score", "--pairs", "none.csv")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "arguments",
    [[], [PROMPT], [PROMPT, "7", "--pairs", "pairs.csv"], [PROMPT, "--pairs", "pairs.csv"]],
    ids=["nothing", "no completion", "both", "prompt and pairs"],
)
def test_score_says_what_it_takes(arguments: list[str]):
    assert "PROMPT" in sentence_of("score", *arguments)
    assert "--pairs" in sentence_of("score", *arguments)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("prompt", "completion", "named"),
    [
        (PROMPT, "3 7 eleven", "'eleven'"),
        ("Write a poem", "3", "'Write'"),
        (PROMPT, "101", "'101'"),
    ],
)
def test_bad_word_is_named(prompt: str, completion: str, named: str):
    assert named in sentence_of("score", prompt, completion)


@pytest.mark.usefixtures("project")
def test_nothing_has_no_reward():
    assert "without a word" in sentence_of("score", "", " ")


def test_bad_word_in_a_file_prints_no_part(project: Path):
    (project / "pairs.csv").write_text(f"prompt,chosen,rejected\n{PROMPT},3,7\n{PROMPT},3,x\n")
    assert "'x'" in sentence_of("score", "--pairs", "pairs.csv")


@pytest.mark.usefixtures("project")
def test_missing_pairs_are_named():
    assert "none.csv doesn't exist" in sentence_of("score", "--pairs", "none.csv")


@pytest.mark.parametrize("name", PARTS)
def test_missing_part_is_named(project: Path, name: str):
    (project / name).unlink()
    assert f"{name} doesn't exist" in sentence_of("score", PROMPT, "7")
    assert f"{name} doesn't exist" in sentence_of("export", "course", "out.pkl")
    assert not (project / "out.pkl").exists()


@pytest.mark.parametrize("name", PARTS)
def test_cut_part_is_named(project: Path, name: str):
    content = (project / name).read_bytes()
    (project / name).write_bytes(content[: len(content) // 2])
    assert name in sentence_of("score", PROMPT, "7")


def test_reward_model_of_another_language_model_is_refused(project: Path):
    config = project / "data/sft/config.json"
    write_checked_json(config, {**read_checked_json(config), "sha256": "cd" * 32})
    assert "another language model" in sentence_of("score", PROMPT, "7")


@pytest.mark.parametrize(
    ("options", "seed", "rate"), [([], 3, 2e-3), (["--model", "notebook"], 4, 3e-4)]
)
def test_export_is_loaded_by_the_notebook(
    project: Path,
    reference_lm: NotebookLM,
    last_token: LastTokenParams,
    dictionary: Dictionary,
    small_sizes: BackboneSizes,
    options: list[str],
    seed: int,
    rate: float,
):
    """Each reward model with its own recipe's learning rate."""
    reference_rm = notebooks(reference_lm, last_token, small_sizes, seed)
    result = invoke("export", "course", project / "course/step3.pkl", *options)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "course/step3.pkl" in result.stderr
    torch.manual_seed(99)  # other weights, to be overwritten
    fresh = NotebookLM(**reference_rm.SFT_LM.net_parameters)
    loaded = load_rm_checkpoint(project / "course/step3.pkl", fresh).eval()
    saved = torch.load(project / "course/step3.pkl", weights_only=True)
    assert saved["optimizer"]["param_groups"][0]["initial_lr"] == rate
    texts = [f"{prompt} {chosen}" for prompt, chosen, _ in PAIRS]
    assert expected_rewards(loaded, dictionary, texts) == pytest.approx(
        expected_rewards(reference_rm, dictionary, texts), abs=1e-5
    )


def test_export_says_which_epoch_was_kept(project: Path):
    invoke("export", "course", "step3.pkl")
    saved = torch.load(project / "step3.pkl", weights_only=True)
    assert (saved["epoch"], saved["loss"]) == (3, 0.25)


@pytest.mark.parametrize(
    ("seeds", "readout", "found"),
    [
        ([3, 4], "token_damage", "2 token_damage readouts"),
        ([3], "token_damage", "1 token_damage readout"),
        ([3, 4], "last_token", "2 last_token readouts"),
    ],
)
def test_what_the_course_cannot_hold_is_not_exported(
    project: Path,
    request: pytest.FixtureRequest,
    small_sizes: BackboneSizes,
    seeds: list[int],
    readout: str,
    found: str,
):
    params = request.getfixturevalue(readout)
    save_members(project / "data/models/token_damage", params, small_sizes, seeds)
    sentence = sentence_of("export", "course", "step3.pkl")
    assert f"data/models/token_damage holds {found}" in sentence
    assert "--model notebook" in sentence
    assert not (project / "step3.pkl").exists()
    assert invoke("export", "course", "step3.pkl", "--model", "notebook").exit_code == 0


def test_export_to_a_bad_path_is_named(project: Path):
    (project / "file").write_text("a file")
    assert "file/step3.pkl can't be written" in sentence_of("export", "course", "file/step3.pkl")


@pytest.mark.parametrize("best", [None, {}, [], {"epoch": "three", "train_loss": 0.5}], ids=str)
def test_config_without_its_best_epoch_is_named(project: Path, best: object):
    path = project / "data/models/token_damage/config.json"
    write_checked_json(path, {**read_checked_json(path), "best": best})
    assert "data/models/token_damage/config.json" in sentence_of("export", "course", "step3.pkl")


@pytest.mark.usefixtures("project")
def test_check_is_quiet_when_all_is_well():
    result = invoke("check")
    assert (result.exit_code, result.output) == (0, "")


def test_check_names_the_parameter(project: Path):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("batch_size: 100 ", "batch_size: 0 "))
    assert "models.notebook.training.batch_size is 0" in sentence_of("check")


def test_check_puts_a_lock_that_was_cut_short_aside(project: Path):
    (project / "dvc.lock").write_bytes(b"schema: '2.0'\nstages:\n  a:\n    cm")
    result = invoke("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("note: dvc.lock was cut short, so it is now dvc.lock.damaged-1")
    assert invoke("check").output == ""


def test_check_leaves_a_merge_conflict_alone(project: Path):
    conflict = b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n"
    (project / "dvc.lock").write_bytes(conflict)
    assert "git checkout HEAD -- dvc.lock" in sentence_of("check")
    assert (project / "dvc.lock").read_bytes() == conflict


def test_check_says_what_was_made_elsewhere(project: Path):
    environment.record("train_rm@notebook", ["train_rm@notebook"])
    notes = json.loads((project / "environment.json").read_text())
    assert notes == {"train_rm@notebook": environment.here()}
    assert invoke("check").output == ""
    elsewhere = {**notes, "evaluate": "torch 1.0, Python 3.12.0, Linux aarch64 DEFAULT"}
    (project / "environment.json").write_text(json.dumps(elsewhere))
    result = invoke("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("note: evaluate ran with torch 1.0")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_damaged_note_of_the_environment_is_written_again(project: Path, content: bytes):
    (project / "environment.json").write_bytes(content)
    assert invoke("check").output == ""
    environment.record("evaluate", ["evaluate"])
    assert json.loads((project / "environment.json").read_text()) == {
        "evaluate": environment.here()
    }


def test_summary_shows_metrics_and_figures(project: Path):
    (project / ".dvc").mkdir()
    shutil.copy(ROOT / "dvc.yaml", project)  # says what each stage writes
    result = invoke("summary")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    for line, (stage, values) in zip(lines, METRICS.items(), strict=False):
        shown = "  ".join(f"{name} {value}" for name, value in values.items())
        assert re.split("  +", line, maxsplit=1)[0] == stage
        assert f"  {shown}  " in line
        assert line.endswith("  an earlier run's")  # there is no dvc.lock
    assert "token_damage  0.988  (0.970 – 0.990)  1200 pairs of 80 families" in result.stdout
    assert "notebook      0.750  (0.700 – 0.800)  1200 pairs of 80 families" in result.stdout
    assert "metrics/plots/learning_curves.png" in result.stdout
    assert "metrics/plots/examples.csv" in result.stdout
    assert "dvc exp run -S" in result.stdout


@pytest.mark.usefixtures("project")
def test_summary_outside_of_a_dvc_project_is_a_sentence():
    assert "DVC can't tell what was run in this folder" in sentence_of("summary")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"3", b"[" * 100_000])
def test_summary_of_damaged_metrics_names_them(project: Path, content: bytes):
    (project / ".dvc").mkdir()
    shutil.copy(ROOT / "dvc.yaml", project)
    (project / "metrics/eval.json").write_bytes(content)
    assert "metrics/eval.json is damaged" in sentence_of("summary")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("goldrm s", ["score", "sample", "summary", "serve"]),
        ("goldrm score --model ", ["token_damage", "notebook"]),
        ("goldrm compare notebook t", ["token_damage"]),
        ("goldrm export c", ["course"]),
    ],
)
def test_shells_complete_commands_and_recipes(project: Path, words: str, completed: list[str]):
    position = str(words.count(" "))
    asked = {"_GOLDRM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
    done = run("$GOLDRM", project, **asked)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(done.stdout.decode().split()) == sorted(completed)


@pytest.mark.usefixtures("small_project")
def test_without_params_no_recipe_is_completed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert recipe_names("n") == ["notebook"]
    monkeypatch.chdir(tmp_path)
    assert recipe_names("n") == []


GOLDRM = Path(sys.executable).with_name("goldrm")


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the installed command by a shell's line, in which it is $GOLDRM."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=os.environ | {"GOLDRM": str(GOLDRM)} | environment,
        capture_output=True,
        check=False,
    )


def test_installed_command_ends_without_a_traceback(project: Path):
    done = run(f"$GOLDRM score '{PROMPT}' '3 7 eleven'", project)
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(rb"goldrm: 'eleven' in .*\n", done.stderr)


FULL = b"goldrm: the output can't be written: No space left on device.\n"


@pytest.mark.parametrize(
    "arguments",
    ["--help", "export --help", "summary", f"score '{PROMPT}' '3 7'", "score --pairs pairs.csv"],
)
def test_output_to_a_full_device_is_one_sentence(project: Path, arguments: str):
    (project / ".dvc").mkdir()
    write_pairs(project / "pairs.csv")
    done = run(f"$GOLDRM {arguments} >/dev/full", project)
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (">&-", b"goldrm: the output can't be written: not writable.\n"),
        *((target, b"") for target in (">/dev/full 2>/dev/full", ">&- 2>&-", ">/dev/full 2>&-")),
        ("| true", b""),  # quiet, as other programs are
    ],
)
def test_output_that_cannot_be_written_is_told(project: Path, target: str, said: bytes):
    (project / ".dvc").mkdir()
    for arguments in ("--help", "summary"):
        done = run(f"$GOLDRM {arguments} {target}", project)
        assert (done.returncode, done.stderr) == (1, said)


def test_closed_streams_take_no_output_from_others(project: Path):
    for command in ("$GOLDRM export course out.pkl --model notebook >&-", "$GOLDRM check >&- 2>&-"):
        assert run(command, project).returncode == 0
    torch.load(project / "out.pkl", weights_only=True)
    for target in ("2>&-", "2>/dev/full"):
        assert run(f"$GOLDRM score {target}", project).returncode == 1


@pytest.mark.parametrize(
    "environment",
    [
        *({"PYTHONIOENCODING": encoding} for encoding in ("ascii", "latin-1", "utf-8:strict")),
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_other_encodings_print_what_they_can(project: Path, environment: dict[str, str]):
    (project / ".dvc").mkdir()
    done = run("$GOLDRM summary", project, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"0.988" in done.stdout
    done = run("$GOLDRM export course out.pkl --model 'ä–'", project, **environment)
    assert done.returncode == 1
    assert re.fullmatch(rb"goldrm: params.yaml has no recipe .*\n", done.stderr)


def test_a_user_without_a_name_and_home_has_all_commands(project: Path):
    """As the user of a container whose number is in no list."""
    (project / ".dvc").mkdir()
    without = "import pwd\ndef unknown(*_): raise KeyError\npwd.getpwuid = pwd.getpwnam = unknown\n"
    (project / "sitecustomize.py").write_text(without)
    unset = "unset HOME USER LOGNAME LNAME USERNAME; $GOLDRM "
    for command in ("check", "summary", f"score '{PROMPT}' '3 7'"):
        done = run(unset + command, project, PYTHONPATH=str(project))
        assert (done.returncode, done.stderr) == (0, b"")


def test_code_of_another_folder_is_refused(project: Path, tmp_path: Path):
    """In a copied folder or a second worktree only its own code is right."""
    other = project / "src/goldrm"
    other.mkdir(parents=True)
    for command in ("summary", "check", "score", "try demo", "export course out.pkl"):
        done = run(f"$GOLDRM {command}", project)
        assert (done.returncode, done.stdout) == (1, b"")
        said = done.stderr.decode()
        assert said.startswith(f"goldrm: this folder has its own code, {other}, but")
        assert str(ROOT / "src/goldrm") in said
        assert "make setup" in said
        assert said.count("\n") == 1
    assert run("$GOLDRM --help", project).returncode == 0
    other.rmdir()
    other.symlink_to(ROOT / "src/goldrm")  # its own, by another name
    assert run("$GOLDRM check", project).returncode == 0
