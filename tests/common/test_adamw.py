"""AdamW beside PyTorch's own, and what it doesn't import."""

import subprocess
import sys
from copy import deepcopy
from typing import Any

import torch
from small_models import ROOT
from torch import nn

from goldrm.common.adamw import AdamW

TRAINING = """
import sys, torch
from goldrm.common.adamw import AdamW
layer = torch.nn.Linear(3, 1)
optimizer = AdamW(layer.parameters(), fused=True)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
optimizer.zero_grad()
layer(torch.ones(3)).sum().backward()
optimizer.step()
schedule.step()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def trained(kind: type[torch.optim.AdamW]) -> tuple[nn.Module, dict[str, Any]]:
    """After three steps and, between them, a state that was stored and loaded."""
    torch.manual_seed(0)
    layer = nn.Linear(5, 2)
    options = {"lr": 0.1, "weight_decay": 0.3, "fused": True}
    optimizer = kind(layer.parameters(), **options)
    for step in range(3):
        optimizer.zero_grad()
        layer(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
        if step == 1:
            state = deepcopy(optimizer.state_dict())
            optimizer = kind(layer.parameters(), **options)
            optimizer.load_state_dict(state)
    return layer, optimizer.state_dict()


def test_is_pytorchs_to_the_bit() -> None:
    (ours, our_state), (theirs, their_state) = trained(AdamW), trained(torch.optim.AdamW)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(our_state["state"], their_state["state"], rtol=0, atol=0)
    assert our_state["param_groups"] == their_state["param_groups"]


def test_a_training_does_without_the_compiler() -> None:
    command = [sys.executable, "-c", TRAINING]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    told = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    assert told.stdout == "False\n"
