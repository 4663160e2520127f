"""A sequence's hidden state is the notebook's, at its real last token, whatever is beside it."""

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from torch import Tensor

from goldrm.backbone import Backbone
from goldrm.hidden_states import last_hidden_states

PAD, EOS = 127, 128


@pytest.fixture
def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(7)
    lengths = [1, 18, 25, 39, 40, 22, 22, 31]
    return [torch.randint(127, (n,), generator=generator).tolist() for n in lengths]


@torch.no_grad()
def notebooks(lm: NotebookLM, sequences: list[list[int]]) -> Tensor:
    rows = NotebookRM(lm).right_align([torch.tensor(sequence) for sequence in sequences])
    return lm.hidden_states(rows)[:, -1]


def close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-5, rtol=0)


def test_hidden_states_are_the_notebooks(
    backbone: Backbone, reference_lm: NotebookLM, sequences: list[list[int]]
):
    assert close(last_hidden_states(backbone, sequences), notebooks(reference_lm, sequences))


@pytest.mark.parametrize("ending", [[PAD], [EOS], [EOS, PAD], [PAD, PAD, PAD], [EOS, EOS]])
def test_sequence_that_ends_like_padding_counts_to_its_real_end(
    backbone: Backbone, reference_lm: NotebookLM, sequences: list[list[int]], ending: list[int]
):
    """Where the last token is looked for by its id, that of pad or eos hides the real one.

    transformers' issue 35352 and trl's 937 scored such sequences elsewhere.
    """
    whole = [sequence[:35] + ending for sequence in sequences]
    hidden = last_hidden_states(backbone, whole)
    assert close(hidden, notebooks(reference_lm, whole))
    without = last_hidden_states(backbone, [sequence[:35] for sequence in sequences])
    assert not any(close(a, b) for a, b in zip(hidden, without, strict=True))


def test_completions_of_different_lengths_differ(backbone: Backbone):
    """RLHFlow's issue 49: padded on the other side, chosen and rejected got identical scores."""
    prompt = list(range(20))
    hidden = last_hidden_states(backbone, [prompt + [5] * n for n in range(1, 15)])
    for i in range(len(hidden)):
        for j in range(i):
            assert not close(hidden[i], hidden[j])


@pytest.mark.parametrize("length", [41, 60, 100])
def test_long_sequence_counts_by_its_last_40_tokens(
    backbone: Backbone, reference_lm: NotebookLM, length: int
):
    """The notebook crashes on it; its own sampling sees the last 40."""
    tokens = torch.arange(length).remainder(127).flip(0).tolist()
    hidden = last_hidden_states(backbone, [tokens, tokens[:30]])
    assert close(hidden[:1], notebooks(reference_lm, [tokens[-40:]]))


def test_hidden_state_does_not_depend_on_its_company(
    backbone: Backbone, sequences: list[list[int]]
):
    together = last_hidden_states(backbone, sequences)
    alone = torch.cat([last_hidden_states(backbone, [sequence]) for sequence in sequences])
    assert close(together, alone)
    assert close(together.flip(0), last_hidden_states(backbone, sequences[::-1]))


def test_dropout_is_off_whatever_mode_the_backbone_is_in(
    backbone: Backbone, reference_lm: NotebookLM, sequences: list[list[int]]
):
    """LLaMA-Factory's issue 10779: dropout left on while pairs were scored."""
    hidden = last_hidden_states(backbone.train(), sequences)
    assert close(hidden, notebooks(reference_lm, sequences))


def test_hidden_states_carry_no_gradient(backbone: Backbone, sequences: list[list[int]]):
    assert not last_hidden_states(backbone.requires_grad_(True), sequences).requires_grad
