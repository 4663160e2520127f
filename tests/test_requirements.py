"""What pyproject.toml asks for is pinned: with dev in requirements.lock, other extras beside it."""

import re
import tomllib
from collections.abc import Iterable
from typing import Any

import pytest
from packaging.requirements import Requirement
from small_models import ROOT


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned_in(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text().splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    versions = {normalised(name): version for name, version in pinned}
    assert len(versions) == len(pinned)
    return versions


def not_pinned(lines: Iterable[str], versions: dict[str, str]) -> list[str]:
    return [
        line
        for line in lines
        for asked in [Requirement(line)]
        if not asked.specifier.contains(versions.get(normalised(asked.name), "0"))
    ]


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_lock_pins_versions_that_are_asked_for(project: dict[str, Any]):
    extras = project["optional-dependencies"]
    (own,) = (line for line in extras["dev"] if line.startswith("goldrm["))
    lines = [*project["dependencies"], *extras["dev"]]
    lines += [line for extra in Requirement(own).extras for line in extras[extra]]
    asked = [line for line in lines if line != own]
    assert not_pinned(asked, pinned_in("requirements.lock")) == []


@pytest.mark.parametrize("extra", ["hf", "s3"])
def test_an_extras_own_lock_pins_what_it_adds(project: dict[str, Any], extra: str):
    added = pinned_in(f"requirements-{extra}.lock")
    assert not_pinned(project["optional-dependencies"][extra], added) == []
    assert added.keys().isdisjoint(pinned_in("requirements.lock"))
