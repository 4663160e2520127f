"""Completions and their gold rewards as labelled preference pairs.

It must not know how completions are decoded nor which files a stage writes.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from goldrm.backbone import Backbone
from goldrm.config import GoldRewardParams, SamplingParams, TaskParams
from goldrm.dictionary import Dictionary
from goldrm.errors import GoldrmError
from goldrm.gold_reward import gold_reward
from goldrm.random_streams import random_stream
from goldrm.sampling import complete
from goldrm.series import SPLITS, Prompt, PromptSpace, Split, split_of, split_text
from goldrm.tables import read_parquet, write_parquet

PAIR_COLUMNS = {
    "prompt_id": "int64",
    "template": "int64",
    "start": "int64",
    "difference": "int64",
    "terms": "int64",
    "prompt": "str",
    "chosen": "str",
    "rejected": "str",
    "chosen_gold_reward": "float64",
    "rejected_gold_reward": "float64",
    "margin": "float64",
}

Row = Mapping[Hashable, Any]

# Without a single usable pair after this many chunks there won't be enough of them ever.
BARREN_CHUNKS = 20


class Labeller:
    """Gives completions their gold rewards, and pairs their order."""

    def __init__(
        self, dictionary: Dictionary, task: TaskParams, gold_reward_params: GoldRewardParams
    ) -> None:
        """What a label depends on besides prompt and completion."""
        self.dictionary = dictionary
        self.task = task
        self.space = PromptSpace(task)
        self._gold_reward_params = gold_reward_params

    def completion(self, group: int, prompt_id: int, token_ids: Sequence[int]) -> dict[str, Any]:
        """One completion as a row of `group, prompt_id, completion, gold_reward, exact`.

        Tokens that aren't integers are removed, as in the notebook. Where none is left there is no
        gold reward: NaN.
        """
        kept = self.dictionary.keep_integers(token_ids)
        exact = self.space[prompt_id].exact(self.task.max_value)
        values = self.dictionary.values(kept)
        return {
            "group": group,
            "prompt_id": prompt_id,
            "completion": self.dictionary.decode(kept),
            "gold_reward": (
                gold_reward(exact, values, self._gold_reward_params) if values else float("nan")
            ),
            "exact": tuple(values) == exact,
        }

    def pairs(self, completions: pd.DataFrame) -> pd.DataFrame:
        """All pairs of a group's completions whose gold rewards differ, the better one chosen.

        Args:
            completions: rows of `completion`; a group's are all of one prompt.

        Returns:
            The columns of `PAIR_COLUMNS`, in the order of the groups.
        """
        usable = completions.dropna(subset="gold_reward")
        rows = [
            self._pair(*_better_first(first, second))
            for _, group in usable.groupby("group", sort=True)
            for first, second in combinations(group.to_dict("records"), 2)
            if first["gold_reward"] != second["gold_reward"]
        ]
        return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype(PAIR_COLUMNS)

    def _pair(self, chosen: Row, rejected: Row) -> dict[str, Any]:
        prompt = self.space[int(chosen["prompt_id"])]
        return {
            "prompt_id": chosen["prompt_id"],
            "template": prompt.template,
            "start": prompt.start,
            "difference": prompt.difference,
            "terms": prompt.terms,
            "prompt": prompt.text,
            "chosen": chosen["completion"],
            "rejected": rejected["completion"],
            "chosen_gold_reward": chosen["gold_reward"],
            "rejected_gold_reward": rejected["gold_reward"],
            "margin": chosen["gold_reward"] - rejected["gold_reward"],
        }

    def _split_of_prompt(self, prompt_id: Any) -> Split:
        return split_of(self.space[int(prompt_id)], self.task)

    def by_split(self, pairs: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """The pairs of each split; a series' pairs are all in one.

        Raises:
            GoldrmError: when a split gets none.
        """
        splits = pairs["prompt_id"].map(self._split_of_prompt)
        divided = {split: pairs[splits == split].reset_index(drop=True) for split in SPLITS}
        for split, rows in divided.items():
            if rows.empty:
                raise GoldrmError(
                    f"none of the {len(pairs)} pairs falls in the {split} split. "
                    "Raise pairs.num_pairs."
                )
        return divided


def _better_first(first: Row, second: Row) -> tuple[Row, Row]:
    return (first, second) if first["gold_reward"] > second["gold_reward"] else (second, first)


def sample_chunk(
    index: int, backbone: Backbone, labeller: Labeller, sampling: SamplingParams, seed: int
) -> pd.DataFrame:
    """Draw a chunk of prompts and sample their completions: a function of (seed, index) alone.

    Args:
        index: the chunk's number, from 0.
        backbone: the frozen language model; `sampling.dropout` decides about its dropout.
        labeller: gives the gold rewards.
        sampling: chunk size, completions a prompt, and how to decode.
        seed: the run's.

    Returns:
        Rows of `Labeller.completion`, `sampling.completions_per_prompt` for each prompt; `group`
        numbers the prompts drawn in the whole run.
    """
    backbone.train(sampling.dropout)
    space, dictionary = labeller.space, labeller.dictionary
    with random_stream(seed, "pairs", index):
        prompt_ids = torch.randint(len(space), (sampling.chunk_size,)).tolist()
        copies = [i for i in prompt_ids for _ in range(sampling.completions_per_prompt)]
        prompts = [dictionary.encode(space[prompt_id].text) for prompt_id in copies]
        completions = complete(
            backbone, prompts, sampling.decoder, sampling.temperature, sampling.max_new_tokens
        )
    first_group = index * sampling.chunk_size
    return pd.DataFrame(
        labeller.completion(
            first_group + row // sampling.completions_per_prompt, prompt_id, token_ids
        )
        for row, (prompt_id, token_ids) in enumerate(zip(copies, completions, strict=True))
    )


def sample_pairs(
    backbone: Backbone,
    labeller: Labeller,
    sampling: SamplingParams,
    num_pairs: int,
    seed: int,
    work: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs from chunk after chunk until there are `num_pairs`.

    Args:
        backbone: the frozen language model.
        labeller: gives the gold rewards.
        sampling: how completions are sampled.
        num_pairs: how many pairs are wanted.
        seed: the run's.
        work: folder in which finished chunks survive a kill.

    Returns:
        Exactly `num_pairs` pairs, and all completions of the chunks they came from.

    Raises:
        GoldrmError: when the language model makes too few mistakes to learn from.
    """
    pairs: list[pd.DataFrame] = []
    completions: list[pd.DataFrame] = []
    found = 0
    with tqdm(total=num_pairs, desc="generate_pairs", unit="pair", disable=None) as progress:
        while found < num_pairs:
            if not found and len(completions) == BARREN_CHUNKS:
                raise GoldrmError(
                    f"in {BARREN_CHUNKS} chunks no two completions of a prompt differed in gold "
                    "reward. Raise sampling.temperature or set sampling.dropout to true."
                )
            index = len(completions)
            path = work / f"completions-{index:06d}.parquet"
            if not path.exists():
                write_parquet(path, sample_chunk(index, backbone, labeller, sampling, seed))
            completions.append(read_parquet(path))
            pairs.append(labeller.pairs(completions[-1]))
            found += len(pairs[-1])
            progress.update(min(len(pairs[-1]), num_pairs - progress.n))
    return pd.concat(pairs, ignore_index=True)[:num_pairs], pd.concat(completions)


def pairs_from_sequences(
    sequences: Sequence[tuple[list[int], list[int]]],
    labeller: Labeller,
    num_pairs: int,
    name: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs from ready-made sequences, labelled anew.

    Labelled anew because the notebook lets a completion's reward depend on its rival's length; so
    a pair may change its order, or be dropped because its rewards are equal.

    Args:
        sequences: for each pair the token ids of prompt + completion, of both.
        labeller: gives the gold rewards.
        num_pairs: how many pairs are wanted, the first ones.
        name: what to call the sequences' source in messages.

    Returns:
        Exactly `num_pairs` pairs, and the completions of all sequences.

    Raises:
        GoldrmError: when a sequence doesn't begin with a prompt of the task, or there are too few.
    """
    completions = pd.DataFrame(
        _completion_of(token_ids, group, labeller, name)
        for group, pair in enumerate(sequences)
        for token_ids in pair
    )
    pairs = labeller.pairs(completions) if len(completions) else completions
    if len(pairs) < num_pairs:
        raise GoldrmError(
            f"{name} holds {len(pairs)} pairs whose gold rewards differ, fewer than "
            f"pairs.num_pairs ({num_pairs}). Set pairs.num_pairs to at most {len(pairs)}."
        )
    return pairs[:num_pairs], completions


def _completion_of(
    token_ids: list[int], group: int, labeller: Labeller, name: str
) -> dict[str, Any]:
    dictionary = labeller.dictionary
    if not all(0 <= token_id < len(dictionary) for token_id in token_ids):
        raise GoldrmError(
            f"{name}: pair {group} holds token ids outside the dictionary's 0…"
            f"{len(dictionary) - 1}. Use the dictionary that it was made with."
        )
    prompt, completion = _prompt_of(token_ids, dictionary, name, group)
    try:
        prompt_id = labeller.space.id_of(prompt)
    except ValueError:
        raise GoldrmError(
            f"{name}: the prompt of pair {group}, {prompt.text!r}, lies outside the ranges of "
            "params.yaml's task section. Widen them."
        ) from None
    return labeller.completion(group, prompt_id, dictionary.encode(completion))


def _prompt_of(
    token_ids: list[int], dictionary: Dictionary, name: str, group: int
) -> tuple[Prompt, str]:
    text = dictionary.decode(token_ids)
    parts = split_text(text)
    if parts is None:
        raise GoldrmError(
            f"{name}: pair {group} doesn't begin with one of the task's prompts: {text!r:.120}. "
            "Use the dictionary that it was made with."
        )
    return parts


def summary(pairs: pd.DataFrame, completions: pd.DataFrame) -> dict[str, float]:
    """The headline metrics of pair generation.

    Returns:
        pairs; kept: share of the sampled pairs, both with a gold reward, in which these differ;
        exact_match: share of the completions that are exact; means of chosen_gold, rejected_gold
        and margin.
    """
    labelled = completions.dropna(subset="gold_reward").groupby("group")["gold_reward"]
    sampled = int((labelled.size() * (labelled.size() - 1) // 2).sum())
    equal = sum(
        size * (size - 1) // 2 for _, rewards in labelled for size in rewards.value_counts()
    )
    return {
        "pairs": len(pairs),
        "kept": round(1 - equal / sampled, 4),
        "exact_match": round(float(completions["exact"].mean()), 4),
        "chosen_gold": round(float(pairs["chosen_gold_reward"].mean()), 4),
        "rejected_gold": round(float(pairs["rejected_gold_reward"].mean()), 4),
        "margin": round(float(pairs["margin"].mean()), 4),
    }
