"""The README.md of exported models: what they are, how to load them, how good they are.

Figures are of the model that is exported (see `measured`); where there are none, a card says so.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from goldrm.commands.measured import measured_with
from goldrm.commands.policies import OptimisedPolicy
from goldrm.commands.report_page.words import STATISTICS
from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json
from goldrm.common.tables import read_csv
from goldrm.huggingface.decoding import LEADING_PADDING
from goldrm.lm.model import Backbone
from goldrm.pipeline.paths import METRICS, MODELS, PLOTS, SFT
from goldrm.reward_model.gold_scale import SAME
from goldrm.reward_model.model import RewardModelConfig
from goldrm.statistics.shares import Estimate
from goldrm.task.prompts import Prompt
from goldrm.task.task import Task

LANGUAGE_MODEL_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [goldrm]
---
# {title}

{about}
A stock OPT of {parameters:,} parameters: no code comes with it.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "{folder}"  # this one
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = "{prompt}"
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

It scores answers to prompts such as the one below, {scale}.
It has {members} of the kind `{kind}` on a frozen language model. Its code is in this folder and
needs transformers and PyTorch only.

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "reward_model"  # this one
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
prompt = "{prompt}"
inputs = tokenizer([prompt + " {completion}"], return_tensors="pt", padding=True)
print(model(**inputs).logits[:, 0].tolist())
```

{figures}

A text is a prompt of the task, a space and a completion. Padding on either side, an end token and
the rest of the batch don't change a reward. A text that begins with no such prompt is refused. The
rewards are for inference: the language model is frozen, and always in evaluation mode.
"""


OWN_DECODERS = {
    "exact_match": "exact match by goldrm's cached decoder",
    "exact_match_sliding": "exact match by the notebook's sliding window",
}
POLICY_FIGURES = """\
By goldrm, on {prompts} prompts of {families} such families, before and after the updates:

| | before | after |
|---|---|---|
| mean gold reward of completions sampled at temperature {temperature:g} | {gold_reward} |
| exact match, decoded greedily | {exact_match} |
| KL to the language model before, in nats a completion | {kl} |"""
TRAINED = """\
Pairs it was trained on are ranked right in {train} of all cases, those of the validation split in
{validation}."""
NOT_MEASURED = "goldrm has no figures of this model: no run is recorded here that measured it."
GOLD_SCALE = "on the scale of an exact gold reward"
OWN_SCALE = "on a scale of its own, where only differences mean something"


def language_model_card(backbone: Backbone, task: Task, exact_match: Estimate) -> str:
    """The language model's card.

    Args:
        backbone: the language model.
        task: what it answers.
        exact_match: of the model as it is exported.

    Raises:
        GoldrmError: when dvc.lock is damaged.
    """
    path = PLOTS / "sft.csv"
    measured: list[tuple[str, Mapping[Any, Any]]] = []
    if measured_with(path, [SFT]):
        statistics = read_csv(path).set_index("statistic").to_dict("index")
        measured = [(words, statistics[name]) for name, words in OWN_DECODERS.items()]
    return LANGUAGE_MODEL_CARD.format(
        title="The language model",
        about="It answers prompts such as the one below.",
        folder="language_model",
        **_about_language_model(
            backbone, task, exact_match, measured, "" if measured else NOT_MEASURED
        ),
    )


def policy_card(policy: OptimisedPolicy, exact_match: Estimate) -> str:
    """The card of a language model that was optimised.

    Args:
        policy: the language model, and where it lies.
        exact_match: of the model as it is exported.

    Raises:
        GoldrmError: when its curve.csv or config.json is missing or damaged.
    """
    name = policy.folder.name
    reward = "the gold reward" if name == "gold" else f"the reward of the recipe `{name}`"
    known = read_checked_json(policy.folder / "config.json")
    path = policy.folder / "curve.csv"
    curve = read_csv(path)
    try:
        ends = curve.iloc[[0, -1]]
        figures = POLICY_FIGURES.format(
            prompts=ends["prompts"].iloc[0],
            families=ends["families"].iloc[0],
            temperature=known["temperature"],
            **{
                figure: " | ".join(f"{value:.3f}" for value in ends[figure])
                for figure in ("gold_reward", "exact_match", "kl")
            },
        )
    except (IndexError, KeyError, TypeError, ValueError):
        raise GoldrmError(f"{path} is damaged. `dvc repro` makes it again.") from None
    return LANGUAGE_MODEL_CARD.format(
        title=f"The language model, optimised for {reward}",
        about="It answers prompts such as the one below. "
        f"By {known['steps']} updates it was optimised for {reward}.",
        folder="policy",
        **_about_language_model(policy.backbone, policy.task, exact_match, [], figures),
    )


def reward_model_card(recipe: str, config: RewardModelConfig, task: Task) -> str:
    """A reward model's card.

    Args:
        recipe: the model's name.
        config: its configuration.
        task: what it judges.

    Raises:
        GoldrmError: when dvc.lock is damaged.
    """
    members, example = config.ensemble.members, _example(task)
    return REWARD_MODEL_CARD.format(
        recipe=recipe,
        kind=config.readout.kind,
        members=f"{members} readout{'s' if members > 1 else ''}",
        scale=GOLD_SCALE if config.gold_scale == SAME else OWN_SCALE,
        prompt=example.text,
        completion=" ".join(map(str, example.exact)),
        figures="\n".join(_reward_figures(recipe)) or NOT_MEASURED,
    )


def _reward_figures(recipe: str) -> Iterator[str]:
    """What the evaluation and the training measured, in Markdown."""
    statistics, training = PLOTS / "statistics.csv", METRICS / f"{recipe}.json"
    if measured_with(statistics, [MODELS, SFT]):
        measured = [
            (f"{row['statistic']}: {STATISTICS[row['statistic']]}", row)
            for row in read_csv(statistics).to_dict("records")
            if row["model"] == recipe
        ]
        yield "On families that no training has met, with intervals over families:\n"
        yield _table(measured, "n")
    if measured_with(training, [MODELS / recipe]):
        yield TRAINED.format(**json.loads(training.read_text(encoding="utf-8")))


def _about_language_model(
    backbone: Backbone,
    task: Task,
    exact_match: Estimate,
    measured: Sequence[tuple[str, Mapping[Any, Any]]],
    further: str,
) -> dict[str, Any]:
    """What the card says of any language model; `further` comes behind the table."""
    table = [("exact match as exported", exact_match._asdict()), *measured]
    return {
        "parameters": sum(weights.numel() for weights in backbone.parameters()),
        "tokens": backbone.sizes.num_tokens,
        "padding": LEADING_PADDING,
        "prompt": _example(task).text,
        "table": _table(table, "prompts") + (further and f"\n{further}\n"),
    }


def _example(task: Task) -> Prompt:
    return task.space[task.ids_in("train")[0]]


def _table(rows: Sequence[tuple[str, Mapping[Any, Any]]], counted: str) -> str:
    lines = [f"| | value | {counted} | families |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['value']:.3f} ({row['low']:.3f} – {row['high']:.3f}) "
        f"| {row['n']:,} | {row['families']:,} |"
        for name, row in rows
    ]
    return "\n".join(lines) + "\n"
