"""Readouts and texts that the export is tried with."""

import pandas as pd

from goldrm.reward_model.params import (
    LastTokenParams,
    PlainEnsembleParams,
    ReadoutParams,
    TokenDamageParams,
    UncertaintyEnsembleParams,
)
from goldrm.task.task import Task

READOUTS: dict[str, ReadoutParams] = {
    "token_damage": TokenDamageParams(
        kind="token_damage", prompt_layers=[0, 1], hidden_size=16, damage_kinds=5
    ),
    "last_token": LastTokenParams(kind="last_token"),
}
ENSEMBLES = {
    "token_damage": UncertaintyEnsembleParams(
        members=3, combine="uncertainty", variance_weight=0.5
    ),
    "last_token": PlainEnsembleParams(members=1, combine="mean"),
}
# Of all three wordings.
PROMPTS = [
    "generate an arithmetic series with 5 terms starting with value 10 and common difference 3",
    "make a series of arithmetic type which starts at 4 with 6 elements and 2 common difference "
    "value",
    "Let 14 be the number of terms 3 the starting number and 7 the common difference then write "
    "the arithmetic series",
]
# Exact, wrong, of one term, of words, empty.
COMPLETIONS = [
    "10 13 16 19 22",
    "4 6 8 10 13 14",
    "3 10 17 24 31 38 45 52 59 66 73 80 87 94",
    "7",
    "value 3 <SEP> the",
    "",
]
PAIRED = [(prompt, completion) for prompt in PROMPTS for completion in COMPLETIONS]


def example_pairs(task: Task) -> pd.DataFrame:
    """Sixteen pairs of an exact completion and one that lacks its last term."""
    prompt_ids = range(0, 1600, 100)
    exact = [task.exact(prompt_id) for prompt_id in prompt_ids]
    return pd.DataFrame(
        {
            "prompt": [task.space[prompt_id].text for prompt_id in prompt_ids],
            "chosen": [" ".join(map(str, values)) for values in exact],
            "rejected": [" ".join(map(str, values[:-1])) for values in exact],
        }
    )
