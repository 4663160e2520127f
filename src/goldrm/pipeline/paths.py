"""Where the pipeline's files lie, below the project's root folder."""

from pathlib import Path

DICTIONARY = Path("data/dictionary.json")
SFT = Path("data/sft")
PAIRS = Path("data/pairs")
COMPLETIONS = Path("data/completions")
EXAMPLES = Path("data/examples")  # a file a recipe
MODELS = Path("data/models")  # a folder a recipe
EVALUATION = Path("data/evaluation")
METRICS = Path("metrics")
PLOTS = Path("metrics/plots")
LEARNING_CURVES = Path("metrics/plots/learning_curves")  # a file a recipe
