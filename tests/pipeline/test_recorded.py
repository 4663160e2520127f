"""Damage of what stages made shows against dvc.lock, whatever the file's kind, size and time."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import yaml

from goldrm.common.errors import GoldrmError
from goldrm.pipeline import recorded
from goldrm.pipeline.hashes import folder_md5, hashes_of, md5
from goldrm.pipeline.recorded import refuse_damaged

FLIPS = 2_000
FILES = ("dictionary.json", "model/config.json", "model/model.safetensors", "pairs/a.parquet")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files and folders of stages, recorded as DVC does; its cache is empty."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data/model", "data/pairs", "metrics"):
        Path(folder).mkdir(parents=True)
    table = pd.DataFrame({"prompt": ["a", "b"] * 9, "reward": np.arange(18) / 3})
    table.to_csv("metrics/curve.csv", index=False)
    table.to_parquet("data/pairs/a.parquet")
    Path("data/dictionary.json").write_text(json.dumps({"tokens": ["0", "1"]}))
    Path("data/model/config.json").write_text(json.dumps({"readout": {"kind": "last_token"}}))
    safetensors.numpy.save_file({"w": np.arange(9.0)}, "data/model/model.safetensors")
    Path(".dvcignore").write_text(".DS_Store\n")
    write_lock()
    return tmp_path


def write_lock() -> None:
    outs = {
        "load": ["data/dictionary.json"],
        "train@a": ["data/model", "metrics/curve.csv"],
        "generate": ["data/pairs"],
    }
    stages = {
        stage: {"outs": [{"path": path, "hash": "md5", "md5": hash_of(path)} for path in paths]}
        for stage, paths in outs.items()
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def hash_of(path: str) -> str:
    hashes = hashes_of(Path(path), Path())
    if Path(path).is_file():
        return hashes[path]
    return folder_md5({name.removeprefix(f"{path}/"): found for name, found in hashes.items()})


def refused(path: str) -> str:
    with pytest.raises(GoldrmError) as error:
        refuse_damaged([Path(path)])
    return str(error.value)


def is_accepted(path: Path) -> bool:
    try:
        refuse_damaged([path])
    except GoldrmError:
        return False
    return True


def flip(path: Path, bit: int) -> None:
    """Flip a bit; size and time stay, so that DVC doesn't look again."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_hashes_are_dvcs():
    """The folder's is what `dvc add` gave for it."""
    Path("folder/deep").mkdir(parents=True)
    Path("folder/deep/b.txt").write_text("b")
    Path("folder/a é.txt").write_text("a\r\n")
    Path("folder/.DS_Store").write_text("x")
    assert hash_of("folder/deep/b.txt") == "92eb5ffee6ae2fec3ad71c777531578f" == md5(b"b")
    assert hash_of("folder") == "c9cac37f0240d63f042b120e71777a88.dir"


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask DVC where it is takes a second each time."""
    monkeypatch.setattr(recorded, "_cached", lambda _: Path("no cache"))


@pytest.mark.usefixtures("no_cache")
def test_no_flipped_bit_is_silent():
    refuse_damaged([Path("data"), Path("metrics")])
    draw = random.Random(0)
    files = [Path("metrics/curve.csv"), *(Path("data") / name for name in FILES)]
    silent = 0
    for number in range(FLIPS):
        path = files[number % len(files)]
        bit = draw.randrange(path.stat().st_size * 8)
        flip(path, bit)
        silent += is_accepted(path)
        flip(path, bit)
    assert silent == 0
    refuse_damaged([Path("data"), Path("metrics")])


@pytest.mark.usefixtures("no_cache")
def test_what_is_read_decides_what_is_looked_at():
    flip(Path("data/model/config.json"), 9)
    refuse_damaged([Path("data/pairs"), Path("data/pairs/a.parquet"), Path("data/dictionary.json")])
    refuse_damaged([Path("data/models"), Path("src"), Path("data/source/model")])
    for path in ("data/model/config.json", "data/model", "data", "data/model/model.safetensors"):
        assert refused(path).startswith("data/model isn't what dvc.lock recorded of train@a")


def test_systems_files_are_ignored_and_others_are_not():
    Path("data/pairs/.DS_Store").touch()
    refuse_damaged([Path("data/pairs")])
    Path("data/pairs/b.parquet").touch()
    assert "Delete data/pairs and run `dvc repro`" in refused("data/pairs")


def test_missing_file_of_a_folder_is_damage_and_a_missing_folder_is_said_by_who_reads_it():
    Path("data/pairs/a.parquet").unlink()
    assert refused("data/pairs").startswith("data/pairs isn't what")
    Path("data/pairs").rmdir()
    refuse_damaged([Path("data/pairs")])


@pytest.mark.parametrize(
    "lock", [None, "", "schema: '2.0'\nstages: {}\n", "stages: {load: {cmd: x}}"]
)
def test_what_was_not_recorded_is_not_compared(lock: str | None):
    Path("dvc.lock").unlink()
    if lock is not None:
        Path("dvc.lock").write_text(lock or "schema: '2.0'\n")
    flip(Path("data/dictionary.json"), 9)
    refuse_damaged([Path("data")])


def test_lock_that_cannot_be_read_is_one_sentence():
    Path("dvc.lock").write_text("stages: [")
    assert refused("data").startswith("dvc.lock can't be read as YAML")


def in_cache(content: bytes, name: str) -> Path:
    path = Path(".dvc/cache/files/md5", name[:2], name[2:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_cache_says_which_file_and_is_damaged_itself(monkeypatch: pytest.MonkeyPatch):
    """DVC would restore a file from a damaged copy, as it doesn't look into those either."""
    cache = Path(".dvc/cache/files/md5")
    monkeypatch.setattr(recorded, "_cached", lambda name: cache / name[:2] / name[2:])
    config = Path("data/model/config.json")
    names = ("config.json", "model.safetensors")
    listed = [{"md5": hash_of(f"data/model/{name}"), "relpath": name} for name in names]
    listing = in_cache(json.dumps(listed).encode(), hash_of("data/model"))
    copy = in_cache(config.read_bytes(), hash_of(str(config)))
    flip(config, 9)
    assert f"Delete {config} and run `dvc repro`" in refused("data/model")
    flip(copy, 3)
    assert f"Delete {config} and {copy} and run `dvc repro`" in refused("data/model")
    flip(listing, 20)
    assert f"Delete data/model and {listing} and run `dvc repro`" in refused("data/model")
