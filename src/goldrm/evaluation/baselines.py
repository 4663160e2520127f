"""What reward models are compared with: scores that need no reward model."""

import pandas as pd

from goldrm.common.workers import Workers
from goldrm.evaluation.data import TEXT
from goldrm.lm.model import Backbone
from goldrm.reward_model.lm_log_probs import log_probabilities
from goldrm.task.task import Task

LM_BATCH = 512  # completions whose hidden states are in memory at once


def log_prob(texts: pd.DataFrame, backbone: Backbone, task: Task, workers: Workers) -> pd.Series:
    """The language model's log-probability of completions and their end, in nats.

    Args:
        texts: of `data.distinct_texts`.
        backbone: the language model.
        task: knows the tokens.
        workers: share the work.

    Returns:
        By prompt_id and completion.
    """
    prompts = [task.dictionary.encode(text) for text in texts["prompt"]]
    completions = [task.dictionary.encode(text) for text in texts["completion"]]

    def of_batch(first: int) -> list[float]:
        rows = slice(first, first + LM_BATCH)
        of_tokens = log_probabilities(backbone, prompts[rows], completions[rows])
        return [float(log_probs.sum()) for log_probs in of_tokens]

    batches = workers.map_to_all(range(0, len(texts), LM_BATCH), of_batch)
    return pd.Series(
        [score for batch in batches for score in batch],
        index=pd.MultiIndex.from_frame(texts[TEXT]),
    )


def trivial(texts: pd.DataFrame, validation_completions: pd.DataFrame) -> dict[str, pd.Series]:
    """What may be said without a look at the numbers.

    Args:
        texts: of `data.distinct_texts`.
        validation_completions: of `data.distinct_completions`.

    Returns:
        By name and, in each, by prompt_id and completion: median, the median gold reward of the
        validation completions; mean_per_length, the mean gold reward of those with as many terms,
        or of all where there is none.
    """
    gold_reward, length = (validation_completions[name] for name in ("gold_reward", "length"))
    of_lengths = gold_reward.groupby(length).mean()
    terms = texts.set_index(TEXT, drop=False)["completion"].str.count(" ") + 1
    return {
        "median": pd.Series(gold_reward.median(), index=terms.index),
        "mean_per_length": terms.map(of_lengths).fillna(gold_reward.mean()),
    }
