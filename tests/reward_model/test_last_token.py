"""The notebook's head is the notebook's."""

from dataclasses import replace

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM, freeze_backbone
from small_states import states_of

from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.reading import LastTokenReading, last_hidden_states


@pytest.fixture
def reference_rm(reference_lm: NotebookLM) -> NotebookRM:
    """The notebook's reward model with random weights, frozen backbone, in evaluation mode."""
    torch.manual_seed(2)
    rm = NotebookRM(reference_lm).eval()
    freeze_backbone(rm)
    return rm


def test_rewards_are_the_notebooks(backbone: Backbone, reference_rm: NotebookRM):
    """Of prompts with completions of many lengths."""
    readout = LastTokenReadout(24)
    readout.reward_prediction.load_state_dict(reference_rm.reward_prediction.state_dict())
    generator = torch.Generator().manual_seed(6)
    lengths = [18, 25, 22, 22, 40, 21, 30, 1]
    sequences = [torch.randint(127, (n,), generator=generator).tolist() for n in lengths]
    rewards = readout(states_of(last_hidden_states(backbone, sequences).split(1)))
    expected = reference_rm.predict([torch.tensor(sequence) for sequence in sequences])
    torch.testing.assert_close(rewards, expected, atol=1e-5, rtol=0)


def test_full_size_has_the_notebooks_parameters(small_sizes: BackboneSizes):
    full = replace(small_sizes, d=384, num_heads=6, num_layers=6)
    with torch.device("meta"):
        readout, backbone = LastTokenReadout(384), Backbone(full)
    of_readout = sum(parameter.numel() for parameter in readout.parameters())
    assert of_readout == 148_993
    assert of_readout + sum(p.numel() for p in backbone.parameters()) == 10_910_338


def test_nothing_is_fitted_bounded_or_changed():
    """Rewards are trained towards the gold rewards, however high."""
    readout = LastTokenReadout(24)
    assert isinstance(readout.reading, LastTokenReading)
    before = {name: tensor.clone() for name, tensor in readout.state_dict().items()}
    gold = torch.tensor([7.0, 1e6])
    readout.fit_scale(states_of(torch.randn(2, 24).split(1)), gold)
    assert all(torch.equal(before[name], t) for name, t in readout.state_dict().items())
    for mode in (True, False):
        assert torch.equal(readout.train(mode).targets(gold), gold)
        assert torch.equal(readout.bounded(gold), gold)
