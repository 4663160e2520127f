"""The language model is measured on unseen prompts, and by the loss of their exact answers."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM
from pandas.testing import assert_frame_equal
from successor_model import successor_model
from tasks_by_hand import with_series

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.sft.evaluation import answer_nll, evaluate_sft, headline
from goldrm.statistics.shares import share
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.splits import Split, split_of_family
from goldrm.task.task import Task

FIVE, SIX = Series(1, 2, 1, 5), Series(1, 2, 1, 6)  # 2 3 4 5 6 and 2 3 4 5 6 7
SCALE = 5.0


def split_into(task_params: TaskParams, splits: Mapping[Series, Split]) -> TaskParams:
    """The task by the first split_seed that puts the families of some series into these splits."""

    def is_so(split_seed: int) -> bool:
        return all(
            split_of_family(series.exact(100)[:2], split_seed) == split
            for series, split in splits.items()
        )

    split_seed = next(filter(is_so, range(10_000)))
    return task_params.model_copy(update={"split_seed": split_seed})


@pytest.fixture
def counting(dictionary: Dictionary, small_sizes: BackboneSizes) -> Backbone:
    """Answers every prompt with 2 3 4 5 6: exact where five terms are asked for."""
    successors = {"value": "2", "series": "2", "1": "2", "2": "3", "3": "4", "4": "5", "5": "6"}
    successors |= {"6": "<EOS>", "7": "<EOS>"}
    ids = dictionary.ids
    of_ids = {ids[token]: ids[successor] for token, successor in successors.items()}
    return successor_model(small_sizes, of_ids, SCALE)


@pytest.fixture
def six_prompts(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    """Three wordings of FIVE and of SIX, which are one family, of the test split."""
    small = with_series(
        task_params,
        start=IntRange(min=2, max=2),
        difference=IntRange(min=1, max=1),
        terms=IntRange(min=5, max=6),
    )
    return Task(dictionary, split_into(small, {FIVE: "test"}), gold_reward_params)


@pytest.mark.parametrize("num_prompts", [6, 1000])
def test_counts_by_hand(
    counting: Backbone,
    six_prompts: Task,
    num_prompts: int,
):
    """Three of six prompts are answered exactly; of the others the last term is off by 1."""
    statistics = evaluate_sft(counting, six_prompts, num_prompts, 20, 0, ALONE)
    assert statistics.columns.tolist() == ["statistic", "value", "low", "high", "n", "families"]
    expected = share(np.array([0.0, 0, 0, 1, 1, 1]), np.zeros(6), 0.95)  # all are one family
    shares = {name: pytest.approx(value) for name, value in expected._asdict().items()}
    no_interval = pytest.approx(math.nan, nan_ok=True)
    # Six tokens where five terms are asked for, all right; seven where six are, one wrong.
    right = math.log(math.exp(SCALE) + 128) - SCALE
    means = {
        "gold_reward": pytest.approx((7 + 1 + 6 / 1.1) / 2),
        "nll": pytest.approx(right + SCALE * 3 / 39),
    }
    assert statistics.to_dict("records") == [
        {"statistic": "exact_match", **shares},
        {"statistic": "exact_match_sliding", **shares},
        *(
            {"statistic": name, "value": mean, "low": no_interval, "high": no_interval}
            | {"n": 6, "families": 1}
            for name, mean in means.items()
        ),
    ]
    assert headline(statistics) == {"exact_match": 0.5}


def values(statistics: pd.DataFrame) -> dict[str, float]:
    return dict(zip(statistics["statistic"], statistics["value"], strict=True))


def test_headline_has_four_digits():
    names = ["nll", "exact_match_sliding", "exact_match"]
    statistics = pd.DataFrame({"statistic": names, "value": [0.1, 1 / 3, 2 / 3]})
    assert headline(statistics) == {"exact_match": 0.6667}


def test_model_that_writes_no_number_is_refused(
    small_sizes: BackboneSizes, dictionary: Dictionary, task: Task
):
    ids = dictionary.ids
    chatty = successor_model(small_sizes, {i: ids["series"] for i in range(len(ids))}, SCALE)
    with pytest.raises(GoldrmError, match=r"wrote no number for any of 3 prompts.*sft\.source"):
        evaluate_sft(chatty, task, 3, 5, 0, ALONE)


def test_gold_reward_is_the_mean_of_what_holds_a_number(
    counting: Backbone,
    dictionary: Dictionary,
    six_prompts: Task,
):
    """The second wording ends in "value", after which this one ends at once."""
    ids = dictionary.ids
    with torch.no_grad():
        counting.token_prediction.weight[ids["<EOS>"], ids["value"]] = 2 * SCALE
    statistics = evaluate_sft(counting, six_prompts, 6, 20, 0, ALONE).set_index("statistic")
    assert statistics.loc["gold_reward", "value"] == pytest.approx((7 + 1 + 6 / 1.1) / 2)
    assert statistics["n"].to_dict() == {
        "exact_match": 6,
        "exact_match_sliding": 6,
        "gold_reward": 4,
        "nll": 6,
    }
    assert statistics.loc["exact_match", "value"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("splits", "exact_match", "families"),
    [
        (("test", "train"), 1.0, 1),
        (("train", "test"), 0.0, 1),
        (("validation", "test"), 0.0, 1),
        (("test", "test"), 0.5, 2),
    ],
)
def test_prompts_of_the_test_split_alone_are_used(
    counting: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    splits: tuple[Split, Split],
    exact_match: float,
    families: int,
):
    """2 3 4 5 6 is what the model says, and 2 4 6 8 10 is of another family."""
    small = with_series(
        task_params,
        start=IntRange(min=2, max=2),
        difference=IntRange(min=1, max=2),
        terms=IntRange(min=5, max=5),
    )
    two = dict(zip((FIVE, Series(1, 2, 2, 5)), splits, strict=True))
    task = Task(dictionary, split_into(small, two), gold_reward_params)
    statistics = evaluate_sft(counting, task, 100, 20, 0, ALONE)
    measured = values(statistics)
    assert measured["exact_match"] == measured["exact_match_sliding"] == exact_match
    assert (statistics["families"] == families).all()


def test_fewer_prompts_are_drawn_by_the_seed_alone(
    counting: Backbone,
    six_prompts: Task,
):
    exact_matches: list[float] = []
    for seed in range(8):
        torch.manual_seed(seed)
        first, second = (evaluate_sft(counting, six_prompts, 1, 20, seed, ALONE) for _ in range(2))
        assert_frame_equal(first, second)
        exact_matches.append(values(first)["exact_match"])
    assert set(exact_matches) == {0.0, 1.0}


def test_each_decoder_has_its_own_exact_match(
    counting: Backbone,
    dictionary: Dictionary,
    six_prompts: Task,
):
    """At the context's last position, from which the window always predicts, this one just ends."""
    pad, eos = dictionary.pad_id, dictionary.eos_id
    with torch.no_grad():
        counting.PE_embedding.weight[39, pad] = 1.0
        counting.token_prediction.weight[eos, pad] = 10 * SCALE
    measured = values(evaluate_sft(counting, six_prompts, 6, 20, 0, ALONE))
    assert (measured["exact_match"], measured["exact_match_sliding"]) == (0.5, 0.0)


def test_dropout_is_off_whatever_mode_the_model_comes_in(
    backbone: Backbone,
    six_prompts: Task,
):
    assert_frame_equal(
        *(
            evaluate_sft(m, six_prompts, 6, 20, 0, ALONE)
            for m in (backbone.eval(), backbone.train())
        )
    )


def token_by_token(lm: NotebookLM, dictionary: Dictionary, asked_for: list[Series]) -> float:
    """The answers' tokens predicted from their positions in the notebook's window, one by one."""
    losses: list[float] = []
    for series in asked_for:
        answer = [str(value) for value in series.exact(100)] + ["<EOS>"]
        read = dictionary.encode(series.text) + dictionary.encode(" ".join(answer[:-1]))
        window = ([127] * lm.context_length + read)[-lm.context_length :]
        for back, token in enumerate(reversed(answer)):
            until = torch.tensor([window[: lm.context_length - back]])
            log_probabilities = torch.log_softmax(lm(until)[0, -1], dim=0)
            losses.append(-log_probabilities[dictionary.ids[token]].item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("context_length", [40, 24])
@torch.no_grad()
def test_nll_is_the_references_token_by_token(
    task: Task, small_sizes: BackboneSizes, context_length: int
):
    """In the shorter context prompts are cut off on the left."""
    sizes = replace(small_sizes, context_length=context_length)
    torch.manual_seed(5)
    reference = NotebookLM(**asdict(sizes)).eval()
    backbone = Backbone(sizes)
    backbone.load_state_dict(reference.state_dict())
    asked_for = [Series(1, 3, 7, 14), Series(2, 95, 9, 5), Series(3, 0, 1, 9), Series(3, 91, 9, 6)]
    nll = answer_nll(
        backbone.frozen(), task, [task.space.id_of(series.text) for series in asked_for]
    )
    assert nll == pytest.approx(token_by_token(reference, task.dictionary, asked_for), abs=1e-5)


def test_nll_does_not_depend_on_the_batch(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
):
    """A mean over tokens, not a mean of the batches' means."""
    prompt_ids = [task.space.id_of(Series(1, start, 9, 14).text) for start in range(0, 100, 9)]
    whole = answer_nll(backbone, task, prompt_ids)
    monkeypatch.setattr("goldrm.sft.evaluation.BATCH_SIZE", 5)
    assert answer_nll(backbone, task, prompt_ids) == pytest.approx(whole)


@pytest.mark.parametrize("max_new_tokens", [20, 21, 1000])
def test_completions_are_as_long_as_the_context_allows(
    counting: Backbone, six_prompts: Task, max_new_tokens: int
):
    """Sampling by a sliding window allows more; the cache has room for 20 behind 21 tokens."""
    statistics = evaluate_sft(counting, six_prompts, 6, max_new_tokens, 0, ALONE)
    assert values(statistics)["exact_match"] == 0.5


def test_prompts_longer_than_the_context_are_refused(
    small_sizes: BackboneSizes, dictionary: Dictionary, task: Task
):
    short = Backbone(replace(small_sizes, context_length=20)).frozen()
    with pytest.raises(GoldrmError, match=r"reads 20 tokens, .* prompts of 21.*sft\.source"):
        evaluate_sft(short, task, 100, 5, 0, ALONE)


def test_task_without_test_prompts_is_refused(
    counting: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
):
    one = {"start": IntRange(min=2, max=2), "difference": IntRange(min=1, max=1)}
    small = split_into(with_series(task_params, **one), {FIVE: "train"})
    task = Task(dictionary, small, gold_reward_params)
    with pytest.raises(GoldrmError, match=r"the test split has no prompts.*task\.split_seed"):
        evaluate_sft(counting, task, 100, 5, 0, ALONE)
