"""The cards of exported models: the figures that were measured with them, with intervals and n."""

import json
from pathlib import Path

import pytest
from small_project import write_small_policy, write_small_project

from goldrm.commands.model_cards import language_model_card, policy_card, reward_model_card
from goldrm.commands.policies import load_policy
from goldrm.common.errors import GoldrmError
from goldrm.lm.model import Backbone
from goldrm.pipeline.hashes import folder_md5, md5
from goldrm.reward_model.gold_scale import Line
from goldrm.reward_model.model import RewardModelConfig
from goldrm.reward_model.params import LastTokenParams, PlainEnsembleParams
from goldrm.statistics.shares import Estimate
from goldrm.task.task import Task

STATISTICS = """\
model,statistic,value,low,high,n,families
mine,accuracy,0.75,0.5,0.875,1200,69
other,accuracy,0.25,0.125,0.5,1200,69
mine,mae,0.0625,0.03125,0.125,2018,74
"""
SFT = """\
statistic,value,low,high,n,families
exact_match,0.875,0.75,0.9375,1000,74
exact_match_sliding,0.5,0.25,0.75,1000,74
nll,0.1,,,1000,74
"""
CONFIG = RewardModelConfig(
    readout=LastTokenParams(kind="last_token"),
    ensemble=PlainEnsembleParams(members=2, combine="mean"),
    sft_sha256="ab" * 32,
    best={},
)
NONE = "goldrm has no figures of this model: no run is recorded here that measured it."
METRICS = {
    "metrics/mine.json": '{"train": 0.9, "validation": 0.8}',
    "metrics/plots/statistics.csv": STATISTICS,
    "metrics/plots/sft.csv": SFT,
}


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's metrics, models of one file each, and the dvc.lock that goes with them."""
    monkeypatch.chdir(tmp_path)
    models = {"data/sft/a": "language model", "data/models/mine/a": "reward model"}
    for name, text in (METRICS | models).items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    hashes = {name: md5(text.encode()) for name, text in METRICS.items()} | {
        "data/sft": folder_md5({"a": md5(b"language model")}),
        "data/models/mine": folder_md5({"a": md5(b"reward model")}),
        "data/models": folder_md5({"mine/a": md5(b"reward model")}),
    }
    stages = {
        "fetch_sft": {"outs": ["data/sft", "metrics/plots/sft.csv"]},
        "train_rm@mine": {"outs": ["data/models/mine", "metrics/mine.json"]},
        "evaluate": {
            "deps": ["data/models", "data/sft"],
            "outs": ["metrics/plots/statistics.csv"],
        },
    }
    lock = {
        stage: {
            part: [{"path": name, "md5": hashes[name]} for name in names]
            for part, names in entry.items()
        }
        for stage, entry in stages.items()
    }
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": lock}))


def rows(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith("| ")]


def test_a_reward_models_card_has_its_own_statistics(task: Task):
    card = reward_model_card("mine", CONFIG, task)
    assert "# The reward model `mine`" in card
    assert "2 readouts of the kind `last_token`" in card
    assert "on the scale of an exact gold reward." in card
    assert "ranked right in 0.9 of all cases, those of the validation split in\n0.8." in card
    assert rows(card)[1:] == [
        "| accuracy: share of all unseen pairs ranked right | 0.750 (0.500 – 0.875) | 1,200 | 69 |",
        "| mae: mean absolute error of the reward | 0.062 (0.031 – 0.125) | 2,018 | 74 |",
    ]
    assert NONE not in card


def test_a_card_says_where_rewards_are_on_a_scale_of_their_own(task: Task):
    card = reward_model_card(
        "mine", CONFIG.model_copy(update={"gold_scale": Line(slope=0.5, intercept=4.0)}), task
    )
    assert "on a scale of its own, where only differences mean something." in card


def test_a_cards_example_is_the_tasks(task: Task):
    example = task.space[task.ids_in("train")[0]]
    exact = " ".join(map(str, example.exact))
    card = reward_model_card("mine", CONFIG, task)
    assert f'prompt = "{example.text}"\ninputs = tokenizer([prompt + " {exact}"],' in card


def test_a_language_models_card_has_the_exports_exact_match_beside_ours(
    backbone: Backbone, task: Task
):
    card = language_model_card(backbone, task, Estimate(0.625, 0.5, 0.75, 300, 72))
    parameters = sum(weights.numel() for weights in backbone.parameters())
    assert f"A stock OPT of {parameters:,} parameters" in card
    assert rows(card)[1:] == [
        "| exact match as exported | 0.625 (0.500 – 0.750) | 300 | 72 |",
        "| exact match by goldrm's cached decoder | 0.875 (0.750 – 0.938) | 1,000 | 74 |",
        "| exact match by the notebook's sliding window | 0.500 (0.250 – 0.750) | 1,000 | 74 |",
    ]
    assert NONE not in card


@pytest.mark.parametrize("changed", ["metrics/plots/sft.csv", "data/sft/a"])
def test_a_language_models_card_has_no_figures_of_another_one(
    backbone: Backbone, task: Task, changed: str
):
    Path(changed).write_text("another")
    card = language_model_card(backbone, task, Estimate(0.625, 0.5, 0.75, 300, 72))
    assert rows(card)[1:] == ["| exact match as exported | 0.625 (0.500 – 0.750) | 300 | 72 |"]
    assert f"\n\n{NONE}\n\n" in card


def test_a_reward_models_card_has_no_figures_of_another_one(task: Task):
    """The evaluation's are of the language model, too; without a run there are none."""
    Path("data/sft/a").write_text("another")
    card = reward_model_card("mine", CONFIG, task)
    assert not rows(card)
    assert "ranked right in 0.9 of all cases" in card
    Path("data/models/mine/a").write_text("another")
    assert f"\n\n{NONE}\n\n" in reward_model_card("mine", CONFIG, task)
    for name in ("dvc.lock", *METRICS):
        Path(name).unlink()
        assert f"\n\n{NONE}\n\n" in reward_model_card("mine", CONFIG, task)


def test_a_policys_card_says_what_it_was_optimised_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_small_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    exact_match = Estimate(0.625, 0.5, 0.75, 300, 72)
    for name, reward in (
        ("gold", "the gold reward"),
        ("notebook", "the reward of the recipe `notebook`"),
    ):
        write_small_policy(Path(), name)
        card = policy_card(load_policy(name), exact_match)
        assert f"# The language model, optimised for {reward}\n" in card
        assert f"By 12 updates it was optimised for {reward}.\nA stock OPT" in card
        assert 'folder = "policy"' in card
    assert "on 96 prompts of 54 such families, before and after the updates" in card
    assert rows(card)[1:] == [
        "| exact match as exported | 0.625 (0.500 – 0.750) | 300 | 72 |",
        "| | before | after |",
        "| mean gold reward of completions sampled at temperature 2 | 6.125 | 5.375 |",
        "| exact match, decoded greedily | 0.875 | 0.625 |",
        "| KL to the language model before, in nats a completion | 0.000 | 4.500 |",
    ]


@pytest.mark.parametrize("content", ["step\n", "step,kl\n0,0\n"])
def test_a_policys_damaged_curve_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
):
    write_small_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    write_small_policy(Path(), "gold")
    Path("data/policies/gold/curve.csv").write_text(content)
    with pytest.raises(GoldrmError, match=r"gold/curve\.csv is damaged\. `dvc repro` makes it"):
        policy_card(load_policy("gold"), Estimate(0.625, 0.5, 0.75, 300, 72))
