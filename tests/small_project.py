"""A folder as `dvc repro` leaves it, with small models: what a reward model is loaded from."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from notebook_reference import NotebookLM, NotebookRM
from small_models import ROOT, sizes_for

from goldrm.common.files import read_checked_json
from goldrm.common.tensor_files import read_tensors
from goldrm.lm.sizes import sizes_from
from goldrm.lm.weights import save_backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import save_reward_model
from goldrm.reward_model.params import LastTokenParams, PlainEnsembleParams
from goldrm.task import dictionary

SHA256 = "ab" * 32  # of the file that the language model was fetched from
CURVE = """\
model,seed,step,kl,gold_reward,exact_match,prompts,families
mine,0,0,0,6.125,0.875,96,54
mine,0,12,4.5,5.375,0.625,96,54
"""
SEEDS = {"token_damage": 3, "notebook": 4}  # of each recipe's readout, the notebook's


def write_small_project(folder: Path, d: int = 24) -> dict[str, NotebookRM]:
    """Write params.yaml, the dictionary, a language model, and a model of each recipe.

    Args:
        folder: where to.
        d: width of the language model's hidden states.

    Returns:
        The notebook's reward models with the same weights, by recipe.
    """
    tokens = dictionary.load_source(ROOT / "data/source/dictionary.json", max_value=100)
    sizes = replace(sizes_for(tokens), d=d)
    torch.manual_seed(1)
    lm = NotebookLM(**asdict(sizes)).eval()
    (folder / "data").mkdir(parents=True)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    tokens.save(folder / "data/dictionary.json")
    save_backbone(folder / "data/sft", sizes, lm.state_dict(), {"sha256": SHA256})
    params, ensemble = (
        LastTokenParams(kind="last_token"),
        PlainEnsembleParams(members=1, combine="mean"),
    )
    references: dict[str, NotebookRM] = {}
    for recipe, seed in SEEDS.items():
        readout = new_readout(params, sizes, seed)
        assert isinstance(readout, LastTokenReadout)
        model = folder / "data/models" / recipe
        save_reward_model(
            model,
            [readout.state_dict()],
            params,
            ensemble,
            SHA256,
            {"epoch": 3, "train_loss": 0.25},
        )
        references[recipe] = NotebookRM(lm).eval()
        references[recipe].reward_prediction.load_state_dict(readout.reward_prediction.state_dict())
    return references


def write_small_policy(folder: Path, name: str) -> None:
    """Write, as a policy, a small project's language model, and what it was before and after.

    Args:
        folder: the project's.
        name: of the reward that it was optimised for.
    """
    policy = folder / "data/policies" / name
    config = read_checked_json(folder / "data/sft/config.json")
    state = read_tensors(folder / "data/sft/model.safetensors")
    provenance = {"reward": name, "steps": 12, "temperature": 2.0}
    save_backbone(policy, sizes_from(config, "it"), state, provenance)
    (policy / "curve.csv").write_text(CURVE)
