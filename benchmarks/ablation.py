"""Shows what each part of a recipe brings: the default with one part less.

Trains the default and its variants as recipes of one pipeline, so that they share pairs and test
completions, in copies of the last commit, one a seed, below .work/ablation. Writes
metrics/ablation.csv.
"""

from typing import Annotated, Any

import pandas as pd
import typer
from shared import ROOT, SEEDS, Commit, changed, ranges, ranges_in_markdown, statistics_by_seed

from goldrm.common.tables import write_csv
from goldrm.pipeline.paths import METRICS

# The name of a variant → the one parameter that is another, and its value.
VARIANTS: dict[str, dict[str, Any]] = {
    "embeddings_only": {"readout.prompt_layers": [0]},
    "no_edits": {"data.edits": None},
    "no_lengths": {"data.edits.lengths": 0},
    "no_mistakes": {"data.edits.mistakes": 0},
    "no_random": {"data.edits.random": 0},
    "no_further_prompts": {"data.edits.further_prompts": 0},
    "one_member": {"ensemble.members": 1},
}


def variants(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the default's variants as further recipes.

    Args:
        params: what params.yaml holds.
    """
    models = params["models"]
    default = next(iter(models.values()))
    others = {name: changed(default, changes) for name, changes in VARIANTS.items()}
    return params | {"models": models | others}


def with_differences(table: pd.DataFrame, default: str) -> pd.DataFrame:
    """The ranges of statistics, and of what they are more than the default's with the same seed.

    Args:
        table: of `statistics_by_seed`.
        default: a model.

    Returns:
        The columns of `ranges`, and difference (the mean), difference_lowest, difference_highest.
    """
    key = ["seed", "statistic"]
    defaults = table[table["model"] == default].set_index(key)["value"]
    more = table["value"] - defaults.reindex(pd.MultiIndex.from_frame(table[key])).to_numpy()
    differences = ranges(table.assign(value=more))
    return ranges(table).assign(
        difference=differences["mean"],
        difference_lowest=differences["lowest"],
        difference_highest=differences["highest"],
    )


def in_markdown(table: pd.DataFrame, default: str) -> str:
    """The default's ranges, and beside them the variants' differences.

    Args:
        table: of `with_differences`.
        default: a model.
    """
    others = table["model"] != default
    shown = table.copy()
    names = {"difference": "mean", "difference_lowest": "lowest", "difference_highest": "highest"}
    shown.loc[others, list(names.values())] = table.loc[others, list(names)].to_numpy()
    return ranges_in_markdown(shown)


def main(
    seeds: Annotated[list[int], typer.Option("--seed", help="A seed; to be repeated.")] = SEEDS,
) -> None:
    """Train the default recipe and its variants; print and write what each part changes."""
    commit = Commit.last()
    params = variants(commit.params())
    statistics = statistics_by_seed(commit, "ablation", params, seeds)
    default = next(iter(params["models"]))
    table = with_differences(statistics[statistics["model"].isin([default, *VARIANTS])], default)
    write_csv(ROOT / METRICS / "ablation.csv", table)
    typer.echo(in_markdown(table, default))


if __name__ == "__main__":
    typer.run(main)
