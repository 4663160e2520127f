"""Kills the pipeline at random moments and checks that nothing is lost: `make chaos`.

A stand-alone program. A seed decides which stage is killed, how far into it, and whether the stage,
dvc or both are.
"""

import argparse
import hashlib
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from small_pipeline import SmallPipeline
from surroundings import settle

from goldrm.common.resume import ResumePoint
from goldrm.pipeline.run import ARCHIVES

STAGES = (
    *("train_sft", "load_dictionary", "fetch_sft", "generate_pairs"),
    *("train_rm@token_damage", "train_rm@notebook", "evaluate", "optimize_policy@token_damage"),
    *("optimize_policy@notebook", "optimize_gold", "compare_policies"),
)
VICTIMS = ("stage", "process", "dvc", "both", "ctrl-c")  # process: one that shares the work
TRAIN_SFT = ("python", "-EP", "../src/goldrm/pipeline/run.py", "train_sft.py")
POLL_SECONDS = 0.1  # a look at all processes takes a good part of a hundredth
PATIENCE_SECONDS = 300  # what takes longer hangs

# Sizes at which every stage has several chunks or resume points, and lasts a second or two.
ROOT: dict[str, dict[str, Any]] = {
    "sft": {"evaluation_prompts": 40},
    "sampling": {"chunk_size": 8},
    "pairs": {"num_pairs": 700},
    "models": {"token_damage": {"training": {"epochs": 60, "checkpoint_epochs": 5}}},
}
PHASE = {
    "batch_size": 16,
    "learning_rate": 8.0e-4,
    "warmup_steps": 10,
    "offset_draws": 2,
    "counted_weight": 2.0,
    "dropout": True,
    "bfloat16": True,
}
UPSTREAM: dict[str, dict[str, Any]] = {
    "runtime": {"threads": 1},
    "model": {"d": 16, "num_heads": 2, "num_layers": 2},
    "train": {"phases": [{**PHASE, "steps": 100}, {**PHASE, "steps": 50}], "checkpoint_steps": 10},
}
EDIT: dict[str, dict[str, Any]] = {
    "pairs": {"num_pairs": 650},
    "models": {"token_damage": {"training": {"learning_rate": 1e-3}}},
}


def new_pipeline(folder: Path, processes: int) -> SmallPipeline:
    """A fresh project, nothing run yet."""
    pipeline = SmallPipeline.new(folder)
    pipeline.set_params(ROOT)
    pipeline.set_params({"runtime": {"processes": processes}})
    return pipeline


def begin_upstream(pipeline: SmallPipeline) -> None:
    """Have the language model of the project's upstream, not yet trained."""
    pipeline.set_params({"sft": {"source": "upstream/sft_lm.safetensors"}})
    pipeline.set_values("upstream/params.yaml", UPSTREAM)
    for name in ("sft_lm.safetensors", "dvc.lock"):
        (pipeline.folder / "upstream" / name).unlink(missing_ok=True)


def finish_upstream(pipeline: SmallPipeline) -> None:
    """As `make upstream` does."""
    pipeline.run(*TRAIN_SFT, folder="upstream")
    pipeline.run("dvc", "commit", "--quiet", "--force", "upstream/dvc.yaml:train_sft")


def everything(folder: Path) -> dict[str, str]:
    """The hash of every file, but for Git's and DVC's own, archives of code and locks."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path): hashlib.sha256((folder / path).read_bytes()).hexdigest()
        for path in paths
        if path.parts[0] not in (".git", ".dvc")
        and not path.is_relative_to(ARCHIVES)
        and not (path.suffix == ".lock" and ".work" in path.parts)
    }


@dataclass
class Watch:
    """Looks at work in progress, and objects when some of it is done a second time."""

    folder: Path
    made: dict[Path, tuple[int, int]] = field(default_factory=dict)
    progress: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def look(self) -> None:
        """Note chunks and resume points as they are now; they may go at any moment."""
        for path in [p for work in (".work", "upstream/.work") for p in self._files(work)]:
            with suppress(FileNotFoundError):
                status = path.stat()
                made = (status.st_ino, status.st_mtime_ns)
                if not path.stem.startswith("training"):
                    assert self.made.setdefault(path, made) == made, f"{path} was made again"
                elif self.made.get(path) != made:
                    self._went_on(path)
                    self.made[path] = made

    def _files(self, work: str) -> list[Path]:
        with suppress(FileNotFoundError):
            files = (self.folder / work).glob("*/*/**/*.*")
            files = [p for p in files if p.suffix not in (".part", ".bin")]  # .bin: chunks joined
            return [p for p in files if p.stem != "fetched" and p.is_file()]
        return []

    def _went_on(self, path: Path) -> None:
        state = ResumePoint(path).load()
        if state is not None:
            step = state["step"] if "step" in state else state["schedule"]["last_epoch"]
            done = (state.get("phase", 0), step)
            assert done >= self.progress.get(path, done), f"{path} went back to {done}"
            self.progress[path] = done


def stage_of(process: psutil.Process) -> str | None:
    """The stage that a process works at; of those that share a script, DVC says which it is."""
    script = Path("".join(process.cmdline()[-1:]))
    if script.suffix != ".py":
        return None
    dvc_stage = process.environ().get("DVC_STAGE", "")
    return dvc_stage if dvc_stage.partition("@")[0] == script.stem else script.stem


class Running:
    """A `dvc repro`, or upstream's training, that is under way."""

    def __init__(self, pipeline: SmallPipeline, command: Sequence[str], watch: Watch) -> None:
        """Started in a session of its own, as a terminal would; dvc.lock mended by `make repro`."""
        if command != TRAIN_SFT:  # which makes sft.source
            pipeline.run("goldrm", "check")
        self.log = pipeline.folder / ".git/chaos.log"
        self._watch = watch
        with self.log.open("a") as output:
            self.process = pipeline.start(
                *command,
                folder="upstream" if command == TRAIN_SFT else ".",
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stage(self) -> tuple[str, psutil.Process] | None:
        """The stage at work now, and its process."""
        with suppress(psutil.Error):
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                name = stage_of(process)
                if name in STAGES:
                    return name, process
        return None

    def wait_for(self, stage: str) -> tuple[str, psutil.Process] | None:
        """Wait until this stage, or a later one, is at work; None where the run ends before."""
        first = STAGES.index(stage)
        while self.process.poll() is None:
            found = self.stage()
            if found and STAGES.index(found[0]) >= first:
                return found
            self.pause()
        return None

    def pause(self) -> None:
        self._watch.look()
        time.sleep(POLL_SECONDS)

    def kill(self, victim: str, stage: psutil.Process) -> None:
        """End one or both, without a chance to tidy up but for Ctrl-C; wait for dvc's end."""
        with suppress(psutil.Error, ProcessLookupError):
            if victim in ("stage", "process"):
                stage.kill()
            elif victim == "dvc":
                self.process.kill()
            else:
                signal_ = signal.SIGINT if victim == "ctrl-c" else signal.SIGKILL
                os.killpg(self.process.pid, signal_)
        self.process.wait(PATIENCE_SECONDS)


def durations_of(pipeline: SmallPipeline, commands: Iterable[Sequence[str]]) -> dict[str, float]:
    """Run a pipeline to its end; seconds that each stage's process was there."""
    seconds = dict.fromkeys(STAGES, 0.0)
    for command in commands:
        running = Running(pipeline, command, Watch(pipeline.folder))
        before = time.monotonic()
        while running.process.poll() is None:
            found, now = running.stage(), time.monotonic()
            if found:
                seconds[found[0]] += now - before
            before = now
            time.sleep(POLL_SECONDS)
        assert running.process.returncode == 0, running.log.read_text()
        if command == TRAIN_SFT:
            finish_upstream(pipeline)
    return seconds


class Chaos:
    """Uninterrupted runs, and interrupted ones to compare with them."""

    def __init__(self, folder: Path, seed: int, processes: int, up_to: str | None = None) -> None:
        """Make the uninterrupted run.

        Args:
            folder: for all pipelines.
            seed: decides what is killed, and when.
            processes: that share a stage's work.
            up_to: the last stage; the language model is then one that was never trained. None: all
                stages, upstream's first.
        """
        self._random = random.Random(seed)
        self._template = new_pipeline(folder / "template", processes)
        self._pipelines = 0
        if up_to is None:
            begin_upstream(self._template)
        self._targets = () if up_to is None else (up_to,)
        self._repro = ("dvc", "repro", *self._targets)
        whole = self._new()
        commands = (self._repro,) if up_to else (TRAIN_SFT, self._repro)
        self._durations = durations_of(whole, commands)
        self._expected = everything(whole.folder)
        self.kills: Counter[tuple[str, str]] = Counter()

    @cached_property
    def _expected_edited(self) -> dict[str, str]:
        whole = self._new()
        finish_upstream(whole)
        whole.set_params(EDIT)
        whole.repro()
        return everything(whole.folder)

    def _new(self) -> SmallPipeline:
        self._pipelines += 1
        return self._template.copied(self._template.folder.with_name(str(self._pipelines)))

    def round(self, stages: tuple[str, ...], kills: int, edit_at: str | None = None) -> None:
        """Kill a fresh pipeline in each of some stages, run it to its end, and compare.

        Args:
            stages: where to kill.
            kills: how often in each stage.
            edit_at: change parameters after this stage's kills.
        """
        pipeline = self._new()
        watch = Watch(pipeline.folder)
        for stage in STAGES:
            for _ in range(kills if stage in stages else 0):
                self._kill(pipeline, stage, watch)
            if stage == "train_sft" and not self._targets:
                finish_upstream(pipeline)
            if stage == edit_at:
                pipeline.set_params(EDIT)
        last = Running(pipeline, self._repro, watch)
        while last.process.poll() is None:
            last.pause()
        log = last.log.read_text()
        assert last.process.returncode == 0, log
        # A traceback of the stage, or of dvc; Ctrl-C while Python itself starts is Python's.
        assert not re.search(r'File ".*/(goldrm|dvc)/', log), log
        expected = self._expected_edited if edit_at else self._expected
        found = everything(pipeline.folder)
        assert found == expected, sorted(dict(found.items() ^ expected.items()))
        assert "up to date" in pipeline.run("dvc", "status", *self._targets).stdout

    def _kill(self, pipeline: SmallPipeline, stage: str, watch: Watch) -> None:
        victims = ("stage", "ctrl-c") if stage == "train_sft" else VICTIMS
        victim, share = self._random.choice(victims), self._random.uniform(0, 1.1)
        command = TRAIN_SFT if stage == "train_sft" else self._repro
        running = Running(pipeline, command, watch)
        found = running.wait_for(stage)
        if found is None:
            return
        end = time.monotonic() + share * self._durations[found[0]]
        while time.monotonic() < end and running.process.poll() is None:
            running.pause()
        if running.process.poll() is None:
            self.kills[found[0], victim] += 1
            running.kill(victim, self._one_of(found[1]) if victim == "process" else found[1])

    def _one_of(self, stage: psutil.Process) -> psutil.Process:
        """One of the processes that share a stage's work; the stage where it works alone."""
        with suppress(psutil.Error):
            return self._random.choice(stage.children() or [stage])
        return stage


def main() -> None:
    """Kill until there were enough, and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kills in all, at least")
    parser.add_argument("--seed", type=int, default=0, help="decides what is killed, and when")
    parser.add_argument("--processes", type=int, default=2, help="that share a stage's work")
    options = parser.parse_args()
    settle()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), options.seed, options.processes)
        edits = (None, "generate_pairs", None, "train_rm@token_damage")
        number = 0
        while chaos.kills.total() < options.kills:
            chaos.round(STAGES, kills=3, edit_at=edits[number % len(edits)])
            number += 1
            print(f"round {number}: {chaos.kills.total()} kills, the same bytes", flush=True)
        for (stage, victim), count in sorted(chaos.kills.items()):
            print(f"{stage:<24}{victim:<8}{count:>4}")


if __name__ == "__main__":
    main()
