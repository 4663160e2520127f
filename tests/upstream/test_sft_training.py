"""The stand-in language model learns exact answers at every offset, and no held-out series."""

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from tasks_by_hand import with_series
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange
from goldrm.common.random_streams import random_stream
from goldrm.common.resume import ResumePoint
from goldrm.generation.decoding import complete
from goldrm.generation.params import DecoderName
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import TASKS, TaskParams
from goldrm.task.splits import split_of_family
from goldrm.task.task import prompts_of
from upstream.params import SftPhaseParams, SftTrainParams
from upstream.sft_training import IGNORED, Sequence, _batch, train_sft, training_sequences

CPU = torch.device("cpu")
PAD, EOS = 0, 1
PHASE = SftPhaseParams(
    steps=8,
    batch_size=4,
    learning_rate=0.01,
    warmup_steps=3,
    offset_draws=2,
    counted_weight=1.0,
    dropout=True,
    bfloat16=False,
)


@pytest.fixture
def sizes() -> BackboneSizes:
    return BackboneSizes(
        num_tokens=12,
        d=16,
        num_heads=2,
        context_length=12,
        dropout=0.1,
        num_layers=1,
        padding_int=PAD,
        eos_int=EOS,
    )


@pytest.fixture
def sequences() -> list[Sequence]:
    """Prompts and answers of several lengths; the second's prompt ends at 9 to 11 only."""
    return [
        Sequence([2, 3, 4], [5, 6, 7, EOS], counted=True),
        Sequence([8, 2, 2, 9, 10, 11, 3, 9, 8, 4], [10, EOS], counted=True),
        Sequence([9, 4, 6], [8, 7, 6, 5, EOS], counted=True),
    ]


@pytest.fixture
def recipe() -> SftTrainParams:
    return SftTrainParams(
        phases=[PHASE, PHASE.model_copy(update={"steps": 5, "offset_draws": 1})],
        weight_decay=0.0,
        max_grad_norm=1.0,
        checkpoint_steps=2,
    )


def with_phase(recipe: SftTrainParams, **changes: Any) -> SftTrainParams:
    """The recipe with its first phase only, changed."""
    phase = recipe.phases[0].model_copy(update=changes)
    return recipe.model_copy(update={"phases": [phase]})


class Remembered(ResumePoint):
    """Keeps all checkpoints in memory."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []

    def save(self, state: Mapping[str, Any]) -> None:
        self.saved.append(copy.deepcopy(dict(state)))

    def load(self) -> dict[str, Any] | None:
        return None


class Killed(ResumePoint):
    """A kill comes just before the n-th checkpoint is written."""

    def __init__(self, path: Path, n: int) -> None:
        super().__init__(path)
        self.left = n

    def save(self, state: Mapping[str, Any]) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        super().save(state)


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in first)


# What is learnt


@pytest.fixture(scope="module", params=TASKS)
def some_task(request: pytest.FixtureRequest, task_params: TaskParams) -> TaskParams:
    """Of series a part, where many prompts share their series by the cut at 100."""
    some = with_series(task_params, start=IntRange(min=80, max=99))
    return some.model_copy(update={"name": request.param})


@pytest.fixture(scope="module")
def words(some_task: TaskParams) -> Dictionary:
    """A dictionary that holds the task's words."""
    special = ("<PAD>", "<EOS>", "<SEP>")
    return Dictionary((*special, *map(str, range(101)), *TASKS[some_task.name].words), 100)


@pytest.fixture(scope="module")
def learnt(words: Dictionary, some_task: TaskParams) -> dict[str, str]:
    """The texts of all training sequences: prompt → answer."""
    return {
        words.decode(sequence.prompt_ids): words.decode(sequence.answer_ids)
        for sequence in training_sequences(words, some_task)
    }


def test_exact_answers_to_all_prompts_of_the_train_split_are_learnt(
    learnt: dict[str, str], words: Dictionary, some_task: TaskParams
):
    space = prompts_of(some_task)
    prompts = [space[prompt_id] for prompt_id in range(len(space))]
    assert learnt == {
        prompt.text: " ".join([*map(str, prompt.exact), "<EOS>"])
        for prompt in prompts
        if split_of_family(prompt.family, some_task.split_seed) == "train"
    }
    assert len(learnt) == len(training_sequences(words, some_task))  # each once


def test_no_held_out_answer_is_learnt(learnt: dict[str, str], some_task: TaskParams):
    """By brute force: no answer of a held-out family is given or asked for, in any wording.

    Else the reward model would be tested on hidden states that have seen the answers.
    """
    space = prompts_of(some_task)
    by_text = {prompt.text: prompt for prompt in map(space.__getitem__, range(len(space)))}
    unseen = [prompt for text, prompt in by_text.items() if text not in learnt]
    answers = {prompt.exact for prompt in unseen}
    families = {prompt.family for prompt in unseen}
    assert len(families) > 15
    for text, answer in learnt.items():
        assert tuple(map(int, answer.split()[:-1])) not in answers
        assert by_text[text].exact not in answers
        assert by_text[text].family not in families


@pytest.fixture(scope="module")
def learnt_series(
    dictionary: Dictionary, task_params: TaskParams
) -> list[tuple[Sequence, dict[str, int]]]:
    """The notebook's training sequences, and what their prompts ask for."""
    space = prompts_of(task_params)
    properties = {space[i].text: dict(space[i].properties) for i in range(len(space))}
    return [
        (sequence, properties[dictionary.decode(sequence.prompt_ids)])
        for sequence in training_sequences(dictionary, task_params)
    ]


def test_no_held_out_start_and_difference_is_learnt(
    learnt_series: list[tuple[Sequence, dict[str, int]]], task_params: TaskParams
):
    learnt = {(asked["start"], asked["difference"]) for _, asked in learnt_series}
    space = prompts_of(task_params)
    held_out = [
        (prompt.properties["start"], prompt.properties["difference"])
        for prompt in map(space.__getitem__, range(0, 27_000, 10))  # whatever the terms
        if split_of_family(prompt.family, task_params.split_seed) != "train"
    ]
    assert len(set(held_out)) > 100
    assert not learnt & set(held_out)


def test_counted_are_the_series_that_the_cut_spares(
    learnt_series: list[tuple[Sequence, dict[str, int]]],
):
    for sequence, asked in learnt_series:
        last = asked["start"] + (asked["terms"] - 1) * asked["difference"]
        assert sequence.counted == (last <= 100)


# The batches


def laid_out(sequence: Sequence, offset: int, context: int) -> tuple[list[int], list[int]]:
    """Tokens and targets of a sequence at an offset, position by position."""
    whole = dict(enumerate(sequence.prompt_ids + sequence.answer_ids, start=offset))
    end = offset + len(whole) - 1  # what follows the last token isn't predicted
    first_target = offset + len(sequence.prompt_ids) - 1
    tokens = [whole[p] if offset <= p < end else PAD for p in range(context)]
    targets = [whole[p + 1] if first_target <= p < end else IGNORED for p in range(context)]
    return tokens, targets


def test_batch_holds_sequences_at_random_offsets(sizes: BackboneSizes, sequences: list[Sequence]):
    """From 0 up to where the prompt ends at the last position; what runs over is cut off."""
    with random_stream(0, "test batch"):
        batch = _batch(sequences, sizes, PHASE.model_copy(update={"batch_size": 3000}))
    possible = {
        tuple(map(tuple, laid_out(sequence, offset, 12))): (index, offset)
        for index, sequence in enumerate(sequences)
        for offset in range(12 - len(sequence.prompt_ids) + 1)
    }
    rows = zip(*(part.tolist() for part in batch), strict=True)
    found = [possible[tuple(map(tuple, row))] for row in rows]
    assert set(found) == set(possible.values())
    counts = Counter(index for index, _ in found)
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_counted_sequences_are_drawn_more_often(sizes: BackboneSizes, sequences: list[Sequence]):
    """Three times as often: of 5 draws, 3 are the one that is counted."""
    sequences = [replace(each, counted=index == 1) for index, each in enumerate(sequences)]
    phase = PHASE.model_copy(update={"batch_size": 3000, "counted_weight": 3.0})
    with random_stream(0, "test batch"):
        token_ids, _ = _batch(sequences, sizes, phase)
    eleven = (token_ids == 11).any(dim=1)  # a token of the second's prompt alone
    assert stats.binomtest(int(eleven.sum()), 3000, 3 / 5).pvalue > 1e-3


def test_layout_by_hand(sizes: BackboneSizes):
    """The prompt's last token predicts the answer's first, the answer's last the end."""
    sequence = Sequence([2, 3], [5, 6, EOS], counted=True)
    rows = {
        (2, 3, 5, 6, PAD): (IGNORED, 5, 6, EOS, IGNORED),
        (PAD, 2, 3, 5, 6): (IGNORED, IGNORED, 5, 6, EOS),
        (PAD, PAD, 2, 3, 5): (IGNORED, IGNORED, IGNORED, 5, 6),
        (PAD, PAD, PAD, 2, 3): (IGNORED, IGNORED, IGNORED, IGNORED, 5),
    }
    with random_stream(0, "test batch"):
        token_ids, targets = _batch(
            [sequence],
            replace(sizes, context_length=5),
            PHASE.model_copy(update={"batch_size": 100}),
        )
    found = dict(zip(map(tuple, token_ids.tolist()), map(tuple, targets.tolist()), strict=True))
    assert found == rows


# Training


@pytest.mark.parametrize("tokens", [0, 13])
def test_prompts_that_the_model_cannot_read_are_named(
    sizes: BackboneSizes, sequences: list[Sequence], recipe: SftTrainParams, tokens: int
):
    """A long one was a traceback, and an empty one was laid out wrong."""
    unreadable = Sequence([2] * tokens, [5, EOS])
    sentence = rf"prompt 3 \(counted from 0\) has {tokens} tokens.*reads 1 to 12.*context_length"
    with pytest.raises(GoldrmError, match=sentence):
        train_sft(sizes, [*sequences, unreadable], recipe, 0, CPU, Remembered())


@pytest.mark.parametrize("decoder", ["kv_cache", "sliding_window"])
def test_model_learns_to_answer_under_both_decoders(
    learnt_model: tuple[Backbone, list[Sequence]], decoder: DecoderName
):
    """Trained on whole sequences in the window only, a model gets 0 under the sliding one."""
    model, sequences = learnt_model
    prompts = [sequence.prompt_ids for sequence in sequences]
    answers = [sequence.answer_ids[:-1] for sequence in sequences]
    assert complete(model, prompts, decoder, 0.0, 6) == answers


@pytest.fixture(scope="module")
def learnt_model() -> tuple[Backbone, list[Sequence]]:
    sizes = BackboneSizes(
        num_tokens=12,
        d=24,
        num_heads=2,
        context_length=12,
        dropout=0.0,
        num_layers=2,
        padding_int=PAD,
        eos_int=EOS,
    )
    sequences = [
        Sequence([2, 3, 4], [5, 6, 7, EOS], counted=True),
        Sequence([8, 2, 4, 9], [10, EOS], counted=True),
        Sequence([9, 4, 6, 2, 4], [8, 7, 6, 5, EOS], counted=True),
    ]
    phase = PHASE.model_copy(update={"steps": 250, "batch_size": 16, "warmup_steps": 20})
    recipe = SftTrainParams(
        phases=[phase], weight_decay=0.01, max_grad_norm=1.0, checkpoint_steps=1000
    )
    model = Backbone(sizes)
    model.load_state_dict(train_sft(sizes, sequences, recipe, 0, CPU, Remembered()))
    return model.frozen(), sequences


@pytest.mark.parametrize(
    ("warmup_steps", "shares"),
    [
        (3, [1 / 3, 2 / 3, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]),
        (0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
    ],
)
def test_learning_rate_rises_and_falls(
    sizes: BackboneSizes,
    sequences: list[Sequence],
    recipe: SftTrainParams,
    warmup_steps: int,
    shares: list[float],
):
    """Adam's first step moves the weights by the learning rate, whatever the gradient is."""
    recipe = recipe.model_copy(update={"checkpoint_steps": 1})
    recipe = with_phase(recipe, warmup_steps=warmup_steps)
    still, remembered = Remembered(), Remembered()
    train_sft(sizes, sequences, with_phase(recipe, learning_rate=1e-30), 0, CPU, still)
    train_sft(sizes, sequences, recipe, 0, CPU, remembered)

    before, after = still.saved[0]["model"], remembered.saved[0]["model"]
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert moved == pytest.approx(0.01 * shares[0], rel=1e-3)
    rates = [state["optimizer"]["param_groups"][0]["lr"] for state in remembered.saved]
    assert rates == pytest.approx([0.01 * share for share in [*shares[1:], 0]])


@pytest.mark.parametrize(
    ("killed_at", "bfloat16"), [(1, False), (3, True), (4, False), (5, False), (6, False)]
)
def test_killed_training_ends_in_the_same_weights(
    sizes: BackboneSizes,
    sequences: list[Sequence],
    recipe: SftTrainParams,
    tmp_path: Path,
    killed_at: int,
    bfloat16: bool,
):
    phases = [phase.model_copy(update={"bfloat16": bfloat16}) for phase in recipe.phases]
    recipe = recipe.model_copy(update={"phases": phases})
    whole = train_sft(sizes, sequences, recipe, 0, CPU, ResumePoint(tmp_path / "whole.pt"))
    killed = tmp_path / "killed.pt"
    with pytest.raises(KeyboardInterrupt):
        train_sft(sizes, sequences, recipe, 0, CPU, Killed(killed, killed_at))
    assert killed.exists() == (killed_at > 1)
    resumed = train_sft(sizes, sequences, recipe, 0, CPU, ResumePoint(killed))
    assert equal(resumed, whole)


def test_a_phase_begins_with_the_one_befores_rounded_weights(
    sizes: BackboneSizes, sequences: list[Sequence], recipe: SftTrainParams
):
    """So a stored 16-bit model is a place to go on from; the optimiser starts afresh."""
    first = train_sft(sizes, sequences, with_phase(recipe), 0, CPU, Remembered())
    still = recipe.phases[1].model_copy(update={"learning_rate": 1e-30})
    recipe = recipe.model_copy(update={"phases": [recipe.phases[0], still]})
    assert all(tensor.dtype == torch.float16 for tensor in first.values())
    assert equal(train_sft(sizes, sequences, recipe, 0, CPU, Remembered()), first)


def test_resumed_training_does_not_begin_again(
    sizes: BackboneSizes, sequences: list[Sequence], recipe: SftTrainParams, tmp_path: Path
):
    """What is done is taken from the checkpoint: at its end there is nothing left to draw from."""
    recipe = with_phase(recipe)
    resume_point = ResumePoint(tmp_path / "training.pt")
    whole = train_sft(sizes, sequences, recipe, 0, CPU, resume_point)
    assert equal(train_sft(sizes, [], recipe, 0, CPU, resume_point), whole)


def test_weights_depend_on_the_seed_alone(
    sizes: BackboneSizes, sequences: list[Sequence], recipe: SftTrainParams
):
    runs: list[Mapping[str, Tensor]] = []
    for seed, global_seed in [(0, 1), (0, 2), (1, 2)]:
        torch.manual_seed(global_seed)
        runs.append(train_sft(sizes, sequences, recipe, seed, CPU, Remembered()))
    assert equal(runs[0], runs[1])
    assert not equal(runs[1], runs[2])


def test_dropout_is_on_while_training(
    sizes: BackboneSizes, sequences: list[Sequence], recipe: SftTrainParams
):
    """The seed gives both runs the same batches and initial weights."""
    weights = [
        train_sft(replace(sizes, dropout=dropout), sequences, recipe, 0, CPU, Remembered())
        for dropout in (0.0, 0.5)
    ]
    assert not equal(*weights)
