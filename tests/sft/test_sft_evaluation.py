"""The language model is measured on unseen prompts, and by the loss of their exact answers."""

import math
from dataclasses import asdict, replace

import pytest
import torch
from notebook_reference import NotebookLM
from test_sampling import successor_model

from goldrm.common.params import IntRange
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.sft.evaluation import answer_nll, evaluate_sft
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.series import Prompt, Split, split_of
from goldrm.task.task import Task

FIVE, SIX = Prompt(1, 2, 1, 5), Prompt(1, 2, 1, 6)  # 2 3 4 5 6 and 2 3 4 5 6 7
SCALE = 5.0


@pytest.fixture
def counting(dictionary: Dictionary, small_sizes: BackboneSizes) -> Backbone:
    """Answers every prompt with 2 3 4 5 6: exact where five terms are asked for."""
    successors = {"value": "2", "series": "2", "1": "2", "2": "3", "3": "4", "4": "5", "5": "6"}
    successors |= {"6": "<EOS>", "7": "<EOS>"}
    ids = dictionary.ids
    of_ids = {ids[token]: ids[successor] for token, successor in successors.items()}
    return successor_model(small_sizes, of_ids, SCALE)


def task_with_splits(
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    splits: tuple[Split, Split],
) -> Task:
    """A task of six prompts, three wordings of FIVE and of SIX, in the given splits."""
    ranges = {
        "start": IntRange(min=2, max=2),
        "difference": IntRange(min=1, max=1),
        "terms": IntRange(min=5, max=6),
    }
    candidates = (task_params.model_copy(update={**ranges, "split_seed": n}) for n in range(10_000))
    small = next(t for t in candidates if (split_of(FIVE, t), split_of(SIX, t)) == splits)
    return Task(dictionary, small, gold_reward_params)


@pytest.mark.parametrize("num_prompts", [6, 1000])
def test_counts_by_hand(
    counting: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    num_prompts: int,
):
    """Three of six prompts are answered exactly; of the others the last term is off by 1."""
    task = task_with_splits(dictionary, task_params, gold_reward_params, ("test", "test"))
    found = evaluate_sft(counting, task, num_prompts, max_new_tokens=20, seed=0)
    z, n = 1.959964, 6
    # Wilson's interval of one half.
    half = z * math.sqrt(0.25 / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # Six tokens where five terms are asked for, all right; seven where six are, one wrong.
    right = math.log(math.exp(SCALE) + 128) - SCALE
    assert found == {
        "exact_match": 0.5,
        "exact_match_low": pytest.approx(0.5 - half, abs=1e-4),
        "exact_match_high": pytest.approx(0.5 + half, abs=1e-4),
        "exact_match_sliding": 0.5,
        "gold_reward": pytest.approx((7 + 1 + 6 / 1.1) / 2, abs=1e-4),
        "nll": pytest.approx(right + SCALE * 3 / 39, abs=1e-4),
    }


@pytest.mark.parametrize(
    ("splits", "exact_match"),
    [(("test", "train"), 1.0), (("train", "test"), 0.0), (("validation", "test"), 0.0)],
)
def test_prompts_of_the_test_split_alone_are_used(
    counting: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    splits: tuple[Split, Split],
    exact_match: float,
):
    task = task_with_splits(dictionary, task_params, gold_reward_params, splits)
    found = evaluate_sft(counting, task, 100, max_new_tokens=20, seed=0)
    assert found["exact_match"] == found["exact_match_sliding"] == exact_match


def test_fewer_prompts_are_drawn_by_the_seed_alone(
    counting: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
):
    task = task_with_splits(dictionary, task_params, gold_reward_params, ("test", "test"))
    found: list[float] = []
    for seed in range(8):
        torch.manual_seed(seed)
        first = evaluate_sft(counting, task, 1, max_new_tokens=20, seed=seed)
        assert evaluate_sft(counting, task, 1, max_new_tokens=20, seed=seed) == first
        found.append(first["exact_match"])
    assert set(found) == {0.0, 1.0}


def test_each_decoder_has_its_own_exact_match(
    counting: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
):
    """At the context's last position, from which the window always predicts, this one just ends."""
    pad, eos = dictionary.pad_id, dictionary.eos_id
    with torch.no_grad():
        counting.PE_embedding.weight[39, pad] = 1.0
        counting.token_prediction.weight[eos, pad] = 10 * SCALE
    task = task_with_splits(dictionary, task_params, gold_reward_params, ("test", "test"))
    found = evaluate_sft(counting, task, 6, max_new_tokens=20, seed=0)
    assert (found["exact_match"], found["exact_match_sliding"]) == (0.5, 0.0)


def test_dropout_is_off_whatever_mode_the_model_comes_in(
    backbone: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
):
    task = task_with_splits(dictionary, task_params, gold_reward_params, ("test", "test"))
    found = [evaluate_sft(m, task, 6, 20, 0) for m in (backbone.eval(), backbone.train())]
    assert found[0] == found[1]


def token_by_token(lm: NotebookLM, dictionary: Dictionary, prompts: list[Prompt]) -> float:
    """Every answer's token predicted from its place in the notebook's window, one at a time."""
    losses: list[float] = []
    for prompt in prompts:
        answer = [str(value) for value in prompt.exact(100)] + ["<EOS>"]
        read = dictionary.encode(prompt.text) + dictionary.encode(" ".join(answer[:-1]))
        window = ([127] * lm.context_length + read)[-lm.context_length :]
        for back, token in enumerate(reversed(answer)):
            until = torch.tensor([window[: lm.context_length - back]])
            log_probabilities = torch.log_softmax(lm(until)[0, -1], dim=0)
            losses.append(-log_probabilities[dictionary.ids[token]].item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("context_length", [40, 24])
@torch.no_grad()
def test_nll_is_the_references_token_by_token(
    dictionary: Dictionary, small_sizes: BackboneSizes, context_length: int
):
    """In the shorter context prompts are cut off on the left."""
    sizes = replace(small_sizes, context_length=context_length)
    torch.manual_seed(5)
    reference = NotebookLM(**asdict(sizes)).eval()
    backbone = Backbone(sizes)
    backbone.load_state_dict(reference.state_dict())
    prompts = [Prompt(1, 3, 7, 14), Prompt(2, 95, 9, 5), Prompt(3, 0, 1, 9), Prompt(3, 91, 9, 6)]
    found = answer_nll(backbone.frozen(), dictionary, prompts, max_value=100)
    assert found == pytest.approx(token_by_token(reference, dictionary, prompts), abs=1e-5)


def test_nll_does_not_depend_on_the_batch(
    backbone: Backbone, dictionary: Dictionary, monkeypatch: pytest.MonkeyPatch
):
    """A mean over tokens, not a mean of the batches' means."""
    prompts = [Prompt(1, start, 9, 14) for start in range(0, 100, 9)]
    whole = answer_nll(backbone, dictionary, prompts, max_value=100)
    monkeypatch.setattr("goldrm.sft_evaluation.BATCH", 5)
    assert answer_nll(backbone, dictionary, prompts, max_value=100) == pytest.approx(whole)
