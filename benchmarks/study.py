"""Draws the learning curve: accuracy on unseen pairs against the number of training pairs.

`last_token` by the baseline's recipe; `token_damage` by train's, on sampled completions only and
with their edits, but without further prompts and as a single member; and with edits of kinds only
that the probes haven't, to see whether probes are won by having been trained on. A readout is
trained for as many steps on few pairs as on many, so on many it passes over them fewer times; the
best step by validation loss counts. Samples pairs of its own, twice the default. Trainings run side
by side, `runtime.processes` of them. Writes metrics/study.csv and metrics/study.png.
"""

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from common import Frozen, side_by_side
from tqdm import tqdm

from goldrm.commands.params import Params, load_params
from goldrm.common.files import write_atomic
from goldrm.common.tables import read_parquet, write_csv
from goldrm.evaluation import plots
from goldrm.evaluation.evaluate import drawn_test_prompts
from goldrm.evaluation.probes import probe_table
from goldrm.evaluation.statistics import metrics
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.generation.chunks import sample_chunk
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.preferences import Preferences
from goldrm.pipeline.paths import METRICS
from goldrm.reward_model.build import empty_readout
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import RewardModelParams
from goldrm.task.series import SPLITS, Split
from goldrm.training.examples import NO_EDITS, training_set
from goldrm.training.members import train_members
from goldrm.training.params import TrainParams

WORK = Path(".work/study")
SIZES = (500, 1500, None)  # pairs of distinct training completions; None: all
NUM_PAIRS = 16_000  # sampled, over all splits
UNLIKE_PROBES = ["wrong_step", "slip"]  # kinds of edit that aren't probed
PROBED_PROMPTS = 10


@dataclass(frozen=True)
class Contender:
    """What is trained: a readout, by a recipe, for so many steps."""

    name: str
    reward_model: RewardModelParams
    train: TrainParams
    steps: int
    sizes: tuple[int | None, ...] = SIZES


def contenders(params: Params) -> list[Contender]:
    """The notebook's readout, and the default one without and with edited completions."""
    edits = params.train.edits.model_copy(update={"more_prompts": 0})
    not_probed = {"lengths": 0, "misread": 0, "mistakes": 0, "kinds": UNLIKE_PROBES}
    unlike = edits.model_copy(update=not_probed)
    notebook = params.baseline.train.model_copy(update={"completions_per_prompt": None})
    one = params.reward_model.model_copy(update={"members": 1})
    recipes = {
        "token_damage, no edits": (NO_EDITS, SIZES),
        "token_damage": (edits, SIZES),
        "token_damage, edits unlike the probes": (unlike, (None,)),
    }
    return [
        Contender("last_token", params.baseline.reward_model, notebook, steps=5005),
        *(
            Contender(name, one, params.train.model_copy(update={"edits": each}), 3000, sizes)
            for name, (each, sizes) in recipes.items()
        ),
    ]


def sampled_chunk(index: int) -> pd.DataFrame:
    """A chunk of completions, as generate_pairs makes it."""
    frozen = Frozen.load()
    sampling, seed = frozen.params.sampling, frozen.params.seed
    return sample_chunk(index, frozen.backbone, frozen.task, sampling, seed)


def sample(processes: ProcessPoolExecutor) -> None:
    """The pairs and completions that all trainings share, into WORK."""
    collected = Preferences(Frozen.load().task, NUM_PAIRS)
    chunks = processes.map(sampled_chunk, range(NUM_PAIRS // 20))  # a chunk makes 75 or so
    collected.collect(tqdm(chunks, desc="study", unit="chunk"))
    processes.shutdown(cancel_futures=True)
    for split in SPLITS:
        write_atomic(WORK / f"pairs-{split}.parquet", collected.pairs[split].content())
        write_atomic(WORK / f"completions-{split}.parquet", collected.completions[split].content())


@dataclass(frozen=True)
class Training:
    """One training of the study: who, on how many pairs (None: all), and its seed."""

    contender: Contender
    pairs: int | None
    seed: int

    def result(self) -> dict[str, Any]:
        """Train and judge: readout, pairs, seed, accuracy, low, high, probes.

        probes is the share of probes (see `probing`) of some test prompts that are rated below the
        exact series.
        """
        frozen = Frozen.load()
        sampled: dict[Split, pd.DataFrame] = {
            split: read_parquet(WORK / f"completions-{split}.parquet")
            for split in ("train", "validation")
        }
        readout, recipe = self.contender.reward_model, self.contender.train
        recipe = recipe.model_copy(update={"num_pairs": self.pairs})
        groups = training_set(sampled["train"], frozen.task, recipe, self.seed)
        pairs = self.pairs or len(preference_pairs(groups.sampled, frozen.task))
        epochs = max(round(self.contender.steps * recipe.batch_size / len(groups)), 1)
        work = WORK / f"{self.contender.name}-{pairs}-{self.seed}"
        trained = train_members(
            frozen.backbone,
            frozen.task,
            sampled,
            readout,
            recipe.model_copy(update={"epochs": epochs}),
            self.seed,
            work,
        )
        assert trained is not None
        shutil.rmtree(work)
        member = empty_readout(readout, frozen.backbone.sizes)
        member.load_state_dict(dict(trained.states[0]))
        model = RewardModel(frozen.backbone, [member], readout, frozen.task.dictionary)
        test = read_parquet(WORK / "pairs-test.parquet")
        prompts = test["prompt"].tolist()
        chosen, rejected = (
            np.array(model.score(prompts, test[side].tolist())) for side in ("chosen", "rejected")
        )
        found = Bootstrap(frozen.params.evaluate, self.seed).share(
            "accuracy", metrics.pairs_right(chosen, rejected), test["prompt_id"].to_numpy()
        )
        probed = drawn_test_prompts(frozen.task, PROBED_PROMPTS, self.seed)
        probes = probe_table(probed, frozen.task, model.score)
        fell = metrics.pairs_right(probes["exact_reward"].to_numpy(), probes["reward"].to_numpy())
        return {
            "readout": self.contender.name,
            "pairs": pairs,
            "seed": self.seed,
            "accuracy": found["value"],
            "low": found["low"],
            "high": found["high"],
            "probes": float(fell.mean()),
        }


def main(seeds: Annotated[int, typer.Option(help="Trainings at each size.")] = 2) -> None:
    """Train, judge, draw."""
    shutil.rmtree(WORK, ignore_errors=True)  # of an interrupted study, of whatever parameters
    trainings = [
        Training(contender, pairs, seed)
        for contender in contenders(load_params())
        for pairs in contender.sizes
        for seed in range(seeds)
    ]
    runtime = load_params().runtime
    with side_by_side(runtime.processes, runtime.threads) as processes:
        sample(processes)
    with side_by_side(runtime.processes, runtime.threads) as processes:
        results = processes.map(Training.result, trainings)
        rows = list(tqdm(results, total=len(trainings), desc="study", unit="training"))
    table = pd.DataFrame(rows)
    write_csv(METRICS / "study.csv", table)
    plots.save(METRICS / "study.png", plots.study(table))
    means = table.groupby(["readout", "pairs"], sort=False)[["accuracy", "probes"]].mean()
    typer.echo(means.round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
