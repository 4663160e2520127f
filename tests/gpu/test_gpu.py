"""What a GPU computes is what a CPU does, but for last bits, and the same when it does it again."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from exported_models import PAIRED

from goldrm.commands.params import Params
from goldrm.common.device import set_up
from goldrm.common.resume import ResumePoint
from goldrm.generation.split_sampling import SplitSampler
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.ensemble import ensemble_rewards
from goldrm.reward_model.params import LastTokenParams, PlainEnsembleParams, TokenDamageParams
from goldrm.task.task import Task
from goldrm.training.example_states import read_examples
from goldrm.training.loop import train_readout

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available():
    pytest.skip("PyTorch finds no CUDA device", allow_module_level=True)

READOUTS = {
    "last_token": LastTokenParams(kind="last_token"),
    "token_damage": TokenDamageParams(
        kind="token_damage", prompt_layers=[1], hidden_size=16, damage_kinds=5
    ),
}
ONE = PlainEnsembleParams(members=1, combine="mean")


@pytest.fixture(scope="module")
def gpu(params: Params) -> torch.device:
    return set_up(params.runtime.model_copy(update={"device": "cuda"}))


@pytest.fixture
def on_gpu(backbone: Backbone, gpu: torch.device) -> Backbone:
    other = Backbone(backbone.sizes)
    other.load_state_dict(backbone.state_dict())
    return other.frozen().to(gpu)


@pytest.fixture
def table(task: Task) -> pd.DataFrame:
    """Examples of 64 prompts, each with its exact answer and one that is off."""
    prompt_ids = task.ids_in("train")[:640:10]
    exact = [task.exact(prompt_id) for prompt_id in prompt_ids]
    answers = [
        (group, prompt_id, values)
        for group, (prompt_id, right) in enumerate(zip(prompt_ids, exact, strict=True))
        for values in (right, (*right[:-1], max(right[-1] - 7, 0)))
    ]
    return task.with_prompts(task.labelled(answers))


def test_logits_are_the_cpus(backbone: Backbone, on_gpu: Backbone):
    token_ids = torch.randint(backbone.sizes.num_tokens, (64, backbone.sizes.context_length))
    with torch.no_grad():
        torch.testing.assert_close(
            on_gpu(token_ids.to("cuda")).cpu(), backbone(token_ids), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("kind", list(READOUTS))
def test_rewards_of_a_trained_model_are_the_cpus(
    kind: str, backbone: Backbone, on_gpu: Backbone, task: Task, table: pd.DataFrame,
    params: Params, tmp_path: Path,
):  # fmt: skip
    """Trained on the CPU, where it is the same whatever the GPU is; read by both."""
    readout = new_readout(READOUTS[kind], backbone.sizes, seed=0)
    examples = read_examples(backbone, readout.reading, table, task.dictionary)
    training = params.models["token_damage"].training.model_copy(update={"epochs": 20})
    readout.fit_scale(examples.states, examples.gold_rewards)
    resume_point = ResumePoint(tmp_path / "training.pt")
    train_readout(readout, examples, examples, training, 0, resume_point, hide_progress=True)
    encode = task.dictionary.encode
    prompts, completions = ([encode(text) for text in texts] for texts in zip(*PAIRED, strict=True))
    rewards = {}
    for model in (backbone, on_gpu):
        states = readout.reading.read(model, prompts, completions)
        device = model.token_prediction.weight.device
        members = [readout.eval().to(device)]
        with torch.no_grad():
            rewards[device.type] = ensemble_rewards(members, ONE, states).cpu()
    torch.testing.assert_close(rewards["cuda"], rewards["cpu"], atol=1e-3, rtol=0)


def test_sampling_twice_gives_the_same(on_gpu: Backbone, task: Task, params: Params):
    how = params.sampling.model_copy(update={"dropout": True})
    first, again = (
        SplitSampler("train", on_gpu, task, how, seed=0).chunk(3) for _ in range(2)
    )  # fmt: skip
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.parametrize("kind", list(READOUTS))
def test_training_twice_gives_the_same(
    kind: str, on_gpu: Backbone, task: Task, table: pd.DataFrame, params: Params, tmp_path: Path
):
    states = []
    for run in range(2):
        readout = new_readout(READOUTS[kind], on_gpu.sizes, seed=0).to("cuda")
        examples = read_examples(on_gpu, readout.reading, table, task.dictionary)
        readout.fit_scale(examples.states, examples.gold_rewards)
        training = params.models["token_damage"].training.model_copy(update={"epochs": 3})
        resume_point = ResumePoint(tmp_path / f"{run}.pt")
        trained = train_readout(readout, examples, examples, training, 0, resume_point, True)
        states.append(trained.state)
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
