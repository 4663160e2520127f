"""A pipeline that has run, for the tests of the real `dvc repro`."""

from collections.abc import Iterator

import pytest
from small_pipeline import STAGES, SmallPipeline, stages_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    """A pipeline that has run once. Tests leave its parameters and outputs as they were."""
    pipeline = SmallPipeline(tmp_path_factory.mktemp("finished"))
    assert stages_run(pipeline.repro().stdout) == STAGES
    pipeline.run("git", "add", ".")
    pipeline.commit("ran")
    return pipeline


@pytest.fixture
def pipeline(finished: SmallPipeline) -> Iterator[SmallPipeline]:
    """The finished pipeline, put back afterwards."""
    yield finished
    finished.run("git", "checkout", "--quiet", ".")
    finished.run("dvc", "checkout", "--quiet", "--force")
