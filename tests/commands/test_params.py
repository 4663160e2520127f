"""params.yaml: what is committed loads, and what is wrong is named in one sentence."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from params import load_upstream_params
from pydantic import ValidationError
from small_models import ROOT

from goldrm.commands.params import Params, load_params
from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import read_yaml
from goldrm.training.examples import NO_EDITS

COMMITTED = (ROOT / "params.yaml").read_text()


def load_changed(folder: Path, old: str, new: str) -> Params:
    """The committed parameters, read after a change of the file's text."""
    pattern = rf"^{re.escape(old)}"
    assert len(re.findall(pattern, COMMITTED, re.MULTILINE)) == 1
    path = folder / "params.yaml"
    path.write_text(re.sub(pattern, lambda _: new, COMMITTED, flags=re.MULTILINE))
    return load_params(path)


def value_line(section: str, name: str) -> str:
    """The committed line of a parameter, up to and including its value."""
    block = COMMITTED[re.search(rf"^{section}:", COMMITTED, re.MULTILINE).start() :]
    return re.search(rf"^  {name}: (\{{.*?\}}|\[.*?\]|\S+)", block, re.MULTILINE)[0]


def load_with(folder: Path, parameter: str, value: str) -> Params:
    """The committed parameters with one value replaced by other YAML text."""
    section, _, name = parameter.partition(".")
    if not name:
        return load_changed(
            folder,
            f"{section}: {read_yaml(ROOT / 'params.yaml')[section]} ",
            f"{section}: {value} ",
        )
    return load_changed(folder, value_line(section, name), f"  {name}: {value}")


def test_committed_params_load(params: Params):
    assert params.seed == 0
    assert params.task.max_value == 100
    assert (params.task.start.min, params.task.start.max) == (0, 99)
    assert (params.task.difference.min, params.task.difference.max) == (1, 9)
    assert (params.task.terms.min, params.task.terms.max) == (5, 14)
    assert (params.gold_reward.min, params.gold_reward.max, params.gold_reward.beta) == (1, 7, 0.1)
    assert not any(params.task.holdout.model_dump().values())


def test_baseline_is_the_notebook(params: Params):
    train = params.baseline.train
    assert (params.baseline.reward_model.readout, params.baseline.reward_model.members) == (
        "last_token",
        1,
    )
    assert (train.num_pairs, train.completions_per_prompt, train.ties) == (500, 2, False)
    assert train.edits == NO_EDITS
    assert (train.epochs, train.batch_size, train.stop_loss) == (1001, 100, 0.01)
    assert (train.learning_rate, train.warmup_steps, train.schedule) == (3e-4, 500, "constant")
    assert (train.mse_weight, train.rank_weight, train.margin) == (1.0, 0.1, False)
    assert (train.center_weight, train.patience) == (0.0, None)


def test_upstream_has_the_notebooks_sizes():
    model = load_upstream_params(ROOT / "upstream/params.yaml").model
    assert (model.d, model.num_heads, model.num_layers) == (384, 6, 6)
    assert (model.context_length, model.dropout) == (40, 0.1)


@pytest.mark.parametrize("file", ["params.yaml", "upstream/params.yaml"])
def test_every_value_has_a_comment(file: str):
    lines = (ROOT / file).read_text().splitlines()
    leaves = [line for line in lines if re.match(r"\s*(- )?\w+:\s+[^#\s]", line)]
    assert len(leaves) > 10
    assert [line for line in leaves if not re.search(r"\s# ?\S", line)] == []


def test_params_are_frozen(params: Params):
    with pytest.raises(ValidationError):
        params.train.epochs = 1
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
        ("task.start", "5"),
        ("task.terms", "[5, 14]"),
        ("task.holdout", "{template: 1, difference: [], terms: []}"),
        ("task.holdout", "{template: ['1'], difference: [], terms: []}"),
        ("task.holdout", "{template: [4], difference: [], terms: []}"),
        ("reward_model.layers", "6"),
        ("reward_model.layers", "[0, 3.5]"),
        ("sampling.dropout", "1"),
        ("sampling.dropout", "'yes'"),
        ("train.epochs", "250.0"),
        ("train.learning_rate", "fast"),
        ("train.learning_rate", "'1e-4'"),
        ("train.learning_rate", "true"),
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
        ("gold_reward.beta", "0"),
        ("runtime.processes", "0"),
        ("reward_model.readout", "first_token"),
        ("reward_model.layers", "[]"),
        ("reward_model.layers", "[-1, 3]"),
        ("reward_model.prompt_layers", "[]"),
        ("reward_model.prompt_layers", "[-1]"),
        ("sampling.dtype", "float16"),
        ("reward_model.hidden_size", "0"),
        ("reward_model.channels", "0"),
        ("reward_model.dropout", "1.0"),
        ("reward_model.members", "0"),
        ("reward_model.combine", "median"),
        ("reward_model.uncertainty_weight", "-1.0"),
        ("train.num_pairs", "0"),
        ("train.completions_per_prompt", "1"),
        ("train.ties", "0"),
        ("train.schedule", "linear"),
        ("train.margin", "1.0"),
        ("train.center_weight", "-0.01"),
        ("train.patience", "0"),
        ("evaluate.best_of_n", "{prompts: 60, completions: 1}"),
        ("evaluate.best_of_n", "{prompts: 0, completions: 64}"),
        ("evaluate.probed_prompts", "0"),
        ("evaluate.search_rounds", "-1"),
        ("train.epochs", "0"),
        ("train.batch_size", "0"),
        ("train.learning_rate", "0"),
        ("train.learning_rate", "-1e-4"),
        ("train.warmup_steps", "-1"),
        ("train.weight_decay", "-0.01"),
        ("train.mse_weight", "-1.0"),
        ("train.rank_weight", "-0.1"),
        ("train.stop_loss", "-0.01"),
        ("evaluate.confidence", "1.0"),
        ("evaluate.confidence", "0.0"),
        ("evaluate.examples", "0"),
        # not a number
        ("train.learning_rate", ".nan"),
        ("train.learning_rate", ".inf"),
        ("train.stop_loss", ".inf"),
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
        ("pairs.num_pairs", "null"),
        ("train.learning_rate", "null"),
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
        ("sft.sha256", "A" * 64),
        ("sft.sha256", "a" * 63),
        ("sft.sha256", "g" * 64),
        ("sft.sha256", f"'{'a' * 64} '"),
    ],
)
def test_bad_value_is_named(tmp_path: Path, parameter: str, value: str):
    with pytest.raises(GoldrmError) as error:
        load_with(tmp_path, parameter, value)
    assert str(tmp_path / "params.yaml") in str(error.value)
    assert parameter in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parameter", "value", "also_named"),
    [
        ("task.start", "{min: 9, max: 1}", ["min", "9", "max", "1"]),
        ("task.terms", "{min: 6, max: 5}", ["min", "6", "max", "5"]),
        ("task.start", "{min: 0, max: 101}", ["max", "101", "max_value", "100"]),
        ("task.difference", "{min: 0, max: 9}", ["difference.min"]),
        ("task.terms", "{min: 0, max: 9}", ["terms.min"]),
        ("reward_model.layers", "[3, 0]", ["ascend", "[3, 0]"]),
        ("reward_model.layers", "[0, 3, 3]", ["ascend", "[0, 3, 3]"]),
        ("reward_model.prompt_layers", "[2, 1]", ["ascend", "[2, 1]"]),
        ("gold_reward.min", "7.0", ["min", "7.0", "max"]),
        ("gold_reward.max", "0.5", ["max", "0.5", "min"]),
        ("train.learning_rate", "-0.25", ["train.learning_rate", "-0.25", "greater than 0"]),
        ("sampling.decoder", "beam", ["sampling.decoder", "beam", "kv_cache", "sliding_window"]),
        ("sft.source", "hf://owner/x.pkl", ["sft.source", "hf://owner/x.pkl", "https", "s3"]),
    ],
)
def test_sentence_says_found_and_expected(
    tmp_path: Path, parameter: str, value: str, also_named: list[str]
):
    with pytest.raises(GoldrmError) as error:
        load_with(tmp_path, parameter, value)
    section = parameter.partition(".")[0]
    assert [name for name in [section, *also_named] if name not in str(error.value)] == []


@pytest.mark.parametrize(
    ("parameter", "misspelt"),
    [("train.learning_rate", "lerning_rate"), ("sft.sha256", "sha265"), ("train.epochs", "epoch")],
)
def test_misspelt_parameter_gets_a_suggestion(tmp_path: Path, parameter: str, misspelt: str):
    section, name = parameter.split(".")
    line = value_line(section, name)
    with pytest.raises(GoldrmError) as error:
        load_changed(tmp_path, line, line.replace(name, misspelt))
    assert f"{section}.{misspelt} is not a parameter (did you mean {name}?)" in str(error.value)
    assert f"{parameter} is missing" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    of_exact: 1 ", "    of_exakt: 1 ", "train.edits.of_exakt .*mean of_exact"),
        (
            "    kinds: [one_off, ",
            "    kinds: [one_on, ",
            r"train\.edits\.kinds\.0 is 'one_on'.*one_off",
        ),
        (
            "  holdout: {template: []",
            "  holdout: {templates: []",
            "task.holdout.templates .*mean template",
        ),
        (
            "  holdout: {template: [], difference: []",
            "  holdout: {template: [], difference: [7, 10]",
            r"holdout\.difference names 10, outside difference \(1\.\.9\)",
        ),
        (
            "  holdout: {template: [], difference: [], terms: []",
            "  holdout: {template: [], difference: [], terms: [4]",
            r"holdout\.terms names 4, outside terms \(5\.\.14\)",
        ),
    ],
)
def test_nested_parameter_is_named_with_its_sections(
    tmp_path: Path, old: str, new: str, sentence: str
):
    with pytest.raises(GoldrmError, match=sentence):
        load_changed(tmp_path, old, new)


def test_parameter_of_a_list_gets_a_suggestion(tmp_path: Path):
    text = (ROOT / "upstream/params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("counted_weight:", "counted_weigth:", 1))
    sentence = r"train\.phases\.0\.counted_weigth is not a parameter \(did you mean counted_weight"
    with pytest.raises(GoldrmError, match=sentence):
        load_upstream_params(tmp_path / "params.yaml")


def test_unlike_parameter_gets_the_list(tmp_path: Path):
    line = value_line("runtime", "threads")
    with pytest.raises(GoldrmError, match=r"runtime\.zzz is not a parameter .*device, threads"):
        load_changed(tmp_path, line, f"{line}\n  zzz: 1")


@pytest.mark.parametrize(("old", "new"), [("train:", "trian:"), ("sampling:", "samples:")])
def test_misspelt_section_gets_a_suggestion(tmp_path: Path, old: str, new: str):
    with pytest.raises(GoldrmError) as error:
        load_changed(tmp_path, old, new)
    assert f"{new[:-1]} is not a parameter (did you mean {old[:-1]}?)" in str(error.value)
    assert f"{old[:-1]} is missing" in str(error.value)


def test_missing_parameters_are_all_named(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 0\nruntime: {device: cpu}\n")
    with pytest.raises(GoldrmError) as error:
        load_params(path)
    missing = ["runtime.threads", "task", "sft", "pairs", "train", "evaluate"]
    assert [name for name in missing if f"{name} is missing" not in str(error.value)] == []


@pytest.mark.parametrize("text", ["1e-05", "1e-4", "+1E-4", "1.e-4", ".1e-3", "1.0e-4"])
def test_exponents_are_floats(tmp_path: Path, text: str):
    """`dvc exp run -S train.lr=1e-5` writes 1e-05, a string to YAML 1.1 (DVC issue 5971)."""
    assert load_with(tmp_path, "train.learning_rate", text).train.learning_rate == float(text)


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
        ("train.num_pairs", "500"),
        ("train.patience", "3"),
        ("train.completions_per_prompt", "2"),
        ("reward_model.layers", "[0, 6]"),
        ("reward_model.layers", "[5]"),
        ("reward_model.prompt_layers", "[0, 6]"),
        ("sampling.dtype", "bfloat16"),
        ("pairs.source", "data/source/pairs/train.pt"),
    ],
)
def test_good_value_loads(tmp_path: Path, parameter: str, value: str):
    section, name = parameter.split(".")
    loaded = getattr(getattr(load_with(tmp_path, parameter, value), section), name)
    assert str(loaded) == value


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match="params.yaml doesn't exist"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "content",
    [
        b"train: {epochs: 1",
        b"a: b: c",
        b"\tseed: 0",
        b"seed: 0\n  train: 1",
        b"*unknown",
        b"\xff\xfe\xfa",
        b"\x00",
        b"seed: !!python/object/apply:os.system [exit]",
        b"[" * 100_000,
        b"seed: 2001-13-01",
        b"seed: !!int five",
        b"seed: !!timestamp five",
        b"seed: " + b"9" * 5000,
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_not_yaml_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(GoldrmError) as error:
        load_params(tmp_path / "params.yaml")
    assert str(tmp_path / "params.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_folder_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=re.escape(str(tmp_path))):
        load_params(tmp_path)


@pytest.mark.parametrize("content", ["", "# nothing", "seed", "- seed: 0", "3", "null"])
def test_not_a_mapping_is_named(tmp_path: Path, content: str):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(GoldrmError, match=r"params\.yaml must hold sections"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("key", ["1", "null", "2.5", "[a]"])
def test_key_that_is_no_text_is_named(tmp_path: Path, key: str):
    with pytest.raises(GoldrmError, match=r"params\.yaml"):
        load_changed(tmp_path, "seed:", f"? {key}\n: 1\nseed:")


def test_number_too_long_to_print_is_a_sentence(tmp_path: Path):
    """Python refuses to write integers of more than 4300 digits in decimal, but reads them."""
    with pytest.raises(GoldrmError, match="seed"):
        load_with(tmp_path, "seed", "0x" + "f" * 5000)


def test_aliases_that_multiply_stay_small(tmp_path: Path):
    """Eight lists of ten aliases each are 1 kB of YAML, but half a gigabyte when written out."""
    layers = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    bomb = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *layers])
    path = tmp_path / "params.yaml"
    path.write_text(f"{bomb}\n{COMMITTED.replace('seed: 0 ', 'seed: *a7 ', 1)}")
    code = (
        "import sys; from pathlib import Path; from goldrm.config import load_params\n"
        "from goldrm.errors import GoldrmError\n"
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
    assert "seed" in done.stdout
