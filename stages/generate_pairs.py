"""Stage generate_pairs: labelled completions and preference pairs, split by family."""

from pathlib import Path

import pandas as pd

from goldrm.common.device import set_up
from goldrm.common.files import write_atomic, write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.tables import write_csv
from goldrm.course.files import read_training_set
from goldrm.generation.course_completions import collect_course_pairs
from goldrm.generation.params import PairsParams, SamplingParams
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.split_sampling import SplitSampler, sample_split
from goldrm.lm.weights import load_backbone
from goldrm.pipeline.paths import COMPLETIONS, DICTIONARY, METRICS, PAIRS, PLOTS, SFT
from goldrm.pipeline.stage import Run, run_stage
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.series import SPLITS
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
    source = params.pairs.source
    samplers = {
        split: SplitSampler(split, backbone, task, params.sampling, params.seed) for split in SPLITS
    }
    datasets = [PreferenceDataset(split, params.pairs.num_wanted(split), task) for split in SPLITS]
    for dataset in datasets:
        if source is not None and dataset.split == "train":
            collect_course_pairs(read_training_set(Path(source)), dataset, task, source)
        else:
            sample_split(samplers[dataset.split], dataset, run.work / dataset.split, run.workers)
    if not run.workers.is_leader:
        return
    for dataset in datasets:
        write_atomic(PAIRS / f"{dataset.split}.parquet", dataset.pairs.content())
        write_atomic(COMPLETIONS / f"{dataset.split}.parquet", dataset.completions.content())
    write_csv(PLOTS / "pairs.csv", pd.concat(dataset.statistics() for dataset in datasets))
    write_json(METRICS / "pairs.json", {"pairs": len(datasets[0].pairs)})


if __name__ == "__main__":
    run_stage(Params, generate_pairs)
