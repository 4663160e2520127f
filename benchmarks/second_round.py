"""Shows what a second round brings: pairs of the first policy, besides the language model's.

In copies of the last commit below .work/second_round, for each seed: a reward model learns from the
language model's pairs, and a policy is optimised against it; pairs are sampled from that policy; a
reward model learns from both, and the language model is optimised anew. Beside it stands a reward
model that learns from more pairs of the language model instead. Writes metrics/second_round.csv.

Source: Wolf et al., Reward Model Overoptimisation in Iterated RLHF (2505.18126).
"""

import io
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from overoptimization import curves, variants
from shared import ROOT, SEEDS, Commit, environment, markdown, run

from goldrm.common.tables import read_parquet, write_csv
from goldrm.generation.params import WATCHED
from goldrm.pipeline.paths import METRICS, PAIRS, POLICIES
from goldrm.statistics import metrics

RECIPE = "bradley_terry"  # learns from pairs alone, by their order, as most reward models do
TARGETS = ["optimize_policy"]
SIDES = ["chosen", "rejected"]
# Columns of the table → their heads and how numbers are written.
COLUMNS = {
    "pairs": ("pairs", ",.0f"),
    "accuracy": ("accuracy", ".3f"),
    "policy_accuracy": ("accuracy, the policy's pairs", ".3f"),
    "kl": ("KL", ".2f"),
    "gold_reward": ("gold reward", ".3f"),
    "exact_match": ("exact match", ".3f"),
    "gold_reward_gain": ("gained gold reward", "+.3f"),
    "over_estimate": ("over-estimate", "+.3f"),
}


def first_round(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the first round: one recipe, and policies as `overoptimization.py` has them.

    Args:
        params: what params.yaml holds.
    """
    further = variants(params)
    return params | {"models": {RECIPE: further["models"][RECIPE]}, "policy": further["policy"]}


def sampled_by(policy: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters by which pairs are sampled from a policy, as it was optimised.

    Args:
        policy: its weights.
        params: those of the first round.
    """
    sampling = {"temperature": params["policy"]["temperature"], "dropout": False}
    return params | {
        "sft": params["sft"] | {"source": str(policy), "sha256": None},
        "sampling": params["sampling"] | sampling,
    }


def second_round(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the second round, which learns from all pairs in data/source/pairs."""
    return params | {"pairs": params["pairs"] | {"source": WATCHED}}


def more_pairs(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the first round with twice the pairs, as many as the second has."""
    pairs = params["pairs"]
    return params | {"pairs": pairs | {"num_pairs": 2 * pairs["num_pairs"]}}


def rounds(commit: Commit, params: dict[str, Any]) -> pd.DataFrame:
    """Run the rounds with one seed.

    Args:
        commit: whose code runs.
        params: those of the first round.

    Returns:
        A row a round: round, and what `outcome` returns.
    """
    name = f"second_round/{params['seed']}"
    first = run(commit, f"{name}/first", params, TARGETS)
    policy = first / POLICIES / RECIPE / "model.safetensors"
    sampled = run(commit, f"{name}/sampled", sampled_by(policy, params), ["generate_pairs"])
    both = {f"{each.name}.parquet": each / PAIRS / "train.parquet" for each in (first, sampled)}
    second = run(commit, f"{name}/second", second_round(params), TARGETS, both)
    more = run(commit, f"{name}/more", more_pairs(params), TARGETS)
    copies = {"first": first, "first, twice the pairs": more, "second": second}
    rows = [{"round": each, **outcome(copy, sampled)} for each, copy in copies.items()]
    return pd.DataFrame(rows)


def outcome(copy: Path, sampled: Path) -> dict[str, float]:
    """What a round came to.

    Args:
        copy: its copy, with a reward model and a policy.
        sampled: the copy with the first policy's pairs.

    Returns:
        pairs: that the reward model learned from; accuracy, policy_accuracy: share of test pairs
        that it ranks right, the language model's and the first policy's; and what `end` returns.
    """
    return {
        "pairs": len(read_parquet(copy / PAIRS / "train.parquet")),
        **accuracies(copy, {"accuracy": copy, "policy_accuracy": sampled}),
        **end(curves(copy, [RECIPE])),
    }


def end(looks: pd.DataFrame) -> dict[str, float]:
    """What a policy came to at its last look.

    Args:
        looks: of `overoptimization.curves`.

    Returns:
        kl, in nats a completion; gold_reward; exact_match, of greedy answers; gold_reward_gain:
        since the start; over_estimate: what its own reward gained more, on the gold reward's scale.
    """
    last = looks[(looks["way"] == "policy") & (looks["model"] == RECIPE)].iloc[-1]
    return {
        **last[["kl", "gold_reward", "exact_match", "gold_reward_gain"]],
        "over_estimate": last["reward_gain"] - last["gold_reward_gain"],
    }


def accuracies(copy: Path, others: Mapping[str, Path]) -> dict[str, float]:
    """Shares of copies' test pairs that a copy's reward model ranks right; a tie is half right.

    Args:
        copy: whose reward model.
        others: the copies with the pairs, by any names.

    Returns:
        The shares by these names.
    """
    tables = {name: read_parquet(other / PAIRS / "test.parquet") for name, other in others.items()}
    pairs = pd.concat(tables)[["prompt", *SIDES]]
    printed = subprocess.run(
        ["goldrm", "score", "--model", RECIPE, "--pairs", "-"],
        cwd=copy,
        env=environment(copy),
        input=pairs.to_json(orient="records", lines=True),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout
    rewards = pd.read_csv(io.StringIO(printed)).set_index(pairs.index)
    right = metrics.pairs_right(*(rewards[f"{side}_reward"].to_numpy() for side in SIDES))
    shares = pd.Series(right, pairs.index).groupby(level=0).mean()
    return {name: float(shares[name]) for name in others}


def in_markdown(table: pd.DataFrame) -> str:
    """A line a round: means over the seeds, the lowest and the highest behind them.

    Args:
        table: of `rounds`, of all seeds.
    """
    lines: list[list[str]] = []
    for name, rows in table.groupby("round", sort=False):
        cells = [
            f"{rows[each].mean():{form}} ({rows[each].min():{form}} – {rows[each].max():{form}})"
            for each, (_, form) in COLUMNS.items()
        ]
        lines.append([str(name), str(len(rows)), *cells])
    return markdown(["round", "seeds", *(head for head, _ in COLUMNS.values())], lines)


def main(
    seeds: Annotated[list[int], typer.Option("--seed", help="A seed; to be repeated.")] = SEEDS,
) -> None:
    """Run both rounds with several seeds; print and write what they come to."""
    commit = Commit.last()
    params = first_round(commit.params())
    by_seed = {seed: rounds(commit, params | {"seed": seed}) for seed in seeds}
    table = pd.concat(by_seed, names=["seed", None]).reset_index("seed")
    write_csv(ROOT / METRICS / "second_round.csv", table)
    typer.echo(in_markdown(table))


if __name__ == "__main__":
    typer.run(main)
