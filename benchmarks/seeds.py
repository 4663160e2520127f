"""Shows how far the headlines go apart from seed to seed, sampling and training included.

Runs the pipeline in copies of the last commit, one a seed, below .work/seeds. Writes
metrics/seeds.csv.
"""

from typing import Annotated

import typer
from shared import ROOT, SEEDS, Commit, ranges, ranges_in_markdown, statistics_by_seed

from goldrm.common.tables import write_csv
from goldrm.pipeline.paths import METRICS


def main(
    seeds: Annotated[list[int], typer.Option("--seed", help="A seed; to be repeated.")] = SEEDS,
) -> None:
    """Run the pipeline with several seeds; print and write the range of each headline."""
    commit = Commit.last()
    table = ranges(statistics_by_seed(commit, "seeds", commit.params(), seeds))
    write_csv(ROOT / METRICS / "seeds.csv", table)
    typer.echo(ranges_in_markdown(table))


if __name__ == "__main__":
    typer.run(main)
