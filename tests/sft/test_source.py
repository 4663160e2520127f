"""The language model from `sft.source`: each way it comes, and each way it can be wrong."""

import hashlib
import logging
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM, save_sft_checkpoint
from torch import Tensor

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import write_tensors
from goldrm.lm.sizes import BackboneSizes
from goldrm.lm.weights import load_backbone, save_backbone
from goldrm.sft.params import SftParams
from goldrm.sft.source import FetchedSft, fetch_sft
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import TaskParams

Fetch = Callable[..., FetchedSft]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without an access log."""

    def log_message(self, *_: object) -> None:
        pass


pytestmark = pytest.mark.usefixtures("archives_opened_here")  # test_hostile.py does without


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server of `tmp_path` on the loopback device."""
    handler = partial(QuietHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def fetch(tmp_path: Path, params: Params, dictionary: Dictionary, task_params: TaskParams) -> Fetch:
    """`fetch_sft` of a source, with the committed parameters."""

    def fetch(source: Path | str, sha256: str | None = None, split_seed: int = 0) -> FetchedSft:
        sft = params.sft.model_copy(update={"source": str(source), "sha256": sha256})
        asked = task_params.model_copy(update={"split_seed": split_seed})
        return fetch_sft(sft, dictionary, asked, tmp_path / "work/fetched")

    return fetch


@pytest.fixture
def course_file(tmp_path: Path, reference_lm: NotebookLM) -> Path:
    """The course's step-2 checkpoint."""
    save_sft_checkpoint(tmp_path / "step2.pkl", reference_lm, ids_as_tensors=True)
    return tmp_path / "step2.pkl"


@pytest.fixture
def write(tmp_path: Path, reference_lm: NotebookLM, small_sizes: BackboneSizes) -> Any:
    """Writes a .safetensors file, with changes to what it declares and holds."""

    def write(declared: dict[str, Any] | None = None, **tensors: Tensor | None) -> Path:
        path = tmp_path / "model.safetensors"
        changed = reference_lm.state_dict() | {
            name.replace("__", "."): tensor for name, tensor in tensors.items()
        }
        state = {name: tensor for name, tensor in changed.items() if tensor is not None}
        sizes = {**asdict(small_sizes), "split_seed": 0, **(declared or {})}
        write_tensors(path, state, sizes)
        return path

    return write


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(torch.arange(80).reshape(2, 40))


@pytest.mark.parametrize("ids_as_tensors", [False, True])
@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".pth"])
def test_course_checkpoint_is_the_notebooks_model(
    tmp_path: Path, fetch: Fetch, reference_lm: NotebookLM, suffix: str, ids_as_tensors: bool
):
    path = tmp_path / f"SFT model{suffix}"
    save_sft_checkpoint(path, reference_lm, ids_as_tensors)
    fetched = fetch(path)
    torch.testing.assert_close(logits(fetched.backbone), logits(reference_lm), atol=1e-5, rtol=0)
    assert asdict(fetched.sizes) == reference_lm.net_parameters
    assert fetched.provenance == {
        "source": str(path),
        "sha256": sha256_of(path),
        "parameters": sum(parameter.numel() for parameter in reference_lm.parameters()),
        "split_seed": None,
    }


def test_safetensors_is_the_same_model(fetch: Fetch, course_file: Path, write: Any):
    ours, courses = fetch(write()), fetch(course_file)
    assert ours.sizes == courses.sizes
    assert ours.state.keys() == courses.state.keys()
    assert all(torch.equal(ours.state[name], courses.state[name]) for name in ours.state)
    assert torch.equal(logits(ours.backbone), logits(courses.backbone))
    assert ours.provenance["split_seed"] == 0


def test_16_bits_are_kept_in_the_state(
    tmp_path: Path, fetch: Fetch, reference_lm: NotebookLM, small_sizes: BackboneSizes
):
    path = tmp_path / "half.safetensors"
    half = {name: tensor.half() for name, tensor in reference_lm.state_dict().items()}
    write_tensors(path, half, asdict(small_sizes))
    fetched = fetch(path)
    assert {tensor.dtype for tensor in fetched.state.values()} == {torch.float16}
    assert {weights.dtype for weights in fetched.backbone.parameters()} == {torch.float32}


def test_pinned_file_is_taken(fetch: Fetch, course_file: Path):
    pinned = sha256_of(course_file)
    assert fetch(course_file, pinned).provenance["sha256"] == pinned


class Payload:
    """What a hostile pickle holds: it makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("pinned", [True, False])
def test_hostile_file_is_never_executed(tmp_path: Path, fetch: Fetch, pinned: bool):
    path, marker = tmp_path / "hostile.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"net_parameters": {}, "SFT_LMnet_dict": Payload(marker)}))
    with pytest.raises(GoldrmError, match="plain tensors"):
        fetch(path, sha256_of(path) if pinned else None)
    assert not marker.exists()


def test_other_file_than_pinned_is_not_opened(tmp_path: Path, fetch: Fetch):
    path, pinned = tmp_path / "swapped.pkl", "a" * 64
    path.write_bytes(b"whatever this is, reading it as a checkpoint would fail otherwise")
    with pytest.raises(GoldrmError) as error:
        fetch(path, pinned)
    named = [str(path), sha256_of(path), pinned, "sft.sha256", "not opened"]
    assert [text for text in named if text not in str(error.value)] == []


@pytest.mark.parametrize("sha256", ["A" * 64, "abc", "sha256:" + "a" * 64, ""])
def test_checksum_that_is_none_is_refused(params: Params, sha256: str):
    with pytest.raises(ValueError, match="sha256"):
        SftParams.model_validate({**params.sft.model_dump(), "sha256": sha256})


@pytest.mark.parametrize(
    "name",
    ["model.bin", "model", "model.pkl.gz", "model.json", "https://127.0.0.1:1/m.zip?a=b.pkl"],
)
def test_unknown_suffix_is_refused(params: Params, name: str):
    with pytest.raises(ValueError, match=r"must end in \.safetensors or.*\.pkl"):
        SftParams.model_validate({**params.sft.model_dump(), "source": name})


def test_path_may_hold_what_means_something_in_a_url(tmp_path: Path, fetch: Fetch, write: Any):
    path = tmp_path / "try #2?.safetensors"
    write().rename(path)
    assert fetch(path).provenance["source"] == str(path)


WRAPS: dict[str, Callable[[str], str]] = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "on many GPUs": lambda name: f"module.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "the other way round": lambda name: f"_orig_mod.module.{name}",
    "its blocks compiled": lambda name: re.sub(r"(blocks\.\d)", r"\1._orig_mod", name),
    "sharded": lambda name: f"_fsdp_wrapped_module.{name}",
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])
def test_model_may_have_been_wrapped(
    tmp_path: Path,
    fetch: Fetch,
    reference_lm: NotebookLM,
    small_sizes: BackboneSizes,
    wrap: str,
    suffix: str,
):
    state = {WRAPS[wrap](name): tensor for name, tensor in reference_lm.state_dict().items()}
    path = tmp_path / f"model{suffix}"
    if suffix == ".pkl":
        torch.save({"net_parameters": asdict(small_sizes), "SFT_LMnet_dict": state}, path)
    else:
        write_tensors(path, state, asdict(small_sizes))
    fetched = fetch(path)
    assert fetched.state.keys() == reference_lm.state_dict().keys()
    torch.testing.assert_close(logits(fetched.backbone), logits(reference_lm), atol=1e-5, rtol=0)


def test_compiled_model_is_read(tmp_path: Path, fetch: Fetch, reference_lm: NotebookLM):
    """PyTorch's own wrappers, so that a new name of theirs shows."""
    wrapped = torch.nn.DataParallel(torch.compile(reference_lm, backend="eager"))
    checkpoint = {
        "net_parameters": reference_lm.net_parameters,
        "SFT_LMnet_dict": wrapped.state_dict(),
    }
    torch.save(checkpoint, tmp_path / "step2.pkl")
    fetched = fetch(tmp_path / "step2.pkl")
    torch.testing.assert_close(logits(fetched.backbone), logits(reference_lm), atol=1e-5, rtol=0)


def test_two_tensors_of_one_name_are_refused(fetch: Fetch, write: Any):
    path = write(**{"module__token_prediction__bias": torch.zeros(129)})
    with pytest.raises(GoldrmError, match=r"holds token_prediction\.bias twice, wrapped"):
        fetch(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_what_is_fetched_can_be_saved_however_it_was_stored(
    tmp_path: Path,
    fetch: Fetch,
    reference_lm: NotebookLM,
    dictionary: Dictionary,
    dtype: torch.dtype,
):
    """Parameters with gradients, tied ones and parts of larger tensors, in any type."""
    state: dict[str, Tensor] = {
        name: torch.nn.Parameter(tensor.to(dtype))
        for name, tensor in reference_lm.state_dict().items()
    }
    shape = state["token_prediction.weight"].shape
    state["token_prediction.weight"] = state["token2vec.token2vec.weight"]
    state["PE_embedding.weight"] = torch.stack([state["PE_embedding.weight"].detach()] * 2, 2)[
        ..., 0
    ]
    assert state["token_prediction.weight"].shape == shape
    content = {"net_parameters": reference_lm.net_parameters, "SFT_LMnet_dict": state}
    torch.save(content, tmp_path / "step2.pkl")
    fetched = fetch(tmp_path / "step2.pkl")
    save_backbone(tmp_path / "sft", fetched.sizes, fetched.state, fetched.provenance)
    loaded = load_backbone(tmp_path / "sft", dictionary, torch.device("cpu"))
    assert torch.equal(logits(loaded), logits(fetched.backbone))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: torch.save({}, path), "a file of torch.save's. Let it end in .pkl"),
        (lambda path: path.write_bytes(pickle.dumps({})), "a file of torch.save's. Let it end"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS's"),
        (lambda path: path.write_text("<html></html>"), "a web page"),
        (lambda path: path.write_text("404: Not Found"), "a text, '404: Not Found'"),
        (lambda path: path.write_bytes(b""), "it is empty"),
    ],
    ids=["a checkpoint", "a pickle", "Git LFS", "a web page", "a text", "nothing"],
)
def test_what_is_no_safetensors_is_named(
    tmp_path: Path, fetch: Fetch, make: Callable[[Path], object], named: str
):
    make(tmp_path / "model.safetensors")
    with pytest.raises(GoldrmError, match=rf"model\.safetensors can't be read .*{named}"):
        fetch(tmp_path / "model.safetensors")


@pytest.mark.parametrize("query", ["", "?download=1", "?name=other.bin#part"])
def test_url_may_have_a_query(fetch: Fetch, server: str, write: Any, query: str):
    path = write()
    fetched = fetch(f"{server}/{path.name}{query}", sha256_of(path))
    assert fetched.provenance["source"] == f"{server}/{path.name}{query}"
    assert fetched.provenance["sha256"] == sha256_of(path)


def test_url_of_a_course_checkpoint(fetch: Fetch, server: str, course_file: Path):
    assert fetch(f"{server}/{course_file.name}?v=2").sizes == fetch(course_file).sizes


@pytest.mark.parametrize(
    ("declared", "tensors", "named"),
    [
        ({"num_tokens": 130}, {}, "num_tokens = 130, the dictionary says 129"),
        ({"padding_int": 0}, {}, "padding_int = 0, the dictionary says 127"),
        ({"eos_int": 127}, {}, "eos_int = 127, the dictionary says 128"),
        ({"context_length": 64}, {}, "PE_embedding.weight has shape"),
        ({"num_layers": 3}, {}, "lacks tensors transformer_blocks.2"),
        ({"d": None}, {}, "doesn't say its d,"),
        ({}, {"token_prediction__bias": None}, "lacks tensor token_prediction.bias"),
        ({}, {"extra__weight": torch.zeros(2)}, "unknown tensor extra.weight"),
        ({}, {"token_prediction__bias": torch.zeros(130)}, "token_prediction.bias has shape"),
        (
            {},
            {"token_prediction__bias": torch.full((129,), float("nan"))},
            "token_prediction.bias holds values that aren't finite",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_model_that_does_not_fit_is_named(
    fetch: Fetch, write: Any, declared: dict[str, Any], tensors: dict[str, Tensor], named: str
):
    path = write(declared, **tensors)
    with pytest.raises(GoldrmError) as error:
        fetch(path)
    assert str(path) in str(error.value)
    assert named in str(error.value)


def test_safetensors_without_sizes_is_named(tmp_path: Path, fetch: Fetch, reference_lm: NotebookLM):
    path = tmp_path / "bare.safetensors"
    write_tensors(path, reference_lm.state_dict())
    with pytest.raises(GoldrmError, match=r"bare\.safetensors doesn't say its num_tokens"):
        fetch(path)


@pytest.mark.parametrize("name", ["model.safetensors", "step2.pkl"])
def test_truncated_file_is_refused(fetch: Fetch, course_file: Path, write: Any, name: str):
    path = write().with_name(name)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(GoldrmError, match=str(path)):
        fetch(path)


def test_other_split_seed_warns(fetch: Fetch, write: Any, caplog: pytest.LogCaptureFixture):
    fetched = fetch(write({"split_seed": 7}), split_seed=0)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "model.safetensors was trained with task.split_seed 7; with 0" in warning.getMessage()
    assert fetched.provenance["split_seed"] == 7


def test_known_or_unsaid_split_seed_is_quiet(
    fetch: Fetch, write: Any, course_file: Path, caplog: pytest.LogCaptureFixture
):
    fetch(write({"split_seed": 7}), split_seed=7)
    fetch(course_file, split_seed=7)
    assert caplog.records == []


def test_what_a_stage_saved_can_be_fetched_again(
    fetch: Fetch, small_sizes: BackboneSizes, reference_lm: NotebookLM, tmp_path: Path
):
    """A policy's model.safetensors alone, in a folder of the user's own."""
    described = {"reward": "gold", "split_seed": 0}
    save_backbone(tmp_path / "policy", small_sizes, reference_lm.state_dict(), described)
    copy = tmp_path / "round2.safetensors"
    copy.write_bytes((tmp_path / "policy/model.safetensors").read_bytes())
    fetched = fetch(copy)
    assert fetched.sizes == small_sizes
    assert fetched.provenance["split_seed"] == 0
    for name, tensor in reference_lm.state_dict().items():
        assert fetched.state[name].equal(tensor)
