"""One flipped bit in any file that is read again: a sentence, or exactly what was written.

Not CSV and the metrics' JSON, which have no checksum of their own.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM, save_dictionary, save_sft_checkpoint, save_training_set
from small_models import ROOT
from torch import Tensor

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json
from goldrm.common.resume import ResumePoint
from goldrm.common.tables import ParquetBuffer, open_parquet, read_parquet, write_parquet
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.course.files import read_dictionary_tokens, read_sft_checkpoint, read_training_set
from goldrm.lm.sizes import BackboneSizes
from goldrm.lm.weights import save_backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.model import read_reward_model_config, save_reward_model
from goldrm.sft.fetch import fetch
from goldrm.task.arithmetic_series import ArithmeticSeries
from goldrm.task.dictionary import Dictionary, load, load_source
from goldrm.training.mapped_rows import RowWriter, map_rows

TABLE = pd.DataFrame(
    {
        "prompt": ["generate 5 terms", "generate 6 terms", "", "x"],
        "prompt_id": [3, 1, 2, 2**40],
        "gold_reward": [7.0, float("nan"), 1 / 3, -0.0],
        "exact": [True, False, False, False],
    }
)
COLUMNS = {"prompt": "str", "prompt_id": "int64", "gold_reward": "float64"}
TENSORS = {
    "w": torch.arange(6.0).view(2, 3),
    "ids": torch.tensor([3, 1]),
    "h": torch.ones(2).half(),
}
ENTRIES = [
    [[torch.tensor([1, 2, 3]), torch.tensor(7.0)]],
    [[torch.tensor([1, 4]), torch.tensor(2)]],
]


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, params: Params, dictionary: Dictionary
) -> Path:
    """Files of every kind, as the stages write them; and the course's, as its notebooks do."""
    folder = tmp_path_factory.mktemp("project")
    sizes = BackboneSizes(len(dictionary), 4, 2, 40, 0.1, 1, dictionary.pad_id, dictionary.eos_id)
    torch.manual_seed(0)
    lm = NotebookLM(**asdict(sizes))
    write_parquet(folder / "chunk.parquet", TABLE)
    pairs = ParquetBuffer(COLUMNS)
    pairs.append(TABLE)
    (folder / "pairs.parquet").write_bytes(pairs.content())
    write_tensors(folder / "chunk.safetensors", TENSORS)
    write_tensors(folder / "sft_lm.safetensors", TENSORS, asdict(sizes))
    with RowWriter(folder / "rows.bin") as writer:
        writer.append(torch.rand(20, 3).half())
    ResumePoint(folder / "training.pt").save({"step": 3, "model": TENSORS, "curve": [1.5, None]})
    dictionary.save(folder / "dictionary.json")
    (folder / "source.json").write_bytes((ROOT / "data/source/dictionary.json").read_bytes())
    save_backbone(folder / "sft", sizes, lm.state_dict(), {"sha256": "ab" * 32, "source": "x"})
    recipe = params.models["notebook"]
    states = [new_readout(recipe.readout, sizes, seed=0).state_dict()]
    save_reward_model(
        folder / "rm", states, recipe.readout, recipe.ensemble, "ab" * 32, {"step": 1}
    )
    save_dictionary(folder / "step1.pt", list(dictionary.tokens))
    save_sft_checkpoint(folder / "step2.pkl", lm, ids_as_tensors=True)
    save_training_set(folder / "step3.pt", ENTRIES)
    return folder


READERS: dict[str, Callable[[Path], object]] = {
    "chunk.parquet": read_parquet,
    "pairs.parquet": read_parquet,
    "chunk.safetensors": read_tensors,
    "sft/model.safetensors": read_tensors,
    "rm/model.safetensors": read_tensors,
    "rows.bin": map_rows,
    "training.pt": lambda path: ResumePoint(path).load(),
    "dictionary.json": lambda path: load(path, 100),
    "source.json": lambda path: load_source(path, 100, ArithmeticSeries.words),
    "sft/config.json": read_checked_json,
    "rm/config.json": lambda path: read_reward_model_config(path.parent),
    "step1.pt": read_dictionary_tokens,
    "step2.pkl": lambda path: read_sft_checkpoint(path, "it"),
    "step3.pt": read_training_set,
}
FLIPS = {name: 900 if name.startswith("step") else 1000 for name in READERS}


def test_there_are_ten_thousand():
    assert sum(FLIPS.values()) > 10_000


def plain(content: object) -> object:
    """Content that can be compared, with the types and shapes of what is in it."""
    if isinstance(content, Tensor):
        return (
            str(content.dtype),
            tuple(content.shape),
            content.flatten().view(torch.uint8).tolist(),
        )
    if isinstance(content, pd.DataFrame):
        return [(str(name), str(of.dtype), repr(of.tolist())) for name, of in content.items()]
    if isinstance(content, dict):
        return [(plain(name), plain(value)) for name, value in content.items()]
    if isinstance(content, list | tuple):
        return type(content), [plain(value) for value in content]
    return type(content), repr(content)


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def assert_none_silent(good: Path, path: Path, read: Callable[[Path], object], flips: int) -> None:
    """No flip gives anything but what was written."""
    content = good.read_bytes()
    path.write_bytes(content)
    written = plain(read(path))
    for bit in random.Random(path.name).choices(range(8 * len(content)), k=flips):
        path.write_bytes(flipped(content, bit))
        try:
            found = read(path)
        except GoldrmError:
            continue
        assert plain(found) == written, f"byte {bit // 8}, bit {bit % 8}"


@pytest.mark.usefixtures("archives_opened_here")
@pytest.mark.parametrize("name", READERS)
def test_no_flip_is_silent(project: Path, tmp_path: Path, name: str):
    path = tmp_path / Path(name).name
    assert_none_silent(project / name, path, READERS[name], FLIPS[name])


def test_no_flip_of_a_pinned_file_is_silent(project: Path, tmp_path: Path):
    """A .safetensors from outside has the checksum that params.yaml pins."""
    good = project / "sft_lm.safetensors"
    sha256 = hashlib.sha256(good.read_bytes()).hexdigest()
    path = tmp_path / "sft_lm.safetensors"
    path.write_bytes(good.read_bytes())
    assert fetch(str(path), sha256, tmp_path / "copy") == sha256
    for bit in random.Random(0).choices(range(8 * len(good.read_bytes())), k=300):
        path.write_bytes(flipped(good.read_bytes(), bit))
        with pytest.raises(GoldrmError, match=r"sft\.sha256 pins"):
            fetch(str(path), sha256, tmp_path / "copy")


def test_no_flip_of_goldrms_own_pairs_is_silent_where_anybodys_may_come(
    project: Path, tmp_path: Path
):
    """`goldrm score --pairs` takes a file without a checksum; of one that had it, none is lost."""

    def read(path: Path) -> Any:
        try:
            with open_parquet(path) as file:
                return file.read().to_pandas()
        except (OSError, ValueError) as error:
            raise GoldrmError(str(error)) from None

    assert_none_silent(project / "pairs.parquet", tmp_path / "pairs.parquet", read, 3000)


@pytest.mark.parametrize("name", [name for name in READERS if not name.startswith("step")])
def test_no_page_of_zeros_is_silent(project: Path, tmp_path: Path, name: str):
    """As a crash of the machine leaves them, at the start, the end, or somewhere between."""
    content = (project / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(content)
    written = plain(READERS[name](path))
    for start in {0, len(content) // 2, max(0, len(content) - 64)}:
        path.write_bytes(
            content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :]
        )
        try:
            found = READERS[name](path)
        except GoldrmError:
            continue
        assert plain(found) == written, start
