"""A readout gets what it says it reads, and of the last token that is the notebook's."""

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from small_models import layer_states
from small_states import EOS, PAD, in_context, texts_of_every_length
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.reading import LastTokenReading, PromptReading, Reading, last_hidden_states

PROMPT, OTHER = [11, 12, 13, 14, 15], [21, 22]


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
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-5, rtol=0)


# Of the last token


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
    backbone.requires_grad_(True)
    assert not last_hidden_states(backbone, sequences).requires_grad
    reading = PromptReading([1])
    states = reading.read(backbone, sequences, sequences)
    assert not states.prompt_rows.requires_grad


def test_last_token_reads_prompt_and_completion_in_one_piece(
    backbone: Backbone, reference_lm: NotebookLM
):
    """One token a completion; of prompts nothing."""
    reading = LastTokenReading()
    completions = [[2, 4, 6], [], [9]]
    states = reading.read(backbone, [PROMPT, PROMPT, OTHER], completions)
    whole = [[*PROMPT, 2, 4, 6], PROMPT, [*OTHER, 9]]
    assert close(states.rows[states.token_rows], notebooks(reference_lm, whole))
    assert states.token_counts.tolist() == [1, 1, 1]
    assert states.row_token_ids.tolist() == [6, 15, 9]
    assert states.prompt_rows.shape == (0, 0)
    assert states.prompt_row_token_ids.tolist() == []
    assert states.prompt_token_counts.tolist() == [0]
    assert states.prompt.tolist() == [0, 0, 0]


# Of prompts


@pytest.mark.parametrize("layers", [[1], [0, 2]], ids=str)
def test_prompts_tokens_are_read_after_the_layers_asked_for(
    backbone: Backbone, reference_lm: NotebookLM, layers: list[int]
):
    """As in a whole sequence that ends with the prompt; of long ones the last tokens.

    An empty prompt is a padding token.
    """
    prompts, completions = texts_of_every_length()
    reading = PromptReading(layers)
    states = reading.read(backbone, prompts, completions)
    counts = states.prompt_token_counts.tolist()
    rows = states.prompt_rows.split(counts)
    token_ids = states.prompt_row_token_ids.split(counts)
    for prompt, number in zip(prompts, states.prompt.tolist(), strict=True):
        expected = prompt[-21:] or [PAD]
        assert token_ids[number].tolist() == expected
        whole = layer_states(reference_lm, in_context(prompt, [])[0], layers)[0]
        assert close(rows[number], whole[-len(expected) :])
    assert len(counts) == len({tuple(prompt[-21:]) for prompt in prompts})


def test_which_tokens_a_completion_has_is_all_that_is_read_of_it(backbone: Backbone):
    """Behind its prompt's last one; the language model doesn't have the token 1000, say."""
    reading = PromptReading([1])
    prompts, completions = [PROMPT, OTHER, PROMPT, []], [[1000] * 50, [], [3, 1000], [4]]
    states = reading.read(backbone, prompts, completions)
    tokens = states.row_token_ids[states.token_rows].split(states.token_counts.tolist())
    expected = [[15, *completions[0]], [22], [15, 3, 1000], [PAD, 4]]
    assert [own.tolist() for own in tokens] == expected
    assert states.rows.shape == (len(states.row_token_ids), 0)
    assert states.prompt.tolist() == [0, 1, 0, 2]
    assert states.prompt_row_token_ids.tolist() == [*PROMPT, *OTHER, PAD]


@pytest.mark.parametrize(
    ("reading", "dtype"),
    [(LastTokenReading(), torch.float32), (PromptReading([0]), torch.float16)],
    ids=["last_token", "prompt"],
)
def test_prompts_states_are_kept_in_half_the_space(reading: Reading, dtype: torch.dtype):
    assert reading.stored_dtype == dtype
