"""A pipeline that has run, for the tests of the real `dvc repro`."""

import os
from collections.abc import Iterator

import pytest
from filelock import FileLock
from small_pipeline import STAGES, SmallPipeline, stages_run


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    """A pipeline that has run; the processes that share the tests run one together."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "template"
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return SmallPipeline(folder)
        template = SmallPipeline.new(folder)
        assert stages_run(template.repro().stdout) == STAGES
        template.run("git", "add", ".")
        template.commit("ran")
    return template


@pytest.fixture(scope="module")
def finished(template: SmallPipeline, tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    """A module's copy of it. Tests leave its files as they were."""
    return template.copied(tmp_path_factory.mktemp("finished") / "copy")


@pytest.fixture
def edited(finished: SmallPipeline) -> Iterator[SmallPipeline]:
    """The finished pipeline, for edits of what Git tracks, which are undone afterwards."""
    yield finished
    finished.run("git", "checkout", "--quiet", ".")


@pytest.fixture
def pipeline(finished: SmallPipeline) -> Iterator[SmallPipeline]:
    """The finished pipeline, for other runs; its outputs are put back afterwards, too."""
    yield finished
    finished.run("git", "checkout", "--quiet", ".")
    finished.run("dvc", "checkout", "--quiet", "--force")
