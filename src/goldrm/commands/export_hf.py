"""Writes a reward model and its language model as Hugging Face's transformers loads them."""

from pathlib import Path

import numpy as np

from goldrm.commands.model_cards import language_model_card, reward_model_card
from goldrm.commands.trained import TrainedModel
from goldrm.evaluation.families import drawn_test_prompts, family_names
from goldrm.huggingface.decoding import complete_as_exported
from goldrm.huggingface.export import write_language_model, write_reward_model
from goldrm.lm.model import Backbone
from goldrm.reward_model.model import read_reward_model_config
from goldrm.statistics.shares import Estimate, share
from goldrm.task.task import Task

LANGUAGE_MODEL, REWARD_MODEL = "language_model", "reward_model"
MEASURED_PROMPTS = 300  # of unseen families, on which the exported language model is measured
CONFIDENCE = 0.95  # of its interval


def write_folders(folder: Path, trained: TrainedModel, seed: int) -> None:
    """Write the language model and the reward model into folders of these names, with cards.

    Args:
        folder: where these folders go.
        trained: what to write; metrics of the same name go into its card.
        seed: of the prompts on which the exported language model is measured.

    Raises:
        GoldrmError: when OPT can't have the language model's logits, a metric's file is missing or
            damaged, or a file can't be written.
    """
    model = trained.reward_model
    config = read_reward_model_config(trained.folder)
    exact_match = exported_exact_match(model.backbone.eval(), trained.task, seed)
    write_language_model(
        folder / LANGUAGE_MODEL,
        model.backbone,
        model.dictionary,
        language_model_card(model.backbone, exact_match),
    )
    card = reward_model_card(trained.folder.name, config)
    write_reward_model(folder / REWARD_MODEL, model, config.readout, card)


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
    families = np.array(family_names(prompt_ids, task))
    return share(np.array(exact, float), families, CONFIDENCE)
