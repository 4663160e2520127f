"""A reward belongs to its prompt and completion, and to nothing that is beside them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json, write_checked_json
from goldrm.common.tensor_files import read_tensors, write_tensors
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.lm.weights import save_backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import (
    SCORE_BATCH,
    RewardModel,
    load_reward_model,
    read_reward_model_config,
    save_reward_model,
)
from goldrm.reward_model.params import (
    EnsembleParams,
    LastTokenParams,
    PlainEnsembleParams,
    ReadoutParams,
    TokenDamageParams,
    UncertaintyEnsembleParams,
)
from goldrm.reward_model.token_damage import TokenDamageReadout
from goldrm.task.dictionary import Dictionary

CPU = torch.device("cpu")
PROMPT = "make a series of arithmetic type which starts at 3 with 7 elements and 4 common " + (
    "difference value"
)


@pytest.fixture
def reference_rm(reference_lm: NotebookLM) -> NotebookRM:
    torch.manual_seed(2)
    return NotebookRM(reference_lm).eval()


@pytest.fixture
def reward_model(
    backbone: Backbone, reference_rm: NotebookRM, dictionary: Dictionary
) -> RewardModel:
    """Ours with the reference's weights."""
    readout = LastTokenReadout(24)
    readout.reward_prediction.load_state_dict(reference_rm.reward_prediction.state_dict())
    ensemble = PlainEnsembleParams(members=1, combine="mean")
    return RewardModel(backbone, [readout], ensemble, dictionary)


@pytest.fixture
def two_members(
    backbone: Backbone, dictionary: Dictionary, token_damage: TokenDamageParams
) -> RewardModel:
    """Two readouts of every token; the worse reward counts."""
    members = [new_readout(token_damage, backbone.sizes, seed) for seed in (1, 2)]
    ensemble = PlainEnsembleParams(members=2, combine="worst")
    return RewardModel(backbone, members, ensemble, dictionary)


@pytest.fixture(params=["reward_model", "two_members"])
def either(request: pytest.FixtureRequest) -> RewardModel:
    return request.getfixturevalue(request.param)


def notebooks(rm: NotebookRM, dictionary: Dictionary, texts: list[str]) -> list[float]:
    """The reference's rewards; of texts longer than the context the last 40 tokens."""
    with torch.no_grad():
        return rm.predict([torch.tensor(dictionary.encode(text)[-40:]) for text in texts]).tolist()


def some_completions(count: int) -> list[str]:
    generator = torch.Generator().manual_seed(8)

    def drawn(low: int, high: int, size: int) -> Tensor:
        return torch.randint(low, high, (size,), generator=generator)

    return [" ".join(map(str, drawn(0, 101, n).tolist())) for n in drawn(1, 30, count).tolist()]


def approx(rewards: list[float]) -> object:
    return pytest.approx(rewards, abs=1e-5)


def test_rewards_are_the_notebooks(
    reward_model: RewardModel, reference_rm: NotebookRM, dictionary: Dictionary
):
    completions = some_completions(12)
    rewards = reward_model.score([PROMPT] * 12, completions)
    assert rewards == approx(
        notebooks(reference_rm, dictionary, [f"{PROMPT} {text}" for text in completions])
    )


@pytest.mark.parametrize("ending", ["<PAD>", "<EOS>", "<EOS> <PAD>", "<EOS> <EOS>", "<SEP>"])
def test_completion_that_ends_like_padding_is_scored_at_its_real_end(
    reward_model: RewardModel, reference_rm: NotebookRM, dictionary: Dictionary, ending: str
):
    """transformers' issue 35352: the last token was looked for by its id, so not by position."""
    texts = ["3 7 11", f"3 7 11 {ending}"]
    rewards = reward_model.score([PROMPT] * 2, texts)
    assert rewards == approx(
        notebooks(reference_rm, dictionary, [f"{PROMPT} {text}" for text in texts])
    )
    assert abs(rewards[0] - rewards[1]) > 1e-4


def test_chosen_and_rejected_of_different_lengths_differ(reward_model: RewardModel):
    """RLHFlow's issue 49: both got identical scores, of a padding token."""
    chosen, rejected = reward_model.score([PROMPT] * 2, ["3 7 11 15 19 23 27", "3 7 11 15 27"])
    assert abs(chosen - rejected) > 1e-4


def test_long_text_counts_by_its_last_40_tokens(
    reward_model: RewardModel, reference_rm: NotebookRM, dictionary: Dictionary
):
    completion = " ".join(map(str, range(60)))
    rewards = reward_model.score([PROMPT, "series " * 30, ""], [completion] * 3)
    assert rewards == approx(notebooks(reference_rm, dictionary, [completion]) * 3)


def test_reward_does_not_depend_on_company_order_or_batch(either: RewardModel):
    """reward-bench's issue 137: scores changed with the batch size."""
    completions = some_completions(SCORE_BATCH + 44)
    prompts = [PROMPT, "write the series"] * (len(completions) // 2)
    together = either.score(prompts, completions)
    backwards = either.score(prompts[::-1], completions[::-1])
    assert backwards[::-1] == approx(together)
    some = range(0, len(completions), 7)
    alone = [either.score([prompts[i]], [completions[i]])[0] for i in some]
    assert [together[i] for i in some] == approx(alone)
    assert len({round(reward, 4) for reward in together}) > 200, "the rewards should differ"


@pytest.mark.parametrize("combine", ["worst", "mean"])
def test_members_are_combined_and_no_reward_is_above_the_ceiling(
    two_members: RewardModel, combine: str
):
    """The ceiling is the combined reward's: that of a doubtful and a sure member may be there."""
    ensemble = two_members.ensemble.model_copy(update={"combine": combine})
    model = replace(two_members, ensemble=ensemble)
    texts = [PROMPT] * 8, some_completions(8)
    by_member = [replace(model, members=[member]).score(*texts) for member in model.members]
    assert all(abs(a - b) > 1e-4 for a, b in zip(*by_member, strict=True)), "they should differ"
    combination = min if combine == "worst" else fmean
    together = [combination(both) for both in zip(*by_member, strict=True)]
    assert model.score(*texts) == approx(together)
    ceiling = sorted(together)[4]
    for member in model.members:
        assert isinstance(member, TokenDamageReadout)
        member.ceiling.fill_(ceiling)
    assert model.score(*texts) == approx([min(reward, ceiling) for reward in together])


def test_dropout_is_off(either: RewardModel):
    expected = either.score([PROMPT], ["3 7"])
    either.backbone.train()
    for member in either.members:
        member.train()
    assert either.score([PROMPT], ["3 7"]) == expected


def test_white_space_does_not_matter(either: RewardModel):
    assert either.score([f" {PROMPT}\n"], ["3  7\t11 "]) == either.score([PROMPT], ["3 7 11"])


def test_prompt_alone_has_a_reward(
    reward_model: RewardModel, reference_rm: NotebookRM, dictionary: Dictionary
):
    assert reward_model.score([PROMPT], [""]) == approx(
        notebooks(reference_rm, dictionary, [PROMPT])
    )


def test_every_text_has_a_reward_of_its_own(two_members: RewardModel):
    """No completion, no prompt, and both of any length."""
    long = " ".join(["7"] * 60)
    texts = [(PROMPT, ""), ("", "3 7"), (long, "3"), (PROMPT, long), (long, long)]
    rewards = two_members.score(*zip(*texts, strict=True))
    assert len({round(reward, 5) for reward in rewards}) == len(texts)
    assert all(map(isfinite, rewards))


def test_nothing_to_score_has_no_rewards(either: RewardModel):
    assert either.score([], []) == []


@pytest.mark.parametrize(
    ("prompt", "completion", "word"),
    [
        (PROMPT, "3 7 eleven", "eleven"),
        ("compose a series", "3 7", "compose"),
        (PROMPT, "101", "101"),
    ],
)
def test_word_outside_the_dictionary_is_refused(
    either: RewardModel, prompt: str, completion: str, word: str
):
    with pytest.raises(GoldrmError, match=rf"'{word}' in .* isn't one of the dictionary's 129"):
        either.score([PROMPT, prompt], ["3 7", completion])


@pytest.mark.parametrize(("prompt", "completion"), [("", ""), ("  ", "\n")])
def test_nothing_at_all_is_refused(either: RewardModel, prompt: str, completion: str):
    with pytest.raises(GoldrmError, match="without a word"):
        either.score([PROMPT, prompt], ["3 7", completion])


class TwoInTurn(Workers):
    """Does every second chunk's work; the others' results are those given."""

    def __init__(self, others: list[Tensor]) -> None:
        self.others = others

    def map_to_all(self, chunks: Iterable[int], work: Callable[[int], Any]) -> list[Any]:
        return [
            self.others[number] if number % 2 else work(chunk)
            for number, chunk in enumerate(chunks)
        ]


def test_processes_share_the_work(either: RewardModel):
    """Each chunk's rewards are those of its texts, whoever scores them."""
    completions = some_completions(2 * SCORE_BATCH + 10)
    marked = [torch.full((n,), 100.0) for n in (SCORE_BATCH, SCORE_BATCH, 10)]
    rewards = either.score([PROMPT] * len(completions), completions, TwoInTurn(marked))
    assert rewards[SCORE_BATCH : 2 * SCORE_BATCH] == [100.0] * SCORE_BATCH
    own = completions[:3] + completions[-3:]
    assert rewards[:3] + rewards[-3:] == approx(either.score([PROMPT] * 6, own))


# The folder


@pytest.fixture
def sft_folder(backbone: Backbone, tmp_path: Path) -> Path:
    folder = tmp_path / "sft"
    save_backbone(folder, backbone.sizes, backbone.state_dict(), {"sha256": "a" * 64})
    return folder


BEST = {"step": 7, "validation_loss": 0.5}


@pytest.fixture
def readout_params(
    either: RewardModel, last_token: LastTokenParams, token_damage: TokenDamageParams
) -> ReadoutParams:
    """Of either's members."""
    return last_token if isinstance(either.members[0], LastTokenReadout) else token_damage


def save(
    folder: Path, reward_model: RewardModel, readout: ReadoutParams, sha256: str = "a" * 64
) -> None:
    states = [member.state_dict() for member in reward_model.members]
    save_reward_model(folder, states, readout, reward_model.ensemble, sha256, BEST)


def test_saved_model_gives_the_same_rewards(
    either: RewardModel,
    readout_params: ReadoutParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
):
    """OpenRLHF's issue 1342: the head was lost on saving, and a fresh one loaded in silence."""
    save(tmp_path / "rm", either, readout_params)
    loaded = load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)
    assert loaded.ensemble == either.ensemble
    texts = [PROMPT] * 10, some_completions(10)
    assert loaded.score(*texts) == approx(either.score(*texts))


def test_saved_model_trains_on_as_it_was(
    two_members: RewardModel,
    token_damage: TokenDamageParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
):
    """The headroom above the ceiling, which only training looks at, is in the file, too."""
    for member, headroom in zip(two_members.members, (0.25, 0.75), strict=True):
        assert isinstance(member, TokenDamageReadout)
        member.ceiling.fill_(7.0)
        member.headroom.fill_(headroom)
    save(tmp_path / "rm", two_members, token_damage)
    loaded = load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)
    targets = [member.train().targets(torch.tensor([6.0, 7.0])) for member in loaded.members]
    assert [own.tolist() for own in targets] == [[6.0, 7.25], [6.0, 7.75]]


@pytest.mark.parametrize(
    "ensemble",
    [
        PlainEnsembleParams(members=2, combine="worst"),
        UncertaintyEnsembleParams(members=3, combine="uncertainty", variance_weight=0.5),
    ],
    ids=["plain", "uncertainty"],
)
def test_config_comes_back_as_it_was_written(
    token_damage: TokenDamageParams, tmp_path: Path, ensemble: EnsembleParams
):
    save_reward_model(tmp_path, [], token_damage, ensemble, "a" * 64, BEST)
    stored = read_checked_json(tmp_path / "config.json")
    assert list(stored) == ["readout", "ensemble", "sft_sha256", "best"]
    assert (stored["sft_sha256"], stored["best"]) == ("a" * 64, BEST)
    config = read_reward_model_config(tmp_path)
    assert (config.readout, config.ensemble, config.best) == (token_damage, ensemble, BEST)


def test_saving_twice_gives_the_same_bytes(
    either: RewardModel, readout_params: ReadoutParams, tmp_path: Path
):
    for name in ("first", "second"):
        save(tmp_path / name, either, readout_params)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_readout_of_another_language_model_is_refused(
    reward_model: RewardModel,
    last_token: LastTokenParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
):
    save(tmp_path / "rm", reward_model, last_token, sha256="b" * 64)
    with pytest.raises(GoldrmError, match="was trained on another language model"):
        load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)


@pytest.mark.parametrize(
    "lacking", ["0.scale.mean", "1.damage_reward.reward.bias", "1.ceiling", "0.headroom"]
)
def test_incomplete_readout_is_refused(
    two_members: RewardModel,
    token_damage: TokenDamageParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
    lacking: str,
):
    save(tmp_path / "rm", two_members, token_damage)
    path = tmp_path / "rm/model.safetensors"
    tensors = read_tensors(path)
    write_tensors(path, {name: tensors[name] for name in tensors if name != lacking})
    with pytest.raises(GoldrmError, match=rf"rm/model\.safetensors lacks tensor {lacking[2:]}"):
        load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)


@pytest.mark.parametrize(
    "changes",
    [
        {"readout": {"kind": "mean"}},
        {"readout": "last_token"},
        {"readout": None},
        {"ensemble": {"members": None, "combine": "mean"}},
        {"ensemble": {"members": 1, "combine": "uncertainty"}},
        {"sft_sha256": 7},
        {"best": {"step": "seven"}},
        {"layers": [2]},
    ],
    ids=str,
)
def test_damaged_config_is_refused(
    reward_model: RewardModel,
    last_token: LastTokenParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
    changes: dict[str, Any],
):
    save(tmp_path / "rm", reward_model, last_token)
    path = tmp_path / "rm/config.json"
    write_checked_json(path, read_checked_json(path) | changes)
    with pytest.raises(GoldrmError, match=r"rm/config\.json is damaged"):
        load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)


def test_layers_in_disorder_are_refused(
    two_members: RewardModel,
    token_damage: TokenDamageParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
):
    save(tmp_path / "rm", two_members, token_damage.model_copy(update={"prompt_layers": [2, 0]}))
    with pytest.raises(GoldrmError, match=r"rm/config\.json is damaged"):
        load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_missing_file_is_named(
    reward_model: RewardModel,
    last_token: LastTokenParams,
    dictionary: Dictionary,
    sft_folder: Path,
    tmp_path: Path,
    file: str,
):
    save(tmp_path / "rm", reward_model, last_token)
    (tmp_path / "rm" / file).unlink()
    with pytest.raises(GoldrmError, match=rf"rm/{file} doesn't exist.*dvc repro"):
        load_reward_model(tmp_path / "rm", sft_folder, dictionary, CPU)
