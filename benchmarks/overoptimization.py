"""Shows what the gold reward becomes while policies are optimised, and while the best are picked.

Optimises policies against the recipes of params.yaml, against variants that learn from pairs alone,
and against the gold reward, in copies of the last commit, one a seed, below .work/overoptimization.
Writes metrics/overoptimization.csv, metrics/overoptimization_curves.csv and
metrics/overoptimization.png.
"""

import io
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from fits import Way, fit
from overoptimization_figure import drawn
from shared import ROOT, SEEDS, Commit, changed, environment, markdown, runs

from goldrm.common.tables import read_csv, write_csv
from goldrm.evaluation import plots
from goldrm.pipeline.paths import METRICS, POLICIES

# As reward models are mostly trained: by the ranking loss alone, on nothing but pairs.
PAIRS_ONLY = {
    "data.edits": None,
    "data.ties": False,
    "training.mse_weight": 0.0,
    "ensemble.members": 4,
}
NOISY = {**PAIRS_ONLY, "data.label_noise": 0.25}
# The name of a variant → what is another than in the default recipe.
VARIANTS: dict[str, dict[str, Any]] = {
    "bradley_terry": PAIRS_ONLY,
    "pairs_500": {**PAIRS_ONLY, "data.num_pairs": 500},
    "noise_10": {**PAIRS_ONLY, "data.label_noise": 0.1},
    "noise_25": NOISY,
    "worst": {**NOISY, "ensemble.combine": "worst"},
    "uncertainty": {
        **NOISY,
        "ensemble.combine": "uncertainty",
        "ensemble.variance_weight": 0.5,
    },
}
# What is asked of the variants → those that answer it.
QUESTIONS = {
    "pairs alone: how many, how noisy": ["bradley_terry", "pairs_500", "noise_10", "noise_25"],
    "a quarter flipped: how members combine": ["noise_25", "worst", "uncertainty"],
}
POLICY = {"steps": 20}  # a few more than by default, which go further
LOOK_STEPS = 4
TEST_PAIRS = 100  # which nothing here looks at
TARGETS = ["optimize_policy", "optimize_gold"]
GAINS = ["reward", "gold_reward", "exact_match"]
HEADS = (
    *("optimised for", "pairs", "noise", "ensemble", "seeds", "KL", "own reward", "gold reward"),
    *("exact match", "α", "β"),
)
WAYS: dict[Way, str] = {
    "policy": "A policy after its last step",
    "best_of_n": "The best of the most completions",
}


def variants(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the variants as further recipes, and policies that go further.

    Args:
        params: what params.yaml holds.
    """
    models = params["models"]
    recipe = next(iter(models.values()))
    others = {name: changed(recipe, changes) for name, changes in VARIANTS.items()}
    look = params["policy"]["look"] | {"steps": LOOK_STEPS}
    return params | {
        "pairs": params["pairs"] | {"num_test_pairs": TEST_PAIRS},
        "models": {**models, **others},
        "policy": params["policy"] | POLICY | {"look": look},
    }


def questions(params: dict[str, Any]) -> dict[str, list[str]]:
    """What the figure asks, and of which models.

    Args:
        params: what params.yaml holds.
    """
    first = [*params["models"], "bradley_terry", "gold"]
    return {"what is read, and learned from": first, **QUESTIONS}


def curves(folder: Path, models: list[str]) -> pd.DataFrame:
    """What was looked at in a copy.

    Args:
        folder: the copy, with its policies.
        models: what they are optimised for.

    Returns:
        way (policy or best_of_n), model, amount (of steps, or n), kl, in nats; reward, gold_reward
        and exact_match (greedy; a policy's), with what they gained since the start, _gain. All
        rewards are on the gold reward's scale.
    """
    policies = pd.concat(read_csv(folder / POLICIES / name / "curve.csv") for name in models)
    picking = [sys.executable, "benchmarks/best_of_n.py"]
    printed = subprocess.run(
        picking, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    best = pd.read_csv(io.StringIO(printed))
    ways = {
        "policy": policies.rename(columns={"step": "amount"}),
        "best_of_n": best.rename(columns={"n": "amount"}),
    }
    table = pd.concat(ways, names=["way", None]).reset_index("way").reset_index(drop=True)
    table = table[["way", "model", "amount", "kl", *GAINS]]
    start = table.groupby(["way", "model"], sort=False)[GAINS].transform("first")
    gains = (table[GAINS] - start).add_suffix("_gain")
    return table.join(gains)


def summary(table: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
    """Where each curve ends, on average over the seeds, and Gao's coefficients.

    Args:
        table: of `curves`, of all seeds, with a column seed.
        params: by which they were made.

    Returns:
        A row a way and model: those two, what the recipe is (pairs, label_noise, readout, members,
        combine; nothing of gold), seeds, the means of amount, kl and gains, the lowest and the
        highest gain of gold reward, and `fits.NAMES`.
    """
    distance = table["kl"].clip(lower=0) ** 0.5  # the last bits of no difference
    by_model = table.assign(distance=distance).groupby(["way", "model"])
    models = table["model"].unique()
    return pd.DataFrame(
        {"way": way, "model": model}
        | _recipe(model, params)
        | _end(by_model.get_group((way, model)), way)
        for way in WAYS
        for model in models
    )


def _end(curve: pd.DataFrame, way: Way) -> dict[str, Any]:
    """What `summary` says of one model's curves."""
    ends = curve.groupby("seed").last()
    gained = ends["gold_reward_gain"]
    own = [
        (looks["distance"].to_numpy(), looks["gold_reward_gain"].to_numpy())
        for _, looks in curve.groupby("seed")
    ]
    return {
        "seeds": len(ends),
        **ends[["amount", "kl", *(f"{name}_gain" for name in GAINS)]].mean(),
        "gold_reward_gain_lowest": gained.min(),
        "gold_reward_gain_highest": gained.max(),
        **fit(way, own),
    }


def _recipe(model: str, params: dict[str, Any]) -> dict[str, Any]:
    """What a model of the table was trained on, and what it is; nothing of gold."""
    if model not in params["models"]:
        return dict.fromkeys(("pairs", "label_noise", "readout", "members", "combine"))
    recipe = params["models"][model]
    data, ensemble = recipe["data"], recipe["ensemble"]
    return {
        "pairs": data["num_pairs"] or params["pairs"]["num_pairs"],
        "label_noise": data["label_noise"],
        "readout": recipe["readout"]["kind"],
        "members": ensemble["members"],
        "combine": ensemble["combine"],
    }


def in_markdown(table: pd.DataFrame) -> str:
    """Two tables in Markdown, of policies and of the best of n.

    Args:
        table: of `summary`.
    """
    parts = [
        f"{title}:\n\n{markdown(HEADS, map(_cells, table[table['way'] == way].to_dict('records')))}"
        for way, title in WAYS.items()
    ]
    return "\n".join(parts)


def _cells(row: dict[Any, Any]) -> list[str]:
    about = ["", "", ""]
    if pd.notna(row["readout"]):
        pairs = "all" if pd.isna(row["pairs"]) else f"{row['pairs']:,.0f}"
        about = [pairs, f"{row['label_noise']:g}", f"{row['combine']} of {row['members']:.0f}"]
    gained = _between(
        row, "gold_reward_gain", "gold_reward_gain_lowest", "gold_reward_gain_highest"
    )
    exact = row["exact_match_gain"]
    return [
        row["model"],
        *about,
        str(row["seeds"]),
        f"{row['kl']:.2f}",
        f"{row['reward_gain']:+.3f}",
        gained,
        "" if pd.isna(exact) else f"{exact:+.3f}",
        *(_between(row, name, f"{name}_low", f"{name}_high") for name in ("alpha", "beta")),
    ]


def _between(row: dict[Any, Any], value: str, low: str, high: str) -> str:
    """A number and the two that it lies between; nothing where there is none."""
    if pd.isna(row[value]):
        return ""
    return f"{row[value]:+.3f} ({row[low]:+.3f} – {row[high]:+.3f})"


def main(
    seeds: Annotated[list[int], typer.Option("--seed", help="A seed; to be repeated.")] = SEEDS,
) -> None:
    """Optimise and pick with several seeds; print, write and draw what is gained and lost."""
    commit = Commit.last()
    committed = commit.params()
    params = variants(committed)
    models = [*params["models"], "gold"]
    looked_at = {
        seed: curves(folder, models)
        for seed, folder in runs(commit, "overoptimization", params, seeds, TARGETS)
    }
    table = pd.concat(looked_at, names=["seed"]).reset_index("seed")
    fitted = summary(table, params)
    write_csv(ROOT / METRICS / "overoptimization_curves.csv", table)
    write_csv(ROOT / METRICS / "overoptimization.csv", fitted)
    plots.save(ROOT / METRICS / "overoptimization.png", drawn(table, fitted, questions(committed)))
    typer.echo(in_markdown(fitted))


if __name__ == "__main__":
    typer.run(main)
