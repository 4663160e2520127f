"""Where the pipeline's files lie, below the project's root folder."""

from pathlib import Path

DICTIONARY = Path("data/dictionary.json")
SFT = Path("data/sft")
PAIRS = Path("data/pairs")
COMPLETIONS = Path("data/completions")
REWARD_MODEL = Path("data/reward_model")
BASELINE = Path("data/baseline")
METRICS = Path("metrics")
PLOTS = Path("metrics/plots")
