"""Measures TRL's RewardTrainer and GRPOTrainer, and `generate` of transformers, beside ours.

TRL trains on the exported language model and the train split's pairs, all of it or its head only.
Ours are trained by the stage, in a copy of the last commit that has this folder's data. Needs the
extra hf, and what `dvc repro` makes. Prints tables and writes them to benchmarks/peers.md, unless
it is told other sizes.
"""

# The extra hf isn't in the environment that `make lint` runs in.
# pyright: reportMissingImports=false

import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import transformers
import trl
import typer
from datasets import load_dataset
from policy_steps import step_seconds
from shared import ROOT, Commit, environment, markdown
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from trl import RewardConfig, RewardTrainer

from goldrm.commands.export_pairs import write_pairs
from goldrm.commands.params import load_params
from goldrm.commands.trained import load_model
from goldrm.common.random_streams import random_stream
from goldrm.common.tables import read_csv, read_parquet
from goldrm.generation.decoding import complete
from goldrm.huggingface.export import write_language_model
from goldrm.lm.model import Backbone
from goldrm.pipeline.paths import COMPLETIONS, DICTIONARY, LEARNING_CURVES, MODELS, PAIRS, SFT
from goldrm.statistics import metrics
from goldrm.task.dictionary import Dictionary

RESULTS = ROOT / "benchmarks/peers.md"
LEARNING_RATES = {"full": 1e-4, "head only": 1e-3}  # of TRL's training
PEER_EPOCHS, PEER_BATCH = 2, 16  # of TRL's training: passes over the pairs, and pairs a step
WRITTEN = 1024  # completions that are written, to compare speed
TOGETHER = 256  # of them, or of those that are scored, in a batch
NEW_TOKENS = 16  # of each that is written, at most
STEPS = 8  # of each policy's optimisation; the first one isn't counted
HEADS = ["reward model", "scored", "accuracy", "Spearman", "training, s", "pairs/s"]
ABOUT = """{about}

Judged on {pairs:,} pairs and {completions:,} completions of unseen families, in one run. TRL's
RewardTrainer starts from the exported language model; its settings are untuned ({epochs} passes,
batches of {batch}, learning rates {rates}). It appends the end token to what it trains on, so its
models are scored with it; as GRPO would score, without, stands below. Ours also learn from gold
rewards, and the default from edited completions, which cost nothing here. Pairs/s are pairs times
passes by the time of the training; ours includes reading hidden states and making edits.

A step of a policy samples completions of training prompts by params.yaml's `policy`, scores them by
the default's reward model, and updates the language model once. TRL's GRPOTrainer and ours take
turns in one process; given is the median of {steps} steps, but for the first.
"""
Score = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Judged:
    """What models are judged on: the test split's different pairs and its distinct completions."""

    pairs: pd.DataFrame
    completions: pd.DataFrame

    @classmethod
    def read(cls, most: int | None) -> "Judged":
        """Those of this folder's run, at most so many of each."""
        completions = read_parquet(COMPLETIONS / "test.parquet")
        distinct = completions.drop_duplicates(["prompt_id", "completion"], ignore_index=True)
        return cls(read_parquet(PAIRS / "test.parquet")[:most], distinct[:most])

    def cells(self, score: Score) -> list[str]:
        """The accuracy over the pairs, and Spearman's correlation over the completions."""
        chosen, rejected = (
            np.array(score(self.pairs["prompt"].tolist(), self.pairs[side].tolist()))
            for side in ("chosen", "rejected")
        )
        texts = (self.completions[name].tolist() for name in ("prompt", "completion"))
        gold_rewards = self.completions["gold_reward"].to_numpy(float)
        spearman = metrics.spearman(np.array(score(*texts)), gold_rewards)
        return [f"{metrics.pairs_right(chosen, rejected).mean():.3f}", f"{spearman:.3f}"]


def peer_rows(
    language_model: Path, num_pairs: int | None, epochs: int, judged: Judged
) -> list[list[str]]:
    """TRL's reward models, trained in full and the head only, scored with the end and without."""
    rows: list[list[str]] = []
    for name, learning_rate in LEARNING_RATES.items():
        torch.manual_seed(0)  # the head's first weights
        model = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1)
        model.model.requires_grad_(name == "full")
        tokenizer = AutoTokenizer.from_pretrained(language_model)
        seconds, seen = train_peer(model, tokenizer, num_pairs, epochs, learning_rate)
        for scored, end in (("with the end token", tokenizer.eos_token), ("without", "")):
            cells = judged.cells(peer_score(model.eval(), tokenizer, end))
            rows.append([f"TRL, {name}", scored, *cells, f"{seconds:.0f}", f"{seen / seconds:.0f}"])
    return rows


def train_peer(
    model: Any, tokenizer: Any, num_pairs: int | None, epochs: int, learning_rate: float
) -> tuple[float, int]:
    """Train by TRL's RewardTrainer; the seconds that it took, and pairs times passes."""
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder) / "train.parquet", "train")
        files = {"train": f"{folder}/train.parquet"}
        pairs = load_dataset("parquet", data_files=files, cache_dir=folder)["train"]
        pairs = pairs.select(range(min(num_pairs or len(pairs), len(pairs))))
        settings = RewardConfig(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=PEER_BATCH,
            learning_rate=learning_rate,
            max_length=model.config.max_position_embeddings,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
        )
        trainer = RewardTrainer(
            model=model, args=settings, processing_class=tokenizer, train_dataset=pairs
        )
        started = time.monotonic()
        trainer.train()
        return time.monotonic() - started, epochs * len(pairs)


def peer_score(model: Any, tokenizer: Any, end: str) -> Score:
    """Scores by such a model; `end` is appended to each text."""

    @torch.inference_mode()
    def score(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        both = zip(prompts, completions, strict=True)
        texts = [f"{prompt} {completion}{end}" for prompt, completion in both]
        rewards: list[float] = []
        for first in range(0, len(texts), TOGETHER):
            inputs = tokenizer(texts[first : first + TOGETHER], return_tensors="pt", padding=True)
            rewards += model(**inputs).logits[:, 0].tolist()
        return rewards

    return score


def our_rows(num_pairs: int | None, epochs: int | None, judged: Judged) -> list[list[str]]:
    """Our recipes, trained by the stage in a copy of the last commit, on this folder's data."""
    commit, rows = Commit.last(), list[list[str]]()
    params = commit.params()
    for recipe in params["models"].values():
        recipe["data"]["num_pairs"] = num_pairs or recipe["data"]["num_pairs"]
        recipe["training"]["epochs"] = epochs or recipe["training"]["epochs"]
        if num_pairs and recipe["data"]["edits"]:
            recipe["data"]["edits"]["further_prompts"] = 0
    for name, recipe in params["models"].items():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            commit.copy_to(copy, params)
            (copy / "dvc.lock").unlink()  # which a stage run without DVC would contradict
            for path in (SFT, PAIRS, COMPLETIONS):
                shutil.copytree(path, copy / path)
            shutil.copy(DICTIONARY, copy / DICTIONARY)
            seconds = stage_seconds(copy, name)
            cells = judged.cells(load_model(copy / MODELS / name, torch.device("cpu")).score)
            passes = int(read_csv(copy / LEARNING_CURVES / f"{name}.csv")["epoch"].max()) + 1
        pairs = recipe["data"]["num_pairs"] or len(read_parquet(PAIRS / "train.parquet"))
        rate = f"{pairs * passes / seconds:.0f}"
        rows.append([f"goldrm, {name}", "", *cells, f"{seconds:.0f}", rate])
    return rows


def stage_seconds(copy: Path, recipe: str) -> float:
    """How long the training stage takes there."""
    command = [sys.executable, "-EP", "src/goldrm/pipeline/run.py", "stages/train_rm.py"]
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=copy,
        env=environment(copy) | {"DVC_STAGE": f"train_rm@{recipe}"},
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    return time.monotonic() - started


def writing_rates(
    language_model: Path, backbone: Backbone, tokens: Dictionary, prompts: Sequence[str]
) -> dict[str, float]:
    """Completions a second by transformers and by us, sampled, in one process."""
    model = AutoModelForCausalLM.from_pretrained(language_model)
    tokenizer = AutoTokenizer.from_pretrained(language_model)

    def transformers_writes(batch: Sequence[str]) -> None:
        inputs = tokenizer(list(batch), return_tensors="pt", padding=True)
        model.generate(**inputs, do_sample=True, max_new_tokens=NEW_TOKENS)

    def goldrm_writes(batch: Sequence[str]) -> None:
        complete(backbone.eval(), [*map(tokens.encode, batch)], "kv_cache", 1.0, NEW_TOKENS)

    writers = {"transformers.generate": transformers_writes, "goldrm": goldrm_writes}
    seconds = dict.fromkeys(writers, 0.0)
    with random_stream(0, "peers"):
        for first in range(0, len(prompts), TOGETHER):  # in turns: what else the machine does
            for name, write in writers.items():
                started = time.monotonic()
                write(prompts[first : first + TOGETHER])
                seconds[name] += time.monotonic() - started
    return {name: len(prompts) / seconds[name] for name in writers}


def main(
    pairs: Annotated[int | None, typer.Option(help="Training pairs; all, or a recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes; 2 for TRL, or a recipe's.")] = None,
    completions: Annotated[int, typer.Option(help="Completions written.")] = WRITTEN,
    most: Annotated[int | None, typer.Option(help="Most pairs judged, and completions.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of each policy's optimisation.")] = STEPS,
) -> None:
    """Measure and print; write what was measured at the full sizes."""
    params = load_params()
    threads = params.runtime.threads * params.runtime.processes
    torch.set_num_threads(threads)
    trained = load_model(MODELS / next(iter(params.models)), torch.device("cpu"))
    backbone, task = trained.reward_model.backbone, trained.task
    judged = Judged.read(most)
    with tempfile.TemporaryDirectory() as folder:
        language_model = Path(folder)
        write_language_model(language_model, backbone, task, "")
        rows = peer_rows(language_model, pairs, epochs or PEER_EPOCHS, judged)
        prompts = judged.completions["prompt"].sample(completions, replace=True, random_state=0)
        rates = writing_rates(language_model, backbone, task.dictionary, prompts.tolist())
        seconds = step_seconds(language_model, trained, params.policy, NEW_TOKENS, steps)
    rows += our_rows(pairs, epochs, judged)
    size = f"{params.policy.prompts} prompts × {params.policy.completions} completions"
    tables = [
        described(judged, epochs or PEER_EPOCHS, threads, steps),
        markdown(HEADS, rows),
        markdown(
            [f"written, {NEW_TOKENS} tokens at most, sampled, one process", "completions/s"],
            [[name, f"{rate:.0f}"] for name, rate in rates.items()],
        ),
        markdown(
            [f"a step of a policy, {size}, one process", "s"],
            [[name, f"{each:.2f}"] for name, each in seconds.items()],
        ),
    ]
    text = "\n".join(tables)
    typer.echo(text)
    sizes = (pairs, epochs, completions, most, steps)
    if sizes == (None, None, WRITTEN, None, STEPS):
        RESULTS.write_text(f"# The peers, side by side\n\n{text}")


def described(judged: Judged, epochs: int, threads: int, steps: int) -> str:
    """How the tables were measured."""
    capability = torch.backends.cpu.get_cpu_capability()
    versions = f"transformers {transformers.__version__}, TRL {trl.__version__}"
    return ABOUT.format(
        about=f"Measured by `make peers` on {platform.machine()} ({capability}), {threads} "
        f"threads, PyTorch {torch.__version__}, {versions}.",
        pairs=len(judged.pairs),
        completions=len(judged.completions),
        epochs=epochs,
        batch=PEER_BATCH,
        steps=steps,
        rates=" and ".join(f"{rate:g} ({name})" for name, rate in LEARNING_RATES.items()),
    )


if __name__ == "__main__":
    typer.run(main)
