"""Steps of TRL's GRPOTrainer and of ours, in a fresh process."""

import json
import os
from pathlib import Path

import pytest
from fresh_process import needs_extra, run_script
from small_models import ROOT
from small_project import write_small_project

import goldrm
from goldrm.commands.params import load_params
from goldrm.policy.objective import Objective
from goldrm.policy.rewards import model_reward_function

needs_extra()


def test_both_make_steps_of_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = tmp_path / "project"
    write_small_project(project, d=264)  # wider than there are tokens, else OPT can't have it
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks"), prepend=os.pathsep)
    printed = run_script("in_policy_steps.py", project, tmp_path / "language_model")
    found = json.loads(printed)
    assert list(found["seconds"]) == ["TRL, GRPOTrainer", "goldrm"]
    assert all(seconds > 0 for seconds in found["seconds"].values())

    model = goldrm.load(project / "data/models/token_damage")
    params = load_params(project / "params.yaml").policy.model_copy(update={"prompts": 2})
    reward = model_reward_function(model.reward_model, model.task)
    ours = Objective(model.reward_model.backbone, reward, model.task, params, 5, seed=0)
    assert found["asked"] == [
        [model.task.space[prompt].text for prompt in ours.training_prompts(step) for _ in range(4)]
        for step in range(2)
    ]
