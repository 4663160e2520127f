"""The real `dvc repro` where something is wrong, or of somebody else, at small sizes."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

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
from small_pipeline import STAGES, TRAININGS, SmallPipeline, stages_run, training_of

from goldrm.common.errors import GoldrmError
from goldrm.common.tables import read_parquet
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.pipeline.recorded import refuse_damaged
from goldrm.task import dictionary


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
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


def test_damage_that_dvc_does_not_see_is_refused_and_the_remedy_works(
    pipeline: SmallPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped bit leaves size and time as they were."""
    monkeypatch.chdir(pipeline.folder)
    pipeline.run("dvc", "status")  # notes size and time of this copy's files
    refuse_damaged([Path("data"), Path("metrics")])
    names = (
        *("data/dictionary.json", "data/models/notebook/model.safetensors"),
        *("data/pairs/test.parquet", "metrics/plots/learning_curves/notebook.csv"),
    )
    whole = {Path(name): Path(name).read_bytes() for name in names}
    for path, content in whole.items():
        status = path.stat()
        path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "up to date" in pipeline.run("dvc", "status").stdout
    for path in whole:
        with pytest.raises(GoldrmError, match=f"Delete {path} and run `dvc repro`"):
            refuse_damaged([path])
    pipeline.set_params({"evaluate": {"bootstrap_samples": 101}})  # not in DVC's run cache
    failed = pipeline.repro(check=False)
    assert "evaluate: data/dictionary.json isn't what dvc.lock recorded" in failed.stderr
    pipeline.run("git", "checkout", "--quiet", "params.yaml")
    for path in whole:
        path.unlink()
    assert stages_run(pipeline.repro().stdout) == []
    assert {path: path.read_bytes() for path in whole} == whole
    refuse_damaged([Path("data"), Path("metrics")])


def test_reward_model_of_the_courses_own_files_is_exported_as_the_course_has_it(
    tmp_path: Path,
) -> None:
    """Pairs of one's own are trained on beside the course's."""
    pipeline = SmallPipeline.new(tmp_path)
    tokens = dictionary.load_source(tmp_path / "data/source/dictionary.json", max_value=100)
    state, declared = read_tensors_of_others(tmp_path / "small_sft.safetensors", "it")
    declared.pop("split_seed")
    lm = NotebookLM(**declared)
    lm.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    torch.manual_seed(0)
    save_dictionary(tmp_path / "dictionary.pt", list(tokens.tokens))
    save_sft_checkpoint(tmp_path / "sft.pkl", lm, ids_as_tensors=True)
    source = tmp_path / "data/source/pairs"
    own = "prompt,chosen,rejected\nwrite 7,7,8\nwrite 8,8,7\n"
    (source / "own.csv").write_text(own)  # read first, by its name
    save_training_set(
        source / "training_set.pt", training_set(lm, list(tokens.tokens), num_pairs=170)
    )
    pipeline.set_params(
        {
            "dictionary": {"source": "dictionary.pt"},
            "sft": {"source": "sft.pkl"},
            "pairs": {"source": "data/source/pairs"},
            "models": {"notebook": {"data": {"num_pairs": None}}},
        }
    )
    assert stages_run(pipeline.repro(TRAININGS[1]).stdout) == [*STAGES[:3], TRAININGS[1]]
    pairs = json.loads((tmp_path / "metrics/pairs.json").read_text())["pairs"]
    assert 120 < pairs < 172  # all but those about families of validation and test
    examples = read_parquet(tmp_path / "data/examples/notebook.parquet")
    of_own = examples[examples["gold_reward"].isna()]
    assert of_own["completion"].tolist() == ["7", "8", "8", "7"]
    assert examples["group"].nunique() == pairs
    pipeline.run("goldrm", "export", "course", "--model", "notebook", "step3.pkl")
    saved = torch.load(tmp_path / "step3.pkl", weights_only=True)
    assert set(saved["SL_RMnet_dict"]) >= {"SFT_LM.token_prediction.weight"}
