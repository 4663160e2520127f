"""Counts what a GPU would be asked for, where there is none: kernels, waits, and Python's time.

The code that stages run, on the CPU, in parts as large as a GPU's, with language models 8 wide: the
width changes no count. Kernels are PyTorch's operations that compute something, on as many layers
as the committed one has: about as many are launched on a GPU, one after the other, at some
microseconds each. Waits are operations of which the processor needs the outcome before it can go
on. Python's time is that outside of PyTorch's operations, on all layers and on as few as will do:
one, or as many as a readout reads. The profiler's own is in it, so it is a bound. Prints a table.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd
import torch
import typer
from frozen import Frozen, side_by_side
from shared import markdown
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from goldrm.common.device import ROWS_ON_A_GPU
from goldrm.common.random_streams import random_stream
from goldrm.generation.decoding import complete
from goldrm.lm import model
from goldrm.lm.model import Backbone
from goldrm.reward_model import prefix_tree
from goldrm.reward_model.build import empty_readout, new_readout
from goldrm.training.example_states import read_examples
from goldrm.training.loop import Training, shuffled, steps_an_epoch, train_epoch
from goldrm.training.params import Recipe

TOGETHER = 4096  # completions
WIDTH = 8
TIMES = 5  # that the same is timed
MEAN_LENGTH = 8  # of a completion, in tokens: about the committed language model's
HEADS = [
    "work",
    "units",
    "kernels a unit",
    "waits a unit",
    "Python, µs a unit",
    "the same, few layers",
]
WAITS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class Work(NamedTuple):
    """What is counted.

    Attributes:
        units: how many completions, or steps, it makes.
        do: does it.
    """

    units: int
    do: Callable[[], Any]


class Kernels(TorchDispatchMode):
    """Counts the operations that compute something, and those whose outcome is waited for."""

    def __init__(self) -> None:
        """None so far."""
        super().__init__()
        self.kernels = self.waits = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count an operation, and do it."""
        del types
        aliases = [each.alias_info for each in func._schema.returns]
        self.kernels += any(alias is None or alias.is_write for alias in aliases)  # else a view
        self.waits += func in WAITS
        return func(*args, **(kwargs or {}))


def language_model(frozen: Frozen, layers: int) -> Backbone:
    """A narrow one, untrained, but for how long its completions are."""
    sizes = replace(frozen.backbone.sizes, d=WIDTH, num_heads=2, num_layers=layers)
    with random_stream(0, "kernels"):
        backbone = Backbone(sizes).frozen()
    backbone.token_prediction.bias[sizes.eos_int] += math.log(sizes.num_tokens / MEAN_LENGTH)
    return backbone


def python_seconds(do: Callable[[], Any]) -> float:
    """The time of some work outside of PyTorch's operations: the least of several times.

    What else a machine does only ever adds to it.
    """
    found: list[float] = []
    for _ in range(TIMES):
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            started = time.perf_counter()
            do()
            seconds = time.perf_counter() - started
        operations = sum(event.self_cpu_time_total for event in profiled.key_averages())
        found.append(seconds - operations / 1e6)
    return min(found)


def sampling(frozen: Frozen, backbone: Backbone) -> Work:
    """Completions of as many prompts."""
    how, encode = frozen.params.sampling, frozen.task.dictionary.encode
    prompts = [encode(frozen.task.space[i].text) for i in _prompt_ids(frozen, TOGETHER)]

    def do() -> None:
        with random_stream(0, "kernels"):
            complete(backbone.train(), prompts, how.decoder, how.temperature, how.max_new_tokens)

    return Work(len(prompts), do)


def reading(recipe: Recipe, frozen: Frozen, backbone: Backbone) -> Work:
    """What the recipe's readout reads of completions, two of each prompt."""
    table, reads = _examples(frozen), empty_readout(recipe.readout, backbone.sizes).reading
    dictionary = frozen.task.dictionary
    return Work(len(table), lambda: read_examples(backbone.eval(), reads, table, dictionary))


def steps(recipe: Recipe, frozen: Frozen, backbone: Backbone) -> Work:
    """An epoch of the recipe's training."""
    examples, params = reading(recipe, frozen, backbone).do(), recipe.training
    training = Training(new_readout(recipe.readout, backbone.sizes, seed=0), params, steps=1)
    number = steps_an_epoch(len(examples), params)

    def do() -> None:
        batches = shuffled(examples, params, seed=0, first_epoch=0)
        train_epoch(training, islice(batches, number), params)

    return Work(number, do)


def _examples(frozen: Frozen) -> pd.DataFrame:
    """Of each prompt the exact answer, and one that lacks its last term."""
    task = frozen.task
    exact = {i: task.exact(i) for i in _prompt_ids(frozen, TOGETHER // 2)}
    answers = [(i, i, values) for i in exact for values in (exact[i], exact[i][:-1])]
    return task.with_prompts(task.labelled(answers))


def _prompt_ids(frozen: Frozen, number: int) -> list[int]:
    """So many of the train split, from all over it."""
    prompt_ids = frozen.task.ids_in("train")
    return [prompt_ids[i * len(prompt_ids) // number] for i in range(number)]


def counts() -> list[list[str]]:
    """The lines of the table."""
    frozen = Frozen.load()
    # Constants of modules: that they depend on the device is all that a GPU's code differs in.
    model.SEQUENCES_READ_TOGETHER = prefix_tree.NODES_READ_TOGETHER = ROWS_ON_A_GPU
    sizes, lines = frozen.backbone.sizes, list[list[str]]()
    prepared: list[tuple[str, str, int, Callable[[Frozen, Backbone], Work]]] = [
        ("sampling, dropout on", "completion", 1, sampling)
    ]
    for name, recipe in frozen.params.models.items():
        least = max([1, *empty_readout(recipe.readout, sizes).reading.layers])
        prepared += [
            (f"reading for {name}", "completion", least, partial(reading, recipe)),
            (f"training {name}", "step", least, partial(steps, recipe)),
        ]
    for name, unit, least, prepare in prepared:
        units, do = prepare(frozen, language_model(frozen, sizes.num_layers))
        with Kernels() as counted:
            do()
        line = [name, f"{units:,} {unit}s"]
        line += [f"{each / units:,.4g}" for each in (counted.kernels, counted.waits)]
        for layers in (sizes.num_layers, least):
            _, do = prepare(frozen, language_model(frozen, layers))
            line.append(f"{python_seconds(do) / units * 1e6:,.4g}")
        lines.append(line)
    return lines


def main() -> None:
    """Count, in a process as the stages' are, and print."""
    os.environ["KINETO_LOG_LEVEL"] = "99"  # else the profiler writes two lines each time
    with side_by_side(1, Frozen.load().params.runtime.threads) as process:
        typer.echo(markdown(HEADS, process.submit(counts).result()))


if __name__ == "__main__":
    typer.run(main)
