"""Stage generate_pairs: labelled preference pairs, split by series."""

from pathlib import Path

from goldrm import backbone_files, course, dictionary, distributed, generation, preferences
from goldrm.checkpoint import write_json, write_whole
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.paths import COMPLETIONS, DICTIONARY, METRICS, PAIRS, SFT
from goldrm.series import SPLITS
from goldrm.stage import run_stage


def generate_pairs(params: Params, work: Path) -> None:
    """Sampled from data/sft, or read → data/pairs, data/completions and metrics/pairs.json."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    labeller = preferences.Labeller(tokens, params.task, params.gold_reward)
    wanted = params.pairs.num_pairs
    if params.pairs.source is None:
        backbone = backbone_files.load_backbone(SFT, tokens, device)
        generation.sample_chunks(backbone, labeller, params.sampling, wanted, params.seed, work)
        chunks = generation.sampled_chunks(work)
    else:
        sequences = course.read_training_set(Path(params.pairs.source))
        chunks = [
            preferences.completions_from_sequences(sequences, labeller, wanted, params.pairs.source)
        ]
    if not distributed.leads():
        return
    collected = preferences.Preferences(labeller, wanted)
    collected.collect(chunks)
    for split in SPLITS:
        write_whole(PAIRS / f"{split}.parquet", collected.pairs[split].content())
        write_whole(COMPLETIONS / f"{split}.parquet", collected.completions[split].content())
    write_json(METRICS / "pairs.json", collected.summary())


if __name__ == "__main__":
    run_stage(load_params, generate_pairs, lambda params: params.runtime.processes)
