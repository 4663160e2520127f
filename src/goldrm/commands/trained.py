"""A trained reward model with its language model and its task, by the folder that it lies in."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from goldrm.commands.labels import label
from goldrm.commands.params import PARAMS, load_params
from goldrm.common.device import set_up
from goldrm.common.errors import GoldrmError, shown
from goldrm.common.params import Section, checked
from goldrm.common.random_streams import random_stream
from goldrm.common.yaml_file import read_yaml
from goldrm.generation.decoding import complete
from goldrm.generation.params import LOWEST_TEMPERATURE, SamplingParams
from goldrm.pipeline.paths import DICTIONARY, MODELS, SFT
from goldrm.reward_model.model import RewardModel, load_reward_model
from goldrm.task import dictionary
from goldrm.task.dictionary import EOS, PAD, Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task

SAMPLED_TOGETHER = 256  # completions; bounds memory


class ModelParams(Section):
    """What of params.yaml goes with a model."""

    task: TaskParams
    gold_reward: GoldRewardParams
    sampling: SamplingParams


@dataclass(frozen=True)
class TrainedModel:
    """A reward model and what it was made by: see `goldrm.load`.

    Attributes:
        folder: where it lies.
        reward_model: on its language model.
        task: its prompts, their exact answers and gold rewards.
        sampling: how completions are sampled where `sample` isn't told otherwise.
    """

    folder: Path
    reward_model: RewardModel
    task: Task
    sampling: SamplingParams

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """The reward of each completion, on the gold reward's scale (1 to 7 by default).

        Where ranking alone taught the model it is on a scale of its own, whose mean is about 0.

        Args:
            prompts: the prompt of each completion.
            completions: what is scored, as many as there are prompts.

        Raises:
            GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
        """
        return self.reward_model.score(prompts, completions)

    def gold_reward(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float | None]:
        """The exact reward of each completion, which needs no model.

        Args:
            prompts: the prompt of each completion.
            completions: as many as there are prompts.

        Returns:
            None where the prompt isn't one of the task's, or the completion holds no integer.

        Raises:
            GoldrmError: when a word isn't in the dictionary.
        """
        both = zip(prompts, completions, strict=True)
        labels = [label(prompt, completion, self.task) for prompt, completion in both]
        return [None if known is None else known.gold_reward for known in labels]

    def sample(
        self,
        prompts: Sequence[str],
        n: int = 1,
        *,
        temperature: float | None = None,
        dropout: bool | None = None,
        seed: int = 0,
    ) -> list[list[str]]:
        """Completions of each prompt by the language model, in float32.

        The greedy one is that of temperature 0 without dropout.

        Args:
            prompts: what is completed.
            n: completions of each.
            temperature: of the softmax; None: params.yaml's.
            dropout: whether the language model's is on, as in the notebook; None: params.yaml's.
            seed: the same arguments give the same texts; the caller's random streams aren't used.

        Returns:
            For each prompt a list of `n` texts, tokens separated by one space.

        Raises:
            GoldrmError: when a prompt is empty or too long, or a word isn't in the dictionary.
            ValueError: when `n` is below 1, or `temperature` neither 0 nor 0.001 or more.
        """
        if n < 1:
            raise ValueError(f"n is {n}; it must be 1 or more")
        if temperature and not temperature >= LOWEST_TEMPERATURE:
            raise ValueError(f"temperature is {temperature}; it must be 0, or 0.001 or more")
        sampling, backbone = self.sampling, self.reward_model.backbone
        token_ids = [self._encoded(prompt) for prompt in prompts for _ in range(n)]
        backbone.train(sampling.dropout if dropout is None else dropout)
        completions: list[str] = []
        with random_stream(seed, "sample"):
            for first in range(0, len(token_ids), SAMPLED_TOGETHER):
                completed = complete(
                    backbone,
                    token_ids[first : first + SAMPLED_TOGETHER],
                    sampling.decoder,
                    sampling.temperature if temperature is None else temperature,
                    sampling.max_new_tokens,
                )
                completions += map(self.task.dictionary.decode, completed)
        return [completions[first : first + n] for first in range(0, len(completions), n)]

    def reward_func(
        self, prompts: Sequence[Any], completions: Sequence[Any], **_columns: object
    ) -> list[float]:
        """The reward of each completion, called as TRL's trainers call a reward function.

        Args:
            prompts: the prompt of each completion, a string or the ids of its tokens.
            completions: likewise; tokens that pad or end one are left out.
            _columns: what TRL passes besides (completion_ids, the data's columns); not used, since
                a completion's text says all.

        Raises:
            GoldrmError: as `score`; or for chat messages, or an id that isn't in the dictionary.
        """
        tokens = self.task.dictionary
        return self.score(
            [plain_text(prompt, tokens) for prompt in prompts],
            [plain_text(completion, tokens) for completion in completions],
        )

    def _encoded(self, prompt: str) -> list[int]:
        token_ids = self.task.dictionary.encode(prompt)
        if not token_ids:
            raise GoldrmError("a prompt without a word can't be completed.")
        return token_ids


def plain_text(text: Any, tokens: Dictionary) -> str:
    """A text that may be given by its token ids, without the tokens that pad and end it.

    Raises:
        GoldrmError: when it is neither text nor ids, or an id isn't in the dictionary.
    """
    words = text.split() if isinstance(text, str) else _words(text, tokens)
    while words and words[-1] in (PAD, EOS):
        words.pop()
    while words and words[0] == PAD:
        words.pop(0)
    return " ".join(words)


def _words(token_ids: Any, tokens: Dictionary) -> list[str]:
    try:
        ids = [operator.index(token_id) for token_id in token_ids]
    except TypeError:
        raise GoldrmError(
            f"{shown(token_ids)} is neither a text nor a list of token ids. Give plain texts, not "
            "chat messages: a dataset whose prompts are strings."
        ) from None
    if not all(0 <= token_id < len(tokens) for token_id in ids):
        raise GoldrmError(
            f"{shown(ids)} holds token ids outside the dictionary's 0…{len(tokens) - 1}. Give "
            "texts, or use the tokenizer of the exported language model."
        )
    return [tokens.tokens[token_id] for token_id in ids]


def load_model(folder: Path, device: torch.device) -> TrainedModel:
    """The reward model in the folder data/models/RECIPE of a project or a release.

    Of params.yaml the sections of `ModelParams` are read.

    Raises:
        GoldrmError: when it isn't such a folder, or a file is missing, damaged, or belongs to
            another language model.
    """
    folder = folder.absolute()
    root = folder.parent.parent.parent
    if folder.parts[-3:-1] != MODELS.parts or not (root / PARAMS).exists():
        raise GoldrmError(
            f"{folder} isn't the folder of a model. Name data/models/RECIPE in a folder that holds "
            "params.yaml, data/dictionary.json and data/sft."
        )
    content = read_yaml(root / PARAMS)
    sections = {name: content[name] for name in ModelParams.model_fields if name in content}
    params = checked(ModelParams, sections, root / PARAMS)
    tokens = dictionary.load(root / DICTIONARY, params.task.max_value)
    reward_model = load_reward_model(folder, root / SFT, tokens, device)
    task = Task(tokens, params.task, params.gold_reward)
    return TrainedModel(folder, reward_model, task, params.sampling)


def load_trained(name: str | None) -> TrainedModel:
    """The reward model of a recipe of this folder's params.yaml; of the first where none is named.

    The whole process computes as params.yaml's runtime says from then on.

    Raises:
        GoldrmError: as `load_model`; or when there is no such recipe, or the device asked for
            isn't there.
    """
    params = load_params()
    name = next(iter(params.models)) if name is None else name
    if name not in params.models:
        raise GoldrmError(
            f"params.yaml has no recipe {name!r:.60} under models, but {', '.join(params.models)}."
        )
    return load_model(MODELS / name, set_up(params.runtime))
