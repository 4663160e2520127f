"""YAML files are read as YAML 1.2, and what is no mapping of names is named."""

import re
from pathlib import Path
from typing import Any

import pytest

from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import MAX_BYTES, read_yaml


def value_of(folder: Path, text: str) -> Any:
    """What a value's text is read as."""
    (folder / "params.yaml").write_text(f"value: {text}\n")
    return read_yaml(folder / "params.yaml")["value"]


def sentence_for(folder: Path, content: bytes) -> str:
    path = folder / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(GoldrmError) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sections_lists_and_comments(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 0  # of all\ntask:\n  start: {min: 0, max: 9}\n  terms: [5, 6]\n")
    expected = {"seed": 0, "task": {"start": {"min": 0, "max": 9}, "terms": [5, 6]}}
    assert read_yaml(path) == expected


@pytest.mark.parametrize("text", ["1e-05", "1e-4", "+1E-4", "1.e-4", ".1e-3", "1.0e-4", "2e5"])
def test_exponents_are_floats(tmp_path: Path, text: str):
    """`dvc exp run -S learning_rate=1e-5` writes 1e-05, a string to YAML 1.1 (DVC issue 5971)."""
    value = value_of(tmp_path, text)
    assert (type(value), value) == (float, float(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("on", "on"), ("12:30", "12:30"), ("010", 10), ("0o10", 8), ("false", False)],
)
def test_what_yaml_1_1_read_differently(tmp_path: Path, text: str, value: object):
    found = value_of(tmp_path, text)
    assert (type(found), found) == (type(value), value)


def test_aliases_and_merges(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}


@pytest.mark.parametrize("directive", ["", "%YAML 1.1\n---\n"])
def test_anchor_that_is_used_again_is_no_warning(tmp_path: Path, directive: str):
    """Which would be six lines on the terminal; nor is a number that YAML 1.1 doesn't know."""
    path = tmp_path / "params.yaml"
    path.write_text(f"{directive}a: &a 1\nb: &a 2\nc: *a\nd: 1e5\n")
    assert read_yaml(path) == {"a": 1, "b": 2, "c": 2, "d": 1e5}


@pytest.mark.parametrize("content", [b"seed: 0\nseed: 1", b"train: {epochs: 1, epochs: 2}"])
def test_doubled_key_is_refused(tmp_path: Path, content: bytes):
    sentence = sentence_for(tmp_path, content)
    key = "seed" if content.startswith(b"seed") else "epochs"
    assert f'duplicate key "{key}"' in sentence
    assert "suppress" not in sentence


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"params\.yaml doesn't exist"):
        read_yaml(tmp_path / "params.yaml")


def test_folder_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=re.escape(str(tmp_path))):
        read_yaml(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"train: {epochs: 1",
        b"a: b: c",
        b"\tseed: 0",
        b"seed: 0\n  train: 1",
        b"seed: 0\n---\nseed: 1",
        b"*unknown",
        b"<<: 3",
        b"\xff\xfe\xfa",
        b"\x00",
        b"seed: !!python/object/apply:os.system [exit]",
        b"[" * MAX_BYTES,
        b"seed: 2001-13-01",
        b"seed: !!int five",
        b"seed: !!int ''",
        b"seed: !!bool five",
        b"seed: !!timestamp five",
        b"seed: " + b"9" * 5000,
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_not_yaml_is_named(tmp_path: Path, content: bytes):
    assert "can't be read as YAML" in sentence_for(tmp_path, content)


@pytest.mark.parametrize("content", [b"", b"# nothing", b"seed", b"- seed: 0", b"3", b"null"])
def test_not_a_mapping_is_named(tmp_path: Path, content: bytes):
    assert "params.yaml must hold sections" in sentence_for(tmp_path, content)


@pytest.mark.parametrize("key", [b"1", b"null", b"2.5", b"[a]", b"{a: 1}"])
def test_key_that_is_no_text_is_named(tmp_path: Path, key: bytes):
    sentence_for(tmp_path, b"? " + key + b"\n: 1\nseed: 0")


def test_file_that_would_take_minutes_is_refused(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"seed: 0\n".ljust(MAX_BYTES, b"#"))
    assert read_yaml(path) == {"seed": 0}
    assert "more than 100000 bytes" in sentence_for(tmp_path, path.read_bytes() + b"#")
