"""Completions of a prompt, judged by a reward model and by the task."""

from typing import NamedTuple

from goldrm.commands.labels import label
from goldrm.commands.trained import TrainedModel


class Judged(NamedTuple):
    """A sampled completion, its reward, and what the task says of it, where it knows the prompt."""

    completion: str
    reward: float
    gold_reward: float | None
    mistake: str | None


def sampled(trained: TrainedModel, prompt: str, count: int, seed: int) -> list[Judged]:
    """Completions of a prompt, the highest reward first; raises like `TrainedModel.sample`."""
    (texts,) = trained.sample([prompt], count, seed=seed)
    rewards = trained.score([prompt] * count, texts)
    labels = [label(prompt, text, trained.task) for text in texts]
    judged = [
        Judged(text, reward, known and known.gold_reward, known and known.mistake)
        for text, reward, known in zip(texts, rewards, labels, strict=True)
    ]
    return sorted(judged, key=lambda each: -each.reward)
