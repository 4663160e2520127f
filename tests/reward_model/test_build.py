"""Fresh readouts depend on their seed, and read what there is to read."""

import pytest
import torch
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import empty_readout, new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.params import LastTokenParams, ReadoutParams, TokenDamageParams
from goldrm.reward_model.reading import PromptReading
from goldrm.reward_model.token_damage import TokenDamageReadout


@pytest.fixture(params=["last_token", "token_damage"])
def either(request: pytest.FixtureRequest) -> ReadoutParams:
    return request.getfixturevalue(request.param)


def test_fresh_weights_depend_on_the_seed_alone(either: ReadoutParams, small_sizes: BackboneSizes):
    """TRL created the head before seeding (its issue 4887), so no two runs began alike."""
    weights: list[Tensor] = []
    for global_seed, seed in [(1, 0), (2, 0), (2, 5)]:
        torch.manual_seed(global_seed)
        parameters = new_readout(either, small_sizes, seed).parameters()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_a_readout_is_of_the_kind_asked_for(
    last_token: LastTokenParams, token_damage: TokenDamageParams, small_sizes: BackboneSizes
):
    """And reads the layers asked for."""
    assert isinstance(empty_readout(last_token, small_sizes), LastTokenReadout)
    readout = empty_readout(token_damage, small_sizes)
    assert isinstance(readout, TokenDamageReadout)
    assert isinstance(readout.reading, PromptReading)
    assert readout.reading.layers == (1,)


def test_layer_that_is_not_there_is_refused(
    token_damage: TokenDamageParams, small_sizes: BackboneSizes
):
    params = token_damage.model_copy(update={"prompt_layers": [0, 3]})
    with pytest.raises(GoldrmError, match=r"prompt_layers asks for layer 3, .* has 2\."):
        new_readout(params, small_sizes, seed=0)
