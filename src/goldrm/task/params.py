"""Which task it is, which prompts it has, and the gold reward's range."""

from typing import Literal

from pydantic import Field, model_validator

from goldrm.common.params import LocalSource, Section, Seed
from goldrm.task.arithmetic_series import ArithmeticSeries, ArithmeticSeriesParams
from goldrm.task.prompts import Prompts
from goldrm.task.sorting import Sorting, SortingParams

TaskName = Literal["arithmetic_series", "sorting"]
TASKS: dict[TaskName, type[Prompts]] = {"arithmetic_series": ArithmeticSeries, "sorting": Sorting}


class VocabularyParams(Section):
    """Which words and integers the dictionary must hold."""

    name: TaskName
    max_value: int = Field(ge=1, le=100_000)


class TaskParams(VocabularyParams):
    """The task, what decides its prompts' split, and a section for each that there is."""

    split_seed: Seed
    arithmetic_series: ArithmeticSeriesParams
    sorting: SortingParams

    @model_validator(mode="after")
    def _possible(self) -> "TaskParams":
        try:
            self.own.refuse_above(self.max_value)
        except ValueError as error:
            raise ValueError(f"{self.name}.{error}") from None
        return self

    @property
    def own(self) -> ArithmeticSeriesParams | SortingParams:
        """The section of the task that `name` names."""
        return getattr(self, self.name)


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
