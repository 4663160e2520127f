"""The dictionary as the two files that transformers' `AutoTokenizer` loads.

There is no token for unknown words: encoding one fails, as does a number that two texts put
together without a space make. So decoding begins with a space: prompt + completion is then split
into the tokens of both.
"""

from typing import Any

from goldrm.task.dictionary import EOS, PAD, Dictionary


def tokenizer_json(dictionary: Dictionary, leading_padding: int) -> dict[str, Any]:
    """What stands in tokenizer.json.

    Args:
        dictionary: the tokens.
        leading_padding: how many padding tokens, which are read like any other, stand before a
            text that is encoded with special tokens.
    """
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(dictionary, token) for token in (PAD, EOS)],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": _behind_padding(dictionary, leading_padding) if leading_padding else None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"Regex": "^"}, "content": " "},
                {"type": "Fuse"},
            ],
        },
        "model": {"type": "WordLevel", "vocab": dictionary.ids, "unk_token": "no such token"},
    }


def tokenizer_config(context_length: int) -> dict[str, Any]:
    """What stands in tokenizer_config.json.

    Args:
        context_length: how many tokens the model reads.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": EOS,
        "padding_side": "left",
        "model_max_length": context_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _special(dictionary: Dictionary, token: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": dictionary.ids[token], "content": token, **flags, "special": True}


def _behind_padding(dictionary: Dictionary, count: int) -> dict[str, Any]:
    padding = [{"SpecialToken": {"id": PAD, "type_id": 0}}] * count
    return {
        "type": "TemplateProcessing",
        "single": [*padding, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            *padding,
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
        ],
        "special_tokens": {PAD: {"id": PAD, "ids": [dictionary.pad_id], "tokens": [PAD]}},
    }
