"""`goldrm examples`: the notebook's print of pairs, with unseen ones beside."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.trained import load_trained

pytestmark = pytest.mark.usefixtures("small_project")
COLOUR = "\x1b[32m"  # green, of exact series


def printed(*options: str) -> str:
    result = CliRunner().invoke(app, ["examples", *options])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_pairs_have_gold_rewards_and_the_models_rewards():
    rows = [json.loads(line) for line in printed("--model", "notebook", "--json").splitlines()]
    assert [row["pair"] for row in rows] == ["trained on"] * 3 + ["unseen"] * 3
    model = load_trained("notebook")
    for row in rows:
        for side in ("chosen", "rejected"):
            (reward,) = model.score([row["prompt"]], [row[side]])
            assert row[f"{side}_reward"] == pytest.approx(reward, abs=1e-5)
        assert row["chosen_gold_reward"] > row["rejected_gold_reward"]
    # The last term is missing: the one before stands for it, which is the difference off.
    first = rows[0]
    assert (first["chosen_gold_reward"], first["chosen_mistake"]) == (7.0, "exact")
    difference = int(first["chosen"].split()[1]) - int(first["chosen"].split()[0])
    assert first["rejected_mistake"] == "early_stop"
    expected = 1 + 6 / (1 + 0.1 * difference**0.5)
    assert first["rejected_gold_reward"] == pytest.approx(expected)


def test_training_pairs_are_those_that_the_recipe_was_trained_on():
    """Of three pairs a prompt it was trained on one: the others hold the third completion."""
    rows = [json.loads(line) for line in printed("-n", "100", "--json").splitlines()]
    trained_on = [row for row in rows if row["pair"] == "trained on"]
    pairs = pd.read_parquet("data/pairs/train.parquet")
    assert len(trained_on) == len(pairs) / 3 == 4
    assert {row["rejected_mistake"] for row in trained_on} == {"early_stop"}
    unseen = pd.read_parquet("data/pairs/test.parquet")
    assert [row["prompt"] for row in rows if row["pair"] == "unseen"] == unseen["prompt"].tolist()


def test_pairs_are_printed_with_a_word_on_wrong_orders():
    text = printed("-n", "100")
    rows = [json.loads(line) for line in printed("-n", "100", "--json").splitlines()]
    assert text.startswith("4 of 4 pairs trained on, token_damage:\n\n  prompt    ")
    assert "12 of 12 pairs unseen, token_damage:\n" in text
    wrong = [row["chosen_reward"] <= row["rejected_reward"] for row in rows]
    assert text.count("wrong order") == sum(wrong)
    assert 0 < sum(wrong) < len(wrong)  # of random weights
    first = rows[0]
    reward = f"{first['chosen_reward']:.2f}"
    assert f"chosen    {first['chosen']}  gold reward 7.00  reward {reward}\n" in text


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_shows_colours_unless_they_are_not_wanted(no_color: str, coloured: bool):
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("goldrm"), "examples", "-n", "1"]
    environment = os.environ | {"NO_COLOR": no_color}
    subprocess.run(command, stdout=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "pairs unseen" in shown
    assert (COLOUR in shown) == coloured
    assert bool(re.search(r"\x1b", shown)) == coloured


def test_no_colours_elsewhere():
    assert "\x1b" not in printed()
