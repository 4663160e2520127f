"""Hidden states are the notebook's, at the real tokens, whatever is beside them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM
from small_models import layer_states
from small_states import EOS, PAD, in_context, texts_of_every_length
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model import prefix_tree
from goldrm.reward_model.completion_reader import CompletionReader, ReadCompletions

Texts = tuple[list[list[int]], list[list[int]]]


@pytest.fixture
def texts() -> Texts:
    return texts_of_every_length()


def completion_rows(reader: CompletionReader, read: ReadCompletions) -> list[Tensor]:
    """Of each completion: of its prompt's last token, then of its own."""
    rows = reader.rows(read.nodes)[read.token_rows]
    return list(rows.split(read.token_counts.tolist()))


def prompt_rows(reader: CompletionReader, read: ReadCompletions) -> list[Tensor]:
    """Of the prompt that each completion answers."""
    rows = reader.rows(read.prompt_nodes).split(read.prompt_token_counts.tolist())
    return [rows[prompt] for prompt in read.prompt]


def expected_rows(
    lm: NotebookLM, prompt: list[int], completion: list[int], layers: Sequence[int]
) -> Tensor:
    token_ids, last_of_prompt = in_context(prompt, completion)
    return layer_states(lm, token_ids, layers)[0, last_of_prompt:]


def expected_prompt_rows(
    lm: NotebookLM, prompt: list[int], completion: list[int], layers: Sequence[int]
) -> Tensor:
    token_ids, last_of_prompt = in_context(prompt, completion)
    first = max(0, last_of_prompt + 1 - max(1, len(prompt)))
    return layer_states(lm, token_ids, layers)[0, first : last_of_prompt + 1]


def close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-5, rtol=0)


@pytest.mark.parametrize("together", [128, 3])
@pytest.mark.parametrize("layers", [[2], [1], [0], [0, 2], [0, 1, 2]], ids=str)
def test_states_are_those_of_whole_sequences(
    backbone: Backbone,
    reference_lm: NotebookLM,
    texts: Texts,
    monkeypatch: pytest.MonkeyPatch,
    layers: list[int],
    together: int,
):
    """The prompt ends just behind the context's middle, or earlier: completions need the room.

    They don't depend on the company, on its order, nor on how many are read together.
    """
    monkeypatch.setattr(prefix_tree, "NODES_READ_TOGETHER", together)
    for prompts, completions in (texts, [own[::-1] for own in texts]):
        reader = CompletionReader(backbone, layers)
        read = reader.read(prompts, completions)
        after = completion_rows(reader, read)
        before = prompt_rows(reader, read)
        for number, own in enumerate(zip(prompts, completions, strict=True)):
            assert close(after[number], expected_rows(reference_lm, *own, layers))
            expected = expected_prompt_rows(reference_lm, *own, layers)
            assert close(before[number], expected)


def test_what_is_said_next_and_at_last_the_end(backbone: Backbone, texts: Texts):
    read = CompletionReader(backbone).read(*texts)
    said = read.next_tokens.split(read.token_counts.tolist())
    expected = [[*completion[-39:], EOS] for completion in texts[1]]
    assert [own.tolist() for own in said] == expected


def test_dropout_is_off_whatever_mode_the_backbone_is_in(backbone: Backbone, texts: Texts):
    """LLaMA-Factory's issue 10779: dropout left on while pairs were scored."""
    rows: list[Tensor] = []
    for model in (backbone, backbone.train()):
        reader = CompletionReader(model, [0, 2])
        rows.append(reader.rows(reader.read(*texts).nodes))
    assert torch.equal(*rows)


def test_hidden_states_carry_no_gradient(backbone: Backbone, texts: Texts):
    backbone.requires_grad_(True)
    reader = CompletionReader(backbone)
    assert not reader.rows(reader.read(*texts).nodes).requires_grad


def test_unless_asked_otherwise_states_are_those_of_the_last_block(backbone: Backbone):
    last, middle = (CompletionReader(backbone, layers) for layers in ([], [1]))
    rows = [r.rows(r.read([[1, 2]], [[3, 4, 5]]).nodes) for r in (last, middle)]
    reader = CompletionReader(backbone, [1, 2])
    both = reader.rows(reader.read([[1, 2]], [[3, 4, 5]]).nodes)
    assert torch.equal(both, torch.cat(rows[::-1], dim=1))
    assert not torch.equal(*rows)


def test_blocks_above_what_is_asked_for_are_not_computed(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backbone.transformer_blocks[1], "forward", None)
    reader = CompletionReader(backbone, [1])
    assert reader.read([[1, 2]], [[3, 4]]).nodes


def test_each_prompt_is_there_once(backbone: Backbone):
    """Of those that end at one position, however its completions are spread."""
    prompts = [[1, 2, 3], [4, 5], [1, 2, 3], [4, 5], [1, 2]]
    read = CompletionReader(backbone).read(prompts, [[7]] * 4 + [[8, 9]])
    assert read.prompt_token_counts.tolist() == [3, 2, 2]
    assert read.prompt.tolist() == [0, 1, 0, 1, 2]


def test_prompts_that_look_alike_behind_padding_are_different(
    backbone: Backbone, reference_lm: NotebookLM
):
    """`<PAD> 5` and `5` have the same tokens in the context, but not as many of their own."""
    prompts = [[PAD, 5], [5], [], [PAD]]
    reader = CompletionReader(backbone, [1])
    read = reader.read(prompts, [[7]] * 4)
    assert [len(rows) for rows in prompt_rows(reader, read)] == [2, 1, 1, 1]
    for prompt, rows in zip(prompts, prompt_rows(reader, read), strict=True):
        assert close(rows, expected_prompt_rows(reference_lm, prompt, [7], [1]))


def test_a_prompt_that_is_cut_for_one_completion_is_whole_for_another(
    backbone: Backbone, reference_lm: NotebookLM
):
    """All four are answers to one prompt; three of them leave less than all of its 16 tokens."""
    prompt = list(range(10, 26))
    completions = [[1] * 30, [2] * 5, [3] * 31, [4] * 30]
    reader = CompletionReader(backbone, [1])
    read = reader.read([prompt] * 4, completions)
    assert read.prompt_token_counts.tolist() == [10, 16, 9]
    assert read.prompt.tolist() == [0, 1, 2, 0]
    for completion, rows in zip(completions, prompt_rows(reader, read), strict=True):
        assert close(rows, expected_prompt_rows(reference_lm, prompt, completion, [1]))


@pytest.fixture
def read_tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """All tokens that the language model reads from now on."""
    tokens: list[int] = []
    hidden_states = Backbone.hidden_states

    def noted(self: Backbone, token_ids: Tensor, *args: Any, **options: Any) -> Tensor:
        tokens.extend(token_ids.flatten().tolist())
        return hidden_states(self, token_ids, *args, **options)

    monkeypatch.setattr(Backbone, "hidden_states", noted)
    return tokens


def test_what_sequences_begin_with_is_read_once(
    backbone: Backbone, reference_lm: NotebookLM, read_tokens: list[int]
):
    """Whether padding, prompts' tokens or those of completions of one prompt."""
    prompts = [[1, 2]] * 7 + [[1, 3], [4, 2], [4]]
    completions = [[5, 6], [5, 6, 7], [], [5, 6], [6], [5, 8], [5, 6, 7, 9], [5, 6], [5], [5]]
    reader = CompletionReader(backbone, [0, 2])
    read = reader.read(prompts, completions)
    for prompt, completion, rows in zip(
        prompts, completions, completion_rows(reader, read), strict=True
    ):
        assert close(rows, expected_rows(reference_lm, prompt, completion, [0, 2]))
    of_prompts = [[PAD] * 20, [1, 2, 3], [4, 2], [4]]  # the last one behind a PAD more
    of_completions = [[5, 6, 7, 9, 8, 6], [5, 6], [5], [5]]
    assert sorted(read_tokens) == sorted(sum(of_prompts + of_completions, []))
    assert len(read.nodes) == 4 + len(sum(of_completions, []))


def test_what_was_read_before_is_not_read_again(
    backbone: Backbone, reference_lm: NotebookLM, read_tokens: list[int]
):
    """And is the same: the two that a second time begins with, and what is said behind them."""
    prompts, completions = [[1, 2, 3], [4, 5]], [[10, 11, 12], [13] * 18]
    reader = CompletionReader(backbone, [1, 2])
    earlier = reader.read(prompts, completions)
    rows = completion_rows(reader, earlier)
    read_tokens.clear()
    more = [[10, 11, 12], [10, 11, 9], [13] * 19, [20, 11], [20]]
    behind = [prompts[0], prompts[0], prompts[1], prompts[1], prompts[0]]
    later = reader.read(behind, more)
    assert sorted(read_tokens) == [9, 11, 13, 20, 20]
    found = completion_rows(reader, later)
    assert torch.equal(found[0], rows[0])
    assert torch.equal(found[2][:19], rows[1])
    for prompt, completion, own in zip(behind, more, found, strict=True):
        assert close(own, expected_rows(reference_lm, prompt, completion, [1, 2]))


@pytest.mark.parametrize(("tokens", "first"), [(19, 0), (20, 1)])
def test_a_whole_prompt_leaves_room_for_so_many_tokens(backbone: Backbone, tokens: int, first: int):
    """Behind the course's longest, of 21 tokens; with one more the first token is lost."""
    reader = CompletionReader(backbone)
    assert reader.room == 19
    read = reader.read([list(range(21))], [[5] * tokens])
    assert read.prompt_token_counts.tolist() == [21 - first]
