"""Times a step of TRL's GRPOTrainer and one of our policy optimisation, in turns.

Both sample completions of prompts from the same language model at the same temperature, score them
by the same reward model and make one update, in one process. Needs the extra hf.
"""

# The extra hf isn't in the environment that `make lint` runs in.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from goldrm.commands.trained import TrainedModel
from goldrm.common.workers import ALONE
from goldrm.policy.loop import Training
from goldrm.policy.objective import Objective, step_gradient
from goldrm.policy.params import PolicyParams
from goldrm.policy.rewards import model_reward_function


class OurSteps(TrainerCallback):
    """Makes one of our steps after each of TRL's, on the same prompts, and times both.

    Attributes:
        seconds: of the steps so far, by whose they are.
    """

    def __init__(self, objective: Objective) -> None:
        """With a policy that isn't optimised yet."""
        self.seconds: dict[str, list[float]] = {"TRL, GRPOTrainer": [], "goldrm": []}
        self._objective = objective
        self._training = Training(objective.frozen, objective.params)
        self._started = 0.0

    def on_step_begin(self, *_args: Any, **_more: Any) -> None:
        """TRL's begins."""
        self._started = time.monotonic()

    def on_step_end(self, *_args: Any, **_more: Any) -> None:
        """TRL's is done: now ours."""
        theirs, ours = self.seconds.values()
        theirs.append(time.monotonic() - self._started)
        started = time.monotonic()
        step, params = len(ours), self._objective.params
        found = step_gradient(self._training.policy, self._objective, step, ALONE)
        assert found is not None  # this process leads
        self._training.take(found.gradient, params.max_grad_norm)
        ours.append(time.monotonic() - started)


def step_seconds(
    language_model: Path,
    trained: TrainedModel,
    params: PolicyParams,
    max_new_tokens: int,
    steps: int,
) -> dict[str, float]:
    """How long a step takes: the median, but for the first one.

    Args:
        language_model: the folder of the exported one.
        trained: the reward model, and the language model that was exported.
        params: of the optimisation; prompts and completions are the size of a step.
        max_new_tokens: longest completion.
        steps: of each.
    """
    reward = model_reward_function(trained.reward_model, trained.task)
    frozen = trained.reward_model.backbone.eval()
    objective = Objective(frozen, reward, trained.task, params, max_new_tokens, seed=0)
    texts = [
        trained.task.space[prompt_id].text
        for step in range(steps)
        for prompt_id in objective.training_prompts(step)
    ]
    in_turns = OurSteps(objective)
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=params.prompts * params.completions,
            num_generations=params.completions,
            max_completion_length=max_new_tokens,
            temperature=params.temperature,
            learning_rate=params.learning_rate,
            shuffle_dataset=False,
            activation_checkpointing=False,  # by default memory is saved at the cost of time
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
        )
        GRPOTrainer(
            model=str(language_model),
            reward_funcs=trained.reward_func,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            callbacks=[in_turns],
        ).train()
    return {name: median(seconds[1:]) for name, seconds in in_turns.seconds.items()}
