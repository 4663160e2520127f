"""`make setup` goes by what works: nothing is installed twice, and nothing works by half.

pip, DVC and the Git repositories are stand-ins in a temporary folder, so no network is needed.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from small_models import ROOT

PIP = """\
import os, sys
from pathlib import Path
site = Path(__file__).parents[1]
with open(site.parents[3] / "called", "a") as file:
    print(*sys.argv[1:3], os.environ.get("PIP_TARGET"), file=file)
if "--editable" in sys.argv:
    (site / "src.pth").write_text(sys.argv[-1] + "/src")
sys.exit(Path("pip_fails").exists())
"""
LOCK = "# pinned\nPy_Thing==1.0\ntorch==2.13.0\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything has just been installed, away from its place.

    Its files hold that place; a copy of them there is quicker than to install again.
    """
    folder = tmp_path_factory.mktemp("setup") / "here/project"
    (folder / "src/goldrm/commands").mkdir(parents=True)
    for path in ("src/goldrm/__init__.py", "src/goldrm/commands/plots_page.py", "pyproject.toml"):
        (folder / path).touch()
    for name in ("install.py", "Makefile", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    (folder / "requirements.lock").write_text(LOCK)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    write_venv(folder)
    make(folder)
    (folder / "called").unlink()
    return folder.parent.rename(folder.parent.with_name("away"))


@pytest.fixture
def project(template: Path) -> Path:
    """The project's root folder, in which everything has just been installed."""
    here = template.with_name("here")
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(template, here, symlinks=True)
    return here / "project"


def packages(folder: Path) -> Path:
    (found,) = folder.glob(".venv/lib/python*/site-packages")
    return found


def write_venv(folder: Path) -> None:
    command = [sys.executable, "-m", "venv", "--without-pip", folder / ".venv"]
    subprocess.run(command, check=True)
    site = packages(folder)
    for name in ("pip", "dvc"):
        (site / name).mkdir()
        (site / name / "__init__.py").touch()
        (site / name / "__main__.py").write_text(PIP if name == "pip" else "")
    real = importlib.util.find_spec("pip")
    assert real is not None
    assert real.origin is not None
    (site / "pip/_vendor").symlink_to(Path(real.origin).parent / "_vendor")
    for name in ("pip-23.0", "py_thing-1.0", "torch-2.13.0+cpu"):
        write_package(site, name)
    entry = site / "py_thing-1.0.dist-info/entry_points.txt"
    entry.write_text("[console_scripts]\nthing = py_thing:main\n")
    (site / "py_thing/__init__.py").write_text("def main():\n    print(__file__)\n")


def write_package(site: Path, name: str) -> None:
    """A package as pip leaves it: a folder, and a list of what is in it."""
    package, description = name.partition("-")[0], f"{name}.dist-info"
    (site / package).mkdir(exist_ok=True)
    (site / description).mkdir()
    (site / description / "METADATA").write_text(f"Name: {package}\nVersion: {name}\n")
    files = (f"{package}/__init__.py", f"{description}/RECORD", f"{package}/gone.pyc")
    (site / description / "RECORD").write_text("".join(f"{file},sha256=a,1\n" for file in files))


def make(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=folder,
        env=os.environ | environment,
        text=True,
        capture_output=True,
        check=False,
    )


def calls(folder: Path) -> list[str]:
    """How pip was called since the last question."""
    log = folder / "called"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


ALL = ["install --requirement None", "install --no-deps None"]


def test_a_second_call_does_nothing(project: Path):
    done = make(project)
    assert (done.returncode, done.stdout, done.stderr, calls(project)) == (0, "", "", [])


def test_moved_folder_works_after_setup(project: Path, tmp_path: Path):
    """Scripts in .venv/bin, its activate and the editable install name the folder they are of."""
    moved = tmp_path / "moved to a path with spaces"
    project.rename(moved)
    assert make(moved).returncode == 0
    assert calls(moved) == ALL
    for script in ("thing", "activate"):
        text = (moved / ".venv/bin" / script).read_text()
        assert str(moved) in text
        assert str(project) not in text
    done = subprocess.run([moved / ".venv/bin/thing"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(str(moved))
    assert make(moved).returncode == 0
    assert calls(moved) == []


def test_copied_folder_uses_its_own(project: Path, tmp_path: Path):
    copied = tmp_path / "copied"
    shutil.copytree(project, copied, symlinks=True)
    assert make(copied).returncode == 0
    assert (calls(copied), calls(project)) == (ALL, [])
    assert str(project) not in (copied / ".venv/bin/thing").read_text()


@pytest.mark.parametrize(
    "damage",
    [
        "rm -r py_thing",
        "rm -r py_thing-1.0.dist-info",
        "rm py_thing-1.0.dist-info/RECORD",  # pip was killed
        "mv torch-2.13.0+cpu.dist-info torch-2.12.0.dist-info",
        "rm src.pth",
        "echo torch==2.14.0 >> ../../../../requirements.lock",
        "echo '[x]' >> ../../../../pyproject.toml",
        "rm ../../../installed",
    ],
)
def test_what_does_not_work_is_installed_again(project: Path, damage: str):
    subprocess.run(damage, shell=True, cwd=packages(project), check=True)
    assert make(project).returncode == 0
    assert calls(project) == ALL


def test_half_installed_package_is_not_taken_for_installed(project: Path):
    """pip itself ends in a traceback at one without METADATA."""
    half = packages(project) / "py_thing-1.0.dist-info"
    (half / "RECORD").unlink()
    make(project)
    assert not half.exists()
    assert (packages(project) / "torch-2.13.0+cpu.dist-info").exists()


def test_failed_installation_is_a_sentence_and_tried_again(project: Path):
    (project / "requirements.lock").write_text(LOCK.replace("1.0", "2.0"))
    (project / "pip_fails").touch()
    for _ in range(2):
        done = make(project)
        assert done.returncode == 2  # make's own
        assert done.stderr.startswith("make: `")
        assert "failed. Mend what is said above" in done.stderr
        assert calls(project) == ALL[:1]
    (project / "pip_fails").unlink()
    assert make(project).returncode == 0
    assert calls(project) == ALL


def test_a_users_settings_do_not_matter(project: Path, tmp_path: Path):
    (tmp_path / "others").mkdir()
    for name in ("re.py", "subprocess.py", "pip.py"):
        (tmp_path / "others" / name).write_text("raise SystemExit('this is not Python')")
        shutil.copy(tmp_path / "others" / name, project)
    others = str(tmp_path / "others")
    settings = {"PYTHONPATH": others, "PYTHONHOME": others, "PIP_TARGET": others, "PIP_USER": "1"}
    settings |= {"GIT_DIR": "/nonexistent", "HOME": "/nonexistent", "VIRTUAL_ENV": others}
    (project / ".venv/installed").unlink()
    assert make(project, **settings).returncode == 0
    assert calls(project) == ALL
    assert make(project, **settings).returncode == 0
    assert calls(project) == []


def test_folder_without_git_is_said_before_anything_is_installed(project: Path, tmp_path: Path):
    shutil.rmtree(project / ".git")
    shutil.rmtree(project / ".venv")
    done = make(project)
    assert done.returncode == 2
    assert done.stderr.startswith(f"make: {project} is in no Git repository (a ZIP from GitHub")
    assert "git init" in done.stderr
    assert not (project / ".venv").exists()
    assert "there is no command git" in make(project, PATH=only(tmp_path, "make", "sh")).stderr


def test_git_of_a_folder_above_or_of_another_user_will_do(project: Path):
    (project / ".git").rename(project.parent / ".git")
    if os.getuid() == 0:
        os.chown(project.parent, 12345, 12345)  # Git by itself calls that dubious
    assert make(project, HOME="/nonexistent").returncode == 0


def only(tmp_path: Path, *programs: str) -> str:
    """A PATH on which nothing but these programs is; python3 is there, and this Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return str(folder)


def test_python_that_is_new_enough_is_looked_for(project: Path, tmp_path: Path):
    shutil.rmtree(project / ".venv")
    programs = tmp_path / "python"
    programs.mkdir()
    path = f"{programs}:/usr/bin:/bin"
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")  # too old
        (programs / name).chmod(0o755)
    done = make(project, PATH=path)
    assert done.returncode == 2
    assert done.stderr.startswith("make: Python 3.11 or newer is needed")
    assert not (project / ".venv").exists()
    new = '#!/bin/sh\n[ "$2" = -c ] || echo "$0" "$@"\n'
    (programs / "python3.12").write_text(new)
    done = make(project, PATH=path)
    assert done.stdout == f"{programs}/python3.12 -I -B install.py\n"


@pytest.fixture
def install(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """install.py as a module, of the project."""
    spec = importlib.util.spec_from_file_location("install", project / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "install", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["folder", "file", "dangling"])
def test_venv_that_does_not_work_is_kept_under_another_name(
    project: Path, install: ModuleType, kind: str, capsys: pytest.CaptureFixture[str]
):
    venv = project / ".venv"
    shutil.rmtree(venv)
    for number in (1, 2):
        if kind == "folder":
            (venv / "bin").mkdir(parents=True)
            (venv / "bin/python").symlink_to("/nonexistent/python3.9")
        elif kind == "file":
            venv.write_text("the name of an environment")
        else:
            venv.symlink_to("/nonexistent")
        install.create()
        aside = project / f".venv.old-{number}"
        assert f"so it is now {aside.name}" in capsys.readouterr().out
        assert aside.is_symlink() or aside.is_file() or (aside / "bin/python").is_symlink()
        subprocess.run([venv / "bin/python", "-c", ""], check=True)
        shutil.rmtree(venv)
    listed = ["git", "status", "--porcelain", "--ignored", ".venv.old-1"]
    status = subprocess.run(listed, cwd=project, check=True, capture_output=True, text=True).stdout
    assert status.startswith("!! .venv.old-1")
