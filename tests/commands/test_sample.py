"""`goldrm sample`: completions with their rewards."""

import json

import pytest
from click.testing import Result
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.trained import load_trained

pytestmark = pytest.mark.usefixtures("small_project")
PROMPT = "generate an arithmetic series with 5 terms starting with value 3 and common difference 4"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sample", *arguments])


def rows_of(*arguments: str) -> list[dict[str, object]]:
    result = invoke(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_completions_are_sampled_and_judged_the_best_first():
    rows = rows_of(PROMPT, "-k", "5", "--model", "notebook")
    model = load_trained("notebook")
    texts = [row["completion"] for row in rows]
    assert sorted(texts) == sorted(model.sample([PROMPT], 5)[0])
    rewards = [row["reward"] for row in rows]
    assert rewards == pytest.approx(model.score([PROMPT] * 5, texts), abs=1e-5)
    assert rewards == sorted(rewards, reverse=True)
    assert [row["gold_reward"] for row in rows] == model.gold_reward([PROMPT] * 5, texts)


def test_seed_decides_what_is_sampled():
    assert rows_of(PROMPT) == rows_of(PROMPT)
    assert rows_of(PROMPT) != rows_of(PROMPT, "--seed", "1")


def test_prompt_of_no_task_has_completions_without_a_gold_reward():
    rows = rows_of("make a series", "-k", "2")
    assert len(rows) == 2
    assert {(row["gold_reward"], row["mistake"]) for row in rows} == {(None, None)}
    assert "gold" not in invoke("make a series").stdout


def test_print_names_the_mistake():
    lines = invoke(PROMPT, "-k", "3").stdout.splitlines()
    rows = rows_of(PROMPT, "-k", "3")
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(str(row["completion"]))
        assert f"  reward {row['reward']:.2f}  gold reward {row['gold_reward']:.2f}  " in line
        assert line.endswith(str(row["mistake"]))


@pytest.mark.parametrize(("prompt", "said"), [("Write a poem", "'Write'"), (" ", "without a word")])
def test_what_cannot_be_completed_is_a_sentence(prompt: str, said: str):
    result = invoke(prompt)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
