"""`goldrm try`: the whole pipeline at the sizes of a preset, in a folder of its own.

The folder links to the project's code and data, so what is tried is what is here, and dvc.lock,
data and metrics of the project stay as they are.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from goldrm.common.errors import GoldrmError

PRESETS = Path("presets")
WORK = Path(".work/try")
LINKED = (".dvcignore", "data/source", "dvc.yaml", "presets", "src", "stages", "upstream")
# DVC's page of plots, and its state, stay with the project's.
DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
    site_cache_dir = {folder}/.dvc/tmp/site
[plots]
    html_template = {root}/.dvc/tmp/plots.html
"""


def try_preset(
    preset: Annotated[str, typer.Argument(help="A file of presets/, without its .yaml.")],
) -> None:
    """Run all stages at a preset's sizes, in .work/try/PRESET, and sum up.

    A preset says how params.yaml is changed: presets/demo.yaml makes all quick, presets/debug.yaml
    has the notebook's debug sizes. The project's own results stay as they are.
    """
    from goldrm.commands.origin import find_origins
    from goldrm.commands.run_summary import summarise

    folder = WORK / preset
    set_up(folder, preset)
    # The commands of this Python, in which the project is installed.
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = (sys.executable, "-m", "dvc", "repro")
    environment = os.environ | {"PATH": programs}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    if done.returncode:
        raise GoldrmError(f"`dvc repro` failed in {folder}. Mend what it says above.")
    os.chdir(folder)
    typer.echo(summarise(find_origins()), nl=False)
    typer.echo(f"It is all in {folder}; `cd` there for these commands.", err=True)


def set_up(folder: Path, preset: str) -> None:
    """Make a project of this one's code and data and a preset's parameters; an old one goes.

    Raises:
        GoldrmError: when there is no such preset, params.yaml doesn't allow what it says, or Git
            isn't installed.
    """
    from ruamel.yaml import YAML

    from goldrm.commands.params import PARAMS, Params, load_params
    from goldrm.common.params import checked
    from goldrm.common.yaml_file import read_yaml

    presets = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if preset not in presets:
        raise GoldrmError(
            f"{PRESETS} has no preset {preset!r:.60}, but {', '.join(presets) or 'none'}."
        )
    load_params()  # says what is wrong with it
    values: dict[str, Any] = YAML().load(PARAMS)
    change_values(values, read_yaml(presets[preset]))
    _make_sources_absolute(values)
    checked(Params, values, presets[preset])
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    for name in LINKED:
        (folder / name).symlink_to(Path(name).absolute())
    YAML().dump(values, folder / PARAMS)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/plots").symlink_to(Path(".dvc/plots").absolute())
    config = DVC_CONFIG.format(folder=folder.absolute(), root=Path.cwd())
    (folder / ".dvc/config").write_text(config, encoding="utf-8")
    try:
        subprocess.run(("git", "init", "--quiet", folder), check=True)
    except FileNotFoundError:
        raise GoldrmError("this needs Git, which isn't installed. Install it.") from None


def change_values(values: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change values of sections in sections; what isn't there yet is added."""
    for name, change in changes.items():
        if isinstance(change, dict) and isinstance(values.get(name), dict):
            change_values(values[name], change)
        else:
            values[name] = change


def _make_sources_absolute(values: dict[str, Any]) -> None:
    for section in ("dictionary", "sft"):
        source = values[section]["source"]
        if "://" not in source:
            values[section]["source"] = str(Path(source).absolute())
