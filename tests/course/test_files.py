"""The course's own files: read as plain tensors, refused when they are anything else."""

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from notebook_reference import (
    NotebookLM,
    save_dictionary,
    save_sft_checkpoint,
    save_training_set,
)

from goldrm.common.errors import GoldrmError
from goldrm.course.files import read_dictionary_tokens, read_sft_checkpoint, read_training_set
from goldrm.task.dictionary import Dictionary, from_tokens

Reader = Callable[[Path], Any]
pytestmark = pytest.mark.usefixtures(
    "archives_opened_here"
)  # test_hostile.py does as all others do


def read_sft(path: Path) -> Any:
    return read_sft_checkpoint(path, str(path))


READERS = [read_dictionary_tokens, read_sft, read_training_set]


def entry(token_ids: list[int], reward: float) -> list[torch.Tensor]:
    return [torch.tensor(token_ids), torch.tensor(reward)]


PAIRS = [
    [entry([101, 5, 0], 7.0), entry([101, 6, 1, 2], 6.5)],
    [entry([101, 5], 5.8), entry([101, 6, 1], 1.5)],
]


def test_reads_the_dictionary(tmp_path: Path, dictionary: Dictionary):
    path = tmp_path / "step1_dictionary.pt"
    save_dictionary(path, list(dictionary.tokens))
    assert from_tokens(read_dictionary_tokens(path), 100, str(path)) == dictionary


@pytest.mark.parametrize("ids_as_tensors", [False, True])
def test_reads_the_language_model(tmp_path: Path, reference_lm: NotebookLM, ids_as_tensors: bool):
    path = tmp_path / "step2.pkl"
    save_sft_checkpoint(path, reference_lm, ids_as_tensors)
    net_parameters, state = read_sft(path)
    assert net_parameters == reference_lm.net_parameters
    assert all(type(net_parameters[name]) is int for name in ("padding_int", "eos_int"))
    expected = reference_lm.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_reads_the_training_set(tmp_path: Path):
    path = tmp_path / "step3.pt"
    save_training_set(path, PAIRS)
    assert read_training_set(path) == [([101, 5, 0], [101, 5]), ([101, 6, 1, 2], [101, 6, 1])]


def test_numpys_scalars_are_read_in_each_file(
    tmp_path: Path, dictionary: Dictionary, reference_lm: NotebookLM
):
    """As a mean of losses, a list of np.unique or a reward leaves them."""
    tokens = list(map(np.str_, dictionary.tokens))
    torch.save((tokens, np.int64(129), {}, {}), tmp_path / "step1.pt")
    assert from_tokens(read_dictionary_tokens(tmp_path / "step1.pt"), 100, "it") == dictionary
    ids = {name: np.int64(reference_lm.net_parameters[name]) for name in ("eos_int", "padding_int")}
    checkpoint = {
        "loss": np.float64(0.5),
        "losses": [np.float32(0.5)],
        "net_parameters": {**reference_lm.net_parameters, **ids, "note": None},
        "SFT_LMnet_dict": reference_lm.state_dict(),
    }
    torch.save(checkpoint, tmp_path / "step2.pkl")
    net_parameters, state = read_sft(tmp_path / "step2.pkl")
    assert net_parameters == {**reference_lm.net_parameters, "note": None}
    assert state.keys() == reference_lm.state_dict().keys()
    torch.save([[[torch.tensor([1, 2]), np.float64(7)]]] * 2, tmp_path / "step3.pt")
    assert read_training_set(tmp_path / "step3.pt") == [([1, 2], [1, 2])]


def test_token_ids_may_be_lists(tmp_path: Path):
    save_training_set(tmp_path / "step3.pt", [[[[101, 5], 7.0]], [[torch.tensor([101, 6]), 6.0]]])
    assert read_training_set(tmp_path / "step3.pt") == [([101, 5], [101, 6])]


def test_tensors_may_share_their_values(tmp_path: Path):
    """As an output layer tied to the embedding."""
    weight = torch.rand(100, 50)
    state = {"token2vec.token2vec.weight": weight, "token_prediction.weight": weight}
    torch.save({"net_parameters": {"d": 50}, "SFT_LMnet_dict": state}, tmp_path / "step2.pkl")
    assert torch.equal(read_sft(tmp_path / "step2.pkl")[1]["token_prediction.weight"], weight)


def test_training_set_may_be_empty(tmp_path: Path):
    save_training_set(tmp_path / "step3.pt", [[], []])
    assert read_training_set(tmp_path / "step3.pt") == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (["50", "56"], "a list"),
        ((["50"], 1, {"50": 0}), "a tuple"),
        ({"tokens": ["50"]}, "a dict with tokens"),
        (torch.zeros(4), "a Tensor"),
        (None, "a NoneType"),
    ],
    ids=str,
)
def test_other_content_is_no_dictionary(tmp_path: Path, content: object, found: str):
    path = tmp_path / "step1.pt"
    torch.save(content, path)
    with pytest.raises(GoldrmError, match=rf"step1\.pt is not the course's step-1.*{found}"):
        read_dictionary_tokens(path)


@pytest.mark.parametrize(
    "content",
    [
        OrderedDict(weight=torch.zeros(2)),
        {"net_parameters": {"d": 24}},
        {"net_parameters": {"d": 24}, "SFT_LMnet_dict": [torch.zeros(2)]},
        {"net_parameters": (24, 3), "SFT_LMnet_dict": {}},
        {},
        [1, 2],
        7,
    ],
    ids=str,
)
def test_other_content_is_no_language_model(tmp_path: Path, content: object):
    path = tmp_path / "step2.pkl"
    torch.save(content, path)
    expected = r"step2\.pkl is not the course's step-2.*net_parameters and SFT_LMnet_dict"
    with pytest.raises(GoldrmError, match=expected):
        read_sft(path)


@pytest.mark.parametrize(
    "state",
    [
        {"token2vec.weight": [0.0, 0.0]},
        {"token2vec.weight": None},
        {"bias": torch.zeros(2), "weight": "zeros"},
        {7: torch.zeros(2)},
    ],
    ids=str,
)
def test_state_without_tensors_is_refused(tmp_path: Path, state: object):
    path = tmp_path / "step2.pkl"
    torch.save({"net_parameters": {"d": 24}, "SFT_LMnet_dict": state}, path)
    with pytest.raises(GoldrmError, match=r"step2\.pkl.*SFT_LMnet_dict"):
        read_sft(path)


def test_messages_name_what_the_user_knows(tmp_path: Path):
    """A fetched copy lies in a work folder that the user has never heard of."""
    (tmp_path / "copy.pkl").write_bytes(b"")
    with pytest.raises(GoldrmError, match=r"^https://host/step2\.pkl can't be read"):
        read_sft_checkpoint(tmp_path / "copy.pkl", "https://host/step2.pkl")


@pytest.mark.parametrize(
    "content",
    [
        [PAIRS[0]],
        [PAIRS[0], PAIRS[1][:1]],
        [PAIRS[0], PAIRS[1], []],
        [[[torch.tensor([1.5]), 7.0]], [[torch.tensor([1]), 6.0]]],
        [[[torch.tensor([True]), 7.0]], [[torch.tensor([1]), 6.0]]],
        [[[torch.tensor([[1]]), 7.0]], [[torch.tensor([1]), 6.0]]],
        [[[torch.tensor(1), 7.0]], [[torch.tensor([1]), 6.0]]],
        [[[[1.0, 2.0], 7.0]], [[[1.0, 3.0], 6.0]]],
        [[[[True, 2], 7.0]], [[[1, 3], 6.0]]],
        [[["1 2", 7.0]], [["1 3", 6.0]]],
        [[torch.tensor([1, 2, 3])], [torch.tensor([1, 2, 3])]],
        torch.zeros(2, 3, dtype=torch.long),
        {"positive": [], "negative": []},
        "ab",
        None,
        3,
    ],
    ids=lambda content: repr(content)[:40],
)
def test_other_content_is_no_training_set(tmp_path: Path, content: object):
    path = tmp_path / "step3.pt"
    torch.save(content, path)
    with pytest.raises(GoldrmError, match=r"step3\.pt is not the course's step-3.*list_positive"):
        read_training_set(path)


class Payload:
    """What a hostile pickle holds: it makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class BySystem(Payload):
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class ByEval(Payload):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.marker)!r}, 'w').close()",)


def save_zip(content: object, path: Path) -> None:
    torch.save(content, path)


def save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def save_old_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", [Payload, BySystem, ByEval])
@pytest.mark.parametrize("save", [save_zip, save_legacy, save_pickle, save_old_pickle])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda payload: payload,
        lambda payload: {"net_parameters": {"d": payload}, "SFT_LMnet_dict": {}},
        lambda payload: (["50", payload], 1, {}, {}),
        lambda payload: [[[torch.tensor([1]), payload]], [[torch.tensor([1]), torch.tensor(1.0)]]],
    ],
    ids=["alone", "in a checkpoint", "in a dictionary", "in a training set"],
)
def test_payload_is_not_executed(
    tmp_path: Path,
    read: Reader,
    kind: type[Payload],
    save: Callable[[object, Path], None],
    wrap: Callable[[object], object],
):
    marker, path = tmp_path / "executed", tmp_path / "hostile.pkl"
    save(wrap(kind(marker)), path)
    with pytest.raises(GoldrmError, match=r"hostile\.pkl can't be read as plain tensors"):
        read(path)
    assert not marker.exists()


def test_payloads_are_live(tmp_path: Path):
    """Or the test above would prove nothing."""
    for kind in (Payload, BySystem, ByEval):
        marker = tmp_path / kind.__name__
        pickle.loads(pickle.dumps(kind(marker)))
        assert marker.exists()


def test_legacy_format_is_read(tmp_path: Path, reference_lm: NotebookLM):
    path = tmp_path / "step2.pkl"
    checkpoint = {
        "net_parameters": reference_lm.net_parameters,
        "SFT_LMnet_dict": reference_lm.state_dict(),
    }
    save_legacy(checkpoint, path)
    net_parameters, state = read_sft(path)
    assert net_parameters == reference_lm.net_parameters
    assert len(state) == len(reference_lm.state_dict())


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file_is_refused(
    tmp_path: Path, read: Reader, save: Callable[[object, Path], None], share: float
):
    path = tmp_path / "cut.pkl"
    save({"net_parameters": {}, "SFT_LMnet_dict": {"weight": torch.zeros(500)}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(GoldrmError, match=r"cut\.pkl can't be read") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", READERS)
def test_text_file_is_refused(tmp_path: Path, read: Reader):
    (tmp_path / "page.pkl").write_text("<html>404 not found</html>")
    with pytest.raises(GoldrmError, match=r"page\.pkl can't be read"):
        read(tmp_path / "page.pkl")


@pytest.mark.parametrize("read", READERS)
def test_missing_file_is_named(tmp_path: Path, read: Reader):
    with pytest.raises(GoldrmError, match=r"none\.pkl doesn't exist"):
        read(tmp_path / "none.pkl")


@pytest.mark.parametrize("read", READERS)
def test_folder_is_refused(tmp_path: Path, read: Reader):
    with pytest.raises(GoldrmError, match=re.escape(str(tmp_path))):
        read(tmp_path)
