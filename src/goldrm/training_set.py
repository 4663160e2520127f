"""Which completions a readout is trained on: sampled ones, and edited ones with exact labels.

It must not know hidden states or files.
"""

from collections.abc import Iterator
from random import Random

import pandas as pd

from goldrm.config import EditsParams, TrainParams
from goldrm.edits import Series, possible_kinds, random_edit
from goldrm.preferences import Labeller
from goldrm.random_streams import stream_seed


def training_set(
    sampled: pd.DataFrame, labeller: Labeller, train: TrainParams, seed: int
) -> pd.DataFrame:
    """Distinct labelled completions in groups, each group of one prompt.

    Args:
        sampled: the train split's completions (`preferences.COMPLETION_COLUMNS`).
        labeller: labels the edited ones.
        train: how many pairs, whether completions without a rival count, and which edits.
        seed: of the edits, and of which further prompts get some.

    Returns:
        group, prompt_id, prompt, completion, gold_reward; a group's rows are side by side.
    """
    if train.completions_per_prompt is not None:
        sampled = sampled.groupby("group").head(train.completions_per_prompt)
    groups = validation_set(sampled, labeller)
    if not train.ties:
        differing = groups.groupby("group")["gold_reward"].transform("nunique") > 1
        groups = groups[differing]
    if train.num_pairs is not None:
        groups = _first_pairs(groups, train.num_pairs)
    parts = [groups, *_edited(groups, labeller, train.edits, seed)]
    return _distinct(pd.concat(parts).sort_values("group", kind="stable"))


def validation_set(sampled: pd.DataFrame, labeller: Labeller) -> pd.DataFrame:
    """Distinct sampled completions in groups, without the prompts that `task.holdout` names."""
    held_out = sampled["prompt_id"].map(labeller.is_held_out)
    return _distinct(sampled[~held_out.astype(bool)])


def _distinct(completions: pd.DataFrame) -> pd.DataFrame:
    """Each completion of a group once."""
    columns = ["group", "prompt_id", "prompt", "completion", "gold_reward"]
    return completions.drop_duplicates(["group", "completion"], ignore_index=True)[columns]


def _first_pairs(groups: pd.DataFrame, num_pairs: int) -> pd.DataFrame:
    """The first groups that hold so many pairs whose gold rewards differ."""
    rewards = groups.groupby("group", sort=False)["gold_reward"]
    size = rewards.size()
    equal = rewards.value_counts().pipe(lambda n: n * (n - 1) // 2).groupby("group").sum()
    pairs = (size * (size - 1) // 2 - equal).cumsum()
    enough = pairs.index[pairs.shift(fill_value=0) < num_pairs]
    return groups[groups["group"].isin(enough)]


def _edited(
    groups: pd.DataFrame, labeller: Labeller, edits: EditsParams, seed: int
) -> Iterator[pd.DataFrame]:
    """Edited completions of the groups' prompts, and of further prompts of their split."""
    rng = Random(stream_seed(seed, "edits", 0))
    space, task = labeller.space, labeller.task
    bases = [
        (group, prompt_id, tuple(map(int, text.split())), edits.of_sampled)
        for group, prompt_id, text in groups[["group", "prompt_id", "completion"]].to_numpy()
    ]
    prompts = groups.drop_duplicates("group")[["group", "prompt_id"]].to_numpy().tolist()
    others = [i for i in space.ids_in("train") if not labeller.is_held_out(i)]
    rng.shuffle(others)
    first = prompts[-1][0] + 1 if prompts else 0
    prompts += [[group, i] for group, i in enumerate(others[: edits.more_prompts], start=first)]
    bases += [
        (group, prompt_id, space[prompt_id].exact(task.max_value), edits.of_exact)
        for group, prompt_id in prompts
    ]
    rows = [
        labeller.series(group, prompt_id, series)
        for group, prompt_id, base, count in bases
        if count
        for series in (
            base,
            *_edits(base, space[prompt_id].difference, count, labeller, rng, edits),
        )
    ]
    if rows:
        yield labeller.with_prompts(pd.DataFrame(rows))


def _edits(
    base: Series, difference: int, count: int, labeller: Labeller, rng: Random, edits: EditsParams
) -> Iterator[Series]:
    max_value = labeller.task.max_value
    kinds = possible_kinds(base, difference, max_value, edits.kinds)
    for _ in range(count if kinds else 0):
        yield random_edit(base, difference, max_value, rng, kinds)
