"""Stage compare_policies: what became of the gold reward while policies were optimised."""

from collections.abc import Collection
from typing import Any

import pandas as pd
from pydantic import Field

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_json
from goldrm.common.params import Section
from goldrm.common.tables import read_csv, read_parquet, write_csv
from goldrm.evaluation import plots
from goldrm.evaluation.tables import over_estimates
from goldrm.pipeline.paths import PLOTS, POLICIES, POLICY_METRICS
from goldrm.pipeline.stage import Run, run_stage
from goldrm.policy.look import headline


class ShownParams(Section):
    """How many completions are shown."""

    examples: int = Field(ge=1)


class Params(Section):
    """What the stage reads of params.yaml; of the recipes only their names."""

    evaluate: ShownParams
    models: dict[str, dict[str, Any]]


def refuse_other_policies(names: Collection[str]) -> None:
    """Refuse what other recipes left: the stage depends on all that lies in their folders.

    Raises:
        GoldrmError: when there is such a policy.
    """
    for path in sorted(POLICIES.glob("*/")):
        if path.stem not in names and not path.name.startswith("."):  # those are editors'
            raise GoldrmError(
                f"{path} belongs to no recipe of params.yaml; delete it or add the recipe, then "
                "run again."
            )


def compare_policies(params: Params, _run: Run) -> None:
    """The policies' curves and completions → a figure and its table, the worst, and the start."""
    names = [*params.models, "gold"]
    refuse_other_policies(names)
    curves = pd.concat(read_csv(POLICIES / name / "curve.csv") for name in names)
    worst = [
        over_estimates(
            read_parquet(POLICIES / name / "completions.parquet"), params.evaluate.examples
        )
        for name in params.models
    ]
    table = pd.concat(worst, keys=list(params.models), names=["model", None])
    write_csv(PLOTS / "policy_over_estimates.csv", table.reset_index("model"))
    write_csv(PLOTS / "policy.csv", curves)
    plots.save(PLOTS / "policy.png", plots.policies(curves))
    write_json(POLICY_METRICS / "sft.json", headline(curves[curves["step"] == 0].iloc[0].to_dict()))


if __name__ == "__main__":
    run_stage(Params, compare_policies)
