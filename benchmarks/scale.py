"""Measures how time and memory grow with the number of pairs.

Runs the stages up to train_rm in copies of the last commit, at several numbers of training pairs,
with few pairs of the other splits, without further prompts and with few epochs, since these don't
depend on the number. Memory is that of all processes of a stage together, as the sum of what each
has to itself and its share of the rest. Writes benchmarks/scale.md, unless it is told other
numbers.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from shared import ROOT, Commit, environment, markdown

RESULTS = ROOT / "benchmarks/scale.md"
STAGES = ("load_dictionary", "fetch_sft", "generate_pairs", "train_rm")
MEASURED = STAGES[2:]
EPOCHS = 2
OTHER_PAIRS = 100  # different pairs of the validation split, and of the test split
ABOUT = f"""Measured by `make scale`, with {EPOCHS} epochs, {OTHER_PAIRS} pairs for validation,
as many for testing, and no further prompts: their costs don't depend on the number. GiB are the
peak of all processes together."""
HEADS = ["training pairs", *(f"{stage}, {what}" for stage in MEASURED for what in ("s", "GiB"))]


@dataclass(frozen=True)
class Cost:
    """Of one stage: seconds, and peak memory in GiB."""

    seconds: float
    memory: float


def measured(folder: Path, stage: str) -> Cost:
    """Run a stage."""
    command = [sys.executable, "-EP", "src/goldrm/pipeline/run.py", f"stages/{stage}.py"]
    started, peak = time.monotonic(), 0
    name = f"{stage}@token_damage" if stage == "train_rm" else stage
    running = psutil.Popen(command, cwd=folder, env=environment(folder) | {"DVC_STAGE": name})
    while running.poll() is None:
        peak = max(peak, _memory(running))
        time.sleep(0.25)
    if running.returncode:
        sys.exit(running.returncode)
    return Cost(time.monotonic() - started, peak / 2**30)


def _memory(process: psutil.Popen) -> int:
    total = 0
    try:
        for each in [process, *process.children(recursive=True)]:
            total += each.memory_full_info().pss
    except psutil.Error:  # one has just ended
        pass
    return total


def costs(commit: Commit, pairs: int, completions: int | None) -> list[Cost]:
    """Of the measured stages, in a fresh copy; training pairs, and completions of each prompt."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "copy"
        commit.copy_to(copy, _params(commit, pairs, completions))
        (copy / "dvc.lock").unlink()  # which these stages, run without DVC, would contradict
        found = {stage: measured(copy, stage) for stage in STAGES}
    return [found[stage] for stage in MEASURED]


def _params(commit: Commit, pairs: int, completions: int | None) -> dict[str, Any]:
    params = commit.params()
    params["pairs"]["num_pairs"] = pairs
    params["pairs"]["num_validation_pairs"] = params["pairs"]["num_test_pairs"] = OTHER_PAIRS
    if completions is not None:
        params["sampling"]["completions_per_prompt"] = completions
    recipe = params["models"]["token_damage"]
    recipe["training"]["epochs"] = EPOCHS
    recipe["data"]["edits"]["further_prompts"] = 0
    return params


def main(
    pairs: Annotated[list[int] | None, typer.Argument(help="Numbers of training pairs.")] = None,
    completions: Annotated[
        int | None, typer.Option(help="Completions sampled of each prompt; as in params.yaml.")
    ] = None,
) -> None:
    """Measure, print and write."""
    sizes, commit = pairs or [1_000, 5_000, 25_000], Commit.last()
    rows = ([f"{size:,}", *_cells(costs(commit, size, completions))] for size in sizes)
    text = markdown(HEADS, rows)
    typer.echo(text)
    if not pairs and completions is None:
        RESULTS.write_text(f"# Time and memory against the number of pairs\n\n{ABOUT}\n\n{text}")


def _cells(row: list[Cost]) -> list[str]:
    return [cell for cost in row for cell in (f"{cost.seconds:,.0f}", f"{cost.memory:.2f}")]


if __name__ == "__main__":
    typer.run(main)
