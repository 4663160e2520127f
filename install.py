"""Makes .venv able to run this folder's code; `make` runs it first, by Python 3.11 or newer.

It goes by what works, so a second call does nothing. What is missing, half installed, or of another
folder or Python is installed again. pip is only ever .venv's own. Nothing but the standard library
may be imported.
"""

import functools
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
LOCK = ROOT / "requirements.lock"
INSTALLED = VENV / "installed"  # written last: for which folder, Python and requirements
PACKAGES = Path(sysconfig.get_path("purelib"))
PIP_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON")  # install not into .venv
NO_VENV = "Install its modules venv and ensurepip (Debian and Ubuntu: apt install python3-venv)."
NO_PACKAGES = "Mend what is said above, or wait for the network; what is installed is kept."


def main() -> None:
    """Do what is missing, and nothing where nothing is."""
    refuse_without_git()
    if Path(sys.prefix).resolve() != VENV.resolve():
        create()
        run(PYTHON, "-I", __file__, remedy=NO_PACKAGES)
    elif not is_in_order():
        install()


def refuse_without_git() -> None:
    """Say it before the installation, which takes minutes: DVC needs a Git repository."""
    git = ("git", "-c", "safe.directory=*", "rev-parse", "--git-dir")
    try:
        found = subprocess.run(git, cwd=ROOT, capture_output=True, check=False).returncode == 0
    except OSError:
        sys.exit("make: there is no command git, which DVC needs. Install it, then run make again.")
    if not found:
        sys.exit(
            f"make: {ROOT} is in no Git repository (a ZIP from GitHub isn't), which DVC needs to "
            "compare and to experiment. Get the project by `git clone`, or run `git init && "
            "git add . && git commit -m start` here; then run make again."
        )


def create() -> None:
    """Make an empty .venv; one that doesn't work keeps its files under another name."""
    if VENV.exists() or VENV.is_symlink():
        names = (ROOT / f".venv.old-{number}" for number in count(1))
        aside = next(path for path in names if not path.exists())
        VENV.rename(aside)
        print(f"make: .venv has no Python 3.11 or newer that works, so it is now {aside.name}")
    run(sys.executable, "-I", "-m", "venv", "--without-pip", VENV, remedy=NO_VENV)


def is_in_order() -> bool:
    """Whether nothing is to be done; takes less than a second."""
    package = find_spec("goldrm")
    return (
        INSTALLED.is_file()
        and INSTALLED.read_text(encoding="utf-8") == purpose()
        and package is not None
        and Path(package.origin or "").resolve().is_relative_to(ROOT / "src")
        and all(map(is_installed, LOCK.read_text(encoding="utf-8").splitlines()))
    )


def purpose() -> str:
    """What the installation is for."""
    files = (ROOT / "pyproject.toml", LOCK, Path(__file__))
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return f"{ROOT}\n{sys.version}\n{content}\n"


def is_installed(requirement: str) -> bool:
    """Whether a line of requirements.lock is met."""
    name, _, version = requirement.partition("==")
    paths = descriptions().get(normalised(name), [])
    # +cpu, say, is a build of the same version.
    versions = {path.stem.partition("-")[2].partition("+")[0]: path for path in paths}
    return not version or (list(versions) == [version] and is_whole(versions[version]))


@functools.cache
def descriptions() -> dict[str, list[Path]]:
    """Name → pip's description of what is installed; there are two where pip was killed."""
    found: dict[str, list[Path]] = {}
    for path in PACKAGES.glob("*.dist-info"):
        found.setdefault(normalised(path.stem.partition("-")[0]), []).append(path)
    return found


def normalised(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_whole(description: Path) -> bool:
    """Whether the folders and commands are there of the list that pip writes last."""
    record = description / "RECORD"
    if not record.exists():
        return False
    lines = record.read_text(encoding="utf-8").splitlines()
    paths = {line.rsplit(",", 2)[0].strip('"') for line in lines}
    checked = {path if path.startswith("..") else path.rpartition("/")[0] for path in paths}
    return all((description.parent / path).exists() for path in checked)


def install() -> None:
    """Install what is missing, and set DVC up for this folder."""
    INSTALLED.unlink(missing_ok=True)
    activate = VENV / "bin/activate"
    if not (activate.exists() and str(VENV) in activate.read_text(encoding="utf-8")):  # moved here
        run(sys.executable, "-I", "-m", "venv", "--without-pip", VENV, remedy=NO_VENV)
    for path in PACKAGES.glob("*.dist-info"):
        if not is_whole(path):  # pip would take it for installed, or end in a traceback
            shutil.rmtree(path)
    if not any(PACKAGES.glob("pip-*.dist-info")):
        run(sys.executable, "-I", "-m", "ensurepip", remedy=NO_VENV)
        importlib.invalidate_caches()
    pip = (sys.executable, "-I", "-m", "pip", "install")
    run(*pip, "--requirement", LOCK, remedy=NO_PACKAGES)
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT, remedy=NO_PACKAGES)
    write_scripts()
    python = (sys.executable, "-I", "-m")
    run(*python, "goldrm.commands.plots_page", remedy=NO_PACKAGES)
    # Everybody may write to DVC's default, /var/tmp/dvc, and DVC unpickles what it finds there.
    settings = {
        "plots.html_template": "tmp/plots.html",
        "core.site_cache_dir": ROOT / ".dvc/tmp/site",
    }
    for name, value in settings.items():
        run(*python, "dvc", "config", "--local", name, value, remedy=NO_PACKAGES)
    INSTALLED.write_text(purpose(), encoding="utf-8")


def write_scripts() -> None:
    """Write the commands of .venv/bin again: they hold the path of the folder they were made in."""
    from importlib.metadata import entry_points

    from pip._vendor.distlib.scripts import ScriptMaker

    maker = ScriptMaker(None, str(VENV / "bin"))
    maker.clobber = maker.set_mode = True
    maker.variants.discard("X.Y")
    maker.make_multiple(
        [f"{each.name} = {each.value}" for each in entry_points(group="console_scripts")]
    )


def run(*command: str | Path, remedy: str) -> None:
    """Run a command in the project's root folder; end with a sentence where it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in PIP_ELSEWHERE}
    done = subprocess.run(command, cwd=ROOT, env=environment | {"PIP_USER": "0"}, check=False)
    if done.returncode != 0:
        sys.exit(f"make: `{' '.join(map(str, command))}` failed. {remedy}")


if __name__ == "__main__":
    main()
