"""transformers, in a fresh process, loads what is exported, and computes what goldrm computes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_models import COMPLETIONS, PAIRED, PROMPTS, READOUTS
from fresh_process import needs_extra, run_script
from torch import Tensor

from goldrm.huggingface.decoding import LEADING_PADDING, complete_as_exported
from goldrm.lm.model import Backbone
from goldrm.reward_model.model import RewardModel
from goldrm.task.dictionary import Dictionary

needs_extra()


@pytest.fixture(scope="module")
def token_ids() -> Tensor:
    """Rows of the whole context."""
    return torch.arange(120).view(3, 40)


@pytest.fixture(scope="module")
def found(
    exported: Path, token_ids: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What `in_transformers.py` prints."""
    folder = tmp_path_factory.mktemp("texts")
    texts = {
        "prompts": PROMPTS,
        "completions": COMPLETIONS,
        "token_ids": token_ids.tolist(),
        "reward_models": list(READOUTS),
    }
    (folder / "texts.json").write_text(json.dumps(texts))
    return json.loads(run_script("in_transformers.py", exported, folder / "texts.json"))


def test_nothing_of_this_project_is_imported(found: dict[str, Any]):
    assert found["imported"] == []


def test_texts_have_the_dictionarys_ids(found: dict[str, Any], dictionary: Dictionary):
    tokenizer = found["tokenizer"]
    encoded = [dictionary.encode(prompt) for prompt in PROMPTS]
    assert tokenizer["ids"] == encoded
    padding = [dictionary.pad_id] * LEADING_PADDING
    assert tokenizer["with_special_tokens"] == padding + encoded[0]


def test_prompt_and_completion_together_are_the_ids_of_both(found: dict[str, Any]):
    assert found["tokenizer"]["together"] == [True] * len(PROMPTS)
    assert found["tokenizer"]["decoded"] == " 10 13 16"
    assert found["tokenizer"]["decoded_end"] == " 10 13 16"


def test_words_that_were_glued_together_are_an_error(found: dict[str, Any]):
    assert "[UNK]" in found["tokenizer"]["glued"]
    assert found["tokenizer"]["unk"] is None


def test_padding_and_end_are_two_tokens_and_the_context_is_known(
    found: dict[str, Any], dictionary: Dictionary
):
    tokenizer = found["tokenizer"]
    assert (tokenizer["pad"], tokenizer["eos"]) == (dictionary.pad_id, dictionary.eos_id)
    assert (tokenizer["padding_side"], tokenizer["model_max_length"]) == ("left", 40)


def test_the_language_model_is_a_stock_opt_without_dropout(
    found: dict[str, Any], dictionary: Dictionary
):
    model = found["language_model"]
    assert model["class"] == "OPTForCausalLM"
    assert model["dropout"] == [0, 0, 0]
    generation = {name: model["generation"][name] for name in ("pad_token_id", "eos_token_id")}
    assert generation == {"pad_token_id": dictionary.pad_id, "eos_token_id": dictionary.eos_id}
    # 3 of padding, 21 of the longest prompt, and a last one that is never read.
    assert model["generation"]["max_new_tokens"] == 40 - 3 - 21 + 1


@torch.no_grad()
def test_its_logits_are_the_backbones(
    found: dict[str, Any], wide_backbone: Backbone, token_ids: Tensor
):
    logits = {
        name: torch.tensor(rows, dtype=torch.float64)
        for name, rows in found["language_model"]["logits"].items()
    }
    single = wide_backbone(token_ids).double()
    torch.testing.assert_close(logits["float32"], single, atol=1e-4, rtol=0)
    double = Backbone(wide_backbone.sizes).double()
    double.load_state_dict(wide_backbone.state_dict())
    expected = double.eval()(token_ids)
    torch.testing.assert_close(logits["float64"], expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("cache", ["cache True", "cache False"])
def test_it_writes_what_goldrm_writes_by_the_exports_alignment(
    found: dict[str, Any], wide_backbone: Backbone, dictionary: Dictionary, cache: str
):
    model = found["language_model"]
    prompts = [dictionary.encode(prompt) for prompt in PROMPTS]
    room = model["generation"]["max_new_tokens"]
    expected = [written[:room] for written in complete_as_exported(wide_backbone, prompts)]
    for row, completion in zip(model["written"][cache], expected, strict=True):
        own = row[model["prompt_width"] :]
        assert own[: len(completion)] == completion
        assert set(own[len(completion) :]) <= {dictionary.eos_id, dictionary.pad_id}


@pytest.mark.parametrize("kind", list(READOUTS))
@pytest.mark.parametrize(
    "way",
    [
        *("left", "right", "left, ended", "right, ended", "alone"),
        *("training mode", "loaded as bfloat16", "saved by transformers"),
    ],
)
def test_rewards_are_the_reward_models(
    found: dict[str, Any], reward_models: dict[str, RewardModel], kind: str, way: str
):
    expected = reward_models[kind].score(*map(list, zip(*PAIRED, strict=True)))
    assert found["rewards"][kind][way] == pytest.approx(expected, abs=1e-5)


def test_an_unknown_form_of_prompt_is_refused_in_a_sentence(found: dict[str, Any]):
    assert found["refused"] == (
        "'the series' begins with no prompt that this reward model was trained on. Put a prompt of "
        "its task before each completion."
    )


def test_the_reward_models_code_is_run_only_by_consent(found: dict[str, Any]):
    assert found["needs_trust"]
