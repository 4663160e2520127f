"""Draws the learning curve: accuracy on unseen pairs against the number of training pairs.

`last_token` by the notebook's recipe; `token_damage` by its own, on sampled completions only and
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
from shared import Frozen, side_by_side
from tqdm import tqdm

from goldrm.commands.params import Params, load_params
from goldrm.common.files import write_atomic
from goldrm.common.tables import read_parquet, write_csv
from goldrm.common.workers import ALONE
from goldrm.evaluation import plots
from goldrm.evaluation.families import drawn_test_prompts, family_names
from goldrm.evaluation.probes import probe_completions, with_exact_reward
from goldrm.generation.chunks import sample_chunk
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.preferences import PreferenceDataset
from goldrm.pipeline.paths import METRICS
from goldrm.reward_model.build import empty_readout
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import PlainEnsembleParams
from goldrm.statistics import metrics
from goldrm.statistics.shares import share
from goldrm.task.series import SPLITS, Split
from goldrm.training.examples import training_set
from goldrm.training.members import train_members
from goldrm.training.params import Recipe

WORK = Path(".work/study")
SIZES = (500, 1500, None)  # pairs of distinct training completions; None: all
NUM_PAIRS = 16_000  # sampled, over all splits
UNLIKE_PROBES = ["wrong_step", "slip"]  # kinds of edit that aren't probed
PROBED_PROMPTS = 10


@dataclass(frozen=True)
class Contender:
    """What is trained: a recipe, for so many steps."""

    name: str
    recipe: Recipe
    steps: int
    sizes: tuple[int | None, ...] = SIZES


def contenders(params: Params) -> list[Contender]:
    """The notebook's readout, and the default one without and with edited completions."""
    notebook, token_damage = params.models["notebook"], params.models["token_damage"]
    edits = token_damage.data.edits
    assert edits is not None
    edits = edits.model_copy(update={"further_prompts": 0})
    not_probed = {"lengths": 0, "misread": 0, "mistakes": 0, "kinds": UNLIKE_PROBES}
    unlike = edits.model_copy(update=not_probed)
    single = PlainEnsembleParams(members=1, combine="mean")

    def with_data(recipe: Recipe, **changes: Any) -> Recipe:
        data = recipe.data.model_copy(update=changes)
        return recipe.model_copy(update={"data": data, "ensemble": single})

    return [
        Contender("last_token", with_data(notebook, completions_per_prompt=None), steps=5005),
        Contender("token_damage, no edits", with_data(token_damage, edits=None), steps=3000),
        Contender("token_damage", with_data(token_damage, edits=edits), steps=3000),
        Contender(
            "token_damage, edits unlike the probes",
            with_data(token_damage, edits=unlike),
            steps=3000,
            sizes=(None,),
        ),
    ]


def sampled_chunk(index: int) -> pd.DataFrame:
    """A chunk of completions, as generate_pairs makes it."""
    frozen = Frozen.load()
    sampling, seed = frozen.params.sampling, frozen.params.seed
    return sample_chunk(index, frozen.backbone, frozen.task, sampling, seed)


def sample(processes: ProcessPoolExecutor) -> None:
    """The pairs and completions that all trainings share, into WORK."""
    collected = PreferenceDataset(Frozen.load().task, NUM_PAIRS)
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
        recipe = self.contender.recipe
        data = recipe.data.model_copy(update={"num_pairs": self.pairs})
        examples = training_set(sampled["train"], frozen.task, data, self.seed)
        pairs = self.pairs or len(preference_pairs(examples.sampled, frozen.task))
        steps, batch_size = self.contender.steps, recipe.training.batch_size
        epochs = max(round(steps * batch_size / len(examples.groups)), 1)
        training = recipe.training.model_copy(update={"epochs": epochs})
        recipe = recipe.model_copy(update={"data": data, "training": training})
        work = WORK / f"{self.contender.name}-{pairs}-{self.seed}"
        trained = train_members(
            frozen.backbone, frozen.task, sampled, recipe, self.seed, work, ALONE
        )
        assert trained is not None
        shutil.rmtree(work)
        member = empty_readout(recipe.readout, frozen.backbone.sizes)
        member.load_state_dict(dict(trained.states[0]))
        model = RewardModel(frozen.backbone, [member], recipe.ensemble, frozen.task.dictionary)
        test = read_parquet(WORK / "pairs-test.parquet")
        prompts = test["prompt"].tolist()
        chosen, rejected = (
            np.array(model.score(prompts, test[side].tolist())) for side in ("chosen", "rejected")
        )
        accuracy = share(
            metrics.pairs_right(chosen, rejected),
            np.array(family_names(test["prompt_id"].tolist(), frozen.task)),
            frozen.params.evaluate.confidence,
        )
        probed = drawn_test_prompts(frozen.task, PROBED_PROMPTS, self.seed)
        probes = probe_completions(probed, frozen.task)
        rewards = model.score(probes["prompt"].tolist(), probes["completion"].tolist())
        probes = with_exact_reward(probes.assign(reward=rewards))
        fell = metrics.pairs_right(probes["exact_reward"].to_numpy(), probes["reward"].to_numpy())
        return {
            "readout": self.contender.name,
            "pairs": pairs,
            "seed": self.seed,
            "accuracy": accuracy.value,
            "low": accuracy.low,
            "high": accuracy.high,
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
