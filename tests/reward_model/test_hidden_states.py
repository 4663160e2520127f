"""Hidden states are the notebook's, at the real tokens, whatever is beside them."""

from itertools import product
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from small_models import layer_states
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model import prefix_tree
from goldrm.reward_model.hidden_states import (
    UNLIKELY,
    completion_hidden_states,
    last_hidden_states,
    log_probabilities,
    outlook,
)

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
    both = sequences, sequences[::-1]
    expected = completion_hidden_states(backbone, *both, [0, 2], [1])
    again = completion_hidden_states(backbone.train(), *both, [0, 2], [1])
    for name in ("completions", "prompts"):
        pairs = zip(getattr(expected, name), getattr(again, name), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_hidden_states_carry_no_gradient(backbone: Backbone, sequences: list[list[int]]):
    backbone.requires_grad_(True)
    assert not last_hidden_states(backbone, sequences).requires_grad
    states = completion_hidden_states(backbone, sequences, sequences, [2], [1])
    assert not any(each.requires_grad for each in states.completions + states.prompts)
    assert not log_probabilities(backbone, sequences, sequences)[0].requires_grad


# Of all tokens of a completion

BOTH_LENGTHS = list(product([14, 20, 21, 1, 33, 0], [0, 1, 5, 19, 20, 21, 39, 45]))


@pytest.fixture
def texts() -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and completions of every length; two completions of each length for a prompt.

    Some end in PAD or EOS, and one prompt begins as another does.
    """
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(129, (40,), generator=generator).tolist()
    prompts = [ids[:length] for length, _ in BOTH_LENGTHS] * 2
    completions = [
        torch.randint(120, 129, (length,), generator=generator).tolist()
        for _, length in BOTH_LENGTHS * 2
    ]
    return prompts, completions


def in_context(prompt: list[int], completion: list[int]) -> tuple[Tensor, int]:
    """[PAD …, prompt, completion] in one piece, and the position of the prompt's last token."""
    completion = completion[-39:]
    end = min(21, 40 - len(completion))
    padded = [PAD] * 21 + prompt
    return torch.tensor([padded[len(padded) - end :] + completion]), end - 1


@pytest.mark.parametrize("together", [128, 3])
@pytest.mark.parametrize(
    ("layers", "prompt_layers"),
    [([2], [1]), ([1], [2]), ([0], [0, 2]), ([0, 2], [0]), ([0, 1, 2], [0, 1, 2])],
    ids=str,
)
def test_states_of_completions_are_those_of_whole_sequences(
    backbone: Backbone,
    reference_lm: NotebookLM,
    texts: tuple[list[list[int]], list[list[int]]],
    monkeypatch: pytest.MonkeyPatch,
    layers: list[int],
    prompt_layers: list[int],
    together: int,
):
    """The prompt ends just behind the context's middle, or earlier: completions need the room.

    They don't depend on the company, on its order, nor on how many are read together.
    """
    monkeypatch.setattr(prefix_tree, "READ_TOGETHER", together)
    for prompts, completions in (texts, [each[::-1] for each in texts]):
        found = completion_hidden_states(backbone, prompts, completions, layers, prompt_layers)
        of_prompts = [found.prompts[each] for each in found.prompt]
        states = zip(found.completions, of_prompts, strict=True)
        for prompt, completion, (after, before) in zip(prompts, completions, states, strict=True):
            token_ids, last = in_context(prompt, completion)
            expected = layer_states(reference_lm, token_ids, layers)[0, last:]
            torch.testing.assert_close(after, expected, atol=1e-5, rtol=0)
            first = max(0, last + 1 - max(1, len(prompt)))
            expected = layer_states(reference_lm, token_ids, prompt_layers)[0, first : last + 1]
            torch.testing.assert_close(before, expected, atol=1e-5, rtol=0)


def test_each_prompt_is_read_once(backbone: Backbone):
    """Of those that end at one position, however its completions are spread."""
    prompts = [[1, 2, 3], [4, 5], [1, 2, 3], [4, 5], [1, 2]]
    found = completion_hidden_states(backbone, prompts, [[7]] * 4 + [[8, 9]], [2], [1])
    assert sorted(map(len, found.prompts)) == [2, 2, 3]
    assert found.prompt[0] == found.prompt[2]
    assert found.prompt[1] == found.prompt[3]
    assert sorted(set(found.prompt)) == [0, 1, 2]


def test_log_probabilities_are_those_of_whole_sequences(
    backbone: Backbone, reference_lm: NotebookLM, texts: tuple[list[list[int]], list[list[int]]]
):
    """Of each token after those before it, and of the end after all."""
    found = log_probabilities(backbone, *texts)
    for prompt, completion, logs in zip(*texts, found, strict=True):
        token_ids, last_of_prompt = in_context(prompt, completion)
        with torch.no_grad():
            logits = reference_lm(token_ids)[0, last_of_prompt:]
        tokens = [*completion[-39:], EOS]
        expected = [
            float(torch.log_softmax(row, dim=0)[token])
            for row, token in zip(logits, tokens, strict=True)
        ]
        assert logs.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("lost", [0, 3])
def test_outlook_is_a_plain_log_softmax(backbone: Backbone, lost: int):
    """Of what is said next, the end, the likeliest; of a completion cut in front, its last."""
    backbone.token_prediction.weight.data *= 3
    completion = torch.randint(129, (9,), generator=torch.Generator().manual_seed(2)).tolist()
    top = torch.randn(10 - lost, 24, generator=torch.Generator().manual_seed(3))
    places = [torch.tensor([3, 1]), torch.arange(10 - lost)]
    found = outlook(backbone, top, places, [[5], completion])[2:]
    for row, state, said in zip(found.tolist(), top, [*completion, EOS][lost:], strict=True):
        logs = torch.log_softmax(backbone.token_prediction(state), dim=0).tolist()
        expected = [logs[said], logs[EOS], max(logs)]
        assert row == pytest.approx([max(each, UNLIKELY) for each in expected], abs=1e-5)


def test_outlook_is_never_below_unlikely(backbone: Backbone):
    """Infinities, and float16's coarse large numbers, would outweigh all else."""
    backbone.token_prediction.bias.data[[7, EOS]] = torch.tensor([1000.0, -torch.inf])
    found = outlook(backbone, torch.zeros(2, 24), [torch.arange(2), torch.arange(1)], [[5], []])
    assert found[:2, :2].tolist() == [[UNLIKELY] * 2] * 2
    assert found[2:].tolist() == [[UNLIKELY, UNLIKELY, 0.0]]


def test_what_sequences_begin_with_is_read_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    """Whether padding, prompts' tokens or those of completions of one prompt."""
    prompts = [[1, 2]] * 7 + [[1, 3], [4, 2], [4]]
    completions = [[5, 6], [5, 6, 7], [], [5, 6], [6], [5, 8], [5, 6, 7, 9], [5, 6], [5], [5]]
    alone = [
        completion_hidden_states(backbone, [prompt], [completion], [0, 2], [1]).completions[0]
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    read: list[int] = []
    hidden = Backbone.hidden_states

    def noted(self: Backbone, token_ids: Tensor, *args: Any, **options: Any) -> Tensor:
        read.extend(token_ids.flatten().tolist())
        return hidden(self, token_ids, *args, **options)

    monkeypatch.setattr(Backbone, "hidden_states", noted)
    found = completion_hidden_states(backbone, prompts, completions, [0, 2], [1])
    for together, one in zip(found.completions, alone, strict=True):
        torch.testing.assert_close(together, one, atol=1e-5, rtol=0)
    of_prompts = [[PAD] * 20, [1, 2, 3], [4, 2], [4]]  # the last one behind a PAD more
    of_completions = [[5, 6, 7, 9, 8, 6], [5, 6], [5], [5]]
    assert sorted(read) == sorted(sum(of_prompts + of_completions, []))
    assert len(found.rows) == 4 + len(sum(of_completions, []))


def test_further_completions_are_asked_for_once_a_prompt(backbone: Backbone):
    """With its first one's states; not where the context has no room for one token more."""
    prompts = [[1, 2, 3], [4, 5], [1, 2, 3], [6], [7]]
    completions = [[10, 11, 12], [13] * 18, [10, 14], [15] * 19, [16] * 30]
    more = {0: [[10, 11, 9], [20]], 1: [[13] * 19, []]}
    asked: dict[int, Tensor] = {}

    def further(first: int, states: Tensor) -> list[list[int]]:
        asked[first] = states
        return more[first]

    found = completion_hidden_states(backbone, prompts, completions, [0, 2], [1], further)
    order = [(first, each) for first in asked for each in more[first]]
    assert sorted(asked) == [0, 1]
    assert found.prompt[5:] == [found.prompt[first] for first, _ in order]
    expected = completion_hidden_states(
        backbone,
        prompts + [prompts[first] for first, _ in order],
        completions + [each for _, each in order],
        [0, 2],
        [1],
    )
    for a, b in zip(found.completions, expected.completions, strict=True):
        assert close(a, b)
    for first, states in asked.items():
        assert torch.equal(states, found.completions[first])
