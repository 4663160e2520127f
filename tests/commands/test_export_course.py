"""What is exported is what the notebook saves: its own classes load it, and predict the same."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from notebook_reference import (
    NotebookLM,
    NotebookRM,
    freeze_backbone,
    load_rm_checkpoint,
    optimizer_and_scheduler,
    save_rm_checkpoint,
    training_step,
)
from small_models import ROOT

from goldrm.commands.export_course import write_policy, write_reward_model
from goldrm.commands.params import Params
from goldrm.commands.policies import load_policy
from goldrm.commands.trained import TrainedModel
from goldrm.common.errors import GoldrmError
from goldrm.course.files import read_sft_checkpoint
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.lm.weights import save_backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import RewardModel, save_reward_model
from goldrm.task.dictionary import Dictionary
from goldrm.task.task import Task
from goldrm.training.params import Recipe

BEST = {"epoch": 12, "step": 60, "train_loss": 0.25, "validation_loss": 0.5}
PROMPT = "generate an arithmetic series with 5 terms starting with value 2 and common difference 2"


@pytest.fixture(scope="module")
def recipe(params: Params) -> Recipe:
    """The notebook's."""
    return params.models["notebook"]


@pytest.fixture
def readout(recipe: Recipe, small_sizes: BackboneSizes) -> LastTokenReadout:
    readout = new_readout(recipe.readout, small_sizes, seed=0)
    assert isinstance(readout, LastTokenReadout)
    return readout


@pytest.fixture
def trained(
    backbone: Backbone,
    readout: LastTokenReadout,
    recipe: Recipe,
    params: Params,
    task: Task,
    tmp_path: Path,
) -> TrainedModel:
    """The notebook's reward model, as a stage leaves it."""
    states = [readout.state_dict()]
    save_reward_model(tmp_path / "rm", states, recipe.readout, recipe.ensemble, "ab" * 32, BEST)
    reward_model = RewardModel(backbone, [readout], recipe.ensemble, task.dictionary)
    return TrainedModel(tmp_path / "rm", reward_model, task, params.sampling)


@pytest.fixture
def path(trained: TrainedModel, recipe: Recipe, tmp_path: Path) -> Path:
    """An exported reward model."""
    path = tmp_path / "exported.pkl"
    write_reward_model(path, trained, recipe.training)
    return path


@pytest.fixture
def other_lm(small_sizes: BackboneSizes) -> NotebookLM:
    """The notebook's model with other weights, for the export to overwrite."""
    torch.manual_seed(77)
    return NotebookLM(**asdict(small_sizes)).eval()


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def test_notebook_loads_it_and_predicts_the_same_rewards(
    path: Path, trained: TrainedModel, dictionary: Dictionary, other_lm: NotebookLM
):
    completions = ["2 4 6 8 10", "2 4 6 8 16", "2", "2 4 6 8 10 <EOS>", " ".join(["7"] * 25)]
    texts = [f"{PROMPT} {completion}" for completion in completions]
    sequences = [torch.tensor(dictionary.encode(text)) for text in texts]
    rewards = trained.reward_model.score([PROMPT] * 5, completions)
    loaded = load_rm_checkpoint(path, other_lm).eval()
    with torch.no_grad():
        assert loaded.predict(sequences).tolist() == pytest.approx(rewards, abs=1e-5)


def test_file_has_what_the_notebooks_own_has(path: Path, other_lm: NotebookLM, tmp_path: Path):
    """The same keys in the same order, down to the state dict's shapes, and numbers as numbers."""
    rm = NotebookRM(other_lm)
    save_rm_checkpoint(tmp_path / "own.pkl", rm, *optimizer_and_scheduler(rm), epoch=3, loss=0.1)
    exported, own = load(path), load(tmp_path / "own.pkl")
    assert list(exported) == list(own)
    for name in ("epoch", "tot_time", "loss"):
        assert type(exported[name]) is type(own[name])
    assert exported["net_parameters"] == own["net_parameters"]
    described = [
        [(name, tensor.shape, tensor.dtype) for name, tensor in file["SL_RMnet_dict"].items()]
        for file in (exported, own)
    ]
    assert described[0] == described[1]


def test_epoch_and_loss_are_of_the_kept_step(path: Path):
    exported = load(path)
    assert (exported["epoch"], exported["loss"], exported["tot_time"]) == (12, 0.25, 0.0)


def test_optimizer_and_scheduler_are_the_notebooks_at_their_start(path: Path, other_lm: NotebookLM):
    optimizer, scheduler = optimizer_and_scheduler(load_rm_checkpoint(path, other_lm))
    exported = load(path)
    assert exported["optimizer"] == optimizer.state_dict()
    assert exported["scheduler"] == scheduler.state_dict()


def test_notebook_trains_on_from_it(path: Path, other_lm: NotebookLM, dictionary: Dictionary):
    """Three steps from the exported states change the head as three from fresh ones do."""
    exported = load(path)
    pair = [
        [[torch.tensor(dictionary.encode(f"{PROMPT} {text}")), torch.tensor(reward)]]
        for text, reward in [("2 4 6 8 10", 7.0), ("2 4 6 8 16", 5.82)]
    ]
    heads: list[dict[str, Any]] = []
    for restore in (True, False):
        rm = load_rm_checkpoint(path, other_lm).eval()
        freeze_backbone(rm)
        optimizer, scheduler = optimizer_and_scheduler(rm)
        if restore:
            optimizer.load_state_dict(exported["optimizer"])
            scheduler.load_state_dict(exported["scheduler"])
        for _ in range(3):
            training_step(rm, optimizer, scheduler, *pair)
        assert scheduler.get_last_lr() == [pytest.approx(3e-4 * 3 / 500)]
        heads.append(rm.reward_prediction.state_dict())
    for name, tensor in heads[0].items():
        torch.testing.assert_close(tensor, heads[1][name], atol=1e-6, rtol=0)
        assert not torch.equal(tensor, exported["SL_RMnet_dict"][f"reward_prediction.{name}"])


def test_exporting_twice_gives_the_same_bytes(
    path: Path, trained: TrainedModel, recipe: Recipe, tmp_path: Path
):
    again = tmp_path / "elsewhere" / "another name.pkl"
    write_reward_model(again, trained, recipe.training)
    assert again.read_bytes() == path.read_bytes()


def test_exporting_changes_nothing(
    path: Path, backbone: Backbone, readout: LastTokenReadout, reference_lm: NotebookLM
):
    for name, tensor in reference_lm.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], tensor)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert all(parameter.requires_grad for parameter in readout.parameters())


def test_file_that_cannot_be_written_is_named(
    trained: TrainedModel, recipe: Recipe, tmp_path: Path
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GoldrmError, match=r"file/exported\.pkl can't be written"):
        write_reward_model(tmp_path / "file" / "exported.pkl", trained, recipe.training)
    assert (tmp_path / "file").read_text() == "in the way"


def test_policy_is_written_as_the_notebooks_step_2(
    backbone: Backbone,
    small_sizes: BackboneSizes,
    dictionary: Dictionary,
    other_lm: NotebookLM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """The notebook's own class loads it, and so does sft.source."""
    monkeypatch.chdir(tmp_path)
    dictionary.save(Path("data/dictionary.json"))
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    save_backbone(
        Path("data/policies/gold"), small_sizes, backbone.state_dict(), {"reward": "gold"}
    )
    write_policy(Path("step2.pkl"), load_policy("gold"))
    content = load(Path("step2.pkl"))
    assert content.keys() == {"epoch", "tot_time", "loss", "net_parameters", "SFT_LMnet_dict"}
    assert content["net_parameters"] == asdict(small_sizes)
    other_lm.load_state_dict(content["SFT_LMnet_dict"], strict=True)
    token_ids = torch.tensor([dictionary.encode(PROMPT)])
    torch.testing.assert_close(
        other_lm.token_prediction(other_lm.hidden_states(token_ids)), backbone(token_ids)
    )
    _, state = read_sft_checkpoint(Path("step2.pkl"), "step2.pkl")
    assert all(state[name].equal(tensor) for name, tensor in backbone.state_dict().items())
    with pytest.raises(GoldrmError, match="no policy 'other', but of token_damage, notebook, gold"):
        load_policy("other")
