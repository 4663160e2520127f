"""What stands in the exported folders."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from goldrm.huggingface.export import write_language_model
from goldrm.lm.model import Backbone
from goldrm.task.task import Task

FILES = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_the_language_model_comes_without_code(exported: Path):
    names = {path.name for path in (exported / "language_model").iterdir()}
    assert names == FILES | {"generation_config.json"}


@pytest.mark.parametrize("kind", ["token_damage", "last_token"])
def test_the_reward_model_comes_with_its_code(exported: Path, kind: str):
    names = {path.name for path in (exported / kind).iterdir()}
    code = {name for name in names if name.endswith(".py")}
    assert names == FILES | code
    config = json.loads((exported / kind / "config.json").read_text())
    for reference in config["auto_map"].values():
        module, _, name = reference.partition(".")
        assert f"class {name}(" in (exported / kind / f"{module}.py").read_text()
    assert config["id2label"] == {"0": "reward"}


@pytest.mark.parametrize("folder", ["language_model", "token_damage"])
def test_weights_are_float32_and_say_that_they_are_pytorchs(exported: Path, folder: str):
    with safe_open(exported / folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert {str(file.get_slice(name).get_dtype()) for name in file.keys()} == {"F32"}  # noqa: SIM118


def test_the_same_model_gives_the_same_bytes(
    exported: Path, wide_backbone: Backbone, task: Task, tmp_path: Path
):
    write_language_model(tmp_path, wide_backbone, task, "a card")
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (exported / "language_model" / path.name).read_bytes()
