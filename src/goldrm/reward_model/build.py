"""Readouts by their parameters."""

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.token_damage import TokenDamageReadout


def empty_readout(params: RewardModelParams, sizes: BackboneSizes) -> Readout:
    """A readout of the kind that `params` names, with whatever weights PyTorch gives it."""
    if params.readout == "last_token":
        return LastTokenReadout(sizes.d)
    return TokenDamageReadout(
        params, len(params.layers) * sizes.d, len(params.prompt_layers) * sizes.d
    )


def new_readout(params: RewardModelParams, sizes: BackboneSizes, seed: int) -> Readout:
    """A readout with fresh weights, which its seed alone decides.

    Args:
        params: which readout.
        sizes: of the language model that it reads.
        seed: the run's, or the member's.

    Raises:
        GoldrmError: when a layer is asked for that the language model doesn't have.
    """
    deepest = max(*params.layers, *params.prompt_layers)
    if params.readout == "token_damage" and deepest > sizes.num_layers:
        raise GoldrmError(
            f"reward_model.layers or prompt_layers ask for layer {deepest}, but the language model "
            f"has {sizes.num_layers}. Lower it."
        )
    with random_stream(seed, f"{params.readout} initial weights"):
        return empty_readout(params, sizes)
