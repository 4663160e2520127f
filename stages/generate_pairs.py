"""Stage generate_pairs: labelled completions and preference pairs, split by series."""

from pathlib import Path

from goldrm.common.device import set_up
from goldrm.common.files import write_atomic, write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.tables import write_csv
from goldrm.course.files import read_training_set
from goldrm.generation import chunks
from goldrm.generation.course_completions import completions_from_sequences
from goldrm.generation.params import PairsParams, SamplingParams
from goldrm.generation.preferences import PreferenceDataset
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
    wanted, source = params.pairs.num_pairs, params.pairs.source
    if source is None:
        backbone = load_backbone(SFT, tokens, device)
        chunks.sample_chunks(
            backbone, task, params.sampling, wanted, params.seed, run.work, run.workers
        )
        completions = chunks.sampled_chunks(run.work)
    else:
        sequences = read_training_set(Path(source))
        completions = [completions_from_sequences(sequences, task, wanted, source)]
    if not run.workers.is_leader:
        return
    collected = PreferenceDataset(task, wanted)
    collected.collect(completions)
    for split in SPLITS:
        write_atomic(PAIRS / f"{split}.parquet", collected.pairs[split].content())
        write_atomic(COMPLETIONS / f"{split}.parquet", collected.completions[split].content())
    write_csv(PLOTS / "pairs.csv", collected.statistics())
    write_json(METRICS / "pairs.json", collected.headline())


if __name__ == "__main__":
    run_stage(Params, generate_pairs)
