"""Which readout a reward model has, and how several of them make one reward."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from goldrm.common.params import Section


def _ascending(layers: list[int]) -> list[int]:
    if layers != sorted(set(layers)):
        raise ValueError(f"layers must ascend without repetition, found {layers}")
    return layers


Layers = Annotated[
    list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_ascending)
]


class LastTokenParams(Section):
    """The notebook's head on the last token's hidden state."""

    kind: Literal["last_token"]


class TokenDamageParams(Section):
    """A readout that sees every token of the completion and the prompt's hidden states."""

    kind: Literal["token_damage"]
    prompt_layers: Layers
    hidden_size: int = Field(ge=1, le=65_536)
    damage_kinds: int = Field(ge=1, le=65_536)


ReadoutParams = Annotated[LastTokenParams | TokenDamageParams, Field(discriminator="kind")]


class PlainEnsembleParams(Section):
    """Readouts trained from different seeds; the reward is their mean, or the worst of theirs."""

    members: int = Field(ge=1, le=100)
    combine: Literal["mean", "worst"]


class UncertaintyEnsembleParams(Section):
    """The same; the reward is their mean, less their variance times a weight."""

    members: int = Field(ge=1, le=100)
    combine: Literal["uncertainty"]
    variance_weight: float = Field(ge=0)


EnsembleParams = Annotated[
    PlainEnsembleParams | UncertaintyEnsembleParams, Field(discriminator="combine")
]
