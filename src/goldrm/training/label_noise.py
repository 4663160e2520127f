"""Label noise: training pairs in the wrong order, as many as are asked for."""

import torch

from goldrm.common.random_streams import random_stream
from goldrm.training.batches import LabelledCompletions


def with_label_noise(
    completions: LabelledCompletions, noise: float, seed: int
) -> tuple[LabelledCompletions, float]:
    """Flip each pair's order with a known probability, once for the whole training.

    More noise flips the same pairs and more.

    Args:
        completions: what is trained on.
        noise: the probability, 0 to 1/2.
        seed: the run's, so that all members of an ensemble see the same labels.

    Returns:
        The completions; and the accuracy that the right ranking has on them: the share of pairs
        that kept their order.
    """
    with random_stream(seed, "label noise"):
        flipped = torch.rand(len(completions.chosen)) < noise
    return completions.with_flipped(flipped), 1 - float(flipped.sum()) / max(len(flipped), 1)
