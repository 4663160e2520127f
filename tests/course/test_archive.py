"""What is harmless in a file of torch.save's is read; any other is named, with a remedy."""

import collections
import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from goldrm.common.errors import GoldrmError
from goldrm.course.archive import load_archive
from goldrm.course.numpy_scalars import FORMATS, ScalarType, scalar

pytestmark = pytest.mark.usefixtures("archives_opened_here")  # test_hostile.py does without


def saved(content: object, legacy: bool = False, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy, **options)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], Any]:
    """Reads a file of some bytes."""

    def load(content: bytes) -> Any:
        (tmp_path / "file.pkl").write_bytes(content)
        return load_archive(tmp_path / "file.pkl", "file.pkl")

    return load


@pytest.mark.parametrize("legacy", [False, True])
def test_numpy_scalars_are_numbers_and_texts(load: Callable[[bytes], Any], legacy: bool):
    content = {
        "loss": np.float64(0.1),
        "half": np.float16(-1.5),
        "single": np.float32(0.25),
        "whole": np.int64(-(2**62)),
        "byte": np.uint8(255),
        "other end": np.array([7, -8], ">i4")[1],
        "yes": np.bool_(True),
        "text": np.str_("<PAD> \u00e4\U0001f600"),
    }
    read = load(saved(content, legacy))
    assert read == {name: value.item() for name, value in content.items()}
    assert all(type(value) in (int, float, bool, str) for value in read.values())


@pytest.mark.parametrize("name", FORMATS)
def test_each_type_of_number_is_numpys(name: str):
    for value in (0, 1):
        number = np.dtype(name).type(value)
        assert scalar(ScalarType(name, False, True), number.tobytes()) == number.item()


def test_numpy_before_2_is_read(load: Callable[[bytes], Any]):
    """Its pickles have another name for the same function."""
    archive, buffer = zipfile.ZipFile(io.BytesIO(saved([np.float64(0.1)]))), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as old:
        for name in archive.namelist():
            part = archive.read(name)
            old.writestr(name, part.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in buffer.getvalue()
    assert load(buffer.getvalue()) == [0.1]


class Net(torch.nn.Linear):
    """A model of somebody's."""


DATE = np.datetime64("2026-01-01")
OTHERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a whole model": (lambda: saved(Net(2, 2)), r"it holds a \S*\.Net\. Save a model's state_dict"),
    "an old one": (lambda: saved(Net(2, 2), legacy=True), r"it holds a \S*\.Net\. Save"),
    "an array": (lambda: saved([np.zeros(3)]), r"it holds a numpy\.ndarray\. Save"),
    "a date": (lambda: saved([DATE]), "it holds a NumPy scalar of type M8. Save a plain number"),
    "a long double": (lambda: saved([np.longdouble(1)]), "it holds a NumPy scalar of type f16"),
    "an object": (
        lambda: saved([collections.defaultdict(int)]),
        r"it holds a collections\.defaultdict",
    ),
    "another protocol": (lambda: saved([1], pickle_protocol=4), "another pickle_protocol than 2"),
    "a pickle": (lambda: pickle.dumps({"a": 1}), "a pickle that torch.save didn't write"),
    "an old pickle": (lambda: pickle.dumps([1], protocol=2), "a pickle that torch.save didn't"),
    "TorchScript": (torchscript, "a program that torch.jit.save wrote. Save the model's state"),
    "a zip file": (lambda: zipped("step2/a.txt", "b.txt"), "other files, .'step2/a.txt'. first"),
    ".safetensors": (
        lambda: safetensors.torch.save({"a": torch.zeros(3)}),
        "it is a .safetensors file. Let it end so",
    ),
    "Git LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "Git LFS's pointer to the file. Run `git lfs pull`",
    ),
    "a web page": (lambda: b"\r\n<!DOCTYPE html><html>404</html>", "a web page. Download the file"),
    "a text": (lambda: b'{"message": "Not Found"}', 'it is a text, \'{"message": "Not Found"}\''),
    "a long text": (lambda: "a\u00e4".encode() * 500, "it is a text"),
    "gzip": (lambda: gzip.compress(saved([1])), r"compressed \(gzip\). Unpack it"),
    "nothing": (lambda: b"", "it is empty. Get it again"),
    "half": (lambda: saved([torch.zeros(500)])[:-700], "it is damaged or cut short. Get it again"),
    "noise": (lambda: bytes(range(256)) * 3, "it is damaged or cut short"),
}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.*pickle protocol")
@pytest.mark.parametrize("kind", OTHERS)
def test_other_file_is_named_with_a_remedy(load: Callable[[bytes], Any], kind: str):
    make, named = OTHERS[kind]
    with pytest.raises(GoldrmError, match=named) as error:
        load(make())
    sentence = str(error.value)
    assert sentence.startswith("file.pkl can't be read as plain tensors and containers")
    assert "\n" not in sentence
    assert "weights_only" not in sentence  # what PyTorch says is for programmers
