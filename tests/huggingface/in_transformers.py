"""What transformers makes of the exported folders, as JSON; run it in a fresh process.

    python in_transformers.py EXPORTED TEXTS

TEXTS is a JSON file with prompts, completions of each, and the folders of reward models.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)


def main() -> None:
    exported, texts = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    tokenizer = AutoTokenizer.from_pretrained(exported / "language_model")
    rewards = {name: in_all_ways(exported / name, texts) for name in texts["reward_models"]}
    found = {
        "tokenizer": about_tokenizer(tokenizer, texts),
        "language_model": about_language_model(exported / "language_model", tokenizer, texts),
        "rewards": rewards,
        "refused": refused(exported / texts["reward_models"][0]),
        "needs_trust": needs_trust(exported / texts["reward_models"][0]),
        "imported": sorted({"goldrm", "jaxtyping", "pydantic"} & {*sys.modules}),
    }
    print(json.dumps(found))


def about_tokenizer(tokenizer: Any, texts: dict[str, Any]) -> dict[str, Any]:
    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    try:
        glued = tokenizer(texts["prompts"][0] + "10 13")["input_ids"]
    except Exception as error:
        glued = str(error)
    own = ids(" 10 13 16")
    return {
        "ids": [ids(prompt) for prompt in texts["prompts"]],
        "with_special_tokens": tokenizer(texts["prompts"][0])["input_ids"],
        "together": [ids(prompt + " 10 13 16") == ids(prompt) + own for prompt in texts["prompts"]],
        "decoded": tokenizer.decode(own),
        "decoded_end": tokenizer.decode([*own, tokenizer.eos_token_id], skip_special_tokens=True),
        "glued": glued,
        "pad": tokenizer.pad_token_id,
        "eos": tokenizer.eos_token_id,
        "unk": tokenizer.unk_token,
        "padding_side": tokenizer.padding_side,
        "model_max_length": tokenizer.model_max_length,
    }


def about_language_model(folder: Path, tokenizer: Any, texts: dict[str, Any]) -> dict[str, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    token_ids = torch.tensor(texts["token_ids"])
    with torch.no_grad():
        logits = {
            "float32": model(token_ids).logits.tolist(),
            "float64": model.double()(token_ids).logits.tolist(),
        }
    model.float()
    inputs = tokenizer(texts["prompts"], return_tensors="pt", padding=True)
    written = {
        f"cache {use_cache}": model.generate(**inputs, use_cache=use_cache).tolist()
        for use_cache in (True, False)
    }
    return {
        "class": type(model).__name__,
        "dropout": [model.config.dropout, model.config.attention_dropout, model.config.layerdrop],
        "generation": model.generation_config.to_diff_dict(),
        "logits": logits,
        "written": written,
        "prompt_width": inputs["input_ids"].shape[1],
    }


def in_all_ways(folder: Path, texts: dict[str, Any]) -> dict[str, list[float]]:
    """Rewards of all texts, padded left and right, ended or not, alone, and loaded as 16 bits."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    load = AutoModelForSequenceClassification.from_pretrained
    model = load(folder, trust_remote_code=True, num_labels=1)
    in_16_bits = load(folder, trust_remote_code=True, dtype=torch.bfloat16)
    saved = folder.with_name(f"{folder.name}_saved")
    model.save_pretrained(saved)
    saved_again = load(saved, trust_remote_code=True)

    def rewards(model: Any, texts: list[str], side: str = "right") -> list[float]:
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side=side)
        with torch.inference_mode():
            logits = model(**inputs).logits
        assert logits.shape == (len(texts), 1)
        return logits[:, 0].tolist()

    whole = [f"{prompt} {own}" for prompt in texts["prompts"] for own in texts["completions"]]
    ended = [text + tokenizer.eos_token for text in whole]
    return {
        "right": rewards(model, whole),
        "left": rewards(model, whole, "left"),
        "right, ended": rewards(model, ended),
        "left, ended": rewards(model, ended, "left"),
        "alone": [reward for text in whole for reward in rewards(model, [text])],
        "training mode": rewards(model.train(), whole),
        "loaded as bfloat16": rewards(in_16_bits, whole),
        "saved by transformers": rewards(saved_again, whole),
    }


def refused(folder: Path) -> str:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    try:
        model(**tokenizer(["the series"], return_tensors="pt"))
    except ValueError as error:
        return str(error)
    return ""


def needs_trust(folder: Path) -> bool:
    try:
        AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
    except ValueError:
        return True
    return False


if __name__ == "__main__":
    main()
