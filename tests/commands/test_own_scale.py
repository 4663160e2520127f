"""Commands that show rewards say where these are on a scale of their own, and only there."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.common.files import read_checked_json, write_checked_json

PROMPT = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
NOTE = (
    "note: ranking alone taught notebook: its rewards are on a scale of their own, and only their "
    "differences mean something.\n"
)
COMMANDS = [
    ["score", PROMPT, "10 13 16"],
    ["sample", PROMPT, "-k", "1"],
    ["examples", "-n", "1", "--json"],
    ["export", "course", "step3.pkl"],
]


@pytest.fixture(autouse=True)
def _ranked(small_project: Path) -> None:
    path = small_project / "data/models/notebook/config.json"
    write_checked_json(
        path, read_checked_json(path) | {"gold_scale": {"slope": 0.5, "intercept": 4.0}}
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_what_ranking_alone_taught_is_said(command: list[str]):
    for model, said in (("notebook", True), ("token_damage", False)):
        result = CliRunner().invoke(app, [*command, "--model", model])
        assert result.exit_code == 0, result.stderr
        assert (NOTE in result.stderr) == said
        assert "note:" not in result.stdout
