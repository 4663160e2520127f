"""How good the frozen language model is at its task, on prompts that it hasn't seen."""

from collections.abc import Sequence
from itertools import chain, count

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from goldrm.common.errors import GoldrmError
from goldrm.common.progress import progress_bar
from goldrm.common.random_streams import random_stream
from goldrm.common.workers import Workers
from goldrm.generation.decoding import complete
from goldrm.generation.params import DecoderName
from goldrm.lm.model import Backbone, right_aligned
from goldrm.statistics.shares import share
from goldrm.task.task import Task

IGNORED = -100  # a target on which no loss is taken
BATCH_SIZE = 100  # prompts that are completed together
CONFIDENCE = 0.95  # of the intervals


def evaluate_sft(
    backbone: Backbone,
    task: Task,
    num_prompts: int,
    max_new_tokens: int,
    seed: int,
    workers: Workers,
) -> pd.DataFrame:
    """Greedy decoding and the loss of the exact answers, on prompts of the test split.

    Args:
        backbone: the language model; it is put into evaluation mode.
        task: gives prompts, exact answers and gold rewards.
        num_prompts: how many prompts, drawn without replacement; all where there are fewer.
        max_new_tokens: longest completion; fewer where the context has no room for so many.
        seed: the run's.
        workers: who share the work; all of them get the result.

    Returns:
        Columns statistic; value; low and high: its 95 % interval over families (see
        `shares.share`), NaN where there is none; n and families: how many prompts and families are
        behind it. The rows:
        exact_match: share of exact completions by the key-value cache.
        exact_match_sliding: the same by the notebook's sliding window.
        gold_reward: mean of the cached decoder's completions that hold an integer.
        nll: mean negative log-likelihood of the exact answers' tokens, in nats a token.

    Raises:
        GoldrmError: when it writes no number at all, or can't read a whole prompt.
    """
    backbone.eval()
    prompt_ids = _draw_test_prompts(task, num_prompts, seed)
    max_new_tokens = min(max_new_tokens, _room(backbone, task, prompt_ids))
    cached = _greedy(backbone, task, prompt_ids, "kv_cache", max_new_tokens, workers)
    sliding = _greedy(backbone, task, prompt_ids, "sliding_window", max_new_tokens, workers)
    if cached["gold_reward"].isna().all():
        raise GoldrmError(
            f"the language model wrote no number for any of {len(prompt_ids)} prompts. It isn't "
            "one of this task; correct sft.source."
        )
    families = np.array(list(map(task.family, prompt_ids)))
    written = cached["gold_reward"].notna()
    shares = {"exact_match": cached["exact"], "exact_match_sliding": sliding["exact"]}
    means = {
        "gold_reward": (cached["gold_reward"][written].mean(), families[written]),
        "nll": (answer_nll(backbone, task, prompt_ids), families),
    }
    return pd.DataFrame(
        [
            {"statistic": name} | share(exact.to_numpy(float), families, CONFIDENCE)._asdict()
            for name, exact in shares.items()
        ]
        + [
            {"statistic": name, "value": value, "n": len(of), "families": len(set(of))}
            for name, (value, of) in means.items()
        ]
    )


def headline(statistics: pd.DataFrame) -> dict[str, float]:
    """The stage's metric, of the rows of `evaluate_sft`: the exact match by the cache."""
    values = statistics.set_index("statistic")["value"]
    return {"exact_match": round(float(values["exact_match"]), 4)}


def _draw_test_prompts(task: Task, num_prompts: int, seed: int) -> list[int]:
    test_ids = task.ids_in("test")
    with random_stream(seed, "sft evaluation"):
        order = torch.randperm(len(test_ids))[:num_prompts].tolist()
    return [test_ids[index] for index in order]


def _room(backbone: Backbone, task: Task, prompt_ids: Sequence[int]) -> int:
    """How many tokens the model can write behind the longest prompt; the last one isn't read."""
    longest = max(len(task.space[prompt_id].text.split()) for prompt_id in prompt_ids)
    context_length = backbone.sizes.context_length
    if longest > context_length:
        raise GoldrmError(
            f"the language model reads {context_length} tokens, but there are prompts of "
            f"{longest}. Correct sft.source."
        )
    return context_length - longest + 1


def _greedy(
    backbone: Backbone,
    task: Task,
    prompt_ids: Sequence[int],
    decoder: DecoderName,
    max_new_tokens: int,
    workers: Workers,
) -> pd.DataFrame:
    """The likeliest completion of each prompt, with the columns of `Task.labelled`."""
    prompts = [task.dictionary.encode(task.space[i].text) for i in prompt_ids]

    def complete_batch(first: int) -> list[list[int]]:
        batch = prompts[first : first + BATCH_SIZE]
        return complete(backbone, batch, decoder, 0.0, max_new_tokens)

    batches = progress_bar(
        range(0, len(prompts), BATCH_SIZE),
        desc=f"evaluate {decoder}",
        unit="batch",
        disable=workers.hide_progress,
    )
    completions = list(chain.from_iterable(workers.map_to_all(batches, complete_batch)))
    answers = map(task.dictionary.integers_in, completions)
    return task.labelled(zip(count(), prompt_ids, answers, strict=False))


@torch.no_grad()
def answer_nll(backbone: Backbone, task: Task, prompt_ids: Sequence[int]) -> float:
    """Mean negative log-likelihood of the exact answers' tokens, in nats a token.

    The end token is one of them. Prompt and answer are right-aligned in the context; of what is
    longer the last tokens count.
    """
    dictionary, context_length = task.dictionary, backbone.sizes.context_length
    prompts = [dictionary.encode(task.space[i].text) for i in prompt_ids]
    answers = [
        [dictionary.ids[str(value)] for value in task.exact(i)] + [dictionary.eos_id]
        for i in prompt_ids
    ]
    read = [prompt + answer[:-1] for prompt, answer in zip(prompts, answers, strict=True)]
    token_ids = right_aligned(read, context_length, dictionary.pad_id)
    targets = right_aligned(answers, context_length, IGNORED)
    device = backbone.token_prediction.weight.device
    total = 0.0
    for rows in torch.arange(len(prompts)).split(BATCH_SIZE):
        logits = backbone(token_ids[rows].to(device)).flatten(0, 1)
        batch_targets = targets[rows].flatten().to(device)
        total += float(
            F.cross_entropy(logits, batch_targets, ignore_index=IGNORED, reduction="sum")
        )
    return total / int((targets != IGNORED).sum())
