"""The language model's folder: what is declared, stored and in the dictionary must agree."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json, write_checked_json
from goldrm.lm.sizes import BackboneSizes, sizes_from
from goldrm.lm.weights import build_backbone, load_backbone, save_backbone, sft_sha256
from goldrm.task.dictionary import Dictionary

SIZES = [
    *("num_tokens", "d", "num_heads", "context_length"),
    *("dropout", "num_layers", "padding_int", "eos_int"),
]
EMBEDDING = "token2vec.token2vec.weight"
CPU = torch.device("cpu")


@pytest.fixture
def state(reference_lm: NotebookLM) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in reference_lm.state_dict().items()}


@pytest.fixture
def folder(tmp_path: Path, small_sizes: BackboneSizes, state: dict[str, Tensor]) -> Path:
    """A saved language model."""
    save_backbone(tmp_path / "sft", small_sizes, state, {"sha256": "ab12"})
    return tmp_path / "sft"


def logits(model: Any) -> Tensor:
    token_ids = torch.arange(80).reshape(2, 40)
    with torch.no_grad():
        return model(token_ids)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail what would take for ever."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    # Again and again, for an exception that comes while garbage is collected is dropped.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_sizes_are_read(small_sizes: BackboneSizes):
    declared = {**asdict(small_sizes), "source": "course", "split_seed": 0}
    assert sizes_from(declared, "model.pkl") == small_sizes
    assert sizes_from({**declared, "dropout": 0}, "model.pkl").dropout == 0


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", ["missing", None, "24", -1, True, [24], float("nan")])
def test_bad_size_is_named(small_sizes: BackboneSizes, name: str, value: Any):
    declared = asdict(small_sizes)
    del declared[name]
    if value != "missing":
        declared[name] = value
    with pytest.raises(GoldrmError) as error:
        sizes_from(declared, "model.pkl")
    verb = "doesn't say its" if value in ("missing", None) else "declares"
    assert f"model.pkl {verb} " in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"d": 0},
        {"num_heads": 0},
        {"num_layers": 0},
        {"context_length": 0},
        {"num_tokens": 0},
        {"dropout": 1.0},
        {"dropout": 1.5},
        {"d": 24.0},
        {"num_heads": 5},  # 24 is no multiple of it
        {"num_heads": 48},
    ],
    ids=str,
)
def test_impossible_size_is_refused(small_sizes: BackboneSizes, change: dict[str, Any]):
    with pytest.raises(GoldrmError, match=rf"model\.pkl declares.*{next(iter(change))}"):
        sizes_from({**asdict(small_sizes), **change}, "model.pkl")


@pytest.mark.parametrize(
    "change",
    [{"num_layers": 10**6}, {"d": 3 * 10**12}, {"context_length": 10**30}],
    ids=str,
)
def test_sizes_that_lie_are_refused_at_once(
    small_sizes: BackboneSizes,
    dictionary: Dictionary,
    state: dict[str, Tensor],
    change: dict[str, int],
):
    """A small file may declare a million layers, which nobody wants to wait for."""

    def build() -> None:
        sizes = sizes_from({**asdict(small_sizes), **change}, "model.pkl")
        build_backbone(sizes, state, dictionary, "model.pkl")

    with within(5), pytest.raises(GoldrmError, match=r"model\.pkl"):
        build()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_model_is_frozen_float32_and_the_notebooks(
    small_sizes: BackboneSizes,
    dictionary: Dictionary,
    reference_lm: NotebookLM,
    dtype: torch.dtype,
):
    stored = {name: tensor.to(dtype) for name, tensor in reference_lm.state_dict().items()}
    built = build_backbone(small_sizes, stored, dictionary, "model.pkl")
    reference_lm.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    torch.testing.assert_close(logits(built), logits(reference_lm), atol=1e-5, rtol=0)
    assert not built.training
    assert {parameter.dtype for parameter in built.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in built.parameters())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_tokens": 130}, "num_tokens = 130.*129"),
        ({"padding_int": 126}, "padding_int = 126.*127"),
        ({"eos_int": 127}, "eos_int = 127.*128"),
    ],
)
def test_other_dictionary_is_refused(
    small_sizes: BackboneSizes,
    dictionary: Dictionary,
    state: dict[str, Tensor],
    change: dict[str, int],
    named: str,
):
    with pytest.raises(GoldrmError, match=rf"model\.pkl declares {named}.*dictionary"):
        build_backbone(replace(small_sizes, **change), state, dictionary, "model.pkl")


@pytest.mark.parametrize("name", [EMBEDDING, "transformer_blocks.1.MLP.3.bias"])
def test_missing_tensor_is_named(
    small_sizes: BackboneSizes, dictionary: Dictionary, state: dict[str, Tensor], name: str
):
    del state[name]
    with pytest.raises(GoldrmError, match=rf"model\.pkl lacks tensor {name}"):
        build_backbone(small_sizes, state, dictionary, "model.pkl")


def test_unknown_tensor_is_named(
    small_sizes: BackboneSizes, dictionary: Dictionary, state: dict[str, Tensor]
):
    state["final_norm.weight"] = torch.ones(24)
    with pytest.raises(GoldrmError, match="unknown tensor final_norm.weight"):
        build_backbone(small_sizes, state, dictionary, "model.pkl")


def test_first_missing_and_unknown_tensors_are_named_and_the_others_counted(
    small_sizes: BackboneSizes, dictionary: Dictionary, state: dict[str, Tensor]
):
    renamed = {f"lm.{name}": tensor for name, tensor in state.items()}
    with pytest.raises(GoldrmError) as error:
        build_backbone(small_sizes, renamed, dictionary, "model.pkl")
    first = list(state)[:3]
    more = f"and {len(state) - 3} more"
    assert f"model.pkl lacks tensors {', '.join(first)} {more} and holds unknown tensors" in str(
        error.value
    )
    assert f"unknown tensors {', '.join(f'lm.{name}' for name in first)} {more}." in str(
        error.value
    )


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda weight: weight.to_sparse(), "is sparse"),
        (lambda weight: weight.to("meta"), "is without values"),
        (lambda weight: weight.to(torch.float8_e4m3fn), "is float8_e4m3fn"),
        (lambda weight: weight.long(), "is int64"),
        (
            lambda weight: weight.index_fill(1, torch.tensor([5]), float("nan")),
            "holds values that aren't finite numbers, 129 of 3096",
        ),
    ],
    ids=["sparse", "without values", "8 bits", "integers", "nan"],
)
def test_what_is_wrong_with_weights_is_said(
    small_sizes: BackboneSizes,
    dictionary: Dictionary,
    state: dict[str, Any],
    spoil: Any,
    found: str,
):
    state[EMBEDDING] = spoil(state[EMBEDDING])
    with pytest.raises(GoldrmError, match=rf"model\.pkl: {EMBEDDING} {found}"):
        build_backbone(small_sizes, state, dictionary, "model.pkl")


@pytest.mark.parametrize(
    "change",
    [{"d": 48}, {"context_length": 41}, {"num_layers": 1}, {"num_layers": 3}],
    ids=str,
)
def test_weights_of_other_sizes_are_refused(
    small_sizes: BackboneSizes,
    dictionary: Dictionary,
    state: dict[str, Tensor],
    change: dict[str, int],
):
    with pytest.raises(GoldrmError, match=r"model\.pkl.*(shape|tensor)"):
        build_backbone(replace(small_sizes, **change), state, dictionary, "model.pkl")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weight: weight.index_fill(0, torch.tensor([5]), float("nan")),
        lambda weight: weight.index_fill(0, torch.tensor([5]), float("inf")),
        lambda weight: weight.index_fill(0, torch.tensor([5]), float("-inf")).half(),
        lambda weight: weight.double().index_fill(0, torch.tensor([5]), 1e300),  # inf in float32
        lambda weight: weight.long(),
        lambda weight: weight.bool(),
        lambda weight: weight + 1j,
        lambda weight: weight.to(torch.float8_e4m3fn),
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to("meta"),
    ],
    ids=[
        *("nan", "inf", "-inf", "too large", "integers", "booleans", "complex", "8 bits"),
        *("sparse", "without values"),
    ],
)
def test_weights_that_are_no_numbers_are_named(
    small_sizes: BackboneSizes, dictionary: Dictionary, state: dict[str, Any], spoil: Any
):
    state[EMBEDDING] = spoil(state[EMBEDDING])
    with pytest.raises(GoldrmError, match=rf"model\.pkl.*{EMBEDDING}"):
        build_backbone(small_sizes, state, dictionary, "model.pkl")


def test_folder_round_trip(folder: Path, dictionary: Dictionary, reference_lm: NotebookLM):
    loaded = load_backbone(folder, dictionary, CPU)
    for name, tensor in reference_lm.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    torch.testing.assert_close(logits(loaded), logits(reference_lm), atol=1e-5, rtol=0)
    assert sft_sha256(folder) == "ab12"


def test_config_holds_sizes_and_provenance(folder: Path, small_sizes: BackboneSizes):
    config = read_checked_json(folder / "config.json")
    assert config == {**asdict(small_sizes), "sha256": "ab12"}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file_is_named(folder: Path, dictionary: Dictionary, name: str):
    (folder / name).unlink()
    with pytest.raises(GoldrmError, match=rf"{name} doesn't exist.*dvc repro"):
        load_backbone(folder, dictionary, CPU)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_truncated_file_is_named(folder: Path, dictionary: Dictionary, name: str):
    (folder / name).write_bytes((folder / name).read_bytes()[:-3])
    with pytest.raises(GoldrmError, match=name):
        load_backbone(folder, dictionary, CPU)


def test_config_without_sizes_is_named(folder: Path, dictionary: Dictionary):
    write_checked_json(folder / "config.json", {})
    with pytest.raises(GoldrmError, match=r"config\.json doesn't say its num_tokens"):
        load_backbone(folder, dictionary, CPU)
