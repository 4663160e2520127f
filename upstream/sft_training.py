"""Trains the stand-in for the course's step-2 model: prompt → exact series → end.

It must not know stages or paths; `upstream/` runs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from goldrm.common.errors import GoldrmError
from goldrm.common.progress import progress_bar
from goldrm.common.random_streams import random_stream
from goldrm.common.resume import ResumePoint
from goldrm.generation.text_tables import read_texts
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import TaskParams
from goldrm.task.splits import ids_in_split
from goldrm.task.task import prompts_of
from upstream.params import SftPhaseParams, SftTrainParams

IGNORED = -100  # a target that no loss is taken on


@dataclass(frozen=True)
class Sequence:
    """A prompt and its exact answer: what the language model learns."""

    prompt_ids: list[int]
    answer_ids: list[int]  # the exact series and the end-of-sequence token
    counted: bool = True  # whether it ends by itself, not by the cut at max_value


def training_sequences(dictionary: Dictionary, task_params: TaskParams) -> list[Sequence]:
    """All prompts of the train split, with their exact answers.

    The families of validation and test are held out here too, or a reward model on top
    would be tested on hidden states that have seen the answers.
    """
    space = prompts_of(task_params)
    prompt_ids = ids_in_split(space, "train", task_params.split_seed)
    return [
        Sequence(
            dictionary.encode(prompt.text),
            [*dictionary.encode(" ".join(map(str, prompt.exact))), dictionary.eos_id],
            counted=not prompt.is_cut,
        )
        for prompt in map(space.__getitem__, prompt_ids)
    ]


def corpus_sequences(corpus: Path, dictionary: Dictionary) -> list[Sequence]:
    """The prompts and completions of somebody's corpus.

    Args:
        corpus: a JSON object a line, with a prompt and a completion, words separated by spaces.
        dictionary: the words.

    Raises:
        GoldrmError: when the file can't be read, or holds anything else.
    """
    prompts, completions = read_texts(corpus, ("prompt", "completion"), str(corpus))
    sequences: list[Sequence] = []
    for line, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        try:
            answer_ids = [*dictionary.encode(completion), dictionary.eos_id]
            sequences.append(Sequence(dictionary.encode(prompt), answer_ids))
        except GoldrmError as error:
            raise GoldrmError(f"{corpus}: row {line} (counted from 0): {error}.") from None
    return sequences


def train_sft(
    sizes: BackboneSizes,
    sequences: list[Sequence],
    train: SftTrainParams,
    seed: int,
    device: torch.device,
    resume_point: ResumePoint,
) -> Mapping[str, Tensor]:
    """Train a language model, phase after phase, and return its state dict in 16 bits.

    AdamW on the cross-entropy of the answer's tokens. Each phase begins with the weights of the
    one before, rounded to 16 bits, and a fresh optimiser, so that it can begin from a stored model.

    Args:
        sizes: of the model.
        sequences: what to learn.
        train: the recipe.
        seed: of the initial weights, the batches and the dropout.
        device: where to train.
        resume_point: where an interrupted training goes on.

    Raises:
        GoldrmError: when there is a prompt without a token, or with more than the model reads.
    """
    _refuse_unreadable(sequences, sizes.context_length)
    with random_stream(seed, "sft initial weights"):
        model = Backbone(sizes)
    with torch.no_grad():
        model.PE_embedding.weight.copy_(sinusoids(sizes.context_length, sizes.d))
    model.to(device)
    state = resume_point.load()
    first = state["phase"] if state else 0
    for number in range(first, len(train.phases)):
        phase = Phase(model, train, number)
        if state and number == first:
            phase.load_state_dict(state)
        _train_phase(phase, sequences, seed, resume_point)
        model.half().float()
    return model.half().state_dict()


def _refuse_unreadable(sequences: list[Sequence], context_length: int) -> None:
    for number, sequence in enumerate(sequences):
        tokens = len(sequence.prompt_ids)
        if not 1 <= tokens <= context_length:
            raise GoldrmError(
                f"prompt {number} (counted from 0) has {tokens} tokens, and the model reads 1 to "
                f"{context_length}. Correct it, or model.context_length."
            )


class Phase:
    """A phase of the training: the model and all else that changes while it runs."""

    def __init__(self, model: Backbone, train: SftTrainParams, number: int) -> None:
        """At its beginning; the learning rate rises over warmup_steps, then falls linearly to 0."""
        self.train, self.number = train, number
        self.params = params = train.phases[number]
        self.model = model.train(params.dropout)
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=params.learning_rate,
            weight_decay=train.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _rate(step, params)
        )

    @property
    def step(self) -> int:
        """Steps done."""
        return self.schedule.last_epoch

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "phase": self.number,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def _train_phase(
    phase: Phase, sequences: list[Sequence], seed: int, resume_point: ResumePoint
) -> None:
    params = phase.params
    progress = progress_bar(
        range(phase.step, params.steps),
        initial=phase.step,
        total=params.steps,
        desc=f"train_sft, phase {phase.number}",
        unit="step",
    )
    for step in progress:
        with random_stream(seed, f"sft phase {phase.number} step", step):
            loss = _step(phase, sequences)
        if (step + 1) % 10 == 0:
            progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        if (step + 1) % phase.train.checkpoint_steps == 0:
            resume_point.save(phase.state_dict())


def _step(phase: Phase, sequences: list[Sequence]) -> Tensor:
    """One step of the optimiser; the loss before it."""
    model = phase.model
    device = model.token_prediction.weight.device
    token_ids, targets = _batch(sequences, model.sizes, phase.params)
    loss = _loss(model, token_ids.to(device), targets.to(device), phase.params.bfloat16)
    phase.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), phase.train.max_grad_norm)
    phase.optimizer.step()
    phase.schedule.step()
    return loss.detach()


def sinusoids(positions: int, d: int) -> Float[Tensor, "positions d"]:
    """Where the learned positions start: sines and cosines of wavelengths 2π to 2π·100.

    The model must count terms from any offset, and so compare positions, which random vectors
    make hard: after 600 steps its loss on unseen answers was 0.38 nats a token from PyTorch's
    initial positions and 0.29 from these.

    Source: Vaswani et al. (2017), section 3.5, with wavelengths for 40 positions.
    """
    frequencies = 100.0 ** (-torch.arange(0, d, 2) / d)
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :d]


def _rate(step: int, phase: SftPhaseParams) -> float:
    """Learning rate of a step, as a share of `phase.learning_rate`."""
    warm_up = min((step + 1) / max(phase.warmup_steps, 1), 1.0)
    remaining = (phase.steps - step) / max(phase.steps - phase.warmup_steps, 1)
    return min(warm_up, remaining)


def _batch(
    sequences: list[Sequence], sizes: BackboneSizes, phase: SftPhaseParams
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
    """Sequences drawn with replacement, each at a random offset, and their targets.

    `phase.counted_weight` is how much likelier than the others a series is that ends by its count:
    those that the cut ends are soon learnt. A corpus' are all alike.

    The offset, with padding on its left, runs from 0 up to where the prompt's last token stands at
    the context's last position; what runs over the end is cut off. So the model learns to decode
    at fixed positions (a cache) as well as from the last position (the notebook's window). It is
    the least of `phase.offset_draws`: at small offsets the answer's end, which is hard, isn't
    cut off.
    """
    token_ids = torch.full((phase.batch_size, sizes.context_length), sizes.padding_int)
    targets = torch.full((phase.batch_size, sizes.context_length), IGNORED)
    weights = torch.tensor([phase.counted_weight if s.counted else 1.0 for s in sequences])
    chosen = torch.multinomial(weights, phase.batch_size, replacement=True).tolist()
    for row, index in enumerate(chosen):
        sequence = sequences[index]
        last_offset = sizes.context_length - len(sequence.prompt_ids)
        offset = int(torch.randint(last_offset + 1, (phase.offset_draws,)).min())
        _place(token_ids[row], offset, sequence.prompt_ids + sequence.answer_ids[:-1])
        # The prompt's last token predicts the answer's first.
        _place(targets[row], offset + len(sequence.prompt_ids) - 1, sequence.answer_ids)
    return token_ids, targets


def _place(row: Int[Tensor, " time"], offset: int, values: list[int]) -> None:
    fitting = values[: len(row) - offset]
    row[offset : offset + len(fitting)] = torch.tensor(fitting)


def _loss(
    model: Backbone,
    token_ids: Int[Tensor, "batch time"],
    targets: Int[Tensor, "batch time"],
    bfloat16: bool,
) -> Tensor:
    with torch.autocast(token_ids.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(token_ids)
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)
