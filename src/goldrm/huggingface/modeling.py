"""The reward model as transformers' `AutoModelForSequenceClassification` loads it.

This file and what it imports are copied into the exported folder (see `standalone.py`). The rest
of the package doesn't need transformers, and doesn't import this.
"""

# pyright: basic, reportMissingImports=false

from types import SimpleNamespace
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from goldrm.huggingface.rewards import Rewards
from goldrm.lm.sizes import BackboneSizes


class GoldrmConfig(PreTrainedConfig):
    """What the exported reward model is.

    Attributes:
        sizes: of its language model, a dictionary of `BackboneSizes`.
        readout: what each member is, a dictionary.
        ensemble: how many members there are and how their rewards become one, a dictionary.
        tokens: the token of each id, a list.
        prompt_patterns: regular expressions of its prompts, a list.
    """

    model_type = "goldrm"

    sizes: Any = None
    readout: Any = None
    ensemble: Any = None
    tokens: Any = None
    prompt_patterns: Any = None


class GoldrmForSequenceClassification(PreTrainedModel):
    """Rewards of prompt + completion, those of `goldrm score`, as the one label's logits."""

    config_class = GoldrmConfig
    _tied_weights_keys = {}  # noqa: RUF012
    _keep_in_fp32_modules_strict = ["rewards"]  # noqa: RUF012

    def __init__(self, config: GoldrmConfig) -> None:
        """With whatever weights PyTorch gives it; `from_pretrained` gives it its own."""
        super().__init__(config)
        self.rewards = Rewards(
            BackboneSizes(**config.sizes),
            _section(config.readout),
            _section(config.ensemble),
            config.tokens,
            config.prompt_patterns,
        )
        self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """The reward of each row.

        Args:
            input_ids: token ids of prompt + completion, (batch, time), padded on either side, with
                or without the end token.
            attention_mask: 0 for tokens that don't count, such as padding; None: all count.

        Returns:
            `logits` of shape (batch, 1).

        Raises:
            ValueError: when a row begins with no prompt of the task.
        """
        return SequenceClassifierOutput(logits=self.rewards(input_ids, attention_mask)[:, None])


def _section(content: dict[str, Any]) -> Any:
    """What the readout or the ensemble is, with attributes like the section of params.yaml."""
    return SimpleNamespace(**content)
