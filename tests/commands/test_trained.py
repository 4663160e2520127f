"""A model loaded by its folder: `goldrm.load`, and what can be asked of it."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from notebook_reference import NotebookRM, generate, pick_greedy
from small_project import write_small_project

import goldrm
from goldrm.task.dictionary import Dictionary

PROMPT = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
LONGER = (
    "make a series of arithmetic type which starts at 4 with 6 elements and 2 common difference "
    "value"
)
COMPLETIONS = ["10 13 16 19 22", "10 13 16 19 28", "", "100 the 7"]
MODEL = "data/models/token_damage"


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NotebookRM]]:
    folder = tmp_path_factory.mktemp("elsewhere") / "project"
    references = write_small_project(folder)
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("threads: 1 ", "threads: 3 "))
    return folder, references


@pytest.fixture(scope="module")
def project(references: tuple[Path, dict[str, NotebookRM]]) -> Path:
    return references[0]


@pytest.fixture
def model(project: Path) -> goldrm.TrainedModel:
    return goldrm.load(project / MODEL)


def expected(rm: NotebookRM, dictionary: Dictionary) -> list[float]:
    """The notebook's rewards of `COMPLETIONS`."""
    texts = [f"{PROMPT} {completion}".split() for completion in COMPLETIONS]
    with torch.no_grad():
        return rm.predict(
            [torch.tensor([dictionary.ids[word] for word in text]) for text in texts]
        ).tolist()


@pytest.mark.parametrize("recipe", ["token_damage", "notebook"])
def test_scores_are_the_notebooks_whatever_folder_one_is_in(
    references: tuple[Path, dict[str, NotebookRM]],
    dictionary: Dictionary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
):
    project, reference = references
    rewards = pytest.approx(expected(reference[recipe], dictionary), abs=1e-5)
    prompts = [PROMPT] * len(COMPLETIONS)
    for here, folder in [
        (tmp_path, project / "data/models" / recipe),
        (project, Path("data/models") / recipe),
        (project / "data/models", Path(recipe)),
        (project / "data/models" / recipe, Path()),
    ]:
        monkeypatch.chdir(here)
        assert goldrm.load(str(folder)).score(prompts, COMPLETIONS) == rewards


def test_the_process_keeps_its_settings(project: Path):
    def settings() -> list[object]:
        return [
            torch.get_num_threads(),
            torch.get_deterministic_debug_mode(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_rng_state().tolist(),
        ]

    params = (project / "params.yaml").read_text()
    assert f"threads: {torch.get_num_threads()} " not in params
    before = settings()
    model = goldrm.load(project / MODEL)
    model.score([PROMPT], ["10 13"])
    model.sample([PROMPT], n=2)
    assert settings() == before


def test_gold_reward_is_the_formulas_or_none(model: goldrm.TrainedModel):
    """Off by 6: 1 + 6 / (1 + 0.1 √6). Terms that lack count as the last one: 13 for 16, 19, 22."""
    six, lacking = (1 + 6 / (1 + 0.1 * math.sqrt(error)) for error in (6, 3 + 6 + 9))
    prompts = [PROMPT] * 5 + ["the series", PROMPT + " 10", f"  {PROMPT.replace(' ', '  ')}"]
    completions = ["10 13 16 19 22", "10 13 16 19 28", "10 13", "the", "", "1", "13", "10 13"]
    rewards = model.gold_reward(prompts, completions)
    known = [7, six, lacking, None, None, None, None, lacking]
    assert [reward is None for reward in rewards] == [reward is None for reward in known]
    numbers = [reward for reward in known if reward is not None]
    assert [reward for reward in rewards if reward is not None] == pytest.approx(numbers)


def test_greedy_sample_is_the_notebooks(
    references: tuple[Path, dict[str, NotebookRM]], dictionary: Dictionary, tmp_path: Path
):
    """By the notebook's decoder, a sliding window, token by token."""
    lm = references[1]["token_damage"].SFT_LM
    write_small_project(tmp_path / "project")
    path = tmp_path / "project/params.yaml"
    path.write_text(path.read_text().replace("decoder: kv_cache", "decoder: sliding_window"))
    model = goldrm.load(tmp_path / "project" / MODEL)
    greedy = [
        dictionary.decode(generate(lm, torch.tensor(dictionary.encode(prompt)), 20, pick_greedy))
        for prompt in (PROMPT, LONGER)
    ]
    sampled = model.sample([PROMPT, LONGER], n=2, temperature=0, dropout=False)
    assert sampled == [[text] * 2 for text in greedy]


def test_samples_are_a_function_of_the_seed(model: goldrm.TrainedModel):
    many = model.sample([PROMPT, LONGER], n=150, seed=1)  # more than are sampled together
    assert [len(texts) for texts in many] == [150, 150]
    assert len({*many[0]}) > 100
    assert model.sample([PROMPT, LONGER], n=150, seed=1) == many
    assert model.sample([PROMPT, LONGER], n=150, seed=2) != many
    assert model.sample([]) == []


def test_sampling_changes_no_score(model: goldrm.TrainedModel):
    before = model.score([PROMPT] * 2, COMPLETIONS[:2])
    model.sample([PROMPT], dropout=True)
    assert model.score([PROMPT] * 2, COMPLETIONS[:2]) == before


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (([PROMPT], 0), ValueError, "n is 0"),
        (([PROMPT], -1), ValueError, "n is -1"),
        (([" "], 1), goldrm.GoldrmError, "a prompt without a word"),
        (
            (["one word"], 1),
            goldrm.GoldrmError,
            "'one' in 'one word' isn't one of the dictionary's",
        ),
        ((["7 " * 40], 1), goldrm.GoldrmError, "leaves room for 1 in the model's context"),
    ],
)
def test_what_cannot_be_sampled_is_said(
    model: goldrm.TrainedModel,
    arguments: tuple[list[str], int],
    error: type[Exception],
    said: str,
):
    with pytest.raises(error, match=said):
        model.sample(*arguments)
    for temperature in (-0.5, 1e-9, float("nan")):
        with pytest.raises(ValueError, match=f"temperature is {temperature}"):
            model.sample([PROMPT], temperature=temperature)


def test_reward_func_takes_texts_and_token_ids(model: goldrm.TrainedModel, dictionary: Dictionary):
    """As TRL calls it, with the data's columns and ids that end and pad a completion."""
    prompts, completions = [PROMPT] * 3, COMPLETIONS[:3]
    rewards = model.score(prompts, completions)
    prompt_ids = [[dictionary.pad_id, *dictionary.encode(prompt)] for prompt in prompts]
    completion_ids = [
        [*dictionary.encode(text), dictionary.eos_id, dictionary.pad_id] for text in completions
    ]
    columns = {"completion_ids": completion_ids, "margin": [1.0] * 3, "trainer_state": object()}
    assert model.reward_func(prompts=prompts, completions=completions, **columns) == rewards
    assert model.reward_func(prompts, [f" {text} <EOS>" for text in completions]) == rewards
    assert model.reward_func(prompts=prompt_ids, completions=completion_ids, **columns) == rewards
    rows = [torch.tensor(dictionary.encode(text)) for text in completions]
    assert model.reward_func(prompts, rows) == rewards
    assert all(type(reward) is float for reward in rewards)


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        ([{"role": "assistant", "content": "10 13"}], "neither a text nor a list of token ids"),
        (["10", "13"], "neither a text nor a list of token ids"),
        ([1.0], "neither a text nor a list of token ids"),
        ([129], "outside the dictionary's 0…128"),
        ([-1], "outside the dictionary's 0…128"),
        ("10 thirteen", "'thirteen' in '10 thirteen' isn't one of the dictionary's"),
    ],
)
def test_what_reward_func_cannot_score_is_a_sentence(
    model: goldrm.TrainedModel, completion: object, said: str
):
    with pytest.raises(goldrm.GoldrmError, match=said):
        model.reward_func([PROMPT], [completion])


def test_reward_func_by_name_is_the_variables_models(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GOLDRM_MODEL", raising=False)
    with pytest.raises(goldrm.GoldrmError, match="needs the environment variable GOLDRM_MODEL"):
        goldrm.reward_func([PROMPT], ["10"])
    for recipe in ("token_damage", "notebook"):
        folder = project / "data/models" / recipe
        monkeypatch.setenv("GOLDRM_MODEL", str(folder))
        rewards = goldrm.reward_func(prompts=[PROMPT], completions=["10"], margin=[1.0])
        assert rewards == goldrm.load(folder).score([PROMPT], ["10"])


@pytest.mark.parametrize("folder", ["/", "data", "data/models", "data/sft", MODEL])
def test_what_is_no_models_folder_is_said(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
):
    monkeypatch.chdir(tmp_path if folder == MODEL else project)  # without params.yaml
    with pytest.raises(goldrm.GoldrmError, match=f"{folder} isn't the folder of a model"):
        goldrm.load(folder)


def test_model_that_there_is_not_is_named(project: Path):
    with pytest.raises(goldrm.GoldrmError, match=r"models/other/config\.json doesn't exist"):
        goldrm.load(project / "data/models/other")


def test_sections_that_a_model_does_not_need_may_be_another_versions(
    project: Path, model: goldrm.TrainedModel, tmp_path: Path
):
    shutil.copytree(project, tmp_path / "release")
    path = tmp_path / "release/params.yaml"
    params = path.read_text()
    path.write_text(
        "pairs: {}\nfurther: 1\n"
        + params[params.index("task:") : params.index("dictionary:")]
        + params[params.index("gold_reward:") : params.index("models:")]
        + params[params.index("sampling:") : params.index("pairs:")]
    )
    loaded = goldrm.load(tmp_path / "release" / MODEL)
    assert loaded.score([PROMPT], ["10"]) == model.score([PROMPT], ["10"])
    path.write_text(params.replace("beta: 0.1", "beta: steep"))
    with pytest.raises(goldrm.GoldrmError, match="gold_reward.beta is 'steep', it should be a"):
        goldrm.load(tmp_path / "release" / MODEL)


QUICK = """\
import sys, time
start = time.process_time()
import goldrm
assert time.process_time() - start < 0.5
assert {"torch", "numpy", "pandas", "dvc", "matplotlib", "typer"}.isdisjoint(sys.modules)
assert [*map(goldrm.__getattribute__, goldrm.__all__)] == [
    goldrm.GoldrmError, goldrm.TrainedModel, goldrm.load, goldrm.reward_func
]
assert not hasattr(goldrm, "other")
assert {"dvc", "matplotlib", "scipy", "aiohttp", "fsspec"}.isdisjoint(sys.modules)
"""


def test_import_is_quick_and_brings_only_what_is_used():
    subprocess.run([sys.executable, "-c", QUICK], check=True)
