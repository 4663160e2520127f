"""Tables of scores, statistics and examples, on a few pairs that can be worked out by hand."""

from math import sqrt

import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM

from goldrm import evaluation
from goldrm.backbone import Backbone
from goldrm.config import EvaluateParams, Params
from goldrm.dictionary import Dictionary
from goldrm.reward_model import new_readout
from goldrm.scoring import RewardModel

# Prompt 5 has three completions (7, 5, 2) and three pairs, prompt 8 has two and one pair.
PAIRS = pd.DataFrame(
    [
        (5, "p5", "a", "b", 7.0, 5.0, 6.0, 4.0),
        (5, "p5", "a", "c", 7.0, 2.0, 6.0, 6.0),
        (5, "p5", "b", "c", 5.0, 2.0, 4.0, 6.0),
        (8, "p8", "d", "a", 6.0, 3.0, 6.5, 2.5),
    ],
    columns=[
        *("prompt_id", "prompt", "chosen", "rejected"),
        *("chosen_gold_reward", "rejected_gold_reward", "chosen_reward", "rejected_reward"),
    ],
)
COMPLETIONS = [
    (5, "p5", "a", 7.0, 6.0),
    (5, "p5", "b", 5.0, 4.0),
    (5, "p5", "c", 2.0, 6.0),
    (8, "p8", "d", 6.0, 6.5),
    (8, "p8", "a", 3.0, 2.5),
]


@pytest.fixture
def evaluate(params: Params) -> EvaluateParams:
    return params.evaluate.model_copy(update={"bootstrap_samples": 200, "examples": 2})


def test_completions_are_distinct_and_in_order():
    found = evaluation.completions_of(PAIRS)
    assert list(found.columns) == ["prompt_id", "prompt", "completion", "gold_reward", "reward"]
    assert list(found.itertuples(index=False, name=None)) == COMPLETIONS


def test_statistics_by_hand(evaluate: EvaluateParams):
    table = evaluation.statistics(PAIRS, evaluate, seed=0)
    assert list(table.columns) == ["statistic", "value", "low", "high"]
    values = dict(zip(table["statistic"], table["value"], strict=True))
    # Pairs: right, tie, wrong, right. Completions are off by -1, -1, 4, 0.5, -0.5. Ranks of the
    # rewards are 3.5 2 3.5 5 1, of the gold rewards 5 3 1 4 2: less 3, their products sum to 4.
    assert values == pytest.approx(
        {
            "accuracy": 2.5 / 4,
            "spearman": 4 / sqrt(9.5 * 10),
            "mse": (1 + 1 + 16 + 0.25 + 0.25) / 5,
            "mae": (1 + 1 + 4 + 0.5 + 0.5) / 5,
        }
    )


def test_intervals_resample_prompts(evaluate: EvaluateParams):
    """Of two prompts there are three resamples: 5 5, 5 8 and 8 8."""
    table = evaluation.statistics(PAIRS, evaluate, seed=0).set_index("statistic")
    assert table.at["accuracy", "low"] == pytest.approx(0.5)  # 1.5 of prompt 5's three pairs
    assert table.at["accuracy", "high"] == pytest.approx(1.0)
    assert table.at["mae", "low"] == pytest.approx(0.5)
    assert table.at["mae", "high"] == pytest.approx(2.0)
    assert table.at["mse", "low"] == pytest.approx(0.25)
    assert table.at["mse", "high"] == pytest.approx(6.0)


def test_intervals_of_one_prompt_are_the_values(evaluate: EvaluateParams):
    table = evaluation.statistics(PAIRS[PAIRS["prompt_id"] == 5], evaluate, seed=0)
    assert table["low"].tolist() == table["high"].tolist() == table["value"].tolist()


def test_statistics_follow_the_seed(evaluate: EvaluateParams):
    many = pd.concat([PAIRS.assign(prompt_id=PAIRS["prompt_id"] + 10 * i) for i in range(20)])
    many["chosen_reward"] += [0.1 * (i % 7) for i in range(len(many))]
    first, again, other = (evaluation.statistics(many, evaluate, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_headline_is_rounded(evaluate: EvaluateParams):
    found = evaluation.headline(evaluation.statistics(PAIRS, evaluate, seed=0))
    assert len(found) <= 8
    assert found["accuracy"] == 0.625
    assert (found["accuracy_low"], found["accuracy_high"]) == (0.5, 1.0)
    assert found["spearman"] == 0.4104
    assert -1 <= found["spearman_low"] <= found["spearman_high"] <= 1
    assert (found["mse"], found["mae"]) == (3.7, 1.4)
    assert all(type(value) is float for value in found.values())


def test_examples_are_best_worst_and_random(evaluate: EvaluateParams):
    completions = pd.DataFrame(COMPLETIONS, columns=evaluation.COMPLETION_COLUMNS)
    found = evaluation.examples(completions, evaluate, seed=0)
    assert list(found.columns) == [
        *("kind", "prompt", "completion", "gold_reward", "reward", "error")
    ]
    rows = found.to_dict("records")
    assert [row["kind"] for row in rows] == ["best"] * 2 + ["worst"] * 2 + ["random"] * 2
    assert [row["error"] for row in rows[:2]] == [0.5, -0.5]
    assert rows[2] == {
        **{"kind": "worst", "prompt": "p5", "completion": "c"},
        **{"gold_reward": 2.0, "reward": 6.0, "error": 4.0},
    }
    assert abs(rows[3]["error"]) == 1
    drawn = [(row["prompt"], row["completion"]) for row in rows[4:]]
    assert len(set(drawn)) == 2
    assert set(drawn) <= {(prompt, completion) for _, prompt, completion, *_ in COMPLETIONS}


def test_random_examples_follow_the_seed(evaluate: EvaluateParams):
    many = pd.DataFrame(
        [(i, "p", str(i), 5.0, 4.0) for i in range(1000)], columns=evaluation.COMPLETION_COLUMNS
    )
    first, again, other = (evaluation.examples(many, evaluate, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first[first["kind"] == "random"].equals(other[other["kind"] == "random"])


def test_seeds_of_63_bits_are_taken(evaluate: EvaluateParams):
    completions = pd.DataFrame(COMPLETIONS, columns=evaluation.COMPLETION_COLUMNS)
    assert len(evaluation.examples(completions, evaluate, seed=2**63 - 1)) == 6
    assert len(evaluation.statistics(PAIRS, evaluate, seed=2**63 - 1)) == 4


def test_few_completions_are_all_shown(params: Params):
    evaluate = params.evaluate.model_copy(update={"examples": 10})
    completions = pd.DataFrame(COMPLETIONS, columns=evaluation.COMPLETION_COLUMNS)
    kinds = evaluation.examples(completions, evaluate, seed=0)["kind"].tolist()
    assert kinds == ["best"] * 5 + ["worst"] * 5 + ["random"] * 5


def test_pairs_are_scored_like_the_notebooks_model(
    params: Params, dictionary: Dictionary, backbone: Backbone, reference_lm: NotebookLM
):
    readout = new_readout(params.reward_model, backbone.sizes.d, seed=0)
    reference = NotebookRM(reference_lm).eval()
    reference.reward_prediction.load_state_dict(readout.reward_prediction.state_dict())
    prompt = "make a series of arithmetic type"
    pairs = pd.DataFrame(
        [(prompt, "1 2 3", "100"), ("generate an arithmetic series", "7", "7 8")],
        columns=["prompt", "chosen", "rejected"],
    )
    scored = evaluation.score_pairs(RewardModel(backbone, readout, dictionary), pairs)
    assert list(scored.columns) == [
        *("prompt", "chosen", "rejected", "chosen_reward", "rejected_reward")
    ]
    for side in ("chosen", "rejected"):
        texts = pairs["prompt"] + " " + pairs[side]
        sequences = [torch.tensor([dictionary.ids[word] for word in t.split()]) for t in texts]
        with torch.no_grad():
            expected = reference.predict(sequences).tolist()
        assert scored[f"{side}_reward"].tolist() == pytest.approx(expected, abs=1e-5)
