"""How good the frozen language model is at its task, on prompts it hasn't seen."""

from itertools import chain

import pandas as pd
import torch
from scipy import stats
from torch.nn import functional as F
from tqdm import tqdm

from goldrm.common import workers as distributed
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.generation.decoding import complete
from goldrm.generation.params import DecoderName
from goldrm.lm.model import Backbone, right_aligned
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import Prompt
from goldrm.task.task import Task

IGNORED = -100  # a target on which no loss is taken
BATCH = 100  # prompts completed together


def evaluate_sft(
    backbone: Backbone, task: Task, num_prompts: int, max_new_tokens: int, seed: int
) -> dict[str, float]:
    """Greedy decoding and the loss of the exact answers, on prompts of the test split.

    Where processes share a stage's work, all of them ask for this together.

    Args:
        backbone: the language model; it is put into evaluation mode.
        task: knows the task and the gold reward.
        num_prompts: how many prompts, drawn without replacement; all where there are fewer.
        max_new_tokens: longest completion.
        seed: the run's.

    Raises:
        GoldrmError: when it writes no number at all.

    Returns:
        exact_match: share of exact completions by the key-value cache, with its 95 % Wilson
        interval exact_match_low … exact_match_high; exact_match_sliding: the same by the
        notebook's sliding window; gold_reward: mean of the cached decoder's completions that hold
        an integer; nll: mean negative log-likelihood of the exact answers' tokens, the end token
        included, in nats a token.
    """
    backbone.eval()
    prompt_ids = _drawn(task, num_prompts, seed)
    cached = _greedy(backbone, task, prompt_ids, "kv_cache", max_new_tokens)
    sliding = _greedy(backbone, task, prompt_ids, "sliding_window", max_new_tokens)
    exact = int(cached["exact"].sum())
    interval = stats.binomtest(exact, len(prompt_ids)).proportion_ci(0.95, method="wilson")
    if cached["gold_reward"].isna().all():
        raise GoldrmError(
            f"the language model wrote no number for any of {len(prompt_ids)} prompts. It isn't "
            "one of this task; correct sft.source."
        )
    prompts = [task.space[prompt_id] for prompt_id in prompt_ids]
    return {
        "exact_match": round(exact / len(prompt_ids), 4),
        "exact_match_low": round(float(interval.low), 4),
        "exact_match_high": round(float(interval.high), 4),
        "exact_match_sliding": round(float(sliding["exact"].mean()), 4),
        "gold_reward": round(float(cached["gold_reward"].mean()), 4),
        "nll": round(answer_nll(backbone, task.dictionary, prompts, task.params.max_value), 5),
    }


def _drawn(task: Task, num_prompts: int, seed: int) -> list[int]:
    test_ids = task.space.ids_in("test")
    with random_stream(seed, "sft evaluation"):
        order = torch.randperm(len(test_ids))[:num_prompts].tolist()
    return [test_ids[position] for position in order]


def _greedy(
    backbone: Backbone,
    task: Task,
    prompt_ids: list[int],
    decoder: DecoderName,
    max_new_tokens: int,
) -> pd.DataFrame:
    prompts = [task.dictionary.encode(task.space[i].text) for i in prompt_ids]

    def make(first: int) -> list[list[int]]:
        part = prompts[first : first + BATCH]
        return complete(backbone, part, decoder, 0.0, max_new_tokens)

    hidden = distributed.hides_progress()
    batches = tqdm(
        range(0, len(prompts), BATCH), desc=f"fetch_sft: {decoder}", unit="batch", disable=hidden
    )
    completions = list(chain.from_iterable(distributed.shared_with_all(batches, make)))
    return pd.DataFrame(
        task.completion(group, prompt_id, completion)
        for group, (prompt_id, completion) in enumerate(zip(prompt_ids, completions, strict=True))
    )


@torch.no_grad()
def answer_nll(
    backbone: Backbone, dictionary: Dictionary, prompts: list[Prompt], max_value: int
) -> float:
    """Mean negative log-likelihood of the exact answers' tokens, in nats a token.

    The end token is one of them. Prompt and answer are right-aligned in the context; of what is
    longer the last tokens count.
    """
    answers = [
        [dictionary.ids[str(value)] for value in prompt.exact(max_value)] + [dictionary.eos_id]
        for prompt in prompts
    ]
    read = [
        dictionary.encode(prompt.text) + answer[:-1]
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    context_length = backbone.sizes.context_length
    token_ids = right_aligned(read, context_length, dictionary.pad_id)
    targets = right_aligned(answers, context_length, IGNORED)
    device = backbone.token_prediction.weight.device
    total, count = 0.0, int((targets != IGNORED).sum())
    for rows in torch.arange(len(prompts)).split(BATCH):
        logits = backbone(token_ids[rows].to(device)).flatten(0, 1)
        total += float(
            F.cross_entropy(
                logits, targets[rows].flatten().to(device), ignore_index=IGNORED, reduction="sum"
            )
        )
    return total / count
