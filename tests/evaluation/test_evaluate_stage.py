"""What the stage refuses before it evaluates."""

import runpy
from pathlib import Path

import pytest
from small_models import ROOT

from goldrm.common.errors import GoldrmError

STAGE = runpy.run_path(str(ROOT / "stages/evaluate.py"), run_name="evaluate")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models and a file of the system's in data/models."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/models"
    for name in ("token_damage", "notebook"):
        (folder / name).mkdir(parents=True)
    (folder / ".DS_Store").touch()
    return folder


def test_models_of_the_recipes_are_evaluated(models: Path):
    STAGE["refuse_other_models"](["token_damage", "notebook"])
    STAGE["refuse_other_models"](["token_damage", "notebook", "to_be_trained"])


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    "left", ["data/models/earlier", "metrics/plots/learning_curves/earlier.csv"]
)
def test_what_a_recipe_that_is_no_more_left_is_refused(left: str):
    if left.endswith(".csv"):
        Path(left).parent.mkdir(parents=True)
        Path(left).touch()
    else:
        Path(left).mkdir()
    with pytest.raises(GoldrmError) as error:
        STAGE["refuse_other_models"](["token_damage", "notebook"])
    assert str(error.value) == (
        f"{left} belongs to no recipe of params.yaml; delete it or add the recipe, then run again."
    )
