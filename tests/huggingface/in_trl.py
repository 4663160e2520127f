"""TRL's trainers with what is exported, two steps each, as JSON; run it in a fresh process.

    python in_trl.py TRAINER LANGUAGE_MODEL REWARD_MODEL DATA FOLDER

TRAINER is grpo, rloo or reward; DATA a JSONL file of pairs, of which GRPO and RLOO take the
prompts; FOLDER is where the trainers write. REWARD_MODEL is the exported one, and the environment
variable GOLDRM_MODEL names the one that it was made from, for the reward function.
"""

import json
import sys
from typing import Any

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import (
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
)

from goldrm import reward_func

SETTINGS: dict[str, Any] = {
    "max_steps": 2,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-4,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
}


def optimised(trainer: str, language_model: str, reward_model: str, pairs: Any, folder: str) -> Any:
    """The language model, trained by rewards of the exported model and of the function."""
    config, trainer_class = {"grpo": (GRPOConfig, GRPOTrainer), "rloo": (RLOOConfig, RLOOTrainer)}[
        trainer
    ]
    return trainer_class(
        model=language_model,
        reward_funcs=[reward_model, reward_func],
        args=config(
            output_dir=folder,
            num_generations=4,
            max_completion_length=16,
            trust_remote_code=True,
            **SETTINGS,
        ),
        train_dataset=pairs.select_columns(["prompt"]),
    )


def preferred(language_model: str, pairs: Any, folder: str) -> Any:
    """A reward model of TRL's own on the exported language model, trained on pairs."""
    return RewardTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1),
        args=RewardConfig(output_dir=folder, max_length=40, **SETTINGS),
        processing_class=AutoTokenizer.from_pretrained(language_model),
        train_dataset=pairs,
    )


def main() -> None:
    kind, language_model, reward_model, data, folder = sys.argv[1:]
    pairs = load_dataset("json", data_files=data, split="train", cache_dir=folder)
    trainer = (
        preferred(language_model, pairs, folder)
        if kind == "reward"
        else optimised(kind, language_model, reward_model, pairs, folder)
    )
    before = {name: weights.clone() for name, weights in trainer.model.named_parameters()}
    trainer.train()
    after = trainer.model.named_parameters()
    found = {
        "steps": trainer.state.global_step,
        "log": trainer.state.log_history,
        "changed": sum(bool((before[name] != weights).any()) for name, weights in after),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
