"""Stage generate_pairs: labelled completions and preference pairs, split by family."""

import sys
from pathlib import Path

import pandas as pd

from goldrm.common.device import set_up
from goldrm.common.files import write_atomic, write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.tables import write_csv
from goldrm.generation.params import PairsParams, SamplingParams
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.source import read_source
from goldrm.generation.source_dataset import SourceDataset
from goldrm.generation.split_sampling import SplitSampler, sample_split
from goldrm.lm.weights import load_backbone
from goldrm.pipeline.paths import (
    COMPLETIONS,
    DICTIONARY,
    METRICS,
    PAIRS,
    PLOTS,
    PREFERENCES,
    SFT,
)
from goldrm.pipeline.stage import Run, run_stage
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.splits import SPLITS
from goldrm.task.task import Task


class Params(Section):
    """What the stage reads of params.yaml."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    sampling: SamplingParams
    pairs: PairsParams
    gold_reward: GoldRewardParams


def generate_pairs(params: Params, run: Run) -> None:
    """Sampled from data/sft, or read → data/pairs, data/completions, metrics/pairs.json."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    task = Task(tokens, params.task, params.gold_reward)
    backbone = load_backbone(SFT, tokens, device)
    datasets = {
        split: PreferenceDataset(split, params.pairs.num_wanted(split), task) for split in SPLITS
    }
    train = SourceDataset(datasets["train"], task)
    samplers = {
        split: SplitSampler(split, backbone, task, params.sampling, params.seed) for split in SPLITS
    }
    if params.pairs.source is not None:
        train.collect(read_source(Path(params.pairs.source), task), params.pairs.source)
        del samplers["train"]
    for split, sampler in samplers.items():
        sample_split(sampler, datasets[split], run.work / split, run.workers)
    if not run.workers.is_leader:
        return
    if params.pairs.source is not None:
        print(f"{params.pairs.source}: {train.summary()}", file=sys.stderr)
    for split, dataset in datasets.items():
        write_atomic(PAIRS / f"{split}.parquet", dataset.pairs.content())
        write_atomic(COMPLETIONS / f"{split}.parquet", dataset.completions.content())
    write_atomic(PREFERENCES, train.preferences.content())
    statistics = [train.statistics(), *(datasets[split].statistics() for split in SPLITS[1:])]
    write_csv(PLOTS / "pairs.csv", pd.concat(statistics))
    write_json(METRICS / "pairs.json", {"pairs": train.num_pairs})


if __name__ == "__main__":
    run_stage(Params, generate_pairs)
