"""Stage evaluate: how well the reward models rank and predict on unseen families."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from goldrm.common.device import set_up
from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.tables import read_csv, read_parquet, write_csv, write_parquet
from goldrm.evaluation import plots
from goldrm.evaluation.comparison import headline
from goldrm.evaluation.data import EvaluationData
from goldrm.evaluation.evaluate import evaluate_models
from goldrm.evaluation.families import drawn_test_prompts
from goldrm.evaluation.params import EvaluateParams
from goldrm.generation.chunks import sample_of_prompts
from goldrm.generation.params import SamplingParams
from goldrm.lm.weights import load_backbone
from goldrm.pipeline.paths import (
    COMPLETIONS,
    DICTIONARY,
    EVALUATION,
    LEARNING_CURVES,
    METRICS,
    MODELS,
    PAIRS,
    PLOTS,
    SFT,
)
from goldrm.pipeline.stage import Run, run_stage
from goldrm.reward_model.model import load_reward_model
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.splits import Split
from goldrm.task.task import Task


class Params(Section):
    """What the stage reads of params.yaml; of the recipes only their names."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    gold_reward: GoldRewardParams
    sampling: SamplingParams
    evaluate: EvaluateParams
    models: dict[str, dict[str, Any]]


def refuse_other_models(recipes: Iterable[str]) -> None:
    """Refuse what other recipes left: the stage depends on all that lies in their folders.

    Raises:
        GoldrmError: when there is such a model or learning curve.
    """
    for path in sorted([*MODELS.glob("*/"), *LEARNING_CURVES.glob("*.csv")]):
        if path.stem not in recipes and not path.name.startswith("."):  # those are editors'
            raise GoldrmError(
                f"{path} belongs to no recipe of params.yaml; delete it or add the recipe, then "
                "run again."
            )


def evaluate(params: Params, run: Run) -> None:
    """The reward models of all recipes on the test split → metrics, plots and data/evaluation."""
    refuse_other_models(params.models)
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    task = Task(tokens, params.task, params.gold_reward)
    models = {name: load_reward_model(MODELS / name, SFT, tokens, device) for name in params.models}
    best_of = sample_of_prompts(
        drawn_test_prompts(task, params.evaluate.best_of_n.prompts, params.seed),
        params.evaluate.best_of_n.completions,
        load_backbone(SFT, tokens, device),
        task,
        params.sampling,
        params.seed,
        run.work / "best_of_n",
        run.workers,
    )
    splits: tuple[Split, ...] = ("test", "validation")
    data = EvaluationData.prepared(
        pairs={split: read_parquet(PAIRS / f"{split}.parquet") for split in splits},
        completions={split: read_parquet(COMPLETIONS / f"{split}.parquet") for split in splits},
        best_of=pd.concat(run.workers.broadcast(list(best_of))),
        probed_prompts=drawn_test_prompts(task, params.evaluate.probed_prompts, params.seed),
        task=task,
    )
    tables = evaluate_models(
        models, task, data, params.gold_reward, params.evaluate, params.seed, run.workers
    )
    if not run.workers.is_leader:
        return
    write_parquet(EVALUATION / "probes.parquet", tables.pop("probe_rewards"))
    for name, table in tables.items():
        write_csv(PLOTS / f"{name}.csv", table)
    curves = {name: read_csv(LEARNING_CURVES / f"{name}.csv") for name in models}
    plots.save(PLOTS / "learning_curves.png", plots.learning_curves(curves))
    plots.save(PLOTS / "reward_vs_gold.png", plots.reward_vs_gold(tables["reward_vs_gold"]))
    told = headline(tables["statistics"], [*models, "log_prob"])
    write_json(METRICS / "eval.json", told)


if __name__ == "__main__":
    run_stage(Params, evaluate)
