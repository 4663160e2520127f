"""Measures our speed beside the notebook's way and the limit of params.yaml's device.

Same weights, same machine, in turns, each with all of params.yaml's threads: sampling and hidden
states, and their limit, in `runtime.processes` processes of `runtime.threads`, as the stages run,
which share a GPU; all else in one process of as many threads. All but the notebook's way, and
collecting, are in processes with the stages' environment. The notebook's way is
tests/notebook_reference.py, in training mode as the notebook runs it. Prints a table and writes it
to the machine's section of benchmarks/results.md; `--quick` only prints.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import limits
import pandas as pd
import torch
import typer
from frozen import Frozen, finished, side_by_side
from policy_work import PolicyWork, sample_of_policy, step_of_policy
from results import Row, last_commit, machine, section, with_section
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import notebook_reference as notebook

from goldrm.common.device import rows_together
from goldrm.common.random_streams import random_stream
from goldrm.generation.params import SamplingParams
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.split_sampling import SplitSampler
from goldrm.reward_model.build import empty_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import SCORE_BATCH
from goldrm.reward_model.reading import Reading, last_hidden_states
from goldrm.reward_model.states import States
from goldrm.training.batches import LabelledCompletions
from goldrm.training.loop import Training, shuffled, train_epoch
from goldrm.training.params import TrainingParams

RESULTS = Path("benchmarks/results.md")
PAIRS = 500  # the notebook's
COLLECTED = 4096  # completions
CHUNKS = 6  # whose distinct completions are at least as many as are scored together
TASKS = 2  # chunks that each process makes in a turn
EPOCHS = 100  # of the readout's training in a turn: shorter ones measure how it gets going


@dataclass(frozen=True)
class Bench:
    """What the works have in common."""

    frozen: Frozen
    lm: notebook.NotebookLM
    processes: ProcessPoolExecutor
    process: ProcessPoolExecutor
    repetitions: int

    def rates(self, *measures: Callable[[], float]) -> list[float]:
        """The median of each measure, all taken in turns: what else the machine does hits all."""
        turns = [[measure() for measure in measures] for _ in range(1 + self.repetitions)]
        return [statistics.median(taken) for taken in zip(*turns[1:], strict=True)]  # one: warm-up

    def shared(self, work: Callable[[Any], int], task: Any) -> Callable[[], float]:
        """Units a second of all processes together, each of which does the task several times."""
        tasks = [task] * (TASKS * self.frozen.params.runtime.processes)
        return timed(lambda: sum(self.processes.map(partial(finished, work), tasks)))

    def alone(self, work: Callable[..., int], *task: Any) -> Callable[[], float]:
        """Units a second of one process with all threads."""
        return timed(lambda: self.process.submit(finished, work, *task).result())

    def as_a_stage(self, work: Callable[..., int], *task: Any) -> Callable[[], float]:
        """Units a second of one process with `runtime.threads`."""
        return timed(lambda: self.processes.submit(finished, work, *task).result())


def timed(work: Callable[[], int]) -> Callable[[], float]:
    """Measures the units a second of work that says how many units it was."""

    def measure() -> float:
        started = time.perf_counter()
        units = finished(work)
        return units / (time.perf_counter() - started)

    return measure


def layer(frozen: Frozen, rows: int, dtype: str = "float32") -> limits.Product:
    """The product of the MLP's first layer, on a GPU with as many rows as are read together."""
    device, d = frozen.device, frozen.backbone.sizes.d
    return limits.Product(device, dtype, rows_together(device, rows), d, 4 * d)


def sample(how: SamplingParams) -> int:
    """Sample a chunk; completions made."""
    return len(sampled_chunk(0, how))


def sampled_chunk(index: int, how: SamplingParams) -> pd.DataFrame:
    """A chunk of the train split, as generate_pairs makes it."""
    return sampler(how).chunk(index)  # pyright: ignore[reportArgumentType]: sections are frozen


@cache
def sampled_chunks() -> list[pd.DataFrame]:
    """Chunks as large as params.yaml says, of `COLLECTED` completions together."""
    how = Frozen.load().params.sampling
    chunks = COLLECTED // (how.chunk_size * how.completions_per_prompt)
    return [sampled_chunk(index, how) for index in range(chunks)]


@cache
def sampler(how: SamplingParams) -> SplitSampler:
    """It lists a split's prompts, which takes as long as a chunk does: once a process."""
    frozen = Frozen.load()
    return SplitSampler("train", frozen.backbone, frozen.task, how, seed=0)


def sampling(bench: Bench) -> Iterator[Row]:
    """Completions of the default chunk against one at a time, dropout on."""
    frozen, sizes = bench.frozen, bench.frozen.backbone.sizes
    params, space = frozen.params.sampling, frozen.task.space
    encode = frozen.task.dictionary.encode
    prompts = [torch.tensor(encode(space[i].text)) for i in range(0, 27_000, 3_000)]

    def theirs() -> int:
        for prompt in prompts:
            notebook.generate(bench.lm.train(), prompt, 20, notebook.pick_sampled)
        return len(prompts)

    rows = params.chunk_size * params.completions_per_prompt
    for dtype in _dtypes(frozen.device.type):
        hows = [
            params.model_copy(update={"dropout": dropout, "dtype": dtype})
            for dropout in (True, False)
        ]
        notebooks, gemm, *ours = bench.rates(
            timed(theirs),
            bench.shared(limits.multiply, layer(frozen, rows, dtype)),
            *(bench.shared(sample, how) for how in hows),
        )
        for how, rate in zip(hows, ours, strict=True):
            chunk = sampled_chunk(0, how)
            asked = [len(space[prompt_id].text.split()) for prompt_id in chunk["prompt_id"]]
            made = [len(completion.split()) for completion in chunk["completion"]]
            sharing = 1 if how.dropout else how.completions_per_prompt
            needed = limits.mean_flops(
                [
                    limits.completion_flops(sizes, *both, sharing)
                    for both in zip(asked, made, strict=True)
                ]
            )
            name = f"sampling, {dtype}, dropout {'on' if how.dropout else 'off'}"
            beside = notebooks if how.dropout else None
            yield Row(name, "completions/s", beside, rate, gemm / needed)
    frozen.backbone.float()


def _dtypes(device: str) -> list[str]:
    """bfloat16 too where the device computes with it; elsewhere it is slower than float32."""
    has_bfloat16 = {
        "cpu": lambda: (
            torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
            or torch.cpu._is_amx_tile_supported()  # pyright: ignore[reportPrivateUsage]
        ),
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        "mps": lambda: torch.backends.mps.is_macos_or_newer(14, 0),
    }
    return ["float32", "bfloat16"] if has_bfloat16[device]() else ["float32"]


def read_last(sequences: list[list[int]]) -> int:
    """The last token's hidden state of sequences; how many."""
    return len(last_hidden_states(Frozen.load().backbone.float(), sequences))


def read_prompts(texts: tuple[list[str], list[str]]) -> int:
    """What token_damage reads of prompts and their completions; how many."""
    frozen = Frozen.load()
    backbone, encode = frozen.backbone.float(), frozen.task.dictionary.encode
    prompts, completions = ([encode(text) for text in column] for column in texts)
    how = reading(frozen)
    return len(how.read(backbone, prompts, completions).token_counts)


def reading(frozen: Frozen) -> Reading:
    """How token_damage reads."""
    readout = frozen.params.models["token_damage"].readout
    return empty_readout(readout, frozen.backbone.sizes).reading


def hidden_states(bench: Bench) -> Iterator[Row]:
    """Sampled prompt + completion, right-aligned, against the notebook's whole windows."""
    frozen, sizes = bench.frozen, bench.frozen.backbone.sizes
    sampled = sampled_chunks()[:CHUNKS]
    prompts = [frozen.task.space[i].text for chunk in sampled for i in chunk["prompt_id"]]
    completions = [text for chunk in sampled for text in chunk["completion"]]
    encode = frozen.task.dictionary.encode
    texts = list(zip(prompts, completions, strict=True))
    sequences = [encode(" ".join(both)) for both in texts[: len(sampled[0])]]
    windows = notebook.NotebookRM(bench.lm).right_align([torch.tensor(s) for s in sequences[:200]])

    @torch.no_grad()
    def theirs() -> int:
        bench.lm.train().hidden_states(windows)
        return len(windows)

    needed = limits.mean_flops([limits.hidden_state_flops(sizes, len(s)) for s in sequences])
    together = list(dict.fromkeys(texts))[:SCORE_BATCH]
    notebooks, gemm, last, of_prompts = bench.rates(
        timed(theirs),
        bench.shared(limits.multiply, layer(frozen, 64 * 26)),
        bench.shared(read_last, sequences),
        bench.shared(read_prompts, tuple(map(list, zip(*together, strict=True)))),
    )
    yield Row("hidden states, last token", "sequences/s", notebooks, last, gemm / needed)
    blocks = reading(frozen).layers[-1]
    needed = limits.prompts_flops(sizes, [encode(prompt) for prompt, _ in together], blocks)
    limit = gemm / needed * len(together)
    yield Row("hidden states, prompts' tokens", "completions/s", None, of_prompts, limit)


def collecting(bench: Bench) -> Iterator[Row]:
    """What Python costs a completion behind the language model, in a chunk as large as a GPU's."""
    sampled = pd.concat(sampled_chunks())
    columns = (sampled[name].tolist() for name in ("group", "prompt_id", "completion"))
    rows = zip(*columns, strict=True)
    answers = [(group, prompt_id, tuple(map(int, text.split()))) for group, prompt_id, text in rows]
    task = bench.frozen.task

    def measure() -> float:
        dataset = PreferenceDataset("train", len(answers), task)

        def collect() -> int:
            dataset.collect(task.labelled(answers))
            return len(answers)

        return timed(collect)()

    (rate,) = bench.rates(measure)
    yield Row(f"gold rewards and pairs, {COLLECTED:,} together", "completions/s", None, rate, None)


@dataclass(frozen=True)
class Head:
    """The notebook's head and recipe, on as many completions, in training."""

    readout: LastTokenReadout
    training: Training
    recipe: TrainingParams
    completions: LabelledCompletions

    @classmethod
    @cache
    def started(cls) -> "Head":
        """Of this process."""
        frozen = Frozen.load()
        d, recipe = frozen.backbone.sizes.d, frozen.params.models["notebook"].training
        ones = torch.ones(2 * PAIRS, dtype=torch.int64)
        states = States(
            rows=torch.randn(2 * PAIRS, d),
            row_token_ids=torch.zeros_like(ones),
            token_rows=torch.arange(2 * PAIRS),
            token_counts=ones,
            prompt_rows=torch.empty(0, 0),
            prompt_row_token_ids=ones[:0],
            prompt_token_counts=torch.zeros(1, dtype=torch.int64),
            prompt=torch.zeros_like(ones),
        )
        completions = LabelledCompletions.paired(states, torch.rand(2 * PAIRS), 2 * ones[:PAIRS])
        readout = LastTokenReadout(d).to(frozen.device)
        return cls(readout, Training(readout, recipe, steps=1), recipe, completions)


def train() -> int:
    """Ours; steps."""
    head = Head.started()
    steps = PAIRS // head.recipe.batch_size
    batches = shuffled(head.completions, head.recipe, seed=0, first_epoch=0)
    for epoch in range(EPOCHS):
        with random_stream(0, "benchmark", epoch):
            train_epoch(head.training, islice(batches, steps), head.recipe)
    return EPOCHS * steps


def train_plainly() -> int:
    """The head alone in plain PyTorch; steps."""
    head = Head.started()
    bare, optimizer = head.readout.reward_prediction, head.training.optimizer
    frozen = Frozen.load()
    inputs = torch.randn(2 * head.recipe.batch_size, frozen.backbone.sizes.d, device=frozen.device)
    targets = torch.rand(len(inputs), 1, device=frozen.device)
    steps = EPOCHS * PAIRS // head.recipe.batch_size
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(bare(inputs), targets).backward()
        optimizer.step()
    return steps


def training(bench: Bench) -> Iterator[Row]:
    """A step of 100 pairs, the notebook's recipe."""
    frozen, sizes = bench.frozen, bench.frozen.backbone.sizes
    batch_size = frozen.params.models["notebook"].training.batch_size
    encode = frozen.task.dictionary.encode
    sequence = torch.tensor(encode(frozen.task.space[0].text + " 0 1 2 3 4 5 6 7"))
    entries = [[sequence, torch.tensor(7.0)]] * batch_size
    rm = notebook.NotebookRM(bench.lm).to(frozen.device)
    notebook.freeze_backbone(rm)
    optimizer, schedule = notebook.optimizer_and_scheduler(rm)

    def theirs() -> int:
        rm.train()
        notebook.training_step(rm, optimizer, schedule, entries, entries)
        return 1

    rows = 2 * batch_size
    steps = EPOCHS * PAIRS // batch_size
    product = limits.Product(frozen.device, "float32", rows, sizes.d, sizes.d, times=2 * steps)
    notebooks, gemm, step, bare_step, gemm_of_one, step_of_one = bench.rates(
        timed(theirs),
        bench.alone(limits.multiply, product),
        bench.alone(train),
        bench.alone(train_plainly),
        bench.as_a_stage(limits.multiply, product),
        bench.as_a_stage(train),
    )
    needed = limits.head_step_flops(sizes.d, rows)
    yield Row("training step, 100 pairs", "steps/s", notebooks, step, gemm / needed)
    yield Row("the same, plain PyTorch, MSE only", "steps/s", notebooks, bare_step, gemm / needed)
    yield Row("the same, in runtime.threads", "steps/s", None, step_of_one, gemm_of_one / needed)


def policy_step(bench: Bench) -> Iterator[Row]:
    """The limit: as long as sampling takes, and what else is needed at the rate of products."""
    sizes, params = bench.frozen.backbone.sizes, bench.frozen.params.policy
    chunks = PolicyWork.started().sampled()
    completions = [len(own) for chunk in chunks for own in chunk.actions]
    prompts = [len(prompt) for chunk in chunks for prompt in chunk.prompts]
    gemm, samplings, steps = bench.rates(
        bench.alone(limits.multiply, layer(bench.frozen, sum(completions) // len(chunks))),
        bench.alone(sample_of_policy),
        bench.alone(step_of_policy),
    )
    needed = limits.policy_step_flops(sizes, prompts, completions)
    name = f"policy step, {params.prompts} × {params.completions} completions, gold reward"
    yield Row(name, "steps/s", None, steps, 1 / (1 / samplings + needed / gemm))


def nothing_to_do(bench: Bench) -> Iterator[Row]:
    """A `dvc repro` of a pipeline that is up to date; left out where it isn't."""
    if subprocess.run(["dvc", "status", "--quiet"], check=False).returncode:
        typer.echo("left out: dvc repro with nothing to do. Run `make repro` first.", err=True)
        return

    def ours() -> int:
        subprocess.run(["dvc", "repro", "--quiet"], check=True)
        return 1

    [rate] = bench.rates(timed(ours))
    yield Row("dvc repro with nothing to do", "runs/s", None, rate, None)


def main(
    quick: Annotated[bool, typer.Option(help="Fewer repetitions; nothing is written.")] = False,
) -> None:
    """Measure and print."""
    frozen, commit = Frozen.load(), last_commit()
    runtime = frozen.params.runtime
    torch.set_num_threads(runtime.processes * runtime.threads)
    lm = notebook.NotebookLM(**asdict(frozen.backbone.sizes))
    lm.load_state_dict(frozen.backbone.state_dict())
    lm.to(frozen.device)
    with (
        side_by_side(runtime.processes, runtime.threads) as processes,
        side_by_side(1, runtime.processes * runtime.threads) as process,
    ):
        bench = Bench(frozen, lm, processes, process, repetitions=1 if quick else 5)
        works = (sampling, collecting, hidden_states, training, policy_step, nothing_to_do)
        rows = [row for work in works for row in work(bench)]
    gemm = timed(lambda: limits.multiply(layer(frozen, 1024)))() / 1e9
    measured = section(
        machine(frozen.device, runtime.processes, runtime.threads),
        f"Measured by `make bench` at commit {commit}, PyTorch {torch.__version__}, "
        f"{gemm:,.0f} GFLOP/s in float32 matrix products.",
        rows,
    )
    typer.echo(measured)
    if not quick:
        RESULTS.write_text(with_section(RESULTS.read_text(), measured))


if __name__ == "__main__":
    typer.run(main)
