"""A folder as `dvc repro` leaves it, with small models: what a reward model is loaded from."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from notebook_reference import NotebookLM, NotebookRM
from small_models import ROOT, sizes_for

from goldrm.lm.weights import save_backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import save_reward_model
from goldrm.reward_model.params import LastTokenParams, PlainEnsembleParams
from goldrm.task import dictionary

SHA256 = "ab" * 32  # of the file that the language model was fetched from
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
