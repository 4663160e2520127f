"""PyTorch's AdamW without PyTorch's compiler, whose import takes longer than a small training."""

from inspect import unwrap

import torch


class AdamW(torch.optim.AdamW):
    """The same to the bit; PyTorch's imports its compiler to keep it away from these methods."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
    state_dict = unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = unwrap(torch.optim.AdamW.load_state_dict)
    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
