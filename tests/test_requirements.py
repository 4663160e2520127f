"""What pyproject.toml asks for, with the extra dev, is pinned in requirements.lock."""

import re
import tomllib

from packaging.requirements import Requirement
from small_models import ROOT


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_lock_pins_versions_that_are_asked_for():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    versions = {normalised(name): version for name, version in pinned}
    assert len(versions) == len(pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (own,) = (line for line in extras["dev"] if line.startswith("goldrm["))
    lines = [*project["dependencies"], *extras["dev"]]
    lines += [line for extra in Requirement(own).extras for line in extras[extra]]
    asked = [Requirement(line) for line in lines if line != own]
    wrong = [
        str(each)
        for each in asked
        if not each.specifier.contains(versions.get(normalised(each.name), "0"))
    ]
    assert wrong == []
