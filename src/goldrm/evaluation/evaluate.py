"""The whole evaluation: reward models in, tables out, each model beside the others."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from goldrm.common.workers import Workers
from goldrm.evaluation import baselines, comparison, probes, tables
from goldrm.evaluation.data import TEXT, EvaluationData, distinct_texts
from goldrm.evaluation.params import EvaluateParams
from goldrm.evaluation.search import search_over_estimates
from goldrm.lm.model import Backbone
from goldrm.reward_model.model import RewardModel
from goldrm.statistics.bootstrap import Bootstrap
from goldrm.statistics.shares import Estimate
from goldrm.task.params import GoldRewardParams
from goldrm.task.task import Task

OTHER_SCALES = {"log_prob"}  # what has no error, since it isn't on the gold rewards' scale
TableMaker = Callable[[], pd.DataFrame]


def evaluate_models(
    models: Mapping[str, RewardModel],
    task: Task,
    data: EvaluationData,
    gold_reward: GoldRewardParams,
    params: EvaluateParams,
    seed: int,
    workers: Workers,
) -> dict[str, pd.DataFrame]:
    """The tables of the evaluation, by name.

    Each has a first column model: the name of a reward model or, where they are compared, of what
    they are compared with: the language model's log-probability (log_prob), two guesses (see
    `baselines.trivial`), a pick by the gold reward (oracle), and one at random.

    Args:
        models: reward models by name, on the same language model.
        task: knows prompts and gold rewards.
        data: what they are judged on.
        gold_reward: its range.
        params: how much of everything.
        seed: the run's.
        workers: share the work.
    """
    bootstrap = Bootstrap(params.bootstrap_samples, params.confidence, seed)
    judged = {name: _with_rewards_of(model, data, workers) for name, model in models.items()}
    backbone = next(iter(models.values())).backbone
    compared = judged | _baselines(data, backbone, task, workers)
    predicted = {
        name: own.rescaled(models[name].gold_scale) if name in models else own
        for name, own in compared.items()
        if name not in OTHER_SCALES
    }
    over_estimates = {
        name: _over_estimates(model, predicted[name], task, params, seed, workers)
        for name, model in models.items()
    }
    makers: dict[str, dict[str, TableMaker]] = {
        name: {"statistics": partial(_statistics, own, predicted.get(name), bootstrap)}
        for name, own in compared.items()
    }
    for name, own in judged.items():
        makers[name] |= _table_makers(
            own, predicted[name], task.space.properties, gold_reward, params, seed
        )
    makers[next(iter(models))]["differences"] = partial(
        _differences, compared, predicted, bootstrap
    )
    scores = {name: compared[name].best_of["reward"].to_numpy() for name in (*models, "log_prob")}
    return {
        **_made(makers, workers),
        "probe_rewards": _side_by_side({name: own.probes for name, own in compared.items()}),
        "over_estimates": _side_by_side(over_estimates),
        "best_of_n": tables.best_of_n(data.best_of, scores, bootstrap),
    }


def _baselines(
    data: EvaluationData, backbone: Backbone, task: Task, workers: Workers
) -> dict[str, EvaluationData]:
    """The data with the scores of what reward models are compared with, by their names."""
    texts = distinct_texts(data.completions, data.best_of, data.probes)
    scores = {
        "log_prob": baselines.log_prob(texts, backbone, task, workers),
        **baselines.trivial(texts, data.validation_completions),
    }
    return {name: data.with_rewards(rewards) for name, rewards in scores.items()}


def _over_estimates(
    model: RewardModel,
    predicted: EvaluationData,
    task: Task,
    params: EvaluateParams,
    seed: int,
    workers: Workers,
) -> pd.DataFrame:
    """What a search finds that begins with all completions that the model has scored."""

    def score(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        return [model.gold_scale(reward) for reward in model.score(prompts, completions, workers)]

    return search_over_estimates(
        pd.concat([predicted.completions, predicted.best_of, predicted.probes]),
        task,
        score,
        params.search_rounds,
        2 * params.examples,
        seed,
    )


def _statistics(
    judged: EvaluationData, predicted: EvaluationData | None, bootstrap: Bootstrap
) -> pd.DataFrame:
    """How well rewards rank and, where they are brought to the gold rewards' scale, predict."""
    ranking = comparison.ranking_statistics(judged, bootstrap)
    if predicted is None:
        return ranking
    return pd.concat([ranking, comparison.error_statistics(predicted, bootstrap)])


def _differences(
    compared: Mapping[str, EvaluationData],
    predicted: Mapping[str, EvaluationData],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """What the first model's statistics are more than those of each other, whose name is other."""
    (first, judged), *others = compared.items()
    parts: list[pd.DataFrame] = []
    for name, other in others:
        parts.append(comparison.differences(judged, other, bootstrap).assign(other=name))
        if name in predicted:
            both = predicted[first], predicted[name]
            parts.append(comparison.error_difference(*both, bootstrap).assign(other=name))
    return pd.concat(parts)[["other", "statistic", *Estimate._fields]]


def _table_makers(
    judged: EvaluationData,
    predicted: EvaluationData,
    properties: Mapping[str, int],
    gold_reward: GoldRewardParams,
    params: EvaluateParams,
    seed: int,
) -> dict[str, TableMaker]:
    """What makes the tables that only reward models have, by their names."""
    pairs, completions = judged.pairs, predicted.completions
    both_splits = (pairs, judged.validation_pairs)
    return {
        "breakdown": partial(tables.breakdown, pairs, properties, params.confidence),
        "probes": partial(probes.probe_accuracy, judged.probes, params.confidence),
        "one_off": partial(probes.rewards_by_size, predicted.probes),
        "reward_vs_gold": partial(tables.reward_vs_gold, completions),
        "calibration": partial(tables.calibration, completions, gold_reward),
        "probability": partial(tables.probability_table, *both_splits),
        "reliability": partial(tables.reliability_table, *both_splits),
        "examples": partial(tables.examples, completions, params.examples, seed),
    }


def _made(
    makers: Mapping[str, Mapping[str, TableMaker]], workers: Workers
) -> dict[str, pd.DataFrame]:
    """Tables by name, of all models, each model's part made by one of the workers.

    Args:
        makers: by model and table.
        workers: share the work.
    """
    names = dict.fromkeys(table for of_model in makers.values() for table in of_model)
    parts = [(table, model) for table in names for model in makers if table in makers[model]]

    def made(number: int) -> pd.DataFrame:
        table, model = parts[number]
        return makers[model][table]()

    tables_of_models: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in names}
    for (table, model), part in zip(
        parts, workers.map_to_all(range(len(parts)), made), strict=True
    ):
        tables_of_models[table][model] = part
    return {name: _side_by_side(of_models) for name, of_models in tables_of_models.items()}


def _side_by_side(tables_by_model: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table, with a first column model."""
    return pd.concat(tables_by_model, names=["model"]).reset_index("model").reset_index(drop=True)


def _with_rewards_of(model: RewardModel, data: EvaluationData, workers: Workers) -> EvaluationData:
    """The data with a model's rewards; a completion that is in several tables is scored once."""
    texts = distinct_texts(data.completions, data.validation_completions, data.best_of, data.probes)
    rewards = model.score(texts["prompt"].tolist(), texts["completion"].tolist(), workers)
    return data.with_rewards(texts.assign(reward=rewards).set_index(TEXT)["reward"])
