"""dvc.yaml and params.yaml say the truth about the stages."""

import ast
import re
import runpy
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
TRAIN_SFT: dict[str, Any] = read_yaml(ROOT / "upstream/dvc.yaml")["stages"]["train_sft"]
# Each stage by its name, those of a foreach by one of theirs, and the folder of its dvc.yaml.
NAMES = {
    **{name if "do" not in STAGES[name] else f"{name}@{RECIPES[0]}": ROOT for name in STAGES},
    "train_sft": ROOT / "upstream",
}


def entry_of(name: str) -> dict[str, Any]:
    """A stage's entry, its templates as they are written."""
    entry = TRAIN_SFT if name == "train_sft" else STAGES[name.partition("@")[0]]
    return entry.get("do", entry)


def script_of(name: str) -> Path:
    """The script that the stage's command runs."""
    command, _, script = entry_of(name)["cmd"].rpartition(" ")
    to_root = "../" if NAMES[name] != ROOT else ""
    assert command == f"python -EP {to_root}src/goldrm/pipeline/run.py"
    return NAMES[name] / script


def params_of(name: str) -> type[Section]:
    """The class of what the stage's script is given: what it calls run_stage with."""
    names = runpy.run_path(str(script_of(name)))
    call = ast.parse(script_of(name).read_text()).body[-1]
    (model,) = re.findall(r"run_stage\((\w+), \w+\)", ast.unparse(call))
    return names[model]


@pytest.mark.parametrize("name", NAMES)
def test_stage_depends_on_exactly_the_folders_that_it_imports_from(name: str) -> None:
    to_root = "../" if NAMES[name] != ROOT else ""
    code = [dep for dep in entry_of(name)["deps"] if dep.startswith(f"{to_root}src/")]
    assert code == sorted(code)
    assert set(code) == {f"{to_root}{folder}" for folder in imported_folders(script_of(name))}


@pytest.mark.parametrize("name", NAMES)
def test_stage_depends_on_its_script_and_what_lies_beside_it(name: str) -> None:
    files = [script_of(name), *imported_files(script_of(name))]
    own = {str(f.relative_to(NAMES[name])) for f in files if not f.is_relative_to(ROOT / "src")}
    assert own == {dep for dep in entry_of(name)["deps"] if dep.endswith(".py")}


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
    monkeypatch.chdir(NAMES[name])
    model = params_of(name)
    assert _defaults(model) == []
    snapshot = Snapshot.now(ROOT)
    values = StageEntry.named(name, snapshot).values(snapshot)
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
    tree = ast.walk(ast.parse(script_of(name).read_text()))
    used = {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "params"
    }
    assert used == set(params_of(name).model_fields)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "train_sft"])
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
    for file in ("params.yaml", "upstream/params.yaml"):
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
            of_all = Path(out.split("/${key}")[0])
            assert {f"/{of_all}", f"/{of_all}/", f"/{of_all.parent}/"} & set(ignored)
        for tracked in [*stage.get("metrics", []), *stage.get("plots", [])]:
            ((path, options),) = tracked.items()
            assert options["cache"] is False, path


def test_every_plot_has_a_template_and_a_title_and_no_template_is_left_over() -> None:
    plots = [plot for stage in map(entry_of, STAGES) for plot in stage.get("plots", [])]
    options = [own for plot in plots for path, own in plot.items() if not path.endswith(".png")]
    assert all(own["title"] for own in options)
    templates = {path.stem for path in (ROOT / ".dvc/plots").glob("[!.]*.json")}
    assert {own["template"] for own in options} == templates
