"""params.yaml: what is committed loads, and what is wrong is named in one sentence."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from small_models import ROOT

from goldrm.commands.params import Params, load_params
from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import read_yaml

COMMITTED = (ROOT / "params.yaml").read_text()


def load_edited(folder: Path, name: str, edit: Callable[[dict[str, Any], str], Any]) -> Params:
    """The committed parameters, read after a change of what has a dotted name.

    Args:
        folder: where to write them.
        name: of a parameter or a section.
        edit: changes the section around it, given the last part of its name. Where it puts a
            bytes object, that is YAML text.
    """
    *sections, last = name.split(".")
    values = read_yaml(ROOT / "params.yaml")
    around = reduce(dict.__getitem__, sections, values)
    assert last in around
    edit(around, last)
    texts: list[bytes] = []
    as_json = json.dumps(values, default=lambda text: texts.append(text) or "TEXT")  # JSON is YAML
    path = folder / "params.yaml"
    path.write_text(as_json.replace('"TEXT"', b"".join(texts).decode()))
    return load_params(path)


def load_with(folder: Path, name: str, text: str) -> Params:
    """The committed parameters with one value replaced by other YAML text."""
    return load_edited(folder, name, lambda around, last: around.update({last: text.encode()}))


def load_renamed(folder: Path, name: str, new: str) -> Params:
    """The committed parameters with another name for one of them."""
    return load_edited(folder, name, lambda around, last: around.update({new: around.pop(last)}))


def load_without(folder: Path, name: str) -> Params:
    return load_edited(folder, name, dict.pop)


def sentence_of(load: Callable[..., Params], folder: Path, *arguments: str) -> str:
    """What is said where parameters are wrong."""
    with pytest.raises(GoldrmError) as error:
        load(folder, *arguments)
    assert str(folder / "params.yaml") in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def value_of(params: Params, name: str) -> Any:
    """What has a dotted name."""
    return reduce(
        lambda section, part: (
            section[part] if isinstance(section, dict) else getattr(section, part)
        ),
        name.split("."),
        params,
    )


def test_committed_params_load(params: Params):
    assert params.seed == 0
    assert (params.task.name, params.task.max_value) == ("arithmetic_series", 100)
    series = params.task.arithmetic_series
    assert (series.start.min, series.start.max) == (0, 99)
    assert (series.difference.min, series.difference.max) == (1, 9)
    assert (series.terms.min, series.terms.max) == (5, 14)
    assert (params.gold_reward.min, params.gold_reward.max, params.gold_reward.beta) == (1, 7, 0.1)
    assert not any(series.holdout.model_dump().values())
    assert list(params.models) == ["token_damage", "notebook"]


def test_notebooks_recipe_is_the_notebooks(params: Params):
    recipe = params.models["notebook"]
    data, training = recipe.data, recipe.training
    assert (recipe.readout.kind, recipe.ensemble.members) == ("last_token", 1)
    assert (data.num_pairs, data.completions_per_prompt, data.ties) == (500, 2, False)
    assert data.edits is None
    assert (training.epochs, training.batch_size, training.stop_loss) == (1001, 100, 0.01)
    assert (training.learning_rate, training.warmup_steps) == (3e-4, 500)
    assert (training.schedule, training.weight_decay) == ("constant", 0.01)
    assert (training.mse_weight, training.rank_weight, training.margin) == (1.0, 0.1, False)
    assert (training.center_weight, training.patience) == (0.0, None)


@pytest.mark.parametrize("file", ["params.yaml", "upstream/params.yaml"])
def test_every_value_has_a_comment(file: str):
    lines = (ROOT / file).read_text().splitlines()
    leaves = [line for line in lines if re.match(r"\s*(- )?\w+:\s+[^#\s]", line)]
    assert len(leaves) > 10
    assert [line for line in leaves if not re.search(r"\s# ?\S", line)] == []


def test_params_are_frozen(params: Params):
    with pytest.raises(ValidationError):
        params.models["notebook"].training.epochs = 1
    with pytest.raises(ValidationError):
        params.seed = 1


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        # of the wrong type
        ("seed", "1.5"),
        ("seed", "true"),
        ("seed", "'0'"),
        ("runtime.threads", "two"),
        ("task.arithmetic_series.start", "5"),
        ("task.arithmetic_series.terms", "[5, 14]"),
        ("task.arithmetic_series.holdout", "{template: 1, difference: [], terms: []}"),
        ("task.arithmetic_series.holdout", "{template: ['1'], difference: [], terms: []}"),
        ("task.arithmetic_series.holdout", "{template: [4], difference: [], terms: []}"),
        ("models.token_damage.readout.prompt_layers", "6"),
        ("models.token_damage.readout.prompt_layers", "[0, 3.5]"),
        ("sampling.dropout", "1"),
        ("sampling.dropout", "'yes'"),
        ("models.token_damage.training.epochs", "250.0"),
        ("models.token_damage.training.learning_rate", "fast"),
        ("models.token_damage.training.learning_rate", "'1e-4'"),
        ("models.token_damage.training.learning_rate", "true"),
        # out of range
        ("seed", "-1"),
        ("seed", "9223372036854775808"),
        ("runtime.device", "gpu"),
        ("runtime.threads", "0"),
        ("sampling.decoder", "beam"),
        ("sampling.temperature", "-0.1"),
        ("sampling.max_new_tokens", "0"),
        ("sampling.completions_per_prompt", "1"),
        ("sampling.chunk_size", "0"),
        ("sft.evaluation_prompts", "0"),
        ("pairs.num_pairs", "0"),
        ("pairs.num_validation_pairs", "0"),
        ("pairs.num_test_pairs", "0"),
        ("gold_reward.beta", "0"),
        ("runtime.processes", "0"),
        ("models.token_damage.readout.kind", "first_token"),
        ("models.token_damage.readout.prompt_layers", "[]"),
        ("models.token_damage.readout.prompt_layers", "[-1, 3]"),
        ("sampling.dtype", "float16"),
        ("models.token_damage.readout.hidden_size", "0"),
        ("models.token_damage.readout.damage_kinds", "0"),
        ("models.token_damage.ensemble.members", "0"),
        ("models.token_damage.ensemble.combine", "median"),
        ("models.token_damage.data.num_pairs", "0"),
        ("models.token_damage.data.completions_per_prompt", "1"),
        ("models.token_damage.data.ties", "0"),
        ("models.token_damage.training.schedule", "linear"),
        ("models.token_damage.training.margin", "1.0"),
        ("models.token_damage.training.center_weight", "-0.01"),
        ("models.token_damage.training.patience", "0"),
        ("evaluate.best_of_n", "{prompts: 60, completions: 1}"),
        ("evaluate.best_of_n", "{prompts: 0, completions: 64}"),
        ("evaluate.probed_prompts", "0"),
        ("evaluate.search_rounds", "-1"),
        ("models.token_damage.training.epochs", "0"),
        ("models.token_damage.training.batch_size", "0"),
        ("models.token_damage.training.learning_rate", "0"),
        ("models.token_damage.training.learning_rate", "-1e-4"),
        ("models.token_damage.training.warmup_steps", "-1"),
        ("models.token_damage.training.weight_decay", "-0.01"),
        ("models.token_damage.training.mse_weight", "-1.0"),
        ("models.token_damage.training.rank_weight", "-0.1"),
        ("models.token_damage.training.stop_loss", "-0.01"),
        ("evaluate.confidence", "1.0"),
        ("evaluate.confidence", "0.0"),
        ("evaluate.examples", "0"),
        ("models.token_damage.data.edits.lengths", "-1"),
        ("models.token_damage.data.edits.lengths", "7"),
        ("models.token_damage.data.edits.mistakes", "1001"),
        ("models.token_damage.data.edits.random", "-1"),
        ("models.token_damage.data.edits.kinds", "one_off"),
        ("models.token_damage.data.edits.further_prompts", "-1"),
        ("models.notebook.data.edits", "none"),
        # not a number
        ("models.token_damage.training.learning_rate", ".nan"),
        ("models.token_damage.training.learning_rate", ".inf"),
        ("models.token_damage.training.stop_loss", ".inf"),
        ("sampling.temperature", ".nan"),
        ("gold_reward.min", "-.inf"),
        ("gold_reward.max", ".nan"),
        ("gold_reward.beta", ".inf"),
        # null where a value must stand
        ("seed", "null"),
        ("task.max_value", "null"),
        ("dictionary.source", "null"),
        ("sft.source", "null"),
        ("sampling.decoder", "null"),
        ("pairs.num_test_pairs", "null"),
        ("models.token_damage.training.learning_rate", "null"),
        ("models.token_damage.data.edits.kinds", "null"),
        ("models.token_damage.readout", "null"),
        ("models.notebook", "null"),
        # texts that can't be a source or a checksum
        ("sft.source", "''"),
        ("dictionary.source", "''"),
        ("pairs.source", "''"),
        ("sft.source", "file:///tmp/model.pkl"),
        ("sft.source", "hf://owner/model.safetensors"),
        ("sft.source", "ftp://host/model.pkl"),
        ("dictionary.source", "file:///tmp/dictionary.json"),
        ("dictionary.source", '"a\\0b"'),
        ("sft.source", '"model.pkl\\n"'),
        ("sft.source", "model.bin"),
        ("sft.sha256", "A" * 64),
        ("sft.sha256", "a" * 63),
        ("sft.sha256", "g" * 64),
        ("sft.sha256", f"'{'a' * 64} '"),
    ],
)
def test_bad_value_is_named(tmp_path: Path, parameter: str, value: str):
    assert parameter in sentence_of(load_with, tmp_path, parameter, value)


@pytest.mark.parametrize(
    ("parameter", "value", "also_named"),
    [
        ("task.arithmetic_series.start", "{min: 9, max: 1}", ["min", "9", "max", "1"]),
        ("task.arithmetic_series.terms", "{min: 6, max: 5}", ["min", "6", "max", "5"]),
        ("task.arithmetic_series.start", "{min: 0, max: 101}", ["max", "101", "max_value", "100"]),
        ("task.arithmetic_series.difference", "{min: 0, max: 9}", ["difference.min"]),
        ("task.arithmetic_series.terms", "{min: 0, max: 9}", ["terms.min"]),
        (
            "task.arithmetic_series.terms",
            "{min: 5, max: 101}",
            ["terms.max (101)", "max_value (100)"],
        ),
        ("task.max_value", "8", ["start.max (99)", "max_value (8)"]),
        (
            "task.arithmetic_series.difference",
            "{min: 1, max: 101}",
            ["difference.max (101)", "max_value (100)"],
        ),
        (
            "models.token_damage.readout.prompt_layers",
            "[2, 1]",
            ["prompt_layers", "ascend", "[2, 1]"],
        ),
        ("models.token_damage.readout.prompt_layers", "[0, 3, 3]", ["ascend", "[0, 3, 3]"]),
        ("gold_reward.min", "7.0", ["min", "7.0", "max"]),
        ("gold_reward.max", "0.5", ["max", "0.5", "min"]),
        (
            "models.notebook.training.learning_rate",
            "-0.25",
            ["models.notebook.training.learning_rate is -0.25", "greater than 0"],
        ),
        ("sampling.decoder", "beam", ["sampling.decoder", "beam", "kv_cache", "sliding_window"]),
        ("sft.source", "hf://owner/x.pkl", ["sft.source", "hf://owner/x.pkl", "https", "s3"]),
    ],
)
def test_sentence_says_found_and_expected(
    tmp_path: Path, parameter: str, value: str, also_named: list[str]
):
    sentence = sentence_of(load_with, tmp_path, parameter, value)
    section = parameter.partition(".")[0]
    assert [name for name in [section, *also_named] if name not in sentence] == []


@pytest.mark.parametrize(
    ("parameter", "value", "sentence"),
    [
        ("readout", "{}", "readout.kind is missing"),
        ("readout", "{prompt_layers: [0]}", "readout.kind is missing"),
        ("readout.kind", "mlp", "readout.kind is 'mlp', it should be one of 'last_token', 'token_"),
        ("readout", "{kind: last_token, layers: [0]}", "readout.layers is not a parameter"),
        ("readout.kind", "token_damage", "readout.prompt_layers is missing"),
        ("readout.kind", "token_damage", "readout.damage_kinds is missing"),
        ("ensemble", "{members: 1}", "ensemble.combine is missing"),
        (
            "ensemble.combine",
            "median",
            "ensemble.combine is 'median', it should be one of 'mean', 'worst', 'uncertainty'",
        ),
        ("ensemble.combine", "uncertainty", "ensemble.variance_weight is missing"),
        (
            "ensemble",
            "{members: 2, combine: worst, variance_weight: 1.0}",
            "ensemble.variance_weight is not a parameter",
        ),
        (
            "ensemble",
            "{members: 2, combine: uncertainty, variance_weight: -1.0}",
            "ensemble.variance_weight is -1.0, it should be greater than or equal to 0",
        ),
        (
            "ensemble",
            "{members: 0, combine: uncertainty, variance_weight: 1.0}",
            "ensemble.members is 0, it should be greater than or equal to 1",
        ),
        ("data.edits", "{}", "data.edits.further_prompts is missing"),
    ],
)
def test_choice_is_named_as_the_user_writes_it(
    tmp_path: Path, parameter: str, value: str, sentence: str
):
    """Without the tag by which pydantic tells one kind of readout, or of ensemble, from others."""
    found = sentence_of(load_with, tmp_path, f"models.notebook.{parameter}", value)
    assert f"models.notebook.{sentence}" in found


@pytest.mark.parametrize(
    ("parameter", "misspelt"),
    [
        ("sft.sha256", "sha265"),
        ("models.token_damage.readout.prompt_layers", "prompt_layer"),
        ("models.token_damage.ensemble.members", "member"),
        ("models.token_damage.data.num_pairs", "num_pair"),
        ("models.token_damage.data.edits.random", "randon"),
        ("models.token_damage.training.learning_rate", "lerning_rate"),
        ("models.notebook.training.epochs", "epoch"),
        ("models.notebook.training", "trianing"),
        ("task.arithmetic_series.holdout.template", "templates"),
        ("evaluate.best_of_n.prompts", "promts"),
        ("models", "model"),
        ("sampling", "samples"),
    ],
)
def test_misspelt_parameter_gets_a_suggestion(tmp_path: Path, parameter: str, misspelt: str):
    section, dot, name = parameter.rpartition(".")
    sentence = sentence_of(load_renamed, tmp_path, parameter, misspelt)
    assert f"{section}{dot}{misspelt} is not a parameter (did you mean {name}?)" in sentence
    assert f"{parameter} is missing" in sentence


@pytest.mark.parametrize("parameter", ["readout.kind", "ensemble.combine"])
def test_misspelt_choice_is_missing(tmp_path: Path, parameter: str):
    """What else may stand there depends on it, so there is nothing to suggest."""
    sentence = sentence_of(load_renamed, tmp_path, f"models.notebook.{parameter}", "knd")
    assert f"models.notebook.{parameter} is missing" in sentence


@pytest.mark.parametrize(
    ("parameter", "value", "sentence"),
    [
        (
            "models.token_damage.data.edits.kinds",
            "[swapped, one_on]",
            "models.token_damage.data.edits.kinds.1 is 'one_on', it should be 'one_off',",
        ),
        (
            "task.arithmetic_series.holdout.template",
            "[1, 4]",
            "task.arithmetic_series.holdout.template.1 is 4, it should be 1, 2 or 3",
        ),
        (
            "task.arithmetic_series.holdout.difference",
            "[7, 10]",
            "holdout.difference names 10, outside difference (1..9)",
        ),
        (
            "task.arithmetic_series.holdout.terms",
            "[4]",
            "holdout.terms names 4, outside terms (5..14)",
        ),
    ],
)
def test_item_of_a_list_is_named(tmp_path: Path, parameter: str, value: str, sentence: str):
    assert sentence in sentence_of(load_with, tmp_path, parameter, value)


SOURCES = ["dictionary.source", "sft.source", "pairs.source"]


@pytest.mark.parametrize("parameter", SOURCES)
@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("~/model.pkl", "write the path in full"),
        ("~course/model.pkl", "write the path in full"),
        ("$HOME/model.pkl", "write the path in full"),
        ("${HOME}/model.pkl", "write the path in full"),
        ("folder\\model.pkl", "with / between them"),
        ("C:/folder/model.pkl", "with / between them"),
        ("file:/folder/model.pkl", "with / between them"),
        ("https:/host/model.pkl", "with / between them"),
        ("folder/", "is a folder"),
        ("folder.pkl/", "is a folder"),
        (".", "is a folder"),
        ("..", "is a folder"),
        ("folder/..", "is a folder"),
        (" model.pkl", "holds characters"),
        ("model.pkl ", "holds characters"),
        ("model.pkl\n", "holds characters"),
        (" ", "holds characters"),
        ("", "at least 1 character"),
    ],
)
def test_path_that_is_another_to_dvc_is_refused(
    tmp_path: Path, parameter: str, source: str, named: str
):
    sentence = sentence_of(load_with, tmp_path, parameter, json.dumps(source))
    assert f"{parameter}" in sentence
    assert named in sentence


@pytest.mark.parametrize("parameter", ["dictionary.source", "sft.source"])
@pytest.mark.parametrize(
    "source", ["a.pkl", "/a/b c.pkl", "../a.pkl", "./a.pkl", "a~1.pkl", "a/~/b.pkl", "a:b.pkl"]
)
def test_path_of_any_kind_loads(tmp_path: Path, parameter: str, source: str):
    assert value_of(load_with(tmp_path, parameter, json.dumps(source)), parameter) == source


@pytest.mark.parametrize(
    "source",
    [
        "data/source/pairs",
        "data/source/pairs/a b.csv",
        "./data/source/pairs/a.pt",
        "data/source/../source/pairs/own/a.pt",
    ],
)
def test_pairs_that_dvc_watches_load(tmp_path: Path, source: str):
    assert load_with(tmp_path, "pairs.source", json.dumps(source)).pairs.source == source


@pytest.mark.parametrize(
    "source",
    [
        "a.csv",
        "data/source",
        "data/source/pairs.csv",
        "data/source/pairs2/a.csv",
        "data/source/pairs/../a.csv",
        "../data/source/pairs/a.csv",
        "/data/source/pairs/a.csv",
    ],
)
def test_pairs_that_dvc_does_not_watch_are_refused(tmp_path: Path, source: str):
    sentence = sentence_of(load_with, tmp_path, "pairs.source", json.dumps(source))
    assert (
        f"pairs.source: {source!r} lies outside data/source/pairs, the folder that DVC watches; "
        "copy it there, and name that."
    ) in sentence


@pytest.mark.parametrize("source", ["https:///a.pkl", "s3:///a.pkl", "HTTPS://host/a.pkl"])
def test_url_without_a_host_is_refused(tmp_path: Path, source: str):
    sentence = sentence_of(load_with, tmp_path, "sft.source", source)
    assert "neither a path nor an http, https or s3 URL" in sentence


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("sampling", {"temperature": 0, "dropout": False}, ["temperature 0", "dropout"]),
        ("sampling", {"temperature": 1e-300}, ["sampling.temperature", "write 0, or 0.001"]),
        (
            "models.notebook.training",
            {"mse_weight": 0, "rank_weight": 0},
            ["models.notebook.training: mse_weight and rank_weight are both 0"],
        ),
        (
            "models.notebook.training",
            {"margin": True, "rank_weight": 0},
            ["margin is true", "rank_weight"],
        ),
        ("models.token_damage.data.edits", {"kinds": []}, ["random is 6", "kinds"]),
    ],
)
def test_values_that_cannot_go_together_are_both_named(
    tmp_path: Path, section: str, changes: dict[str, Any], named: list[str]
):
    sentence = sentence_of(
        load_edited, tmp_path, section, lambda around, last: around[last].update(changes)
    )
    assert [text for text in [section, *named] if text not in sentence] == []


@pytest.mark.parametrize(
    "losses", [{}, {"mse_weight": 0}, {"mse_weight": 0, "margin": True}], ids=str
)
def test_label_noise_is_for_ranking_loss_alone(tmp_path: Path, losses: dict[str, Any]):
    """What shows exact gold rewards all the same would see through it."""
    learns_from_gold_rewards = losses != {"mse_weight": 0}

    def change(around: dict[str, Any], last: str) -> None:
        around[last]["data"]["label_noise"] = 0.1
        around[last]["training"].update(losses)

    if learns_from_gold_rewards:
        sentence = sentence_of(load_edited, tmp_path, "models.token_damage", change)
        assert "models.token_damage: data.label_noise flips pairs, but" in sentence
    else:
        recipe = load_edited(tmp_path, "models.token_damage", change).models["token_damage"]
        assert recipe.data.label_noise == 0.1


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("sampling", {"temperature": 0}),
        ("sampling", {"temperature": 0.001, "dropout": False}),
        ("models.notebook.training", {"mse_weight": 0}),
        ("models.notebook.training", {"rank_weight": 0}),
        ("models.notebook.training", {"epochs": 1, "patience": 5, "checkpoint_epochs": 9}),
        ("models.token_damage.data.edits", {"kinds": [], "random": 0}),
        ("pairs", {"num_pairs": 1, "num_validation_pairs": 1, "num_test_pairs": 1}),
    ],
)
def test_values_that_can_go_together_load(tmp_path: Path, section: str, changes: dict[str, Any]):
    loaded = load_edited(tmp_path, section, lambda around, last: around[last].update(changes))
    found = value_of(loaded, section).model_dump()
    assert {name: found[name] for name in changes} == changes


def test_unlike_parameter_gets_the_list(tmp_path: Path):
    sentence = sentence_of(load_renamed, tmp_path, "runtime.threads", "zzz")
    assert "runtime.zzz is not a parameter (there are: device, threads, processes)" in sentence


def test_missing_parameters_are_all_named(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 0\nruntime: {device: cpu}\n")
    with pytest.raises(GoldrmError) as error:
        load_params(path)
    missing = ["runtime.threads", "task", "sft", "pairs", "models", "evaluate"]
    assert [name for name in missing if f"{name} is missing" not in str(error.value)] == []


@pytest.mark.parametrize("text", ["1e-05", "1e-4", "+1E-4", "1.e-4", ".1e-3", "1.0e-4"])
def test_exponents_are_floats(tmp_path: Path, text: str):
    """`dvc exp run -S ….learning_rate=1e-5` writes 1e-05, a string to YAML 1.1 (DVC issue 5971)."""
    name = "models.token_damage.training.learning_rate"
    assert value_of(load_with(tmp_path, name, text), name) == float(text)


@pytest.mark.parametrize("text", ["1e-", "e-4", "1e-4.5", "1e --4"])
def test_what_is_no_exponent_is_a_sentence(tmp_path: Path, text: str):
    name = "models.token_damage.training.learning_rate"
    sentence = sentence_of(load_with, tmp_path, name, text)
    assert f"{name} is {text!r}, it should be a valid number" in sentence


def test_whole_number_is_a_float_too(tmp_path: Path):
    assert load_with(tmp_path, "gold_reward.max", "8").gold_reward.max == 8.0


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("sft.source", "https://host/path/model.pkl?download=1"),
        ("sft.source", "http://127.0.0.1:8000/model.safetensors"),
        ("sft.source", "s3://bucket/model.safetensors"),
        ("sft.source", "../course/SFT_LM model.pkl"),
        ("sft.sha256", "0123456789abcdef" * 4),
        ("models.token_damage.data.num_pairs", "500"),
        ("models.token_damage.training.patience", "3"),
        ("models.token_damage.data.completions_per_prompt", "2"),
        ("models.token_damage.data.edits", "None"),
        ("models.token_damage.readout.prompt_layers", "[0, 6]"),
        ("models.token_damage.readout.prompt_layers", "[5]"),
        ("models.token_damage.ensemble.combine", "worst"),
        ("sampling.dtype", "bfloat16"),
        ("pairs.source", "data/source/pairs/train.pt"),
    ],
)
def test_good_value_loads(tmp_path: Path, parameter: str, value: str):
    text = "null" if value == "None" else value
    assert str(value_of(load_with(tmp_path, parameter, text), parameter)) == value


def test_ensemble_may_weigh_its_uncertainty(tmp_path: Path):
    name = "models.token_damage.ensemble"
    loaded = load_with(tmp_path, name, "{members: 3, combine: uncertainty, variance_weight: 0.5}")
    expected = {"members": 3, "combine": "uncertainty", "variance_weight": 0.5}
    assert value_of(loaded, name).model_dump() == expected


# Recipes


@pytest.mark.parametrize("name", ["a", "notebook_2", "x" * 40, "readout", "last_token", "data"])
def test_recipes_name_is_the_users(tmp_path: Path, name: str):
    assert list(load_renamed(tmp_path, "models.notebook", name).models) == ["token_damage", name]


@pytest.mark.parametrize(
    "name",
    [
        *("", "Notebook", "2nd", "_a", "two words", "a-b", "a.b", "a/b", "../a", "a@b", "${a}"),
        *("a\n", "ä", "x" * 41),
    ],
)
def test_recipes_name_with_odd_characters_is_refused(tmp_path: Path, name: str):
    """It becomes a part of files' names, of a stage's name and of DVC's templates."""
    assert "it should match pattern" in sentence_of(load_renamed, tmp_path, "models.notebook", name)


@pytest.mark.parametrize("name", ["sft", "pairs", "eval", "log_prob", "median"])
def test_recipes_name_that_means_something_else_is_refused(tmp_path: Path, name: str):
    """It would name another stage's metrics file, or another row of the tables."""
    sentence = sentence_of(load_renamed, tmp_path, "models.notebook", name)
    assert f"models.{name}: {name} has another meaning in tables and metrics" in sentence


@pytest.mark.parametrize("name", [b"1", b"null", b"true", b"2001-01-01", b"[a]"])
def test_recipes_name_that_is_no_text_is_refused(tmp_path: Path, name: bytes):
    (tmp_path / "params.yaml").write_text(
        re.sub(r"^  notebook:", f"  ? {name.decode()}\n  :", COMMITTED, flags=re.MULTILINE)
    )
    assert "models" in sentence_of(lambda folder: load_params(folder / "params.yaml"), tmp_path)


@pytest.mark.parametrize("name", ["readout", "last_token", "training"])
def test_what_is_wrong_in_a_recipe_of_any_name_is_named(tmp_path: Path, name: str):
    def rename(models: dict[str, Any], last: str) -> None:
        models[name] = models.pop(last)
        models[name]["readout"]["layers"] = [0]
        models[name]["training"]["epoch"] = models[name]["training"].pop("epochs")

    sentence = sentence_of(load_edited, tmp_path, "models.notebook", rename)
    assert f"models.{name}.readout.layers is not a parameter (there are: kind)" in sentence
    assert f"models.{name}.training.epoch is not a parameter (did you mean epochs?)" in sentence
    assert f"models.{name}.training.epochs is missing" in sentence


@pytest.mark.parametrize("text", ["{}", "null", "[]", "3"])
def test_no_recipe_at_all_is_refused(tmp_path: Path, text: str):
    assert "models is " in sentence_of(load_with, tmp_path, "models", text)


def test_missing_recipes_are_named(tmp_path: Path):
    assert "models is missing" in sentence_of(load_without, tmp_path, "models")


def test_recipe_may_build_on_another(tmp_path: Path):
    """By YAML's own means: an anchor, aliases and a merge."""
    longer = "  longer: {<<: *notebook, ensemble: {members: 2, combine: worst}}\n"
    text = re.sub(r"^  notebook:", "  notebook: &notebook", COMMITTED, flags=re.MULTILINE)
    (tmp_path / "params.yaml").write_text(text.replace("\nevaluate:", f"\n{longer}evaluate:"))
    models = load_params(tmp_path / "params.yaml").models
    assert list(models) == ["token_damage", "notebook", "longer"]
    assert models["longer"].training == models["notebook"].training
    assert (models["longer"].ensemble.members, models["notebook"].ensemble.members) == (2, 1)


# Text that is hard on a reader


@pytest.mark.parametrize("line", ["seed: 0", "      epochs: 16", "    ensemble:", "  notebook:"])
def test_doubled_parameter_is_refused(tmp_path: Path, line: str):
    path, name = tmp_path / "params.yaml", line.partition(":")[0]
    assert f"\n{line}" in f"\n{COMMITTED}"
    path.write_text(f"\n{COMMITTED}".replace(f"\n{line}", f"\n{name}: 1\n{line}", 1))
    with pytest.raises(GoldrmError, match=f'duplicate key "{name.strip()}"'):
        load_params(path)


def test_number_too_long_to_print_is_a_sentence(tmp_path: Path):
    """Python refuses to write integers of more than 4300 digits in decimal, but reads them."""
    assert "seed" in sentence_of(load_with, tmp_path, "seed", "0x" + "f" * 5000)


@pytest.mark.parametrize("parameter", ["seed", "task", "models", "models.notebook.readout"])
def test_alias_of_itself_is_a_sentence(tmp_path: Path, parameter: str):
    for text in ("&a [*a]", "&a {a: *a}"):
        assert parameter in sentence_of(load_with, tmp_path, parameter, text)


@pytest.mark.parametrize(
    "line", ["seed: 0 ", "      prompt_layers: [2] ", "  terms: {min: 5, max: 14} "]
)
def test_aliases_that_multiply_stay_small(tmp_path: Path, line: str):
    """Eight lists of ten aliases each are 1 kB of YAML, but half a gigabyte when written out."""
    layers = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    bomb = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *layers])
    path = tmp_path / "params.yaml"
    assert line in COMMITTED
    name = line.partition(":")[0]
    path.write_text(f"{bomb}\n{COMMITTED.replace(line, f'{name}: *a7 ', 1)}")
    code = (
        "import sys; from pathlib import Path; from goldrm.commands.params import load_params\n"
        "from goldrm.common.errors import GoldrmError\n"
        "try: load_params(Path(sys.argv[1]))\n"
        "except GoldrmError as error: print(error)"
    )
    limit = 384 << 20
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.stderr == ""
    assert name.strip() in done.stdout
