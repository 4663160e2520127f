"""How a policy is optimised, and what is looked at."""

from typing import Annotated

from pydantic import Field

from goldrm.common.params import Section


class LookParams(Section):
    """How often a policy is looked at, and on what."""

    steps: int = Field(ge=1)
    prompts: int = Field(ge=1)
    completions: int = Field(ge=2, le=1024)


class PolicyParams(Section):
    """How a policy is optimised against a reward."""

    prompts: int = Field(ge=1)
    completions: int = Field(ge=2, le=1024)
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    kl_weight: float = Field(ge=0)
    temperature: float = Field(ge=0.001, le=100)
    stop_kl: Annotated[float, Field(gt=0)] | None
    look: LookParams
