"""Where the pipeline's files lie, below the project's root folder."""

from pathlib import Path

DICTIONARY = Path("data/dictionary.json")
SFT = Path("data/sft")
PAIRS = Path("data/pairs")
PREFERENCES = PAIRS / "preferences.parquet"  # pairs of which only the order is known
COMPLETIONS = Path("data/completions")
EXAMPLES = Path("data/examples")  # a file a recipe
MODELS = Path("data/models")  # a folder a recipe
EVALUATION = Path("data/evaluation")
POLICIES = Path("data/policies")  # a folder a recipe, and gold's
METRICS = Path("metrics")
PLOTS = Path("metrics/plots")
LEARNING_CURVES = Path("metrics/plots/learning_curves")  # a file a recipe
POLICY_METRICS = Path("metrics/policy")  # a file a recipe, and gold's
