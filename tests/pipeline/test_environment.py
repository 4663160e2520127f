"""environment.json: what is noted, and the sentence about what differs."""

import json
from pathlib import Path

import pytest
import torch

from goldrm.pipeline import environment
from goldrm.pipeline.environment import difference, here, record

INTEL = {"vendor_id": "GenuineIntel", "flags": "sse2 avx2 avx512f avx512_bf16 amx_bf16 amx_tile"}
AMD = {"vendor_id": "AuthenticAMD", "flags": "sse2 avx2 avx512f avx512_bf16"}
ARM = {"CPU implementer": "0x41", "Features": "fp asimd i8mm bf16"}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Intel processor without settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(environment.os.environ):
        if name.startswith(environment.SETTINGS):
            monkeypatch.delenv(name)
    of(monkeypatch, INTEL)


def of(monkeypatch: pytest.MonkeyPatch, processor: dict[str, str], uses: str = "AVX512") -> None:
    monkeypatch.setattr(environment, "_processor", lambda: processor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: uses)


def test_processors_with_the_same_kernels_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    record("train", ["train"])
    assert difference() is None
    of(monkeypatch, AMD)
    told = difference()
    assert told is not None
    assert "train ran with " in told
    assert "GenuineIntel, processor has avx2 avx512f avx512_bf16 amx_bf16, here is" in told
    assert "AuthenticAMD, processor has avx2 avx512f avx512_bf16. What runs again" in told
    assert "torch" not in told  # the same
    of(monkeypatch, ARM, "DEFAULT")
    assert "0x41, PyTorch uses DEFAULT, processor has asimd i8mm bf16." in (difference() or "")
    of(monkeypatch, {})
    assert "processor has nothing noted" in here()


@pytest.mark.parametrize(
    "setting",
    [
        *("MKL_CBWR=COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS=AVX2", "ONEDNN_MAX_CPU_ISA=AVX2"),
        *("DNNL_MAX_CPU_ISA=AVX2", "ATEN_CPU_CAPABILITY=avx2", "KMP_DETERMINISTIC_REDUCTION=1"),
        *("OMP_SCHEDULE=static", "CUBLAS_WORKSPACE_CONFIG=:16:8", "OPENBLAS_CORETYPE=Haswell"),
    ],
)
def test_settings_are_noted(monkeypatch: pytest.MonkeyPatch, setting: str):
    record("train", ["train"])
    monkeypatch.setenv(*setting.split("="))
    assert (difference() or "").startswith(f"train ran with none of that, here is {setting}. ")


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "PATH", "HOME"])
def test_what_changes_no_byte_is_not_noted(monkeypatch: pytest.MonkeyPatch, name: str):
    """runtime.threads sets the threads, and launchers set the variable."""
    before = here()
    monkeypatch.setenv(name, "7")
    assert here() == before


def test_card_is_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    assert "H100, CUDA " in here()


def test_stages_that_differ_alike_share_a_clause(monkeypatch: pytest.MonkeyPatch):
    for stage in ("b", "a"):
        record(stage, ["a", "b", "c"])
    of(monkeypatch, AMD)
    record("c", ["a", "b", "c"])
    assert (difference() or "").startswith("a, b ran with ")


def test_notes_of_stages_that_are_no_more_go():
    for stage in ("evaluate", "train@old", "train@new"):
        record(stage, ["train@old", "train@new", "evaluate"])
    record("evaluate", ["train@new", "evaluate"])
    assert list(json.loads(Path("environment.json").read_text())) == ["evaluate", "train@new"]
    before = Path("environment.json").stat().st_ino
    record("evaluate", ["train@new", "evaluate"])
    assert Path("environment.json").stat().st_ino == before


def test_this_machines_processor_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    found = environment._processor()
    if Path("/proc/cpuinfo").exists():
        assert found.get("flags") or found.get("Features")
