"""dvc.yaml and params.yaml say the truth about the stages."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_closure import modules_of

from goldrm.common.params import SharedRuntimeParams

ROOT = Path(__file__).parent.parent
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TRAIN_SFT = yaml.safe_load((ROOT / "upstream/dvc.yaml").read_text())["stages"]["train_sft"]

UNRECORDED = {"runtime.processes"}  # changes no byte, so a lock made with another number holds


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_every_module_it_imports(name: str) -> None:
    listed = {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")}
    assert listed == {f"src/goldrm/{file}" for file in modules_of(ROOT / f"stages/{name}.py")}
    assert f"stages/{name}.py" in STAGES[name]["deps"]


def test_upstream_depends_on_every_module_it_imports() -> None:
    listed = {dep for dep in TRAIN_SFT["deps"] if dep.startswith("../src/")}
    assert listed == {f"../src/goldrm/{f}" for f in modules_of(ROOT / "upstream/train_sft.py")}


@pytest.mark.parametrize("name", STAGES)
def test_stage_declares_exactly_the_parameters_it_reads(name: str) -> None:
    read = _parameters_read(ROOT / f"stages/{name}.py")
    declared = set(STAGES[name]["params"])
    unused = {key for key in declared if not any(_covers(key, r) or _covers(r, key) for r in read)}
    assert not unused
    undeclared = {key for key in read if not any(_covers(entry, key) for entry in declared)}
    assert not undeclared


def _parameters_read(script: Path) -> set[str]:
    """Dotted names after `params.` in a stage: the longest chain of attributes of each use."""
    chains: set[str] = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Attribute):
            names: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                names.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id == "params":
                chains.add(".".join(reversed(names)))
    chains -= UNRECORDED
    if "runtime" in chains:
        runtime = {f"runtime.{name}" for name in SharedRuntimeParams.model_fields}
        chains = (chains - {"runtime"}) | (runtime - UNRECORDED)
    return {c for c in chains if not any(other.startswith(f"{c}.") for other in chains)}


def _covers(declared: str, read: str) -> bool:
    """Whether declaring a parameter or its section declares what is read."""
    return read == declared or read.startswith(f"{declared}.")


def test_every_stage_and_parameter_is_described() -> None:
    assert all(stage["desc"] for stage in (*STAGES.values(), TRAIN_SFT))
    for file in ("params.yaml", "upstream/params.yaml"):
        for line in (ROOT / file).read_text().splitlines():
            is_section = re.fullmatch(r" *\w+:", line)
            assert is_section or "#" in line, f"{file}: {line} has no comment"


def test_no_parameter_reaches_a_shell() -> None:
    assert not [stage["cmd"] for stage in (*STAGES.values(), TRAIN_SFT) if "$" in stage["cmd"]]


def test_outputs_are_tracked_by_git_or_ignored_by_hand() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    for stage in STAGES.values():
        for out in stage.get("outs", []):
            assert f"/{out}" in ignored or f"/{out}/" in ignored
        for tracked in [*stage.get("metrics", []), *stage.get("plots", [])]:
            ((path, options),) = tracked.items()
            assert options["cache"] is False, path
