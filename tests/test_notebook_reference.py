"""The notebook's models compute where their parameters live, as the notebook's do.

PyTorch's device "meta" stands for a GPU here: it computes shapes, and refuses to mix devices.
"""

import pytest
import torch
from notebook_reference import (
    NotebookLM,
    NotebookRM,
    freeze_backbone,
    generate,
    optimizer_and_scheduler,
    training_step,
)
from torch import Tensor

SEQUENCES = [torch.tensor([1, 2, 3]), torch.tensor([4, 5])]


@pytest.fixture
def elsewhere() -> NotebookRM:
    lm = NotebookLM(20, 8, 10, 2, dropout=0.1, num_layers=2, padding_int=18, eos_int=19)
    return NotebookRM(lm).to("meta")


def test_completions_are_sampled_there(elsewhere: NotebookRM):
    devices: list[str] = []

    def pick(logits: Tensor) -> int:
        devices.append(logits.device.type)
        return 7

    assert generate(elsewhere.SFT_LM, SEQUENCES[0], 2, pick) == [7, 7]
    assert devices == ["meta", "meta"]


def test_rewards_are_predicted_there(elsewhere: NotebookRM):
    assert elsewhere.predict(SEQUENCES).device.type == "meta"


def test_a_step_is_taken_there(elsewhere: NotebookRM):
    """All of it, but that the loss has no value there to be returned."""
    freeze_backbone(elsewhere)
    optimizer, schedule = optimizer_and_scheduler(elsewhere)
    entries = [[sequence, torch.tensor(7.0)] for sequence in SEQUENCES]
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        training_step(elsewhere, optimizer, schedule, entries, entries)
    assert schedule.last_epoch == 1
