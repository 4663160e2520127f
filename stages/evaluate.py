"""Stage evaluate: how well the reward model ranks and predicts on unseen series."""

from pathlib import Path

import pandas as pd

from goldrm.commands.params import Params, load_params
from goldrm.common import workers as distributed
from goldrm.common.device import set_up
from goldrm.common.files import write_json
from goldrm.common.tables import read_csv, read_parquet, write_csv
from goldrm.evaluation import evaluate as judgement
from goldrm.evaluation import plots
from goldrm.evaluation import tables as evaluation
from goldrm.generation import chunks as generation
from goldrm.lm import weights as backbone_files
from goldrm.pipeline.paths import (
    BASELINE,
    COMPLETIONS,
    DICTIONARY,
    METRICS,
    PAIRS,
    PLOTS,
    REWARD_MODEL,
    SFT,
)
from goldrm.pipeline.stage import run_stage
from goldrm.reward_model.model import load_reward_model
from goldrm.task import dictionary
from goldrm.task.task import Task


def evaluate(params: Params, work: Path) -> None:
    """The reward models on the test split → metrics/eval.json, metrics/plots."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    task = Task(tokens, params.task, params.gold_reward)
    best_of = generation.sample_of_prompts(
        judgement.drawn_test_prompts(task, params.evaluate.best_of_n.prompts, params.seed),
        params.evaluate.best_of_n.completions,
        backbone_files.load_backbone(SFT, tokens, device),
        task,
        params.sampling,
        params.seed,
        work / "best_of_n",
    )
    many = distributed.agreed(list(best_of))
    material = judgement.Material(
        pairs=read_parquet(PAIRS / "test.parquet"),
        completions=read_parquet(COMPLETIONS / "test.parquet"),
        validation_pairs=read_parquet(PAIRS / "validation.parquet"),
        validation_completions=read_parquet(COMPLETIONS / "validation.parquet"),
        best_of=task.with_prompts(pd.concat(many).dropna(subset="gold_reward")),
    )
    tables = judgement.judge(
        load_reward_model(REWARD_MODEL, SFT, tokens, device),
        load_reward_model(BASELINE, SFT, tokens, device),
        task,
        material,
        params.gold_reward,
        params.evaluate,
        params.seed,
    )
    if not distributed.leads():
        return
    for name, table in tables.items():
        write_csv(PLOTS / f"{name}.csv", table)
    tables["learning_curve"] = read_csv(PLOTS / "learning_curve.csv")
    for name, figure in plots.figures(tables).items():
        plots.save(PLOTS / f"{name}.png", figure)
    write_json(METRICS / "eval.json", evaluation.headline(tables["statistics"]))


if __name__ == "__main__":
    run_stage(load_params, evaluate, lambda params: params.runtime.processes)
