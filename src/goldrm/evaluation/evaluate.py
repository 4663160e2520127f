"""The whole evaluation: reward models in, tables out, each model beside the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from goldrm.common.random_streams import stream_seed
from goldrm.common.workers import Workers
from goldrm.evaluation import probes, tables
from goldrm.evaluation.params import EvaluateParams
from goldrm.evaluation.search import search_over_estimates
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.lm.model import Backbone
from goldrm.reward_model.lm_log_probs import log_probabilities
from goldrm.reward_model.model import RewardModel
from goldrm.task.params import GoldRewardParams
from goldrm.task.series import Split
from goldrm.task.task import Task

TEXT = ["prompt_id", "completion"]  # what a reward belongs to
LM_BATCH = 512  # completions whose hidden states are in memory at once
TableMaker = Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class EvaluationData:
    """What models are judged on: test and validation split, and completions made for it.

    Attributes:
        pairs: the test split's (`pairs.PAIR_COLUMNS`), with a column held_out.
        completions: the test split's, of `tables.distinct_completions`.
        validation_pairs: the validation split's, for fitting temperatures.
        validation_completions: likewise.
        best_of: many labelled completions of some test prompts, a group for each prompt.
        probes: of `probes.probe_completions`.
    """

    pairs: pd.DataFrame
    completions: pd.DataFrame
    validation_pairs: pd.DataFrame
    validation_completions: pd.DataFrame
    best_of: pd.DataFrame
    probes: pd.DataFrame

    @classmethod
    def prepared(
        cls,
        pairs: Mapping[Split, pd.DataFrame],
        completions: Mapping[Split, pd.DataFrame],
        best_of: pd.DataFrame,
        probed_prompts: Sequence[int],
        task: Task,
    ) -> "EvaluationData":
        """The data from what was sampled.

        Args:
            pairs: by split, test and validation.
            completions: likewise (`preferences.COMPLETION_COLUMNS`).
            best_of: rows of `Task.completion`; those without a gold reward are left out.
            probed_prompts: whose exact series are varied.
            task: knows prompts, exact series and gold rewards.
        """
        return cls(
            pairs["test"].assign(held_out=pairs["test"]["prompt_id"].map(task.is_held_out)),
            tables.distinct_completions(completions["test"], task),
            pairs["validation"],
            tables.distinct_completions(completions["validation"], task),
            task.with_prompts(best_of.dropna(subset="gold_reward")),
            probes.probe_completions(probed_prompts, task),
        )

    def with_rewards(self, rewards: pd.Series) -> "EvaluationData":
        """The same with a column reward in each table of completions, and two in those of pairs.

        Args:
            rewards: by prompt_id and completion; completions without one get NaN.
        """
        completions, validation, best_of, probed = (
            table.assign(reward=rewards.reindex(pd.MultiIndex.from_frame(table[TEXT])).to_numpy())
            for table in (self.completions, self.validation_completions, self.best_of, self.probes)
        )
        return EvaluationData(
            tables.pairs_with_rewards(self.pairs, completions),
            completions,
            tables.pairs_with_rewards(self.validation_pairs, validation),
            validation,
            best_of,
            probes.with_exact_reward(probed),
        )


def drawn_test_prompts(task: Task, count: int, seed: int) -> list[int]:
    """Prompts of the test split, drawn by the seed; fewer are the first of more."""
    ids = task.space.ids_in("test")
    return (
        np.random.default_rng(stream_seed(seed, "test prompts", 0))
        .permutation(ids)[:count]
        .tolist()
    )


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

    Each has a first column model: the name of a reward model or, in statistics and best_of_n, of
    what they are compared with: the language model's log-probability (log_prob) and that of a
    token (mean_log_prob), the length, a pick by the gold reward (oracle), and one at random.

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
    backbone = next(iter(models.values())).backbone
    judged = {name: _with_rewards_of(model, data, workers) for name, model in models.items()}
    compared = {
        name: data.with_rewards(scores)
        for name, scores in _lm_scores(data, backbone, task, workers).items()
    }
    over_estimates = {
        name: _over_estimates(models[name], own, task, params, seed, workers)
        for name, own in judged.items()
    }
    makers = {
        name: _table_makers(own, gold_reward, bootstrap, params.examples, seed)
        for name, own in judged.items()
    } | {
        name: {
            "statistics": partial(tables.ranking_statistics, own.pairs, own.completions, bootstrap)
        }
        for name, own in compared.items()
    }
    pickers = {**judged, "log_prob": compared["log_prob"]}
    scores = {name: own.best_of["reward"].to_numpy() for name, own in pickers.items()}
    return {
        **_made(makers, workers),
        "over_estimates": _side_by_side(over_estimates),
        "best_of_n": tables.best_of_n(data.best_of, scores, task, bootstrap),
    }


def _over_estimates(
    model: RewardModel,
    judged: EvaluationData,
    task: Task,
    params: EvaluateParams,
    seed: int,
    workers: Workers,
) -> pd.DataFrame:
    """What a search finds that begins with all completions that the model has scored."""
    return search_over_estimates(
        pd.concat([judged.completions, judged.best_of, judged.probes]),
        task,
        partial(model.score, workers=workers),
        params.search_rounds,
        2 * params.examples,
        seed,
    )


def _table_makers(
    judged: EvaluationData,
    gold_reward: GoldRewardParams,
    bootstrap: Bootstrap,
    examples: int,
    seed: int,
) -> dict[str, TableMaker]:
    """What makes the tables of a reward model, by their names."""
    pairs, completions, probed = judged.pairs, judged.completions, judged.probes
    both_splits = (pairs, judged.validation_pairs)
    return {
        "statistics": partial(tables.statistics, pairs, completions, bootstrap),
        "breakdown": partial(tables.breakdown, pairs, bootstrap),
        "probes": partial(probes.probe_accuracy, probed, bootstrap),
        "one_off": partial(probes.rewards_by_size, probed),
        "reward_vs_gold": partial(tables.reward_vs_gold, completions),
        "calibration": partial(tables.calibration, completions, gold_reward),
        "probability": partial(tables.probability_table, *both_splits),
        "reliability": partial(tables.reliability_table, *both_splits),
        "examples": partial(tables.examples, completions, examples, seed),
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
    texts = _distinct_texts(
        data.completions, data.validation_completions, data.best_of, data.probes
    )
    rewards = model.score(texts["prompt"].tolist(), texts["completion"].tolist(), workers)
    return data.with_rewards(texts.assign(reward=rewards).set_index(TEXT)["reward"])


def _lm_scores(
    data: EvaluationData, backbone: Backbone, task: Task, workers: Workers
) -> dict[str, pd.Series]:
    """Scores that need no reward model, of the completions of test split and best_of.

    Returns:
        By name and, in each, by prompt_id and completion: the language model's log-probability,
        summed over the tokens (log_prob) and averaged (mean_log_prob), and the number of terms
        (length).
    """
    texts = _distinct_texts(data.completions, data.best_of)
    prompts = [task.dictionary.encode(text) for text in texts["prompt"]]
    completions = [task.dictionary.encode(text) for text in texts["completion"]]

    def of_batch(first: int) -> list[tuple[float, float]]:
        rows = slice(first, first + LM_BATCH)
        of_tokens = log_probabilities(backbone, prompts[rows], completions[rows])
        return [(float(log_probs.sum()), float(log_probs.mean())) for log_probs in of_tokens]

    batches = workers.map_to_all(range(0, len(texts), LM_BATCH), of_batch)
    scores = pd.DataFrame(
        [sum_and_mean for batch in batches for sum_and_mean in batch],
        index=pd.MultiIndex.from_frame(texts[TEXT]),
        columns=["log_prob", "mean_log_prob"],
    ).assign(length=list(map(float, map(len, completions))))
    return {str(name): column for name, column in scores.items()}


def _distinct_texts(*completions: pd.DataFrame) -> pd.DataFrame:
    """Prompts and completions of several tables, each once, a prompt's side by side."""
    texts = pd.concat([table[["prompt", *TEXT]] for table in completions], ignore_index=True)
    return texts.drop_duplicates(TEXT).sort_values("prompt_id", kind="stable")
