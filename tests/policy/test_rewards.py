"""What a policy is optimised against."""

import pytest

from goldrm.lm.model import Backbone
from goldrm.policy.rewards import gold_reward_function, model_reward_function
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import LastTokenParams, PlainEnsembleParams
from goldrm.task.arithmetic_series import Series
from goldrm.task.task import Task


def test_gold_reward_by_hand(task: Task):
    """2 4 6 8 10 asked for: exact 7; one term off by 6: 5.8195; without a number: the lowest."""
    asked = task.space.id_of(Series(1, 2, 2, 5).text)
    texts = ["2 4 6 8 10", "2 4 6 8 16", "and <SEP>", ""]
    rewards = gold_reward_function(task, lowest=1.0)(
        [asked] * 4, [task.dictionary.encode(text) for text in texts]
    )
    assert rewards == pytest.approx([7.0, 5.819474697113037, 1.0, 1.0])


def test_a_reward_model_scores_the_text_as_it_was_written(
    task: Task, backbone: Backbone, last_token: LastTokenParams
):
    """With words that the gold reward leaves out."""
    readout = new_readout(last_token, backbone.sizes, seed=0)
    ensemble = PlainEnsembleParams(members=1, combine="mean")
    model = RewardModel(backbone, [readout], ensemble, task.dictionary)
    prompt_ids, texts = [3, 7], ["2 4 and", ""]
    rewards = model_reward_function(model, task)(
        prompt_ids, [task.dictionary.encode(text) for text in texts]
    )
    assert rewards == model.score([task.space[i].text for i in prompt_ids], texts)
