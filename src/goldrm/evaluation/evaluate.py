"""Everything that is reported about a reward model, from scores to tables.

It must not know which files a stage reads and writes, nor how tables are drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from goldrm.common import workers as distributed
from goldrm.common.random_streams import stream_seed
from goldrm.evaluation import probes as probing
from goldrm.evaluation import tables as evaluation
from goldrm.evaluation.params import EvaluateParams
from goldrm.evaluation.statistics.best_of_n import best_of_n_table
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.reward_model.hidden_states import log_probabilities
from goldrm.reward_model.model import SCORE_BATCH, RewardModel
from goldrm.task.params import GoldRewardParams
from goldrm.task.task import Task

BASELINES = ("notebook", "log_probability", "mean_log_probability", "length")


@dataclass(frozen=True)
class Material:
    """What a reward model is judged on.

    Attributes:
        pairs: the test split's (`preferences.PAIR_COLUMNS`).
        completions: the test split's (`preferences.COMPLETION_COLUMNS`).
        validation_pairs: the validation split's, for fitting temperatures.
        validation_completions: likewise.
        best_of: many labelled completions of some test prompts, a group each.
    """

    pairs: pd.DataFrame
    completions: pd.DataFrame
    validation_pairs: pd.DataFrame
    validation_completions: pd.DataFrame
    best_of: pd.DataFrame


def drawn_test_prompts(task: Task, count: int, seed: int) -> list[int]:
    """Prompts of the test split, drawn by the seed; fewer are the first of more."""
    ids = task.space.ids_in("test")
    return (
        np.random.default_rng(stream_seed(seed, "test prompts", 0))
        .permutation(ids)[:count]
        .tolist()
    )


def judge(
    model: RewardModel,
    baseline: RewardModel,
    task: Task,
    material: Material,
    gold_reward: GoldRewardParams,
    params: EvaluateParams,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """The tables of the evaluation, by name.

    Args:
        model: what is judged.
        baseline: the notebook's, beside which it stands; on the same language model.
        task: knows prompts and gold rewards.
        material: what on.
        gold_reward: its range.
        params: how much of everything.
        seed: the run's.
    """
    bootstrap = Bootstrap(params, seed)
    completions = _scored(material.completions, model, task)
    completions = completions.assign(**_baselines(completions, baseline))
    scores = ("reward", *BASELINES)
    pairs = evaluation.scored_pairs(material.pairs, completions, scores)
    pairs = pairs.assign(held_out=pairs["prompt_id"].map(task.is_held_out))
    validation = _scored(material.validation_completions, model, task)
    validation_pairs = evaluation.scored_pairs(material.validation_pairs, validation, ("reward",))
    probabilities = evaluation.probabilities(pairs, validation_pairs)
    best_of = _with_scores(material.best_of, model)
    probes = probing.probe_table(
        drawn_test_prompts(task, params.probed_prompts, seed), task, model.score
    )
    found = pd.concat([completions, best_of, probes], ignore_index=True)
    over_estimates = probing.search_over_estimates(
        found, task, model.score, params.search_rounds, 2 * params.examples, seed
    )
    with_intervals: dict[str, Callable[[], pd.DataFrame]] = {
        "statistics": lambda: evaluation.statistics(pairs, completions, bootstrap),
        "compared": lambda: evaluation.compared(pairs, completions, scores, bootstrap),
        "breakdown": lambda: evaluation.breakdown(pairs, bootstrap),
        "best_of_n": lambda: _best_of_n(best_of, task, bootstrap),
        "probes": lambda: probing.falls(probes, bootstrap),
    }
    return {
        **_shared(with_intervals),
        "reward_vs_gold": completions,
        "calibration": evaluation.calibration(completions, gold_reward.min, gold_reward.max),
        "probability": probabilities.table,
        "reliability": probabilities.reliability,
        "one_off": probing.by_size(probes),
        "over_estimates": over_estimates,
        "examples": evaluation.examples(completions, params, seed),
    }


def _shared(tables: Mapping[str, Callable[[], pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Each table made by one of the processes."""
    makers = list(tables.values())
    made = distributed.shared_with_all(range(len(makers)), lambda number: makers[number]())
    return dict(zip(tables, made, strict=True))


def _scored(completions: pd.DataFrame, model: RewardModel, task: Task) -> pd.DataFrame:
    table = evaluation.described(completions, task)
    return table.assign(reward=model.score(table["prompt"].tolist(), table["completion"].tolist()))


def _baselines(completions: pd.DataFrame, baseline: RewardModel) -> Mapping[str, list[float]]:
    prompts, texts = completions["prompt"].tolist(), completions["completion"].tolist()
    sums, means = _log_probabilities(baseline, prompts, texts)
    return {
        "notebook": baseline.score(prompts, texts),
        "log_probability": sums,
        "mean_log_probability": means,
    }


def _log_probabilities(
    model: RewardModel, prompts: list[str], completions: list[str]
) -> tuple[list[float], list[float]]:
    """The language model's, summed over the tokens and averaged."""
    encode = model.dictionary.encode

    def of_batch(first: int) -> list[tuple[float, float]]:
        found = log_probabilities(
            model.backbone,
            [encode(prompt) for prompt in prompts[first : first + SCORE_BATCH]],
            [encode(text) for text in completions[first : first + SCORE_BATCH]],
        )
        return [(float(each.sum()), float(each.mean())) for each in found]

    batches = distributed.shared_with_all(range(0, len(prompts), SCORE_BATCH), of_batch)
    both = [each for batch in batches for each in batch]
    return [total for total, _ in both], [mean for _, mean in both]


def _with_scores(best_of: pd.DataFrame, model: RewardModel) -> pd.DataFrame:
    """Reward and log-probability of each completion, of equal ones computed once."""
    distinct = best_of.drop_duplicates(["prompt_id", "completion"])
    prompts, texts = distinct["prompt"].tolist(), distinct["completion"].tolist()
    scores = distinct[["prompt_id", "completion"]].assign(
        reward=model.score(prompts, texts),
        log_probability=_log_probabilities(model, prompts, texts)[0],
    )
    return best_of.merge(scores, on=["prompt_id", "completion"])


def _best_of_n(best_of: pd.DataFrame, task: Task, bootstrap: Bootstrap) -> pd.DataFrame:
    """By reward, by the language model's log-probability, by an oracle, at random.

    Every prompt counts with as many completions as the prompt that has the fewest: those without
    a number have no gold reward.
    """
    size = int(best_of.groupby("group").size().min())
    chosen = best_of.sort_values("group", kind="stable").groupby("group").head(size)
    columns = {
        name: chosen[name].to_numpy().reshape(-1, size)
        for name in ("reward", "log_probability", "gold_reward", "prompt_id")
    }
    sizes = [n for n in (2**power for power in range(13)) if n <= size]
    scores = {name: columns[name] for name in ("reward", "log_probability")}
    clusters = evaluation.series_numbers(columns["prompt_id"][:, 0].tolist(), task)
    return best_of_n_table(scores, columns["gold_reward"], sizes, clusters, *bootstrap.options)
