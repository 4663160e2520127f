"""Measures our speed beside the notebook's way, same weights, same machine, one process.

The notebook's way is tests/notebook_reference.py. Prints a table and writes it to
benchmarks/results.md; `--quick` only prints.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import notebook_reference as notebook

from goldrm import backbone_files, dictionary
from goldrm.checkpoint import read_tensors
from goldrm.config import load_params
from goldrm.device import set_up
from goldrm.features import PairFeatures
from goldrm.hidden_states import last_hidden_states
from goldrm.preferences import Labeller, sample_chunk
from goldrm.reward_model import new_readout
from goldrm.training import Training, train_epoch

RESULTS = Path("benchmarks/results.md")
PAIRS = 500  # the notebook's


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, in which unit, and the rates of both."""

    work: str
    unit: str
    notebook: float
    ours: float

    def cells(self) -> list[str]:
        """The line's cells."""
        ratio = self.ours / self.notebook
        return [self.work, self.unit, f"{self.notebook:.3g}", f"{self.ours:.3g}", f"{ratio:.3g}×"]


def rate(work: Callable[[], int], repetitions: int) -> float:
    """Units a second: the median over repetitions, after one to warm up."""
    work()
    rates: list[float] = []
    for _ in range(repetitions):
        started = time.perf_counter()
        units = work()
        rates.append(units / (time.perf_counter() - started))
    return statistics.median(rates)


def main(
    quick: Annotated[bool, typer.Option(help="Fewer repetitions; nothing is written.")] = False,
) -> None:
    """Measure and print."""
    repetitions = 1 if quick else 5
    params = load_params()
    set_up(params.runtime)
    tokens = dictionary.load(Path("data/source/dictionary.json"), params.task.max_value)
    state, declared = read_tensors(Path("upstream/sft_lm.safetensors"))
    sizes = backbone_files.sizes_from(declared, "upstream/sft_lm.safetensors")
    backbone = backbone_files.build_backbone(sizes, state, tokens, "upstream/sft_lm.safetensors")
    lm = notebook.NotebookLM(**asdict(sizes))
    lm.load_state_dict(backbone.state_dict())
    labeller = Labeller(tokens, params.task, params.gold_reward)
    prompts = [torch.tensor(tokens.encode(labeller.space[i].text)) for i in range(0, 27_000, 3_000)]

    def notebook_sampling() -> int:
        for prompt in prompts:
            notebook.generate(lm.train(), prompt, 20, notebook.pick_sampled)
        return len(prompts)

    def our_sampling() -> int:
        return len(sample_chunk(0, backbone, labeller, params.sampling, seed=0))

    sequences = [prompt.tolist() + tokens.encode("1 2 3 4 5 6 7 8 9") for prompt in prompts] * 12
    positive = [[torch.tensor(sequence), torch.tensor(7.0)] for sequence in sequences[:100]]
    window = torch.stack([torch.full((40,), sizes.padding_int)] * 100)

    @torch.no_grad()
    def notebook_hidden_states() -> int:
        lm.eval().hidden_states(window)
        return len(window)

    def our_hidden_states() -> int:
        last_hidden_states(backbone, sequences)
        return len(sequences)

    rm = notebook.NotebookRM(lm)
    notebook.freeze_backbone(rm)
    optimizer, schedule = notebook.optimizer_and_scheduler(rm)

    def notebook_training() -> int:
        rm.train()
        notebook.training_step(rm, optimizer, schedule, positive, positive)
        return 1

    readout = new_readout(params.reward_model, sizes.d, params.seed)
    training = Training(readout, params.train)
    features = PairFeatures(torch.randn(PAIRS, 2, sizes.d), torch.rand(PAIRS, 2))

    def our_training() -> int:
        train_epoch(training, features, torch.randperm(PAIRS), params.train)
        return PAIRS // params.train.batch_size

    measured = [
        Row(
            "sampling, dropout on",
            "completions/s",
            rate(notebook_sampling, repetitions),
            rate(our_sampling, repetitions),
        ),
        Row(
            "hidden states",
            "sequences/s",
            rate(notebook_hidden_states, repetitions),
            rate(our_hidden_states, repetitions),
        ),
        Row(
            "training step, 100 pairs",
            "steps/s",
            rate(notebook_training, repetitions),
            rate(our_training, 3 * repetitions),
        ),
    ]
    report(measured, write=not quick)


def report(measured: list[Row], write: bool) -> None:
    """Print the table and, if asked, write it."""
    heads = ["work", "unit", "notebook", "goldrm", "ratio"]
    table = [heads, ["---"] * len(heads), *(row.cells() for row in measured)]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    machine = (
        f"{platform.machine()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    )
    text = "\n".join([f"Measured by `make bench` on {machine}.", "", *lines, ""])
    typer.echo(text)
    if write:
        RESULTS.write_text(f"# Speed, side by side\n\n{text}")


if __name__ == "__main__":
    typer.run(main)
