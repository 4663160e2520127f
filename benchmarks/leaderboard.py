"""Puts together how well each recipe ranks, and what optimising against it does to the gold reward.

Reads the tables that the pipeline writes, in copies of the last commit below .work/leaderboard: one
by params.yaml, and one by each preset that is named, with policies that go further than by default.
What DVC's cache holds isn't run again. Prints the leaderboard and writes docs/leaderboard.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from shared import ROOT, Commit, markdown, run

from goldrm.common.tables import read_csv
from goldrm.pipeline.paths import PLOTS

RESULTS = ROOT / "docs/leaderboard.md"
PICKED_OF = 16  # completions, of which the best is picked
KLS = [1, 10]  # nats a completion, at which policies are compared
FURTHER = {"steps": 60, "stop_kl": 12.0}  # of policies, to get there
START = "kl_0"  # the gold reward before any update
# Measures → their heads.
RANKING = {
    "accuracy": "accuracy",
    "spearman": "Spearman",
    "probes_spearman": "Spearman on probes",
}
BEST = {"best": f"best of {PICKED_OF}"}
POLICIES = {f"kl_{kl}": f"gold reward at KL {kl}" for kl in KLS} | {"end": "at the end"}
REACHED = {"end_kl": "KL there"}
# Columns of a policy's curve → of the standings.
LOOKED_AT = {
    "gold_reward": "value",
    "gold_reward_gain_low": "low",
    "gold_reward_gain_high": "high",
    "prompts": "n",
}
# Measures → what they are measured on.
COUNTED = {
    "accuracy": "pairs",
    "spearman": "completions",
    "probes_spearman": "probes",
    "best": f"prompts, best of {PICKED_OF}",
    START: "prompts, policies",
}
NONE = "–"
PAGE = """# Leaderboard, made by `make leaderboard`

Which reward model ranks best, and what becomes of the gold reward when a policy is optimised
against it. One run of commit {commit}, a row a task and recipe.

{board}
In brackets stand intervals of 95 % over families; behind the gold reward of a policy that of its
change. {none} means not measured, or not reached.

- **accuracy**: share of pairs that are ranked right. **Spearman**: over completions, and over
  probes, which are exact answers with one thing wrong.
- **best of {picked_of}**: gold reward of what the recipe picks from {picked_of} completions of the
  language model.
- **gold reward at KL 1, 10**: of the language model, optimised against the recipe, where the KL
  divergence from its start first comes to so many nats a completion; from look to look in a
  straight line over √KL. At the start it is {starts}.
- **at the end**: after {steps} steps, or where the KL divergence has come to {stop_kl:.0f} before.
- `gold` is the gold reward itself: as good as it gets.

All prompts are of unseen families. So many were measured, in brackets the families behind them:

{counts}"""


@dataclass(frozen=True)
class Standings:
    """What was measured of the recipes of some parameters.

    Attributes:
        name: of their task.
        recipes: in their order.
        table: a row a model and measure: model (recipes, baselines and gold); measure, of
            `RANKING`, `BEST`, `POLICIES`, `REACHED` and `START`; value; low, high: ends of its
            interval, or of that of a policy's gain; n, families: on how many it was measured. Of
            values that a policy doesn't come to all but these two are NaN.
    """

    name: str
    recipes: list[str]
    table: pd.DataFrame

    @classmethod
    def read(cls, plots: Path, params: Mapping[str, Any], preset: str | None) -> "Standings":
        """Those of a run.

        Args:
            plots: the folder with its tables.
            params: what its params.yaml holds.
            preset: what changes these.
        """
        name = params["task"]["name"].replace("_", " ")
        if preset is not None:
            name += f", by presets/{preset}.yaml"
        ranking = read_csv(plots / "statistics.csv").rename(columns={"statistic": "measure"})
        ranking = ranking[ranking["measure"].isin(RANKING)]
        policies = read_csv(plots / "policy.csv")
        parts = [ranking, _best(read_csv(plots / "best_of_n.csv")), _policies(policies)]
        return cls(name, list(params["models"]), pd.concat(parts, join="inner", ignore_index=True))


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Whose pick is worth how much; the gold reward's is the oracle's."""
    picked = table[table["n"] == PICKED_OF].drop(columns="n").assign(measure="best")
    picked = picked.replace({"model": {"oracle": "gold"}})
    return picked.rename(columns={"gold_reward": "value", "prompts": "n"})


def _policies(table: pd.DataFrame) -> pd.DataFrame:
    table = table.rename(columns=LOOKED_AT)
    curves = table.groupby("model", sort=False)
    parts = [
        pd.DataFrame(
            {"model": model, "measure": f"kl_{kl}", **gold_reward_at(curve, kl)}
            for model, curve in curves
            for kl in (0, *KLS)
        ),
        curves.tail(1).assign(measure="end"),
        curves.tail(1).assign(measure="end_kl", value=lambda ends: ends["kl"]),
    ]
    return pd.concat(parts, join="inner", ignore_index=True)


def gold_reward_at(curve: pd.DataFrame, kl: float) -> dict[str, float]:
    """The gold reward of a policy where its KL first comes to a value.

    Args:
        curve: of one policy, a row a look: kl and what this returns, at the look.
        kl: in nats a completion.

    Returns:
        value; low, high: of its gain; n, families. Between two looks the first three lie on
        straight lines over √KL; they are NaN where no look comes to this KL.
    """
    distance = np.sqrt(curve["kl"].clip(lower=0).to_numpy())  # the last bits of no difference
    looks = curve[["value", "low", "high"]].to_numpy()
    value, low, high = [np.nan] * 3
    if (reached := np.flatnonzero(distance >= kl**0.5)).size:
        between = slice(max(reached[0] - 1, 0), reached[0] + 1)
        value, low, high = (
            float(np.interp(kl**0.5, distance[between], ends)) for ends in looks[between].T
        )
    n, families = curve[["n", "families"]].iloc[-1]
    return {"value": value, "low": low, "high": high, "n": n, "families": families}


def board(standings: Sequence[Standings]) -> str:
    """The leaderboard in Markdown, a row a task and recipe."""
    measures = RANKING | BEST | POLICIES | REACHED
    rows = (
        [each.name, f"`{model}`", *(_cell(cells, model, name) for name in measures)]
        for each in standings
        for cells in [each.table.set_index(["model", "measure"])]
        for model in [*each.recipes, "gold"]
    )
    return markdown(["task", "recipe", *measures.values()], rows)


def _cell(cells: pd.DataFrame, model: str, measure: str) -> str:
    if (model, measure) not in cells.index:
        return NONE
    value, low, high = cells.loc[(model, measure), ["value", "low", "high"]].to_numpy(float)
    if measure in REACHED:
        return f"{value:.2f}"
    sign = "+" if measure in POLICIES else ""
    return NONE if np.isnan(value) else f"{value:.3f} ({low:{sign}.3f} – {high:{sign}.3f})"


def counts(standings: Sequence[Standings]) -> str:
    """On how many each task's rows were measured, in Markdown."""
    rows = ([each.name, *(_count(each.table, name) for name in COUNTED)] for each in standings)
    return markdown(["task", *COUNTED.values()], rows)


def _count(table: pd.DataFrame, measure: str) -> str:
    of_measure = table[table["measure"] == measure]
    if of_measure.empty:
        return NONE
    n, families = of_measure[["n", "families"]].iloc[0].astype(int)
    return f"{n:,} ({families})"


def page(standings: Sequence[Standings], commit: str) -> str:
    """docs/leaderboard.md.

    Args:
        standings: what is ranked.
        commit: whose code ran.
    """
    starts = {
        each.name: each.table.loc[each.table["measure"] == START, "value"].iloc[0]
        for each in standings
    }
    return PAGE.format(
        commit=commit,
        board=board(standings),
        none=NONE,
        picked_of=PICKED_OF,
        starts=", ".join(f"{start:.3f} ({name})" for name, start in starts.items()),
        counts=counts(standings),
        **FURTHER,
    )


def main(
    presets: Annotated[
        list[str] | None, typer.Argument(help="Files of presets/, without .yaml, as well.")
    ] = None,
) -> None:
    """Run what isn't up to date; print and write the leaderboard."""
    commit = Commit.last()
    standings: list[Standings] = []
    for preset in [None, *(presets or [])]:
        params = commit.params(preset)
        params["policy"] |= FURTHER
        folder = run(commit, f"leaderboard/{preset or 'params'}", params, [])
        standings.append(Standings.read(folder / PLOTS, params, preset))
    typer.echo(board(standings))
    RESULTS.write_text(page(standings, commit.name[:7]))


if __name__ == "__main__":
    typer.run(main)
