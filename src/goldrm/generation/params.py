"""How completions are sampled, and how many pairs are wanted."""

import sys
from os.path import normpath
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from goldrm.common.params import LocalSource, Section
from goldrm.task.splits import Split

ALL_PAIRS = sys.maxsize  # wanted: more than there ever are
WATCHED = "data/source/pairs"  # the folder of pairs that dvc.yaml names
LOWEST_TEMPERATURE = 0.001  # by which logits can be divided in 32 bits
DecoderName = Literal["kv_cache", "sliding_window"]

# Which parameter says how many different pairs a split is to hold.
NUM_PAIRS_PARAMETERS: dict[Split, str] = {
    "train": "num_pairs",
    "validation": "num_validation_pairs",
    "test": "num_test_pairs",
}


def _no_overflow(temperature: float) -> float:
    if 0 < temperature < LOWEST_TEMPERATURE:
        raise ValueError(f"{temperature} is too near 0; write 0, or {LOWEST_TEMPERATURE} or more")
    return temperature


class LengthParams(Section):
    """How long a completion may get."""

    max_new_tokens: int = Field(ge=1, le=10_000)


class SamplingParams(LengthParams):
    """How completions are sampled from the language model."""

    decoder: DecoderName
    dtype: Literal["float32", "bfloat16"]
    dropout: bool
    temperature: Annotated[float, Field(ge=0, le=100), AfterValidator(_no_overflow)]
    completions_per_prompt: int = Field(ge=2, le=1024)
    chunk_size: int = Field(ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _random(self) -> "SamplingParams":
        if self.temperature == 0 and not self.dropout:
            raise ValueError(
                "temperature 0 without dropout makes a prompt's completions all alike, hence no "
                "pairs; raise temperature or set dropout to true"
            )
        return self


def _watched(source: str) -> str:
    """Refuse a source whose changes DVC wouldn't notice."""
    if not PurePath(normpath(source)).is_relative_to(WATCHED):
        raise ValueError(
            f"{source!r} lies outside {WATCHED}, the folder that DVC watches; copy it there, and "
            "name that"
        )
    return source


class PairsParams(Section):
    """Where preference pairs come from and how many different ones are sampled."""

    source: Annotated[LocalSource, AfterValidator(_watched)] | None
    num_pairs: int = Field(ge=1)
    num_validation_pairs: int = Field(ge=1)
    num_test_pairs: int = Field(ge=1)

    def num_wanted(self, split: Split) -> int:
        """How many different pairs a split is to hold: where they are brought, `ALL_PAIRS`."""
        if split == "train" and self.source is not None:
            return ALL_PAIRS
        return getattr(self, NUM_PAIRS_PARAMETERS[split])
