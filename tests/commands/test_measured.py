"""Metrics belong to the models that are here only where dvc.lock, as DVC writes it, says so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from goldrm.commands.measured import measured_with
from goldrm.common.errors import GoldrmError

FIRST, SECOND = Path("metrics/first.json"), Path("metrics/second.json")


@pytest.mark.usefixtures("project")
def test_what_a_stage_wrote_and_read_goes_with_its_metrics():
    assert measured_with(FIRST, [Path("data/first")])
    assert measured_with(SECOND, [Path("data/second"), Path("data/first")])


@pytest.mark.usefixtures("project")
def test_what_another_stage_wrote_does_not():
    assert not measured_with(FIRST, [Path("data/second")])
    assert not measured_with(Path("metrics/third.json"), [Path("data/first")])


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("metrics/second.json").write_text("[]\n"),
        lambda: Path("data/second/a").write_text("[]\n"),
        lambda: Path("data/second/b").touch(),
        lambda: Path("data/first").write_text("[]\n"),
        lambda: Path("metrics/second.json").unlink(),
        lambda: shutil.rmtree("data/second"),
        lambda: Path("dvc.lock").unlink(),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_is_not_as_it_was_has_no_metrics(change: Callable[[], object]):
    change()
    assert not measured_with(SECOND, [Path("data/second"), Path("data/first")])


def test_what_editors_leave_changes_nothing(project: Path):
    (project / "data/second/.a.swp").touch()
    assert measured_with(SECOND, [Path("data/second")])


def test_damaged_lock_is_a_sentence(project: Path):
    (project / "dvc.lock").write_text("<<<<<<< HEAD\na: [")
    with pytest.raises(GoldrmError, match=r"dvc\.lock can't be read as YAML"):
        measured_with(SECOND, [Path("data/second")])
