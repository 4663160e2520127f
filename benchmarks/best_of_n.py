"""Picks the best of n completions by each recipe's reward and by the gold reward, in a copy.

`overoptimization.py` runs it in a copy of the project whose recipes are trained. What is picked
from is what its policies start from: the language model at `policy.temperature`, without dropout,
on the same prompts. Prints a table as CSV.
"""

import sys

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special, stats

from goldrm.commands.params import load_params
from goldrm.commands.trained import TrainedModel, load_trained
from goldrm.policy.look import drawn_prompts
from goldrm.policy.loop import LOOKED_AT
from goldrm.reward_model.gold_scale import SAME, Line
from goldrm.statistics.best_of_n import gold_reward_of_pick

PROMPTS = 64  # at most: the first of those that policies are looked at on
COMPLETIONS = 64  # of each
SIZES = [1, 2, 4, 8, 16]  # a quarter of the completions: of more, too few are left to tell the KL


def kl_of_pick(score: Float[np.ndarray, "prompts completions"], n: int) -> Float[np.ndarray, " p"]:
    """Each prompt's KL divergence of the best of n from what it is picked from, in nats.

    It is exact for a model that writes each of the completions given here equally often, where of
    equal scores one is picked at random. For the model that they were sampled from it is an
    estimate, too low where most of its completions differ, as the highest are few. It is at most
    `kl_bound(n)`, and less where scores repeat.

    Args:
        score: what picks.
        n: of how many.
    """
    completions = score.shape[1]
    up_to = stats.rankdata(score, method="max", axis=1) / completions
    below = (stats.rankdata(score, method="min", axis=1) - 1) / completions
    ratio = (up_to**n - below**n) / (up_to - below)  # how much likelier a completion gets
    return special.xlogy(ratio, ratio).mean(axis=1)


def picked(
    score: Float[np.ndarray, "prompts completions"],
    gold_reward: Float[np.ndarray, "prompts completions"],
    gold_scale: Line,
) -> pd.DataFrame:
    """What the best of n are worth, by n.

    Args:
        score: what picks.
        gold_reward: of the same completions.
        gold_scale: what brings the score to the gold reward's scale.

    Returns:
        n; kl, in nats, reward, on the gold reward's scale, and gold_reward: means over prompts.
    """
    return pd.DataFrame(
        [
            {
                "n": n,
                "kl": kl_of_pick(score, n).mean(),
                "reward": gold_scale(gold_reward_of_pick(score, score, n).mean()),
                "gold_reward": gold_reward_of_pick(score, gold_reward, n).mean(),
            }
            for n in SIZES
        ]
    )


def sampled(model: TrainedModel, temperature: float, seed: int, prompts: int) -> pd.DataFrame:
    """Completions of prompts that policies are looked at on.

    Args:
        model: whose language model writes them.
        temperature: of its softmax.
        seed: the run's.
        prompts: how many policies are looked at on.

    Returns:
        prompt, completion, a prompt's side by side.
    """
    prompt_ids = drawn_prompts(model.task, LOOKED_AT, prompts, seed)[:PROMPTS]
    texts = [model.task.space[prompt_id].text for prompt_id in prompt_ids]
    completions = model.sample(
        texts, COMPLETIONS, temperature=temperature, dropout=False, seed=seed
    )
    written = [each for own in completions for each in own]
    return pd.DataFrame({"prompt": np.repeat(texts, COMPLETIONS), "completion": written})


def main() -> None:
    """Sample, score and pick, as params.yaml of this folder says."""
    params = load_params()
    models = {name: load_trained(name) for name in params.models}
    model, policy = next(iter(models.values())), params.policy
    completions = sampled(model, policy.temperature, params.seed, policy.look.prompts)
    distinct = completions.drop_duplicates()
    number = completions.groupby(["prompt", "completion"], sort=False).ngroup().to_numpy()
    texts = distinct["prompt"].tolist(), distinct["completion"].tolist()
    gold_reward = pd.Series(model.gold_reward(*texts), dtype=float).fillna(params.gold_reward.min)
    scores = {name: each.score(*texts) for name, each in models.items()} | {"gold": gold_reward}
    sampled_scores = {
        name: np.asarray(score)[number].reshape(-1, COMPLETIONS) for name, score in scores.items()
    }
    scales = {name: each.reward_model.gold_scale for name, each in models.items()} | {"gold": SAME}
    curves = {
        name: picked(score, sampled_scores["gold"], scales[name])
        for name, score in sampled_scores.items()
    }
    pd.concat(curves, names=["model", None]).reset_index("model").to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    main()
