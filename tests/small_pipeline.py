"""A temporary copy of the project at sizes that a laptop runs in seconds.

Used by the tests that run the real `dvc repro`.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from small_models import ROOT, sizes_for

from goldrm.commands.presets import change_values
from goldrm.common.random_streams import random_stream
from goldrm.common.tensor_files import write_tensors
from goldrm.common.yaml_file import read_yaml
from goldrm.lm.model import Backbone
from goldrm.task import dictionary

SMALL: dict[str, Any] = {
    "runtime": {"processes": 1},
    "sft": {"source": "small_sft.safetensors", "sha256": None, "evaluation_prompts": 10},
    "sampling": {"chunk_size": 16, "completions_per_prompt": 3},
    "pairs": {"num_pairs": 240, "num_validation_pairs": 30, "num_test_pairs": 30},
    "models": {
        "token_damage": {
            "readout": {"prompt_layers": [1], "hidden_size": 8, "damage_kinds": 4},
            "data": {"edits": {"further_prompts": 10}},
            "training": {
                "epochs": 6,
                "batch_size": 20,
                "warmup_steps": 3,
                "checkpoint_epochs": 2,
            },
        },
        "notebook": {
            "data": {"num_pairs": 50},
            "training": {"epochs": 4, "batch_size": 20, "checkpoint_epochs": 2},
        },
    },
    "evaluate": {
        "bootstrap_samples": 100,
        "best_of_n": {"prompts": 3, "completions": 8},
        "probed_prompts": 3,
        "search_rounds": 1,
        "examples": 3,
    },
    "policy": {
        "prompts": 10,
        "completions": 3,
        "steps": 2,
        "look": {"steps": 1, "prompts": 3, "completions": 2},
    },
}
TRAININGS = ["train_rm@token_damage", "train_rm@notebook"]
POLICIES = ["optimize_policy@token_damage", "optimize_policy@notebook", "optimize_gold"]
STAGES = [
    *("load_dictionary", "fetch_sft", "generate_pairs", *TRAININGS, "evaluate"),
    *(*POLICIES, "compare_policies"),
]


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\S+)'", output)


def training_of(recipe: str, **changes: object) -> dict[str, object]:
    """A change of params.yaml."""
    return {"models": {recipe: {"training": changes}}}


@dataclass(frozen=True)
class SmallPipeline:
    """A copy of the project in a folder, and a repository, of its own."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> "SmallPipeline":
        """Copy the project's files as Git would have them; nothing is run yet."""
        pipeline = cls(folder)
        _copy_project(folder)
        write_small_sft(folder / "small_sft.safetensors")
        pipeline.set_params(SMALL)
        shutil.rmtree(folder / "metrics", ignore_errors=True)
        (folder / "dvc.lock").unlink(missing_ok=True)
        pipeline.run("git", "init", "--quiet")
        pipeline.run("git", "add", ".")
        pipeline.commit("small")
        return pipeline

    def copied(self, folder: Path) -> "SmallPipeline":
        """Another one with the same files, whatever has become of the project in the meantime."""
        shutil.copytree(self.folder, folder)
        return SmallPipeline(folder)

    def commit(self, message: str) -> None:
        """Commit what is staged."""
        author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        self.run("git", *author, "commit", "--quiet", "--message", message)

    def set_params(self, changes: dict[str, Any]) -> None:
        """Change values of params.yaml."""
        self.set_values("params.yaml", changes)

    def set_values(self, file: str, changes: dict[str, Any]) -> None:
        """Change values of a YAML file; what isn't there yet is added."""
        path = self.folder / file
        values = read_yaml(path)
        change_values(values, changes)
        with path.open("w") as text:
            YAML().dump(values, text)

    def start(self, *command: str, folder: str = ".", **options: Any) -> subprocess.Popen[str]:
        """Start a command in the copy, with this interpreter's programs."""
        programs = str(Path(sys.executable).parent)
        environment = os.environ | {
            "PATH": programs + os.pathsep + os.environ["PATH"],
            "PYTHONPATH": str(self.folder / "src"),  # for `goldrm`; stages run their folder's code
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.Popen(
            command, cwd=self.folder / folder, env=environment, text=True, **options
        )

    def run(
        self, *command: str, folder: str = ".", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy to its end."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(*command, folder=folder, **pipes) as process:
            out, err = process.communicate()
        if check and process.returncode:
            raise AssertionError(f"{command} failed:\n{out}\n{err}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def repro(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The real `dvc repro`."""
        return self.run("dvc", "repro", *options, check=check)


def _copy_project(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def write_small_sft(path: Path) -> None:
    """A language model with random weights, which writes random tokens."""
    tokens = dictionary.load_source(ROOT / "data/source/dictionary.json", max_value=100)
    sizes = sizes_for(tokens)
    with random_stream(0, "small sft"):
        model = Backbone(sizes)
    half = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    write_tensors(path, half, {**asdict(sizes), "split_seed": 0})
