"""Readouts by their parameters."""

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.params import ReadoutParams
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.token_damage import TokenDamageReadout


def empty_readout(params: ReadoutParams, sizes: BackboneSizes) -> Readout:
    """A readout of the kind that `params` are of, with whatever weights PyTorch gives it."""
    match params.kind:
        case "last_token":
            return LastTokenReadout(sizes.d)
        case "token_damage":
            return TokenDamageReadout(params, sizes)


def new_readout(params: ReadoutParams, sizes: BackboneSizes, seed: int) -> Readout:
    """A readout with fresh weights, which its seed alone decides.

    Args:
        params: of the readout.
        sizes: of the language model that it reads.
        seed: the run's, or the member's.

    Raises:
        GoldrmError: when a layer is asked for that the language model doesn't have.
    """
    refuse_missing_layers(params, sizes)
    with random_stream(seed, f"{params.kind} initial weights"):
        return empty_readout(params, sizes)


def refuse_missing_layers(params: ReadoutParams, sizes: BackboneSizes, recipe: str = "") -> None:
    """Refuse a readout of layers that the language model doesn't have.

    Args:
        params: of the readout.
        sizes: of the language model.
        recipe: where in params.yaml the readout stands, such as "models.token_damage.".

    Raises:
        GoldrmError: when there is such a layer.
    """
    deepest = params.prompt_layers[-1] if params.kind == "token_damage" else 0
    if deepest > sizes.num_layers:
        raise GoldrmError(
            f"{recipe}readout.prompt_layers asks for layer {deepest}, but the language "
            f"model of sft.source has {sizes.num_layers}. Lower it."
        )
