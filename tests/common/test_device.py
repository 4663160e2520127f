"""A process computes as params.yaml says, and on a GPU in larger parts."""

import os

import pytest
import torch

from goldrm.commands.params import Params
from goldrm.common.device import CUBLAS_WORKSPACE, VISIBLE_GPUS, rows_together, set_up
from goldrm.common.errors import GoldrmError


@pytest.fixture(autouse=True)
def as_before():
    """What `set_up` changes for the whole process."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


def test_set_up_makes_results_repeatable(params: Params, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    assert set_up(params.runtime) == torch.device("cpu")
    assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    assert torch.get_deterministic_debug_mode() == 1


def test_a_users_workspace_stays(params: Params, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CUBLAS_WORKSPACE, ":16:8")
    set_up(params.runtime)
    assert os.environ[CUBLAS_WORKSPACE] == ":16:8"


def test_cuda_that_was_used_before_is_said(
    params: Params, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    set_up(params.runtime)
    assert "CUDA was used before CUBLAS_WORKSPACE_CONFIG was set" in caplog.text


@pytest.mark.parametrize(
    ("count", "visible", "rank", "expected"),
    [
        (2, None, "0", "0"),
        (2, None, "1", "1"),
        (2, None, "2", "0"),
        (3, "4,5,GPU-8932f937", "2", "GPU-8932f937"),
        (2, None, None, None),
        (1, None, "1", None),
        (1, "3", "1", "3"),
        (0, None, "1", None),
    ],
)
def test_each_process_of_a_machine_takes_one_gpu(
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    visible: str | None,
    rank: str | None,
    expected: str | None,
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for name, value in (("LOCAL_RANK", rank), (VISIBLE_GPUS, visible)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    set_up(params.runtime)
    assert os.environ.get(VISIBLE_GPUS) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(params: Params):
    with pytest.raises(GoldrmError, match=r"runtime\.device is cuda.*Set it to auto or cpu"):
        set_up(params.runtime.model_copy(update={"device": "cuda"}))


def test_a_gpu_gets_more_rows_than_fit_a_processors_cache():
    assert rows_together(torch.device("cpu"), 32) == 32
    assert rows_together(torch.device("cuda"), 32) == rows_together(torch.device("cuda"), 128) > 128
