"""Stage generate_pairs: labelled preference pairs, split by series."""

from pathlib import Path

from goldrm import backbone_files, course, dictionary, preferences
from goldrm.checkpoint import write_json
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.paths import DICTIONARY, METRICS, PAIRS, SFT
from goldrm.stage import run_stage
from goldrm.tables import write_parquet


def generate_pairs(params: Params, work: Path) -> None:
    """Sampled from data/sft, or read from `pairs.source` → data/pairs and metrics/pairs.json."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    labeller = preferences.Labeller(tokens, params.task, params.gold_reward)
    if params.pairs.source is None:
        backbone = backbone_files.load_backbone(SFT, tokens, device)
        pairs, completions = preferences.sample_pairs(
            backbone, labeller, params.sampling, params.pairs.num_pairs, params.seed, work
        )
    else:
        source = Path(params.pairs.source)
        pairs, completions = preferences.pairs_from_sequences(
            course.read_training_set(source), labeller, params.pairs.num_pairs, str(source)
        )
    for split, rows in labeller.by_split(pairs).items():
        write_parquet(PAIRS / f"{split}.parquet", rows)
    write_json(METRICS / "pairs.json", preferences.summary(pairs, completions))


if __name__ == "__main__":
    run_stage(load_params, generate_pairs)
