"""Rows of token ids in, rewards out: what the exported reward model computes.

This file and what it imports are copied into the exported folder (see `standalone.py`), so nothing
here may need the package, or more than PyTorch, except for annotations.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import empty_readout
from goldrm.reward_model.ensemble import ensemble_rewards
from goldrm.reward_model.params import EnsembleParams, ReadoutParams
from goldrm.reward_model.readout import Readout
from goldrm.task.prompts import split_text


class Rewards(nn.Module):
    """A language model and its readouts: the rewards of `RewardModel.score`, of token ids."""

    def __init__(
        self,
        sizes: BackboneSizes,
        readout: ReadoutParams,
        ensemble: EnsembleParams,
        tokens: Sequence[str],
        prompt_patterns: Sequence[str],
    ) -> None:
        """With whatever weights PyTorch gives it.

        Args:
            sizes: of the language model.
            readout: what each member is.
            ensemble: how the members' rewards become one.
            tokens: the token of each id.
            prompt_patterns: of the task's prompts (`Prompts.patterns`).
        """
        super().__init__()
        self.backbone = Backbone(sizes)
        self.members = nn.ModuleList(empty_readout(readout, sizes) for _ in range(ensemble.members))
        self._ensemble, self._tokens, self._patterns = ensemble, tokens, prompt_patterns

    def forward(
        self, token_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch time"] | None
    ) -> Float[Tensor, " batch"]:
        """The reward of each row, whatever pads it and whether or not an end token ends it.

        Args:
            token_ids: prompt and completion.
            attention_mask: 0 for tokens that don't count; None: all count.

        Raises:
            ValueError: when a row begins with no prompt of the task.
        """
        rows = token_ids.tolist()
        if attention_mask is not None:
            masks = attention_mask.bool().tolist()
            rows = [
                [token for token, counts in zip(row, mask, strict=True) if counts]
                for row, mask in zip(rows, masks, strict=True)
            ]
        prompts, completions = zip(*(self._prompt_and_completion(row) for row in rows), strict=True)
        # Whoever trains in 16 bits asks for rewards within autocast.
        with torch.autocast(token_ids.device.type, enabled=False):
            return self._rewards(prompts, completions)

    def _rewards(
        self, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> Float[Tensor, " batch"]:
        members = [member for member in self.members if isinstance(member, Readout)]
        reading = members[0].reading
        states = reading.read(self.backbone, prompts, completions)
        return ensemble_rewards(members, self._ensemble, states)

    def _prompt_and_completion(self, row: list[int]) -> tuple[list[int], list[int]]:
        """A row without padding and the end token, split where its prompt ends."""
        sizes = self.backbone.sizes
        first, end = 0, len(row)
        while end and row[end - 1] in (sizes.padding_int, sizes.eos_int):
            end -= 1
        while first < end and row[first] == sizes.padding_int:
            first += 1
        token_ids = row[first:end]
        text = " ".join(self._tokens[token_id] for token_id in token_ids)
        parts = split_text(text, self._patterns)
        if parts is None:
            raise ValueError(
                f"{text!r:.200} begins with no prompt that this reward model was trained on. Put a "
                "prompt of its task before each completion."
            )
        completion_length = len(parts[1].split())
        prompt_length = len(token_ids) - completion_length
        return token_ids[:prompt_length], token_ids[prompt_length:]
