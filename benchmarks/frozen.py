"""What `make bench` measures with: the frozen language model, its device, processes."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from goldrm.commands.params import Params, load_params
from goldrm.common.device import set_up
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.common.workers import ALLOCATOR
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import sizes_from
from goldrm.lm.weights import build_backbone
from goldrm.task import dictionary
from goldrm.task.task import Task

SFT = "upstream/sft_lm.safetensors"


@dataclass(frozen=True)
class Frozen:
    """What all of them read and none changes."""

    params: Params
    device: torch.device
    backbone: Backbone
    task: Task

    @classmethod
    @cache
    def load(cls) -> "Frozen":
        """From the files that are in Git; the process computes as params.yaml says."""
        params = load_params()
        device = set_up(params.runtime)
        tokens = dictionary.load_source(Path("data/source/dictionary.json"), params.task.max_value)
        state, declared = read_tensors_of_others(Path(SFT), SFT)
        backbone = build_backbone(sizes_from(declared, SFT), state, tokens, SFT).to(device)
        return cls(params, device, backbone, Task(tokens, params.task, params.gold_reward))


def finished(work: Callable[..., int], *task: Any) -> int:
    """Do work; its units, once the device has done it all, which a GPU does behind the call."""
    units = work(*task)
    device = Frozen.load().device
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return units


def side_by_side(processes: int, threads: int) -> ProcessPoolExecutor:
    """Processes as those that share a stage's work, with the same environment."""
    os.environ.update(ALLOCATOR)
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, spawn, initializer=_set_up, initargs=(threads,))


def _set_up(threads: int) -> None:
    Frozen.load()
    torch.set_num_threads(threads)
