"""Readouts by their parameters."""

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.params import LastTokenParams, ReadoutParams
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.token_damage import TokenDamageReadout


def empty_readout(params: ReadoutParams, sizes: BackboneSizes) -> Readout:
    """A readout of the kind that `params` are of, with whatever weights PyTorch gives it."""
    if isinstance(params, LastTokenParams):
        return LastTokenReadout(sizes.d)
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
    with random_stream(seed, f"{params.kind} initial weights"):
        readout = empty_readout(params, sizes)
    deepest = max(readout.reading.layers, default=0)
    if deepest > sizes.num_layers:
        raise GoldrmError(
            f"readout.prompt_layers asks for layer {deepest}, but the language "
            f"model has {sizes.num_layers}. Lower it."
        )
    return readout
