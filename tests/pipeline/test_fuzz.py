"""Damaged files of every kind, in every loader: success or a sentence, never another exception.

GOLDRM_FUZZ=10 tries ten times as many, other ones each time.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notebook_reference import (
    NotebookLM,
    save_dictionary,
    save_sft_checkpoint,
    save_training_set,
)
from small_models import ROOT
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.pairs_file import read_pairs
from goldrm.commands.params import Params, load_params
from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json
from goldrm.common.resume import ResumePoint
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.course.files import read_dictionary_tokens, read_sft_checkpoint
from goldrm.generation.source import read_source
from goldrm.lm.sizes import BackboneSizes, sizes_from
from goldrm.lm.weights import build_backbone, save_backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.model import save_reward_model
from goldrm.task.dictionary import Dictionary, from_tokens, read_tokens
from goldrm.task.task import Task

TIMES = int(os.environ.get("GOLDRM_FUZZ", "1"))
PROMPT = "generate an arithmetic series with 5 terms starting with value 3 and common difference 4"
MODEL = "data/models/notebook"
PAIRS = [
    {"prompt": PROMPT, "chosen": "3 7 11 15 19", "rejected": "3 7"},
    {"prompt": PROMPT, "chosen": "7", "rejected": "100 99"},
]
SNIPPETS = [
    *(b"", b"\x00", b"\xff\xfe", b"\n", b"'", b'"', b",", b":", b"{", b"}", b"[", b"]" * 9, b"- "),
    *(
        b"null",
        b"true",
        b"NaN",
        b"-1",
        b"1e999",
        b"9" * 30,
        b"0x" + b"f" * 40,
        b"\\ud800",
        b"<PAD>",
    ),
    *(
        b"&a ",
        b"*a",
        b"!!python/name:os.system",
        b"? ",
        b"<<: ",
        b"PK\x03\x04",
        b"PAR1",
        b"\x80\x02",
    ),
    *(b"." * 3, b"(", b"\x85", b"q\x01", b"h\x01", b"cos\nsystem\n", b"\xff" * 8, b"\x7f" * 8),
]
edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),  # where
        st.integers(0, 64),  # bytes that go
        st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=4)),  # what comes
    ),
    min_size=1,
    max_size=4,
)
Loader = Callable[[Path], object]


def damaged(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Bytes replaced, removed and added here and there; the rest is as it was."""
    for share, gone, new in changes:
        start = int(share * len(content))
        content = content[:start] + new + content[start + min(gone, len(new) or gone) :]
    return content


@pytest.fixture(scope="module")
def sizes(dictionary: Dictionary) -> BackboneSizes:
    """Of a language model whose file is a few kilobytes."""
    return BackboneSizes(len(dictionary), 4, 2, 40, 0.1, 1, dictionary.pad_id, dictionary.eos_id)


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory,
    params: Params,
    dictionary: Dictionary,
    sizes: BackboneSizes,
) -> Path:
    """Good files of every kind, the product of a run among them."""
    folder = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    lm = NotebookLM(**asdict(sizes))
    state = lm.state_dict()
    entries = [
        [
            [torch.tensor(dictionary.encode(f"{PROMPT} {pair[side]}")), torch.tensor(7.0)]
            for pair in PAIRS
        ]
        for side in ("chosen", "rejected")
    ]
    save_dictionary(folder / "step1.pt", list(dictionary.tokens))
    save_sft_checkpoint(folder / "step2.pkl", lm, ids_as_tensors=True)
    save_training_set(folder / "step3.pt", entries)
    metadata = {"goldrm": json.dumps(asdict(sizes))}
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(state, metadata))
    ResumePoint(folder / "training.pt").save({"step": 3, "model": state})
    table = pd.DataFrame(PAIRS)
    (folder / "pairs.jsonl").write_text(table.to_json(orient="records", lines=True))
    table.to_csv(folder / "pairs.csv", index=False)
    table.to_parquet(folder / "pairs.parquet", index=False)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    dictionary.save(folder / "data/dictionary.json")
    save_backbone(folder / "data/sft", sizes, state, {"sha256": "ab" * 32})
    recipe = params.models["notebook"]
    readout = new_readout(recipe.readout, sizes, seed=0).state_dict()
    save_reward_model(
        folder / MODEL, [readout], recipe.readout, recipe.ensemble, "ab" * 32, {"epoch": 1}
    )
    return folder


@pytest.fixture(scope="module")
def loaders(dictionary: Dictionary, task: Task, sizes: BackboneSizes) -> dict[str, Loader]:
    """What the project does with each kind of file."""

    def checkpoint(path: Path) -> object:
        if path.suffix == ".pkl":
            declared, state = read_sft_checkpoint(path, "it")
        else:
            state, declared = read_tensors_of_others(path, "it")
        return build_backbone(sizes_from(declared, "it"), state, dictionary, "it")

    return {
        "data/dictionary.json": lambda path: from_tokens(read_tokens(path), 100, "it"),
        "data/sft/config.json": lambda path: sizes_from(read_checked_json(path), "it"),
        "step1.pt": lambda path: from_tokens(read_dictionary_tokens(path), 100, "it"),
        "step2.pkl": checkpoint,
        "step3.pt": lambda path: list(read_source(path, task)),
        "model.safetensors": checkpoint,
        "training.pt": lambda path: ResumePoint(path).load(),
        "params.yaml": load_params,
        "pairs.jsonl": read_pairs,
        "pairs.csv": read_pairs,
        "pairs.parquet": read_pairs,
    }


COUNTS = {
    "data/dictionary.json": 2500,
    "data/sft/config.json": 2000,
    "model.safetensors": 1500,
    "training.pt": 500,
    "params.yaml": 400,
    "pairs.jsonl": 1000,
    "pairs.csv": 1200,
    "pairs.parquet": 1000,
    "step1.pt": 150,
    "step2.pkl": 150,
    "step3.pt": 150,
}
SCORES = 100


def test_there_are_ten_thousand() -> None:
    assert sum(COUNTS.values()) + SCORES > 10_000


def many(count: int) -> Any:
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        database=None,
        derandomize=TIMES == 1,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.usefixtures("archives_opened_here")
@pytest.mark.parametrize("name", COUNTS)
def test_damaged_file_is_read_or_a_sentence(
    tmp_path: Path, project: Path, loaders: dict[str, Loader], name: str
) -> None:
    good = (project / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(good)
    loaders[name](path)

    @many(COUNTS[name])
    @given(edits)
    def load_damaged(changes: list[tuple[float, int, bytes]]) -> None:
        path.write_bytes(damaged(good, changes))
        with suppress(GoldrmError):
            loaders[name](path)

    load_damaged()


SCORED = [
    *("params.yaml", "data/dictionary.json", "data/sft/config.json", "data/sft/model.safetensors"),
    *(f"{MODEL}/config.json", f"{MODEL}/model.safetensors"),
    *("pairs.jsonl", "pairs.csv", "pairs.parquet"),
]


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project as the working folder; a command sets up its process, which is the tests' too."""
    monkeypatch.chdir(project)
    yield project
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)


def test_score_is_a_reward_or_a_sentence(here: Path) -> None:
    good = {name: (here / name).read_bytes() for name in SCORED}
    command = ["score", "--model", "notebook", "--pairs"]

    @many(SCORES)
    @given(st.sampled_from(SCORED), edits)
    def score(name: str, changes: list[tuple[float, int, bytes]]) -> None:
        pairs = name if name.startswith("pairs") else "pairs.csv"
        (here / name).write_bytes(damaged(good[name], changes))
        try:
            result = CliRunner().invoke(app, [*command, pairs])
        finally:
            (here / name).write_bytes(good[name])
        if result.exit_code:
            assert isinstance(result.exception, SystemExit), result.exception
            assert result.stderr.startswith("goldrm: ")
            assert result.stderr.count("\n") == 1

    assert CliRunner().invoke(app, [*command, "pairs.csv"]).exit_code == 0
    score()
