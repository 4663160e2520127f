"""Gold reward of the best of n completions by some score, estimated from N >= n of every prompt.

Every estimate is the mean over all subsets of n of a prompt's N
completions, the highest score being picked and one at random among equals: it is unbiased and
depends neither on the order of completions nor on a random stream.
"""

from collections.abc import Mapping, Sequence
from math import comb, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy
from jaxtyping import Float, Int

from goldrm.statistics.bootstrap import Bootstrap


def kl_bound(n: int) -> float:
    """Upper bound, in nats, of the divergence of best-of-n from the policy it samples from.

    It is loose where completions repeat.

    Source: Beirami et al., Theoretical guarantees on the best-of-n alignment policy
        (arXiv 2401.01879).
    """
    return log(n) - (n - 1) / n


def gold_reward_of_pick(
    score: Float[np.ndarray, "prompts completions"],
    gold_reward: Float[np.ndarray, "prompts completions"],
    n: int,
) -> Float[np.ndarray, " prompts"]:
    """Each prompt's expected gold reward of the completion of n that scores highest.

    Args:
        score: what picks: rewards, log-probabilities, or the gold rewards for an oracle.
        gold_reward: of the same completions.
        n: 1 to the number of completions.

    Raises:
        ValueError: when n isn't within that range.

    Source: Hilton and Gao, Measuring Goodhart's law (OpenAI, 2022): in ascending order of score the
        i-th has the weight C(i-1, n-1) / C(N, n). Here equal scores share the mean of theirs.
    """
    below = scipy.stats.rankdata(score, method="min", axis=1).astype(np.int64) - 1
    up_to = scipy.stats.rankdata(score, method="max", axis=1).astype(np.int64)
    return (_pick_probability(below, up_to - below, n) * gold_reward).sum(axis=1)


def best_picked(
    score: Float[np.ndarray, "prompts completions"],
    gold_reward: Float[np.ndarray, "prompts completions"],
    n: int,
) -> Float[np.ndarray, " prompts"]:
    """Each prompt's probability, 0 to 1, that none of n has a higher gold reward than the pick.

    Args:
        score: what picks.
        gold_reward: of the same completions.
        n: 1 to the number of completions.

    Raises:
        ValueError: when n isn't within that range.
    """
    no_better = gold_reward[:, None, :] <= gold_reward[:, :, None]  # (prompts, pick, rival)
    below = (no_better & (score[:, None, :] < score[:, :, None])).sum(axis=2)
    level = (no_better & (score[:, None, :] == score[:, :, None])).sum(axis=2)
    return _pick_probability(below, level, n).sum(axis=1)


def best_of_four(
    score: Float[np.ndarray, " completions"], gold_reward: Float[np.ndarray, " completions"]
) -> float:
    """How often a completion scores above three worse ones; 0.25 by chance.

    It is the mean over a prompt's completions with at least three worse ones of the probability
    that such a completion scores above three of these, drawn without replacement; those that score
    the same share the win. NaN where there is no such completion.

    Args:
        score: what picks.
        gold_reward: of the same completions of a prompt.

    Source: RewardBench 2 (arXiv 2506.01937), where each prompt has one right completion of four.
    """
    worse = gold_reward[None, :] < gold_reward[:, None]  # (completion, rival)
    below = (worse & (score[None, :] < score[:, None])).sum(axis=1)
    level = (worse & (score[None, :] == score[:, None])).sum(axis=1) + 1  # and itself
    wins = [
        (comb(low + same, 4) - comb(low, 4)) / same / comb(rivals, 3)
        for low, same, rivals in zip(
            below.tolist(), level.tolist(), worse.sum(axis=1).tolist(), strict=True
        )
        if rivals >= 3
    ]
    return float(np.mean(wins)) if wins else np.nan


def _pick_probability(
    below: Int[np.ndarray, "prompts completions"],
    level: Int[np.ndarray, "prompts completions"],
    n: int,
) -> Float[np.ndarray, "prompts completions"]:
    """How probably each completion is picked from among these rivals alone.

    Of all subsets of n, those that lie in a completion's below and level rivals and not in the
    ones below alone have their pick among the level ones, and each of these equally often.

    Args:
        below: how many rivals score lower.
        level: how many score the same, the completion itself among them.
        n: of how many the best is picked.
    """
    completions = below.shape[1]
    if not 1 <= n <= completions:
        raise ValueError(f"the best of {n} can't be picked from {completions} completions")
    within = np.array([comb(k, n) / comb(completions, n) for k in range(completions + 1)])
    return (within[below + level] - within[below]) / level


def best_of_n_table(
    scores: Mapping[str, Float[np.ndarray, "prompts completions"]],
    gold_reward: Float[np.ndarray, "prompts completions"],
    sizes: Sequence[int],
    clusters: npt.NDArray[Any],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """What each way to pick the best of n gives: by each score, by an oracle, at random.

    Args:
        scores: by the name of the model that picks; none may be called oracle or random.
        gold_reward: of the completions that are scored.
        sizes: the n, each 1 to the number of completions.
        clusters: each prompt's, for the interval of gold_reward.
        bootstrap: for the intervals.

    Returns:
        model (that picks), n, kl_bound, gold_reward, low, high, regret (the oracle's gold reward
        less this), best (the share of prompts whose pick has the highest gold reward of the n),
        prompts (how many there are), families (clusters).
    """
    # A constant score makes every completion an equal: the pick is random.
    pickers = {**scores, "oracle": gold_reward, "random": np.zeros_like(gold_reward)}
    rows: list[dict[str, Any]] = []
    for n in sizes:
        oracle = gold_reward_of_pick(gold_reward, gold_reward, n).mean()
        for name, score in pickers.items():
            mean = bootstrap.mean(gold_reward_of_pick(score, gold_reward, n), clusters)
            rows.append(
                {"model": name, "n": n, "kl_bound": kl_bound(n)}
                | {"gold_reward": mean.value, "low": mean.low, "high": mean.high}
                | {"regret": oracle - mean.value}
                | {"best": best_picked(score, gold_reward, n).mean()}
                | {"prompts": mean.n, "families": mean.families}
            )
    return pd.DataFrame(rows)
