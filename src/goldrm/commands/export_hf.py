"""Writes a reward model and its language model as Hugging Face's transformers loads them."""

from pathlib import Path

import numpy as np

from goldrm.commands.model_cards import language_model_card, policy_card, reward_model_card
from goldrm.commands.policies import OptimisedPolicy
from goldrm.commands.trained import TrainedModel
from goldrm.evaluation.families import drawn_test_prompts
from goldrm.huggingface.decoding import complete_as_exported
from goldrm.huggingface.export import write_language_model, write_reward_model
from goldrm.lm.model import Backbone
from goldrm.reward_model.model import read_reward_model_config
from goldrm.statistics.shares import Estimate, share
from goldrm.task.task import Task

LANGUAGE_MODEL, REWARD_MODEL, POLICY = "language_model", "reward_model", "policy"
MEASURED_PROMPTS = 300  # of unseen families, on which the exported language model is measured
CONFIDENCE = 0.95  # of its interval


def write_folders(folder: Path, trained: TrainedModel, seed: int) -> None:
    """Write the language model and the reward model into folders of these names, with cards.

    Args:
        folder: where these folders go.
        trained: what to write; metrics that were measured with it go into its card.
        seed: of the prompts on which the exported language model is measured.

    Raises:
        GoldrmError: when OPT can't have the language model's logits, a metric's file is damaged,
            or a file can't be written.
    """
    model = trained.reward_model
    config = read_reward_model_config(trained.folder)
    exact_match = exported_exact_match(model.backbone.eval(), trained.task, seed)
    write_language_model(
        folder / LANGUAGE_MODEL,
        model.backbone,
        trained.task,
        language_model_card(model.backbone, trained.task, exact_match),
    )
    card = reward_model_card(trained.folder.name, config, trained.task)
    patterns = trained.task.space.patterns
    write_reward_model(folder / REWARD_MODEL, model, config.readout, patterns, card)


def write_policy(folder: Path, policy: OptimisedPolicy, seed: int) -> None:
    """Write a policy into a folder of this name, with its card, as the language model is written.

    Args:
        folder: where that folder goes.
        policy: what to write.
        seed: of the prompts on which the exported policy is measured.

    Raises:
        GoldrmError: when OPT can't have its logits, its curve is missing or damaged, or a file
            can't be written.
    """
    exact_match = exported_exact_match(policy.backbone, policy.task, seed)
    card = policy_card(policy, exact_match)
    write_language_model(folder / POLICY, policy.backbone, policy.task, card)


def exported_exact_match(backbone: Backbone, task: Task, seed: int) -> Estimate:
    """How often the language model, as it is exported, answers unseen prompts exactly.

    It decodes greedily, and its padding is the exported tokenizer's.
    """
    prompt_ids = drawn_test_prompts(task, MEASURED_PROMPTS, seed)
    prompts = [task.dictionary.encode(task.space[prompt_id].text) for prompt_id in prompt_ids]
    completions = complete_as_exported(backbone, prompts)
    exact = [
        tuple(task.dictionary.integers_in(completion)) == task.exact(prompt_id)
        for prompt_id, completion in zip(prompt_ids, completions, strict=True)
    ]
    families = np.array(list(map(task.family, prompt_ids)))
    return share(np.array(exact, float), families, CONFIDENCE)
