"""A readout gets what it says it reads, and of the last token that is the notebook's."""

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from small_states import EOS, PAD
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.completion_reader import CompletionReader
from goldrm.reward_model.lm_log_probs import LM_LOG_PROBS, lm_log_probs
from goldrm.reward_model.reading import EveryTokenReading, LastTokenReading, last_hidden_states
from goldrm.reward_model.states import States

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
    return torch.allclose(first, second, atol=1e-5, rtol=0)


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
    reading = EveryTokenReading([2], [1])
    states = reading.read(reading.reader(backbone), sequences, sequences)
    for tensor in (states.rows, states.lm_log_probs, states.prompt_rows):
        assert not tensor.requires_grad


def test_last_token_reads_prompt_and_completion_in_one_piece(
    backbone: Backbone, reference_lm: NotebookLM
):
    """One token a completion; behind another prompt where it is read there; of prompts nothing."""
    reading = LastTokenReading()
    reader = reading.reader(backbone)
    completions = [[2, 4, 6], [], [9]]
    for contexts, given in (([PROMPT, PROMPT, OTHER], None), ([OTHER] * 3, [OTHER] * 3)):
        states = reading.read(reader, [PROMPT, PROMPT, OTHER], completions, given)
        whole = [prompt + own for prompt, own in zip(contexts, completions, strict=True)]
        assert close(states.rows[states.token_rows], notebooks(reference_lm, whole))
        assert states.token_counts.tolist() == [1, 1, 1]
        assert (states.lm_log_probs.shape, states.prompt_rows.shape) == ((3, 0), (0, 0))
        assert states.prompt_token_counts.tolist() == [0]
        assert states.prompt.tolist() == [0, 0, 0]


# Of every token


def content(states: States) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Rows, lm_log_probs and prompt's rows of each completion."""
    prompts = states.prompt_rows.split(states.prompt_token_counts.tolist())
    rows = states.rows[states.token_rows].split(states.token_counts.tolist())
    expected = states.lm_log_probs.split(states.token_counts.tolist())
    answered = [prompts[prompt] for prompt in states.prompt]
    return list(zip(rows, expected, answered, strict=True))


@pytest.mark.parametrize("layers", [[0, 2], [0, 1]], ids=str)
def test_every_token_is_read_after_the_layers_asked_for(backbone: Backbone, layers: list[int]):
    """And what the last block expects, whether it is among them or not, and the prompt."""
    reader = CompletionReader(backbone, [0, 1])
    read = reader.read([PROMPT], [[2, 4, 6]])
    reading = EveryTokenReading(layers, [1])
    states = reading.read(reading.reader(backbone), [PROMPT], [[2, 4, 6]])
    assert (states.rows.shape, states.prompt_rows.shape) == ((4, 2 * 24), (5, 24))
    assert states.lm_log_probs.shape == (4, LM_LOG_PROBS)
    [(rows, expected, answered)] = content(states)
    assert close(rows, reader.rows(read.nodes, layers)[read.token_rows])
    assert close(expected, lm_log_probs(reader, read))
    assert close(answered, reader.rows(read.prompt_nodes, [1]))


def test_reading_does_not_depend_on_the_company_nor_on_what_was_read_before(backbone: Backbone):
    reading = EveryTokenReading([0, 2], [1])
    reader = reading.reader(backbone)
    prompts, completions = [PROMPT, OTHER, PROMPT, PROMPT], [[2, 4], [2, 4, 6], [2, 4, 6], [7] * 30]
    contexts = [PROMPT, PROMPT, OTHER, PROMPT]
    reader.read([PROMPT, OTHER], [[2, 3], [2]])
    together = content(reading.read(reader, prompts, completions, contexts))
    for found, prompt, completion, context in zip(
        together, prompts, completions, contexts, strict=True
    ):
        states = reading.read(reading.reader(backbone), [prompt], [completion], [context])
        [alone] = content(states)
        assert all(close(a, b) for a, b in zip(found, alone, strict=True))


@pytest.mark.parametrize(
    ("reading", "dtype"),
    [(LastTokenReading(), torch.float32), (EveryTokenReading([1], [0]), torch.float16)],
    ids=["last_token", "every_token"],
)
def test_every_tokens_states_are_kept_in_half_the_space(reading, dtype: torch.dtype):
    assert reading.stored_dtype == dtype
