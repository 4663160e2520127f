"""Files made to harm: none executes, hangs, takes more than 1 GiB or writes where it should not."""

import functools
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from goldrm.commands.pairs_file import read_pairs
from goldrm.commands.params import load_params
from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import read_tensors
from goldrm.common.yaml_file import read_yaml
from goldrm.course import archive
from goldrm.course.archive import open_archive
from goldrm.course.files import read_dictionary_tokens, read_sft_checkpoint, read_training_set
from goldrm.course.limits import run_limited

GIB = 1 << 30


class Call:
    """What a pickle can hold: a call of a function that weights_only allows."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def repacked(archive: bytes, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """A zip archive with its members renamed, replaced, and deflated."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
    return buffer.getvalue()


def nested(depth: int) -> tuple[Any, ...]:
    """2^depth tuples in a few bytes each level; their hash visits every one."""
    inner: tuple[Any, ...] = ()
    for _ in range(depth):
        inner = (inner, inner)
    return inner


def zip_bomb(swollen: str) -> bytes:
    """An archive with a member of 768 MiB of zeros, deflated a thousandfold."""
    buffer = io.BytesIO()
    content = {"net_parameters": {}, "SFT_LMnet_dict": {"weight": torch.zeros(1000)}}
    with (
        zipfile.ZipFile(io.BytesIO(saved(content))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as member:
                member.write(old.read(name))
                for _ in range(12 if name.endswith(swollen) else 0):
                    member.write(bytes(1 << 26))
    return buffer.getvalue()


def tar_of_old(marker: Path) -> bytes:
    """The format before 2018: a tar whose member `pickle` is a pickle."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("sys_info", "storages", "tensors", "pickle", "../../escaped"):
            content = pickle.dumps(Call(Path.touch, marker), protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def in_state(tensor: Tensor) -> bytes:
    return saved({"net_parameters": {}, "SFT_LMnet_dict": {"weight": tensor}})


def in_pairs(tensor: Tensor) -> bytes:
    return saved([[[tensor, 7.0]], [[tensor, 6.0]]])


BOMBS: dict[str, Callable[[], bytes]] = {
    "packed zeros": lambda: zip_bomb("data/0"),
    "a packed pickle": lambda: zip_bomb("data.pkl"),
    "an order for 8 GiB of bytes": lambda: saved([Call(bytearray, 8 * GIB)]),
    "a tensor of 4 TB": lambda: saved([Call(torch.Tensor, 10**6, 10**6)]),
    "strides of 0": lambda: in_state(torch.zeros(1).expand(10**6, 10**6)),
    "strides of 0, in 16 bits": lambda: in_state(torch.zeros(1).half().expand(10**5, 10**5)),
    "overlapping strides": lambda: in_state(torch.zeros(10**5).as_strided((90_000, 9000), (1, 1))),
    "one storage, many tensors": lambda: saved(
        {
            "net_parameters": {},
            "SFT_LMnet_dict": dict.fromkeys(map(str, range(10**4)), torch.zeros(10**5)),
        }
    ),
    "endless token ids": lambda: in_pairs(torch.zeros(1, dtype=torch.long).expand(10**12)),
    "without values": lambda: in_state(torch.zeros(10**9, device="meta")),
    "ids without values": lambda: saved(
        {
            "net_parameters": {"d": torch.zeros(1, device="meta")},
            "SFT_LMnet_dict": {"weight": torch.zeros(2)},
        }
    ),
    "sparse": lambda: in_state(torch.zeros(10**5, 10**5, layout=torch.sparse_coo)),
    "sparse token ids": lambda: in_pairs(
        torch.zeros(10**9, dtype=torch.long, layout=torch.sparse_coo)
    ),
    "a recursion": lambda: b"\x80\x02" + b"(" * 10**6,
}
READERS: list[Callable[[Path], object]] = [
    read_dictionary_tokens,
    lambda path: read_sft_checkpoint(path, str(path)),
    read_training_set,
]


@pytest.fixture(autouse=True)
def tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own takes seconds for a file; its three readers would start one each."""
    monkeypatch.setattr(archive, "run_limited", functools.cache(run_limited))


@pytest.fixture(autouse=True)
def memory() -> Any:
    """Fail where a test's process, or a child of it, takes a GiB more than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        assert resource.getrusage(who).ru_maxrss - before < GIB >> 10


@pytest.mark.parametrize("kind", BOMBS)
def test_bomb_is_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[kind]())
    for read in READERS:
        with pytest.raises(GoldrmError, match=r"bomb\.pkl") as error:
            read(path)
        assert len(str(error.value)) < 600


def test_endless_hash_is_cut_off(tmp_path: Path) -> None:
    """The readers allow a minute; a few seconds are enough here."""
    path = tmp_path / "bomb.pkl"
    # { t60: 1 }, where t0 = () and each t(i+1) = (ti, ti): as a value it would never be hashed
    levels = b"".join(b"h%c\x86q%c" % (level, level + 1) for level in range(60))
    pickled = b"\x80\x02})q\x00" + levels + b"K\x01s."
    archive = saved({})
    path.write_bytes(
        repacked(archive, lambda name, old: (name, pickled if name.endswith("data.pkl") else old))
    )
    start = time.monotonic()
    reason = run_limited(open_archive, path, GIB, seconds=5)
    assert reason == "it takes more than 5 s. Get the right file."
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("read", READERS)
def test_pipe_that_nobody_writes_to_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(GoldrmError, match=r"pipe\.pkl .* it is no file"):
        read(tmp_path / "pipe.pkl")


def test_part_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    """By such a part torch.load shows what the memory held before."""
    path = tmp_path / "hostile.pkl"
    with (
        zipfile.ZipFile(io.BytesIO(saved([torch.zeros(3)]))) as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in old.namelist():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0x10 if name.endswith("data/0") else 0
            new.writestr(info, old.read(name))
    for read in READERS:
        with pytest.raises(GoldrmError, match=r"hostile\.pkl .* damaged"):
            read(path)


def test_nested_key_is_cut_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(saved({nested(16): 1, "long" * 10**6: 2}))
    for read in READERS:
        with pytest.raises(GoldrmError) as error:
            read(path)
        assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "member", ["data.pkl", "data/0", "version", "byteorder", "constants.pkl", "code/__torch__.py"]
)
def test_payload_in_any_member_is_not_executed(tmp_path: Path, member: str) -> None:
    """A pickle inside the archive, wherever a reader might look for one, and a name that climbs."""
    marker, path = tmp_path / "executed", tmp_path / "in/hostile.pkl"
    path.parent.mkdir()
    payload = pickle.dumps(Call(Path.touch, marker))
    archive = saved([torch.zeros(3)])
    path.write_bytes(
        repacked(archive, lambda name, old: (name, payload if name.endswith(member) else old))
    )
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("../../escaped", payload)
        opened.writestr(f"{tmp_path}/absolute", payload)
        if not any(name.endswith(member) for name in opened.namelist()):
            opened.writestr(f"archive/{member}", payload)
    for read in READERS:
        with pytest.raises(GoldrmError, match=r"hostile\.pkl"):
            read(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["hostile.pkl", "in"]


def test_old_tar_is_not_executed(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "hostile.pkl"
    path.write_bytes(tar_of_old(marker))
    for read in READERS:
        with pytest.raises(GoldrmError, match=r"hostile\.pkl"):
            read(path)
    assert list(tmp_path.iterdir()) == [path]


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**8) + b"{" * 1000,
        header(w={"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4]}) + bytes(4),
        header(w={"dtype": "F32", "shape": [1], "data_offsets": [0, 4 * 10**12]}) + bytes(4),
        header(w={"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}),
        header(w={"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}) + bytes(4),
        header(w={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}) + bytes(4),
        header(w={"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
        header(
            a={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            b={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        )
        + bytes(4),
    ],
    ids=[
        *("header of 2^63", "header of 10^8", "shape", "offsets", "overflow", "backwards"),
        *("negative", "unknown type", "overlap"),
    ],
)
def test_header_that_lies_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lie.safetensors"
    path.write_bytes(content)
    with pytest.raises(GoldrmError, match=r"lie\.safetensors is not a whole"):
        read_tensors(path)


def test_table_of_a_billion_rows_is_a_sentence(tmp_path: Path) -> None:
    """A dictionary-encoded column takes a few bytes for each million equal rows."""
    path = tmp_path / "bomb.parquet"
    value = pa.array(["generate " * 1000])
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 10**6, pa.int32()), value)
    table = pa.table({"prompt": rows, "chosen": rows, "rejected": rows})
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        for _ in range(20):
            writer.write_table(table)
    assert path.stat().st_size < 1_000_000
    code = (
        "import resource, sys, time; from pathlib import Path\n"
        "from goldrm.commands.pairs_file import read_pairs\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_pairs(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "time.sleep(1)  # threads that went on would show\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-B", "-c", code, path]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0].startswith(f"GoldrmError {path}")
    assert int(out[1]) < GIB >> 10


def yaml_of(text: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        (folder / "params.yaml").write_text(text)
        return read_yaml(folder / "params.yaml")

    return read


@pytest.mark.parametrize(
    ("read", "named"),
    [
        (yaml_of("seed: 0\n" * 10**6), "more than"),
        (yaml_of("seed: 0\nseed: 1\n"), 'duplicate key "seed"'),
        (yaml_of("train: {epochs: 1, epochs: 2}\n"), 'duplicate key "epochs"'),
        (yaml_of("a: " + "[" * 5_000), "params.yaml"),
        (yaml_of("a: " + "{a: " * 10_000), "params.yaml"),
        (yaml_of("- " * 40_000), "params.yaml"),
    ],
    ids=["huge", "key twice", "inner key twice", "nested", "nested mappings", "nested sequences"],
)
def test_hostile_yaml_is_a_sentence(
    tmp_path: Path, read: Callable[[Path], object], named: str
) -> None:
    with pytest.raises(GoldrmError, match=named):
        read(tmp_path)


def test_endless_parameter_file_is_a_sentence() -> None:
    with pytest.raises(GoldrmError, match="more than"):
        load_params(Path("/dev/zero"))


@pytest.mark.parametrize("source", ["../../etc/passwd", "/etc/passwd", "/dev/stdin", "a\x00b", ""])
def test_path_that_leads_elsewhere_is_only_read(tmp_path: Path, source: str) -> None:
    for read in (*READERS, read_pairs, read_tensors):
        with pytest.raises(GoldrmError):
            read(tmp_path / "a/b" / source)
    assert not list(tmp_path.iterdir())


def test_many_columns_and_long_cells_are_no_trouble(tmp_path: Path) -> None:
    pd.DataFrame([["x"] * 500], columns=list(map(str, range(500)))).to_csv(tmp_path / "w.csv")
    with pytest.raises(GoldrmError, match="no column prompt") as error:
        read_pairs(tmp_path / "w.csv")
    assert len(str(error.value)) < 600
