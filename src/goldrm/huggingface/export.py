"""Writes the folders that transformers loads: a language model's, and a reward model's."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from goldrm.common.files import write_atomic, write_json
from goldrm.huggingface.decoding import LEADING_PADDING
from goldrm.huggingface.opt import opt_config, opt_state
from goldrm.huggingface.standalone import flat_name, standalone_files
from goldrm.huggingface.tokenizer import tokenizer_config, tokenizer_json
from goldrm.lm.model import Backbone
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import ReadoutParams
from goldrm.task.dictionary import Dictionary
from goldrm.task.task import Task

MODELING = "goldrm.huggingface.modeling"
MODEL_CLASS, CONFIG_CLASS = "GoldrmForSequenceClassification", "GoldrmConfig"


def write_language_model(folder: Path, backbone: Backbone, task: Task, card: str) -> None:
    """Write a language model as `AutoModelForCausalLM` and `AutoTokenizer` load it.

    Args:
        folder: where to; other files there stay.
        backbone: the model, frozen or an optimised policy.
        task: its tokens, and the prompts that it is to leave room for.
        card: the text of README.md.

    Raises:
        GoldrmError: when OPT can't have its logits, or a file can't be written.
    """
    sizes = backbone.sizes
    # The last token written is never read.
    room = sizes.context_length - LEADING_PADDING - task.space.longest + 1
    generation = {
        "pad_token_id": sizes.padding_int,
        "eos_token_id": sizes.eos_int,
        "max_new_tokens": room,
    }
    _write_weights(folder, opt_state(backbone))
    _write_tokenizer(folder, task.dictionary, sizes.context_length, LEADING_PADDING)
    write_json(folder / "generation_config.json", generation)
    write_json(folder / "config.json", opt_config(sizes))
    _write_text(folder / "README.md", card)


def write_reward_model(
    folder: Path,
    reward_model: RewardModel,
    readout: ReadoutParams,
    prompt_patterns: Sequence[str],
    card: str,
) -> None:
    """Write a reward model as `AutoModelForSequenceClassification` loads it, with its own code.

    Args:
        folder: where to; other files there stay.
        reward_model: with any readout, and any number of members.
        readout: what each member is.
        prompt_patterns: of the task's prompts (`Prompts.patterns`).
        card: the text of README.md.

    Raises:
        GoldrmError: when a file can't be written.
    """
    backbone, dictionary = reward_model.backbone, reward_model.dictionary
    modules = {"backbone": backbone} | {
        f"members.{number}": member for number, member in enumerate(reward_model.members)
    }
    state = {
        f"rewards.{prefix}.{name}": tensor
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    _write_weights(folder, state)
    _write_tokenizer(folder, dictionary, backbone.sizes.context_length, leading_padding=0)
    for name, text in standalone_files(MODELING).items():
        _write_text(folder / name, text)
    config = _reward_model_config(reward_model, readout) | {
        "prompt_patterns": list(prompt_patterns)
    }
    write_json(folder / "config.json", config)
    _write_text(folder / "README.md", card)


def _reward_model_config(reward_model: RewardModel, readout: ReadoutParams) -> dict[str, Any]:
    sizes, module = reward_model.backbone.sizes, flat_name(MODELING)
    return {
        "model_type": "goldrm",
        "architectures": [MODEL_CLASS],
        "auto_map": {
            "AutoConfig": f"{module}.{CONFIG_CLASS}",
            "AutoModelForSequenceClassification": f"{module}.{MODEL_CLASS}",
        },
        "sizes": asdict(sizes),
        "readout": readout.model_dump(),
        "ensemble": reward_model.ensemble.model_dump(),
        "tokens": list(reward_model.dictionary.tokens),
        "pad_token_id": sizes.padding_int,
        "eos_token_id": sizes.eos_int,
        "tie_word_embeddings": False,
        "problem_type": "regression",
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        "dtype": "float32",
    }


def _write_tokenizer(
    folder: Path, dictionary: Dictionary, context_length: int, leading_padding: int
) -> None:
    write_json(folder / "tokenizer.json", tokenizer_json(dictionary, leading_padding))
    write_json(folder / "tokenizer_config.json", tokenizer_config(context_length))


def _write_weights(folder: Path, state: Mapping[str, Tensor]) -> None:
    tensors = {name: tensor.cpu().clone() for name, tensor in state.items()}
    write_atomic(folder / "model.safetensors", safetensors.torch.save(tensors, {"format": "pt"}))


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, text.encode())
