"""The recipe of the stand-in language model."""

from pydantic import Field, model_validator

from goldrm.common.params import LocalSource, Probability, RuntimeParams, Section, Seed
from goldrm.task.params import TaskParams


class ModelParams(Section):
    """Sizes of the language model that upstream trains."""

    d: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    context_length: int = Field(ge=2)
    dropout: Probability
    num_layers: int = Field(ge=1)

    @model_validator(mode="after")
    def _divisible(self) -> "ModelParams":
        if self.d % self.num_heads:
            raise ValueError(f"d ({self.d}) must be a multiple of num_heads ({self.num_heads})")
        return self


class SftPhaseParams(Section):
    """A part of upstream's training, with an optimiser and a learning-rate schedule of its own."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    offset_draws: int = Field(ge=1)
    counted_weight: float = Field(gt=0)
    dropout: bool
    bfloat16: bool


class SftTrainParams(Section):
    """How upstream trains the language model."""

    phases: list[SftPhaseParams] = Field(min_length=1)
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    checkpoint_steps: int = Field(ge=1)


class UpstreamParams(Section):
    """The whole of a params.yaml here, and the root's task."""

    seed: Seed
    runtime: RuntimeParams
    dictionary: LocalSource
    corpus: LocalSource | None
    model: ModelParams
    train: SftTrainParams
    task: TaskParams
