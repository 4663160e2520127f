"""What all readouts promise."""

from collections.abc import Callable

import pytest
import torch
from small_states import states_of, token_states

from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.params import LastTokenParams, TokenDamageParams
from goldrm.reward_model.states import States

STATES: dict[str, Callable[[int], States]] = {
    "last_token": lambda d: states_of(torch.randn(3, d).split(1)),
    "token_damage": lambda d: token_states(
        [[3], [5, 4], []], [([7, 8, 9], torch.randn(3, d))], [0, 0, 0]
    ),
}


@pytest.mark.parametrize("kind", STATES)
def test_shift_is_added_to_all_rewards(
    kind: str, request: pytest.FixtureRequest, small_sizes: BackboneSizes
):
    params: LastTokenParams | TokenDamageParams = request.getfixturevalue(kind)
    readout = new_readout(params, small_sizes, seed=0).eval()
    states = STATES[kind](small_sizes.d)
    with torch.no_grad():
        before = readout(states)
        readout.shift(-2.5)
        torch.testing.assert_close(readout(states), before - 2.5)
