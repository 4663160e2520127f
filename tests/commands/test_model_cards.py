"""The cards of exported models: the figures of the metrics' files, with intervals and n."""

from pathlib import Path

import pytest

from goldrm.commands.model_cards import language_model_card, reward_model_card
from goldrm.common.errors import GoldrmError
from goldrm.lm.model import Backbone
from goldrm.reward_model.model import RewardModelConfig
from goldrm.reward_model.params import LastTokenParams, PlainEnsembleParams
from goldrm.statistics.shares import Estimate

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


@pytest.fixture(autouse=True)
def _metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metrics/plots").mkdir(parents=True)
    (tmp_path / "metrics/mine.json").write_text('{"train": 0.9, "validation": 0.8}')
    (tmp_path / "metrics/plots/statistics.csv").write_text(STATISTICS)
    (tmp_path / "metrics/plots/sft.csv").write_text(SFT)
    monkeypatch.chdir(tmp_path)


def rows(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith("| ")]


def test_a_reward_models_card_has_its_own_statistics():
    card = reward_model_card("mine", CONFIG)
    assert "# The reward model `mine`" in card
    assert "2 readouts of the kind `last_token`" in card
    assert "on the scale of an exact gold reward." in card
    assert "ranked right in 0.9 of all cases" in card
    assert rows(card)[1:] == [
        "| accuracy: share of all unseen pairs ranked right | 0.750 (0.500 – 0.875) | 1,200 | 69 |",
        "| mae: mean absolute error of the reward | 0.062 (0.031 – 0.125) | 2,018 | 74 |",
    ]


def test_a_card_says_where_rewards_are_on_a_scale_of_their_own():
    card = reward_model_card("mine", CONFIG.model_copy(update={"on_gold_scale": False}))
    assert "on a scale of its own." in card


def test_a_language_models_card_has_the_exports_exact_match_beside_ours(backbone: Backbone):
    card = language_model_card(backbone, Estimate(0.625, 0.5, 0.75, 300, 72))
    parameters = sum(weights.numel() for weights in backbone.parameters())
    assert f"A stock OPT of {parameters:,} parameters" in card
    assert rows(card)[1:] == [
        "| exact match as exported | 0.625 (0.500 – 0.750) | 300 | 72 |",
        "| exact match by goldrm's cached decoder | 0.875 (0.750 – 0.938) | 1,000 | 74 |",
        "| exact match by the notebook's sliding window | 0.500 (0.250 – 0.750) | 1,000 | 74 |",
    ]


@pytest.mark.parametrize("name", ["metrics/plots/statistics.csv", "metrics/mine.json"])
def test_missing_and_damaged_metrics_are_refused(name: str):
    Path(name).write_text("{}\n")
    with pytest.raises(GoldrmError, match=f"{name} is damaged. `dvc repro` makes it again."):
        reward_model_card("mine", CONFIG)
    Path(name).unlink()
    with pytest.raises(GoldrmError, match=f"{name} doesn't exist. `dvc repro` makes it."):
        reward_model_card("mine", CONFIG)
