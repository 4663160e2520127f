"""What can't work is refused before it begins; what can only be known later isn't."""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM, save_dictionary, save_sft_checkpoint, save_training_set

from goldrm.commands.feasible import refuse_infeasible
from goldrm.commands.params import Params
from goldrm.commands.presets import change_values
from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import write_tensors
from goldrm.lm.sizes import BackboneSizes
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary

Check = Callable[..., None]
PAIRS = Path("data/source/pairs")
ONE_TO_FIVE = Series(template=3, start=1, difference=1, terms=5)  # of the train split
pytestmark = pytest.mark.usefixtures("archives_opened_here")  # test_hostile.py does without


@pytest.fixture
def check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    dictionary: Dictionary,
    small_sizes: BackboneSizes,
    reference_lm: NotebookLM,
) -> Check:
    """Checks the committed parameters with a small language model, after some changes."""
    monkeypatch.chdir(tmp_path)
    PAIRS.mkdir(parents=True)
    dictionary.save(Path("dictionary.json"))
    save_dictionary(Path("step1.pt"), list(dictionary.tokens))
    save_sft_checkpoint(Path("step2.pkl"), reference_lm, ids_as_tensors=True)
    write_tensors(Path("sft.safetensors"), reference_lm.state_dict(), asdict(small_sizes))
    sources = {
        "dictionary": {"source": "dictionary.json"},
        "sft": {"source": "sft.safetensors", "sha256": None},
    }

    def check(**changes: dict[str, Any]) -> None:
        content = params.model_dump()
        for section, values in [*sources.items(), *changes.items()]:
            change_values(content[section], values)
        refuse_infeasible(Params.model_validate(content))

    return check


def test_what_is_committed_can_work(check: Check):
    check()


def test_courses_files_can_work(check: Check, dictionary: Dictionary):
    ids = [dictionary.encode(f"{ONE_TO_FIVE.text} {text}") for text in ("1 2 3 4 5", "1 2")]
    save_training_set(PAIRS / "step3.pt", [[[torch.tensor(own), torch.tensor(1.0)]] for own in ids])
    check(
        dictionary={"source": "step1.pt"},
        sft={"source": "step2.pkl"},
        pairs={"source": str(PAIRS / "step3.pt")},
    )


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("write 7,7,8", None),
        ("write 7,7,101", r"own\.csv: row 0 .*'101'"),
    ],
)
def test_own_pairs_are_looked_through(check: Check, row: str, named: str | None):
    own = PAIRS / "own.csv"
    own.write_text(f"prompt,chosen,rejected\n{row}\n")
    if named is None:
        check(pairs={"source": str(own)})
    else:
        with pytest.raises(GoldrmError, match=named):
            check(pairs={"source": str(own)})


@pytest.mark.parametrize("changes", [{"margin": True}, {"rank_weight": 0.0}], ids=str)
def test_own_pairs_need_a_ranking_loss_without_a_margin(
    check: Check, params: Params, changes: dict[str, Any]
):
    own = PAIRS / "own.csv"
    own.write_text("prompt,chosen,rejected\nwrite 7,7,8\n")
    recipe = params.models["notebook"].model_dump()
    recipe["training"] |= changes
    with pytest.raises(GoldrmError, match=r"Set models\.notebook\.training\.rank_weight above 0"):
        check(pairs={"source": str(own)}, models={"notebook": recipe})


def test_files_that_are_elsewhere_are_not_fetched(check: Check):
    check(sft={"source": "https://127.0.0.1:1/model.pkl"})


@pytest.mark.parametrize(
    "sizes",
    [
        {"pairs": {"num_pairs": 1, "num_validation_pairs": 1, "num_test_pairs": 1}},
        {"pairs": {"num_pairs": 100}},
        {"sampling": {"completions_per_prompt": 2, "chunk_size": 1}},
        {"task": {"arithmetic_series": {"terms": {"min": 5, "max": 5}}}},
    ],
    ids=str,
)
def test_small_sizes_can_work(check: Check, sizes: dict[str, dict[str, Any]]):
    check(**sizes)


@pytest.mark.parametrize(
    ("section", "source"),
    [("dictionary", "none.pkl"), ("sft", "none.pkl"), ("pairs", f"{PAIRS}/none.pkl")],
)
def test_missing_file_is_named(check: Check, section: str, source: str):
    with pytest.raises(GoldrmError, match=r"none\.pkl doesn't exist"):
        check(**{section: {"source": source}})


@pytest.mark.parametrize(
    ("section", "source", "named"),
    [
        ("dictionary", "folder.pkl", "can't be read"),
        ("sft", "folder.pkl", "can't be read"),
        ("pairs", str(PAIRS), "holds no file that ends in"),
    ],
)
def test_folder_is_named(check: Check, section: str, source: str, named: str):
    Path(source).mkdir(exist_ok=True)
    with pytest.raises(GoldrmError, match=rf"{source} {named}"):
        check(**{section: {"source": source}})


@pytest.mark.parametrize("section", ["dictionary", "sft"])
@pytest.mark.parametrize("where", ["data/sft/x.pkl", "./data/pairs/x.pkl", "data/models/a/x.pkl"])
@pytest.mark.parametrize("absolute", [False, True])
def test_what_a_stage_writes_is_no_source(
    check: Check, tmp_path: Path, section: str, where: str, absolute: bool
):
    source = str(tmp_path / where) if absolute else where
    with pytest.raises(GoldrmError, match=rf"{section}\.source is .*removes and makes again"):
        check(**{section: {"source": source}})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {
                "task": {
                    "arithmetic_series": {
                        "start": {"min": 3, "max": 3},
                        "difference": {"min": 2, "max": 2},
                    }
                }
            },
            r"the \w+ split has no prompts.*task\.arithmetic_series.*task\.split_seed",
        ),
        (
            {"task": {"arithmetic_series": {"holdout": {"template": [1, 2, 3]}}}},
            r"task\.arithmetic_series\.holdout names all prompts of the train split",
        ),
        (
            {"sampling": {"max_new_tokens": 21}},
            r"sampling\.max_new_tokens is 21.*sampling\.decoder to sliding_window",
        ),
        ({"task": {"max_value": 200}}, r"lacks '101'.*task\.max_value, 200"),
        ({"task": {"name": "sorting"}}, r"dictionary\.json: .* lacks 'sort', .*dictionary\.source"),
        ({"sft": {"sha256": "0" * 64}}, "sft.sha256 pins 000"),
    ],
)
def test_what_cannot_work_is_named(check: Check, changes: dict[str, Any], named: str):
    with pytest.raises(GoldrmError, match=named):
        check(**changes)


def test_remedies_work(check: Check):
    check(sampling={"max_new_tokens": 21, "decoder": "sliding_window"})


def test_layer_that_the_language_model_lacks_is_named(check: Check, params: Params):
    models = params.model_dump()["models"]
    models["token_damage"]["readout"]["prompt_layers"] = [1, 3]
    with pytest.raises(GoldrmError, match=re.escape("models.token_damage.readout.prompt_layers")):
        check(models=models)


def test_other_dictionary_is_named(check: Check, dictionary: Dictionary):
    Dictionary((*dictionary.tokens, "more"), 100).save(Path("more.json"))
    with pytest.raises(GoldrmError, match=r"sft\.safetensors declares num_tokens = 129"):
        check(dictionary={"source": "more.json"})


def test_damaged_checkpoint_is_named(check: Check):
    torch.save({"net_parameters": {}, "SFT_LMnet_dict": {}}, "step2.pkl")
    with pytest.raises(GoldrmError, match=r"step2\.pkl doesn't say its num_tokens"):
        check(sft={"source": "step2.pkl"})
