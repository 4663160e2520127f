"""What models are judged on: pairs, completions and probes of unseen families, with rewards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import pandas as pd

from goldrm.evaluation import probes
from goldrm.reward_model.gold_scale import SAME, Line
from goldrm.statistics import metrics
from goldrm.statistics.metrics import Floats
from goldrm.task.splits import Split
from goldrm.task.task import Task

TEXT = ["prompt_id", "completion"]  # what a reward belongs to


@dataclass(frozen=True)
class EvaluationData:
    """What models are judged on: test and validation split, and completions made for it.

    Attributes:
        pairs: the test split's (`pairs.preference_pairs`), with a column held_out.
        completions: the test split's, of `distinct_completions`.
        validation_pairs: the validation split's, for fitting temperatures.
        validation_completions: likewise.
        best_of: many labelled completions of some test prompts, a group for each, with family.
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
            completions: likewise (`PreferenceDataset.completions`).
            best_of: columns of `Task.labelled`; those without a gold reward are left out.
            probed_prompts: whose exact series are varied.
            task: knows prompts, exact series and gold rewards.
        """
        return cls(
            pairs["test"].assign(held_out=pairs["test"]["prompt_id"].map(task.is_held_out)),
            distinct_completions(completions["test"], task),
            pairs["validation"],
            distinct_completions(completions["validation"], task),
            task.with_prompts(best_of.dropna(subset="gold_reward")).assign(
                family=lambda rows: rows["prompt_id"].map(task.family)
            ),
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
            pairs_with_rewards(self.pairs, completions),
            completions,
            pairs_with_rewards(self.validation_pairs, validation),
            validation,
            best_of,
            probes.with_exact_reward(probed),
        )

    def rescaled(self, line: Line) -> "EvaluationData":
        """The same with all rewards, which must be there, on another scale."""
        if line == SAME:
            return self
        tables = {each.name: getattr(self, each.name) for each in fields(self)}
        rewards = ("reward", "chosen_reward", "rejected_reward", "exact_reward")
        return EvaluationData(
            **{
                name: table.assign(**{n: line(table[n]) for n in rewards if n in table})
                for name, table in tables.items()
            }
        )


def distinct_texts(*completions: pd.DataFrame) -> pd.DataFrame:
    """Prompts and completions of several tables, each once, a prompt's side by side."""
    texts = pd.concat([table[["prompt", *TEXT]] for table in completions], ignore_index=True)
    return texts.drop_duplicates(TEXT).sort_values("prompt_id", kind="stable")


def distinct_completions(completions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Each completion of a prompt once, with what it is judged by besides its reward.

    Args:
        completions: of `PreferenceDataset.completions`.
        task: knows the exact answers.

    Returns:
        The same columns and family, length (how many integers the completion has), mistake (see
        `Prompts.mistake`).
    """
    table = completions.drop_duplicates(["prompt_id", "completion"], ignore_index=True)
    exact = table["prompt_id"].map(task.exact)
    answers = [tuple(map(int, text.split())) for text in table["completion"]]
    return table.assign(
        family=table["prompt_id"].map(task.family),
        length=[float(len(values)) for values in answers],
        mistake=list(map(task.space.mistake, exact, answers)),
    )


def pairs_with_rewards(pairs: pd.DataFrame, completions: pd.DataFrame) -> pd.DataFrame:
    """The pairs with both rewards, their families and what their completions are.

    Args:
        pairs: of `pairs.preference_pairs`.
        completions: `distinct_completions`, among them the pairs', with a column reward.

    Returns:
        The pairs' columns and chosen_reward, rejected_reward, family, chosen_exact (whether the
        chosen completion is), mistake (the rejected completion's).
    """
    of_completion = completions.set_index(["prompt_id", "completion"])
    chosen, rejected = (
        of_completion.loc[pd.MultiIndex.from_frame(pairs[["prompt_id", side]])]
        for side in ("chosen", "rejected")
    )
    return pairs.assign(
        chosen_reward=chosen["reward"].to_numpy(),
        rejected_reward=rejected["reward"].to_numpy(),
        family=rejected["family"].to_numpy(),
        chosen_exact=(chosen["mistake"] == "exact").to_numpy(),
        mistake=rejected["mistake"].to_numpy(),
    )


def pairs_right(pairs: pd.DataFrame) -> Floats:
    """1 for each pair that is ranked right, 0 for wrong, 1/2 for a tie."""
    return metrics.pairs_right(
        pairs["chosen_reward"].to_numpy(), pairs["rejected_reward"].to_numpy()
    )


def rewards_and_gold(completions: pd.DataFrame) -> tuple[Floats, Floats]:
    """Each completion's reward and gold reward."""
    return completions["reward"].to_numpy(), completions["gold_reward"].to_numpy()
