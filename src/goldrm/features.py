"""Preference pairs as what a readout trains on: hidden states of both completions, and labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from goldrm.backbone import Backbone
from goldrm.checkpoint import read_tensors, write_tensors
from goldrm.dictionary import Dictionary
from goldrm.hidden_states import last_hidden_states

CHUNK = 512  # sequences whose hidden states are computed, and kept for resuming, together


@dataclass(frozen=True)
class PairFeatures:
    """What a readout sees of labelled pairs, the chosen completion first.

    Attributes:
        hidden: features of both completions.
        gold_rewards: exact rewards of both.
    """

    hidden: Float[Tensor, "pairs 2 embd"]
    gold_rewards: Float[Tensor, "pairs 2"]

    def __len__(self) -> int:
        return len(self.gold_rewards)


def pair_features(
    backbone: Backbone, dictionary: Dictionary, pairs: pd.DataFrame, work: Path
) -> PairFeatures:
    """Hidden states of labelled pairs, those of equal texts computed once.

    Args:
        backbone: the frozen language model.
        dictionary: its tokens.
        pairs: rows of `preferences.PAIR_COLUMNS`.
        work: folder in which finished chunks survive a kill.
    """
    texts = pd.concat(
        [pairs["prompt"] + " " + pairs["chosen"], pairs["prompt"] + " " + pairs["rejected"]]
    )
    codes, distinct = pd.factorize(texts)
    sequences = [dictionary.encode(text) for text in distinct]
    hidden = torch.cat(list(_chunks(backbone, sequences, work)))
    device = backbone.token_prediction.weight.device
    rows = torch.from_numpy(codes.reshape(2, len(pairs)).T.copy())
    gold_rewards = pairs[["chosen_gold_reward", "rejected_gold_reward"]].to_numpy(copy=True)
    return PairFeatures(hidden[rows].to(device), torch.from_numpy(gold_rewards).float().to(device))


def _chunks(
    backbone: Backbone, sequences: Sequence[list[int]], work: Path
) -> Iterator[Float[Tensor, "chunk embd"]]:
    for first in tqdm(range(0, len(sequences), CHUNK), desc=work.name, unit="chunk", disable=None):
        path = work / f"hidden-{first // CHUNK:05d}.safetensors"
        if not path.exists():
            hidden = last_hidden_states(backbone, sequences[first : first + CHUNK])
            write_tensors(path, {"hidden": hidden})
        yield read_tensors(path)[0]["hidden"]
