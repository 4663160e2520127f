"""dvc.yaml and params.yaml say the truth about the stages."""

import ast
import os
import re
import runpy
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from import_closure import imported_files, imported_folders
from pydantic import BaseModel
from small_models import ROOT

from goldrm.commands.params import Params
from goldrm.common.params import Section, checked
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.snapshot import Snapshot
from goldrm.pipeline.stage_entry import StageEntry

STAGES: dict[str, dict[str, Any]] = read_yaml(ROOT / "dvc.yaml")["stages"]
RECIPES: list[str] = list(read_yaml(ROOT / "params.yaml")["models"])
# Each stage by its name, as DVC writes it; of a foreach one.
OWN = [f"{name}@{RECIPES[0]}" if "do" in STAGES[name] else name for name in STAGES]
UPSTREAM = ["upstream/dvc.yaml:train_sft", "upstream/sorting/dvc.yaml:train_sft"]
NAMES = OWN + UPSTREAM


def folder_of(name: str) -> Path:
    """The folder of the dvc.yaml that the stage stands in."""
    return (ROOT / name.rpartition(":")[0]).parent if name in UPSTREAM else ROOT


def path_to(file: Path, name: str) -> str:
    """A file or folder as the stage's entry names it."""
    return os.path.relpath(file, folder_of(name))


def entry_of(name: str) -> dict[str, Any]:
    """A stage's entry, its templates as they are written."""
    stages = read_yaml(folder_of(name) / "dvc.yaml")["stages"]
    entry = stages[name.rpartition(":")[2].partition("@")[0]]
    return entry.get("do", entry)


def script_of(name: str) -> Path:
    """The script that the stage's command runs."""
    command, _, script = entry_of(name)["cmd"].rpartition(" ")
    assert command == f"python -EP {path_to(ROOT / 'src/goldrm/pipeline/run.py', name)}"
    return (folder_of(name) / script).resolve()


def params_of(name: str) -> type[Section]:
    """The class of what the stage's script is given: what it calls run_stage with."""
    names = runpy.run_path(str(script_of(name)))
    call = ast.parse(script_of(name).read_text()).body[-1]
    (model,) = re.findall(r"run_stage\((\w+), \w+\)", ast.unparse(call))
    return names[model]


@pytest.mark.parametrize("name", NAMES)
def test_stage_depends_on_exactly_the_folders_that_it_imports_from(name: str) -> None:
    source = f"{path_to(ROOT / 'src', name)}/"
    code = [dep for dep in entry_of(name)["deps"] if dep.startswith(source)]
    folders = imported_folders(script_of(name))
    assert code == sorted(path_to(ROOT / folder, name) for folder in folders)


@pytest.mark.parametrize("name", NAMES)
def test_stage_depends_on_its_script_and_what_lies_beside_it(name: str) -> None:
    files = [script_of(name), *imported_files(script_of(name))]
    own = {path_to(file, name) for file in files if not file.is_relative_to(ROOT / "src")}
    assert own == {dep for dep in entry_of(name)["deps"] if dep.endswith(".py")}


@pytest.mark.parametrize("name", UPSTREAM)
def test_upstream_depends_on_the_files_that_its_parameters_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_of(name))
    params = read_yaml(Path("params.yaml"))
    named = {params["dictionary"], params["corpus"]} - {None}
    deps = StageEntry.named("train_sft", Snapshot.now(ROOT)).deps
    assert named == {dep for dep in deps if not dep.endswith(".py") and Path(dep).is_file()}


def test_sorting_is_trained_on_the_roots_task_but_for_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT / "upstream/sorting")
    snapshot = Snapshot.now(ROOT)
    task = StageEntry.named("train_sft", snapshot).values(snapshot)["task"]
    assert task == read_yaml(ROOT / "params.yaml")["task"] | {"name": "sorting"}


def test_changing_an_edit_samples_nothing_and_changing_a_figure_trains_nothing() -> None:
    """The folders decide: of edits know the trainings and the evaluation, of figures the latter."""
    users = {
        folder: {name for name in STAGES if f"src/goldrm/{folder}" in entry_of(name)["deps"]}
        for folder in ("edits", "training", "evaluation", "policy", "commands")
    }
    assert users == {
        "edits": {"train_rm", "evaluate", "compare_policies"},
        "training": {"train_rm"},
        "evaluation": {"evaluate", "compare_policies"},
        "policy": {"optimize_policy", "optimize_gold", "compare_policies"},
        "commands": set(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_stage_declares_exactly_the_parameters_that_it_is_given(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No parameter more than its class has fields, in sections of sections, and none fewer."""
    monkeypatch.chdir(folder_of(name))
    model = params_of(name)
    assert _defaults(model) == []
    snapshot = Snapshot.now(ROOT)
    values = StageEntry.named(name.rpartition(":")[2], snapshot).values(snapshot)
    checked(model, values, Path("params.yaml"))


def test_no_parameter_has_a_default_in_code() -> None:
    assert _defaults(Params) == []


def _defaults(model: type[BaseModel]) -> list[str]:
    """Fields that may be left out, in all sections of sections."""
    schema = model.model_json_schema()
    sections = [schema, *schema.get("$defs", {}).values()]
    return [
        f"{section['title']}.{name}"
        for section in sections
        for name in section.get("properties", {})
        if name not in section["required"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_stage_uses_every_section_that_it_is_given(name: str) -> None:
    """In its script, or in another stage's that it imports."""
    imported = {file for file in imported_files(script_of(name)) if file.parent.name == "stages"}
    trees = [ast.walk(ast.parse(file.read_text())) for file in {script_of(name), *imported}]
    used = {
        node.attr
        for node in chain.from_iterable(trees)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "params"
    }
    assert set(params_of(name).model_fields) - used == set()


@pytest.mark.parametrize("name", OWN)
def test_number_of_processes_and_other_recipes_make_no_stage_run_again(name: str) -> None:
    declared = entry_of(name).get("params", [])
    assert not {"runtime", "runtime.processes"} & set(declared)
    if name.startswith("train_rm@"):
        assert [param for param in declared if "models" in param] == ["models.${key}"]


def test_every_recipe_is_a_stage() -> None:
    assert STAGES["train_rm"]["foreach"] == "${models}"
    assert entry_of("train_rm")["outs"] == ["data/models/${key}", "data/examples/${key}.parquet"]


def test_every_stage_and_parameter_is_described() -> None:
    assert all(entry_of(name)["desc"] for name in NAMES)
    for file in ("params.yaml", "upstream/params.yaml", "upstream/sorting/params.yaml"):
        for line in (ROOT / file).read_text().splitlines():
            is_section = re.fullmatch(r" *\w+:", line)
            assert is_section or "#" in line, f"{file}: {line} has no comment"


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_reaches_a_shell(name: str) -> None:
    assert "$" not in entry_of(name)["cmd"]


def test_outputs_are_tracked_by_git_or_ignored_by_hand() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    for stage in map(entry_of, STAGES):
        for out in stage.get("outs", []):  # cached, or DVC's run cache would lack the stage
            assert f"/{Path(out).parts[0]}/*" in ignored
        for tracked in [*stage.get("metrics", []), *stage.get("plots", [])]:
            ((path, options),) = tracked.items()
            assert options["cache"] is False, path


def test_every_plot_has_a_template_and_a_title_and_no_template_is_left_over() -> None:
    plots = [plot for stage in map(entry_of, STAGES) for plot in stage.get("plots", [])]
    options = [own for plot in plots for path, own in plot.items() if not path.endswith(".png")]
    assert all(own["title"] for own in options)
    templates = {path.stem for path in (ROOT / ".dvc/plots").glob("[!.]*.json")}
    assert {own["template"] for own in options} == templates
