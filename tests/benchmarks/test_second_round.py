"""What the rounds run with, and what is read of their copies."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import second_round
from second_round import accuracies, end, first_round, in_markdown, more_pairs, sampled_by
from small_models import ROOT

import goldrm
from goldrm.commands.params import Params
from goldrm.common.params import checked
from goldrm.common.tables import read_parquet, write_parquet
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.paths import MODELS, PAIRS


def read(params: dict[str, Any]) -> Params:
    return checked(Params, params, ROOT / "params.yaml")


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return read_yaml(ROOT / "params.yaml")


def test_what_is_run_is_allowed(committed: dict[str, Any]):
    first = first_round(committed)
    recipe = read(first).models[second_round.RECIPE]
    assert list(first["models"]) == [second_round.RECIPE]
    assert recipe.training.mse_weight == 0
    assert recipe.data.num_pairs is None  # of what each round brings: all
    sampled = read(sampled_by(Path("/first/model.safetensors"), first))
    assert (sampled.sft.source, sampled.sft.sha256) == ("/first/model.safetensors", None)
    assert sampled.sampling.temperature == sampled.policy.temperature
    assert not sampled.sampling.dropout
    second = read(second_round.second_round(first))
    assert second.pairs.source == "data/source/pairs"
    assert second.sft == read(committed).sft  # the policy starts from the same language model
    assert read(more_pairs(first)).pairs.num_pairs == 2 * committed["pairs"]["num_pairs"]


def test_accuracies_of_a_copy(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Who ranks right is asked of the model, pair by pair."""
    monkeypatch.setattr(second_round, "RECIPE", "token_damage")
    pairs = read_parquet(project / PAIRS / "test.parquet")
    write_parquet(project / "sampled" / PAIRS / "test.parquet", pairs[:1])
    found = accuracies(project, {"its own": project, "the other's": project / "sampled"})
    model = goldrm.load(project / MODELS / "token_damage")
    chosen, rejected = (
        model.score(pairs["prompt"].tolist(), pairs[side].tolist())
        for side in ("chosen", "rejected")
    )
    right = [a > b for a, b in zip(chosen, rejected, strict=True)]
    assert 0 < sum(right) < len(right)
    assert found == {"its own": pytest.approx(sum(right) / len(right)), "the other's": right[0]}


def test_end_of_a_policy():
    """Its own reward promised 1.25 more, and the gold reward lost 1."""
    model = second_round.RECIPE
    rows = [
        {"way": "policy", "model": model, "kl": 0.5, "gold_reward": 5.5, "exact_match": 0.7},
        {"way": "policy", "model": model, "kl": 2.0, "gold_reward": 5.0, "exact_match": 0.5},
        {"way": "policy", "model": "gold", "kl": 3.0, "gold_reward": 6.5, "exact_match": 0.9},
        {"way": "best_of_n", "model": model, "kl": 1.8, "gold_reward": 6.2},
    ]
    looks = pd.DataFrame(rows).assign(
        reward_gain=[1.5, 1.25, 0.5, 0.3], gold_reward_gain=[-0.5, -1.0, 0.5, 0.2]
    )
    assert end(looks) == {
        "kl": 2.0,
        "gold_reward": 5.0,
        "exact_match": 0.5,
        "gold_reward_gain": -1.0,
        "over_estimate": 2.25,
    }


def test_markdown_has_a_line_a_round():
    row = {"pairs": 1500, "accuracy": 0.75, "policy_accuracy": 0.5, "kl": 2.0}
    row |= {"gold_reward": 5.5, "exact_match": 0.5, "gold_reward_gain": -1.0, "over_estimate": 1.5}
    rows = [
        {"round": name, "seed": seed, **row, "accuracy": row["accuracy"] + seed / 4}
        for seed in (0, 1)
        for name in ("first", "second")
    ]
    first, second = in_markdown(pd.DataFrame(rows)).splitlines()[2:]
    start = "| 2 | 1,500 (1,500 – 1,500) | 0.875 (0.750 – 1.000) | 0.500 (0.500 – 0.500) | 2.00 "
    assert first.startswith(f"| first {start}")
    assert second.startswith(f"| second {start}")
    assert second.endswith("| -1.000 (-1.000 – -1.000) | +1.500 (+1.500 – +1.500) |")
