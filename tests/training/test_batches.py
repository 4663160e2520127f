"""Batches hold the completions of their groups, and the pairs that these make."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_states import labelled, states_of
from torch import Tensor

from goldrm.training import batches as batches_module
from goldrm.training.batches import Batch, LabelledCompletions

Content = list[tuple[float, list[float], list[float]]]


@given(st.data())
def test_batches_are_their_groups_one_after_the_other(data: st.DataObject):
    lengths = data.draw(st.lists(st.lists(st.integers(1, 4), min_size=1), min_size=1))
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1))
    size, found_together = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    sizes = torch.tensor([len(group) for group in lengths])
    all_lengths = torch.tensor([length for group in lengths for length in group])
    rows, gold = torch.arange(float(all_lengths.sum())), torch.arange(float(len(all_lengths)))
    prompt_lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    prompts = torch.arange(float(sum(prompt_lengths))).split(prompt_lengths)
    prompt = [data.draw(st.integers(0, len(prompts) - 1)) for _ in gold]
    completions = rows[:, None].split(all_lengths.tolist())
    states = states_of(completions, [rows[:, None] for rows in prompts], prompt)
    whole = labelled(states, gold, sizes.tolist())
    by_completion = rows.split(all_lengths.tolist())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "GROUPS_FOUND_TOGETHER", found_together)
        batches = list(whole.batches(torch.tensor(chosen), size))

    assert len(batches) == -(-len(chosen) // size)
    for number, batch in enumerate(batches):
        groups = chosen[number * size : (number + 1) * size]
        expected: Content = []
        for group in groups:
            for completion in range(int(sizes[:group].sum()), int(sizes[: group + 1].sum())):
                of_prompt = prompts[prompt[completion]].tolist()
                own = by_completion[completion].tolist()
                expected.append((float(completion), own, of_prompt))
        assert content(batch) == expected
        assert len(batch.states.rows) == len(set(batch.states.rows[:, 0].tolist())), "each row once"
        asked = batch.states.prompt
        assert len(batch.states.prompt_token_counts) == len(set(asked.tolist())), "each prompt once"
        first = [sum(len(lengths[group]) for group in groups[:end]) for end in range(len(groups))]
        pairs = [
            (number + better, number + worse)
            for number, group in zip(first, groups, strict=True)
            for better in range(len(lengths[group]))
            for worse in range(better)  # gold rewards ascend
        ]
        assert list(zip(batch.chosen.tolist(), batch.rejected.tolist(), strict=True)) == pairs


def content(batch: Batch) -> Content:
    """Gold reward, rows and prompt's rows of each completion of a batch; ids are rows' numbers."""
    states = batch.states
    assert states.row_token_ids.tolist() == states.rows[:, 0].tolist()
    assert states.prompt_row_token_ids.tolist() == states.prompt_rows[:, 0].tolist()
    tokens = states.rows[states.token_rows, 0].split(states.token_counts.tolist())
    rows = [own.tolist() for own in tokens]
    of_prompts = states.prompt_rows[:, 0].split(states.prompt_token_counts.tolist())
    answered = [of_prompts[prompt].tolist() for prompt in states.prompt]
    return list(zip(batch.gold_rewards.tolist(), rows, answered, strict=True))


def of_one_token(gold_rewards: Tensor, sizes: list[int]) -> LabelledCompletions:
    return labelled(states_of(torch.zeros(len(gold_rewards), 1).split(1)), gold_rewards, sizes)


def test_pairs_by_hand():
    """Gold 5 is above 1 twice in group 0; group 1 is alone, group 2 equal, group 3 in disorder."""
    gold = torch.tensor([5.0, 5.0, 1.0, 9.0, 6.0, 6.0, 0.5, 2.5])
    whole = of_one_token(gold, [3, 1, 2, 2])
    [batch] = whole.batches(torch.arange(4), 4)
    assert batch.chosen.tolist() == [0, 1, 7]
    assert batch.rejected.tolist() == [2, 2, 6]
    assert [len(batch.chosen) for batch in whole.batches(torch.tensor([2, 1, 3, 0]), 2)] == [0, 3]


def test_batches_of_readouts_that_read_no_prompt():
    [first, second] = of_one_token(torch.tensor([2.0, 1.0, 3.0]), [2, 1]).batches(
        torch.tensor([1, 0]), 1
    )
    for batch, gold in ((first, [3.0]), (second, [2.0, 1.0])):
        assert batch.gold_rewards.tolist() == gold
        assert batch.states.rows.shape == (len(gold), 1)
        assert batch.states.token_counts.tolist() == [1] * len(gold)
        assert batch.states.prompt_rows.numel() == batch.states.prompt_row_token_ids.numel() == 0
        assert batch.states.prompt_token_counts.tolist() == [0]


def test_batches_on_a_device_are_in_single_precision():
    [batch] = of_one_token(torch.tensor([2.0, 1.0]).half(), [2]).batches(torch.tensor([0]), 1)
    there = batch.to(torch.device("meta"))
    assert {there.states.rows.device.type, there.chosen.device.type} == {"meta"}
    assert {there.rejected.device.type, there.gold_rewards.device.type} == {"meta"}
    assert there.states.rows.dtype == torch.float32


def test_order_of_completions_without_gold_rewards_is_where_they_stand():
    """Of groups 0 and 2 only that is known; group 1 has gold rewards, in disorder."""
    gold = torch.tensor([float("nan"), float("nan"), 2.0, 3.0, *[float("nan")] * 3])
    whole = of_one_token(gold, [2, 2, 3])
    [batch] = whole.batches(torch.tensor([2, 0, 1]), 3)
    assert batch.chosen.tolist() == [0, 0, 1, 3, 6]
    assert batch.rejected.tolist() == [1, 2, 2, 4, 5]


def test_flipped_pairs_have_the_other_order():
    whole = of_one_token(torch.tensor([3.0, 2.0, 1.0, 1.0, 2.0]), [3, 2])
    [batch] = whole.with_flipped(torch.tensor([False, True, False, True])).batches(
        torch.tensor([1, 0]), 2
    )
    assert batch.chosen.tolist() == [0, 2, 4, 3]
    assert batch.rejected.tolist() == [1, 3, 2, 4]
