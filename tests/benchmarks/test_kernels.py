"""What a GPU would be asked for is counted: no view, each operation in place, each wait."""

import pytest
import torch
from kernels import Kernels
from torch import Tensor


@pytest.fixture
def ones() -> Tensor:
    return torch.ones(2, 3)


def test_views_are_no_kernels(ones: Tensor):
    with Kernels() as counted:
        ones.view(6)[1:].unsqueeze(0).expand(4, 5)
    assert (counted.kernels, counted.waits) == (0, 0)


def test_each_operation_is_one_and_so_is_one_in_place(ones: Tensor):
    with Kernels() as counted:
        (ones + ones).mul_(2)
    assert (counted.kernels, counted.waits) == (2, 0)


def test_what_python_looks_at_is_waited_for(ones: Tensor):
    with Kernels() as counted:
        assert int(ones.sum()) == 6
        assert (ones > 0).nonzero().shape == (6, 2)
    assert counted.waits == 2


def test_a_backward_pass_counts_too(ones: Tensor):
    weight = ones.clone().requires_grad_()
    with Kernels() as forward:
        loss = (weight * ones).sum()
    with Kernels() as backward:
        loss.backward()
    assert forward.kernels == 2
    assert backward.kernels >= 1
