"""Which prompts there are, and the gold reward's range."""

from typing import Literal

from pydantic import Field, model_validator

from goldrm.common.params import IntRange, LocalSource, Section, Seed


class HoldoutParams(Section):
    """Kinds of prompt that the reward model isn't trained on, to see how far it generalises."""

    template: list[Literal[1, 2, 3]]
    difference: list[int]
    terms: list[int]


class LargestValueParams(Section):
    """How large a series' integers may get."""

    max_value: int = Field(ge=1, le=100_000)


class TaskParams(LargestValueParams):
    """The prompts: which series may be asked for, and what decides their split."""

    start: IntRange
    difference: IntRange
    terms: IntRange
    split_seed: Seed
    holdout: HoldoutParams

    @model_validator(mode="after")
    def _possible(self) -> "TaskParams":
        if self.start.max > self.max_value:
            raise ValueError(f"start.max ({self.start.max}) exceeds max_value ({self.max_value})")
        for name in ("difference", "terms"):
            if getattr(self, name).max > self.max_value:
                raise ValueError(
                    f"{name}.max ({getattr(self, name).max}) exceeds max_value ({self.max_value}), "
                    "and prompts hold no larger numbers"
                )
        if self.difference.min < 1:
            raise ValueError("difference.min must be at least 1")
        if self.terms.min < 1:
            raise ValueError("terms.min must be at least 1")
        for name, asked in (("difference", self.difference), ("terms", self.terms)):
            never = [n for n in getattr(self.holdout, name) if not asked.min <= n <= asked.max]
            if never:
                raise ValueError(
                    f"holdout.{name} names {never[0]}, outside {name} ({asked.min}..{asked.max})"
                )
        return self


class DictionaryParams(Section):
    """Where the token dictionary comes from."""

    source: LocalSource


class GoldRewardParams(Section):
    """The gold reward: min + (max - min) / (1 + beta * sqrt(sum of absolute errors))."""

    min: float
    max: float
    beta: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "GoldRewardParams":
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be less than max ({self.max})")
        return self
