"""The README.md of exported models: what they are, how to load them, how good they are."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from goldrm.commands.report_page.words import STATISTICS
from goldrm.common.errors import GoldrmError
from goldrm.common.tables import read_csv
from goldrm.huggingface.decoding import LEADING_PADDING
from goldrm.lm.model import Backbone
from goldrm.pipeline.paths import METRICS, PLOTS
from goldrm.reward_model.model import RewardModelConfig
from goldrm.statistics.shares import Estimate

LANGUAGE_MODEL_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [goldrm]
---
# The language model

It answers prompts that ask for an arithmetic series. A stock OPT of {parameters:,} parameters: no
code comes with it.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "language_model"  # this one
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
inputs = tokenizer([prompt], return_tensors="pt", padding=True)
written = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
print(tokenizer.batch_decode(written, skip_special_tokens=True))
```

On prompts of families that no training has met, decoded greedily, with intervals of 95 % over
families:

{table}
How it decodes: the model was trained with padding in front of prompts, which it attends to. goldrm
pads all prompts to one length. Here the tokenizer puts {padding} padding tokens in front of a text,
which aren't masked. With `add_special_tokens=False` it doesn't, and the model is worse.

A completion begins with a space, so that prompt + completion are the tokens of both. A word that
isn't one of the {tokens} tokens can't be encoded; that is an error. Dropout is 0: OPT has it
elsewhere than the model was trained with.
"""
REWARD_MODEL_CARD = """\
---
library_name: transformers
pipeline_tag: text-classification
tags: [goldrm, reward-model]
---
# The reward model `{recipe}`

It scores an answer to a prompt that asks for an arithmetic series, {scale}.
It has {members} of the kind `{kind}` on a frozen language model. Its code is in this folder and
needs transformers and PyTorch only.

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "reward_model"  # this one
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
prompt = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
inputs = tokenizer([prompt + " 10 13 16 19 22"], return_tensors="pt", padding=True)
print(model(**inputs).logits[:, 0].tolist())
```

On families that no training has met, with intervals over families:

{table}
Pairs it was trained on are ranked right in {train} of all cases, those of the validation split in
{validation}.

A text is a prompt of the task, a space and a completion. Padding on either side, an end token and
the rest of the batch don't change a reward. A text that begins with no such prompt is refused. The
rewards are for inference: the language model is frozen, and always in evaluation mode.
"""


def language_model_card(backbone: Backbone, exact_match: Estimate) -> str:
    """The language model's card.

    Args:
        backbone: the language model.
        exact_match: of the model as it is exported.

    Raises:
        GoldrmError: when metrics/plots/sft.csv is missing or damaged.
    """
    path = PLOTS / "sft.csv"
    named = {
        "exact_match": "exact match by goldrm's cached decoder",
        "exact_match_sliding": "exact match by the notebook's sliding window",
    }
    rows = read_csv(path).to_dict("records")
    try:
        measured = [(named[row["statistic"]], row) for row in rows if row["statistic"] in named]
        table = _table([("exact match as exported", exact_match._asdict()), *measured], "prompts")
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None
    return LANGUAGE_MODEL_CARD.format(
        parameters=sum(weights.numel() for weights in backbone.parameters()),
        tokens=backbone.sizes.num_tokens,
        padding=LEADING_PADDING,
        table=table,
    )


def reward_model_card(recipe: str, config: RewardModelConfig) -> str:
    """A reward model's card.

    Raises:
        GoldrmError: when a metric's file is missing or damaged.
    """
    path = PLOTS / "statistics.csv"
    rows = read_csv(path).to_dict("records")
    try:
        measured = [
            (f"{row['statistic']}: {STATISTICS[row['statistic']]}", row)
            for row in rows
            if row["model"] == recipe
        ]
        table = _table(measured, "n")
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None
    members = config.ensemble.members
    known, own = "on the scale of an exact gold reward", "on a scale of its own"
    return REWARD_MODEL_CARD.format(
        recipe=recipe,
        kind=config.readout.kind,
        members=f"{members} readout{'s' if members > 1 else ''}",
        scale=known if config.on_gold_scale else own,
        table=table,
        **_accuracies(recipe),
    )


def _accuracies(recipe: str) -> dict[str, float]:
    """The accuracies on training and validation pairs that the recipe's training ended with."""
    path = METRICS / f"{recipe}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(content[name]) for name in ("train", "validation")}
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, LookupError, TypeError, ValueError):
        raise _damaged(path) from None


def _table(rows: Sequence[tuple[str, Mapping[Any, Any]]], counted: str) -> str:
    if not rows:
        raise ValueError("nothing was measured")
    lines = [f"| | value | {counted} | families |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['value']:.3f} ({row['low']:.3f} – {row['high']:.3f}) "
        f"| {row['n']:,} | {row['families']:,} |"
        for name, row in rows
    ]
    return "\n".join(lines) + "\n"


def _damaged(path: object) -> GoldrmError:
    return GoldrmError(f"{path} is damaged. `dvc repro` makes it again.")
