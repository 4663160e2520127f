"""What `make bench` times of a policy's step."""

from collections.abc import Sequence

from policy_work import PolicyWork

from goldrm.commands.params import Params
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.policy.loop import Training
from goldrm.policy.objective import PROMPTS_A_CHUNK, Objective, step_gradient
from goldrm.task.task import Task


def test_what_is_sampled_alone_is_what_the_step_samples(
    backbone: Backbone, task: Task, params: Params
):
    sampled: list[list[list[int]]] = []

    def reward(prompt_ids: Sequence[int], completions: Sequence[list[int]]) -> list[float]:
        sampled.append(list(completions))
        return [float(prompt_id) for prompt_id in prompt_ids]

    policy = params.policy.model_copy(update={"prompts": PROMPTS_A_CHUNK + 2, "completions": 3})
    objective = Objective(backbone, reward, task, policy, max_new_tokens=6, seed=3)
    work = PolicyWork(objective, Training(backbone, policy))
    step_gradient(work.training.policy, objective, 0, ALONE)
    assert len(sampled) == 2
    assert [chunk.without_end(backbone.sizes.eos_int) for chunk in work.sampled()] == sampled
