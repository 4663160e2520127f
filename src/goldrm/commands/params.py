"""The whole of params.yaml, for commands that look beyond one stage."""

from pathlib import Path

from goldrm.common.params import Section, Seed, SharedRuntimeParams, checked
from goldrm.common.yaml_file import read_yaml
from goldrm.evaluation.params import EvaluateParams
from goldrm.generation.params import PairsParams, SamplingParams
from goldrm.policy.params import PolicyParams
from goldrm.sft.params import SftParams
from goldrm.task.params import DictionaryParams, GoldRewardParams, TaskParams
from goldrm.training.params import Recipes

PARAMS = Path("params.yaml")


class Params(Section):
    """All sections. Stages declare the ones they read; the package never sees the whole."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    dictionary: DictionaryParams
    sft: SftParams
    sampling: SamplingParams
    pairs: PairsParams
    gold_reward: GoldRewardParams
    models: Recipes
    evaluate: EvaluateParams
    policy: PolicyParams


def load_params(path: Path = PARAMS) -> Params:
    """Read and check the project's parameters.

    Raises:
        GoldrmError: names every parameter that is unknown, missing, of the wrong type or out of
            range, what was found and what is allowed.
    """
    return checked(Params, read_yaml(path), path)
