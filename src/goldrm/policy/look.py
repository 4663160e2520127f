"""What a policy does with prompts of unseen families; nothing here steers its training."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import torch

from goldrm.common.random_streams import random_stream
from goldrm.common.workers import Workers
from goldrm.generation.decoding import complete
from goldrm.lm.model import Backbone
from goldrm.policy.objective import PROMPTS_A_CHUNK, Objective
from goldrm.policy.rewards import RewardFunction
from goldrm.statistics.bootstrap import Bootstrap
from goldrm.statistics.shares import Estimate
from goldrm.task.splits import Split
from goldrm.task.task import Task

CONFIDENCE = 0.95  # of the intervals
RESAMPLES = 2000  # behind each of a mean


def drawn_prompts(task: Task, split: Split, count: int, seed: int) -> list[int]:
    """Prompts of a split, drawn without replacement; all where there are fewer."""
    prompt_ids = task.ids_in(split)
    with random_stream(seed, "policy look prompts"):
        order = torch.randperm(len(prompt_ids))[:count].tolist()
    return [prompt_ids[i] for i in order]


@torch.no_grad()
def look(
    policy: Backbone,
    objective: Objective,
    gold_reward: RewardFunction,
    prompt_ids: Sequence[int],
    workers: Workers,
) -> pd.DataFrame:
    """What a policy makes of prompts, from the same random streams whenever it is looked at.

    Args:
        policy: the language model.
        objective: what it is optimised for.
        gold_reward: what it is worth in truth.
        prompt_ids: what it is asked.
        workers: who share the work.

    Returns:
        To the leading process, a row a sampled completion; empty to the others: group: number of
        its prompt; prompt_id; completion: as it was written; reward, on the gold reward's scale;
        gold_reward; spread: of the rewards of its prompt's completions, from lowest to highest, as
        the policy learns from them; kl and entropy, summed over its actions, in nats; actions: how
        many tokens, the end token included; exact: whether the prompt's greedy completion is.
    """

    def work(chunk: int) -> pd.DataFrame:
        own = prompt_ids[chunk * PROMPTS_A_CHUNK : (chunk + 1) * PROMPTS_A_CHUNK]
        with random_stream(objective.seed, "policy look", chunk):
            rows = _looked_at(policy, objective, gold_reward, own)
        return rows.assign(group=rows["group"] + chunk * PROMPTS_A_CHUNK)

    chunks = -(-len(prompt_ids) // PROMPTS_A_CHUNK)
    parts = [rows for _, rows in workers.map(range(chunks), work)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _looked_at(
    policy: Backbone,
    objective: Objective,
    gold_reward: RewardFunction,
    prompt_ids: Sequence[int],
) -> pd.DataFrame:
    task = objective.task
    rollouts = objective.sample(policy, prompt_ids, objective.params.look.completions)
    greedy = complete(policy, rollouts.prompts, "kv_cache", 0.0, objective.max_new_tokens)
    answers = map(task.dictionary.integers_in, greedy)
    is_exact = task.labelled(zip(count(), prompt_ids, answers, strict=False))["exact"].tolist()
    groups = rollouts.prompt.tolist()
    answered = [prompt_ids[group] for group in groups]
    completions = rollouts.without_end(policy.sizes.eos_int)
    rewards = pd.Series(objective.reward(answered, completions))
    of = objective.likelihoods(policy, rollouts)
    distinct = pd.DataFrame(
        {
            "group": groups,
            "prompt_id": answered,
            "completion": list(map(task.dictionary.decode, completions)),
            "reward": objective.gold_scale(rewards.to_numpy()),
            "gold_reward": gold_reward(answered, completions),
            "spread": rewards.groupby(groups).transform(np.ptp),
            "kl": of.kl.cpu().numpy(),
            "entropy": of.entropy.cpu().numpy(),
            "actions": list(map(len, rollouts.actions)),
            "exact": [is_exact[group] for group in groups],
        }
    )
    return distinct.iloc[rollouts.sampled.flatten().numpy()]


def summary(
    looked_at: pd.DataFrame, start: pd.DataFrame, task: Task, seed: int
) -> dict[str, float]:
    """What a look shows, in numbers.

    Args:
        looked_at: rows of `look`.
        start: those of the same prompts before the optimisation.
        task: knows the prompts' families, the clusters of the intervals.
        seed: of their resamples.

    Returns:
        kl: in nats a completion; reward, gold_reward: means of the sampled completions;
        exact_match: share of exact greedy completions; length: tokens of a completion, the end
        token included; entropy: in nats a token; without_spread: share of groups whose completions
        all have one reward; gold_reward_gain, exact_match_gain: since the start, with their
        intervals of 95 % over families, _low and _high; prompts; families.
    """
    families = looked_at["prompt_id"].map(task.family).to_numpy()
    first = ~looked_at.duplicated("group").to_numpy()  # of each prompt, which has one greedy answer
    gain = looked_at[["gold_reward", "exact"]].astype(float) - start[["gold_reward", "exact"]]
    bootstrap = Bootstrap(RESAMPLES, CONFIDENCE, seed)
    exact_gain = bootstrap.mean(gain["exact"].to_numpy()[first], families[first])
    means = {
        "kl": looked_at["kl"].mean(),
        "reward": looked_at["reward"].mean(),
        "gold_reward": looked_at["gold_reward"].mean(),
        "exact_match": looked_at["exact"][first].mean(),
        "length": looked_at["actions"].mean(),
        "entropy": looked_at["entropy"].sum() / looked_at["actions"].sum(),
        "without_spread": (looked_at["spread"][first] == 0).mean(),
    }
    return {
        **{name: float(value) for name, value in means.items()},
        **_gain("gold_reward", bootstrap.mean(gain["gold_reward"].to_numpy(), families)),
        **_gain("exact_match", exact_gain),
        "prompts": exact_gain.n,
        "families": exact_gain.families,
    }


def headline(row: Mapping[Any, Any]) -> dict[str, float]:
    """The metrics of a look, of a row of its curve."""
    names = ("exact_match", "gold_reward", "kl")
    return {name: round(float(row[name]), 4) for name in names}


def _gain(name: str, estimate: Estimate) -> dict[str, float]:
    ends = {"gain": estimate.value, "gain_low": estimate.low, "gain_high": estimate.high}
    return {f"{name}_{end}": value for end, value in ends.items()}
