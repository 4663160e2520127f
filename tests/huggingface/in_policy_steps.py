"""Two steps of TRL's GRPOTrainer and two of ours, as JSON; run it in a fresh process.

    python in_policy_steps.py PROJECT FOLDER

PROJECT is a small project; its language model is exported to FOLDER. benchmarks/ is on the path.
"""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from policy_steps import step_seconds

import goldrm
from goldrm.commands.params import load_params
from goldrm.commands.trained import TrainedModel
from goldrm.huggingface.export import write_language_model

asked: list[list[str]] = []  # by TRL, a list a step


class Asked(TrainedModel):
    """Keeps what it is asked."""

    def reward_func(self, prompts: Any, completions: Any, **columns: object) -> list[float]:
        asked.append(prompts)
        return super().reward_func(prompts, completions, **columns)


def main() -> None:
    project, folder = map(Path, sys.argv[1:])
    model = goldrm.load(project / "data/models/token_damage")
    write_language_model(folder, model.reward_model.backbone, model.task, "a card")
    trained = Asked(*(getattr(model, field.name) for field in fields(model)))
    sizes = {"prompts": 2, "completions": 4}
    params = load_params(project / "params.yaml").policy.model_copy(update=sizes)
    seconds = step_seconds(folder, trained, params, max_new_tokens=5, steps=2)
    print(json.dumps({"seconds": seconds, "asked": asked}))


if __name__ == "__main__":
    main()
