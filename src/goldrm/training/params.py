"""Recipes: what a reward model is, which completions it is trained on, and how."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from goldrm.common.errors import GoldrmError
from goldrm.common.params import Section
from goldrm.edits.kinds import MAX_ADDED_TERMS, Kind
from goldrm.reward_model.params import EnsembleParams, ReadoutParams


class EditsParams(Section):
    """Exactly labelled variations of series, made for training."""

    lengths: int = Field(ge=0, le=MAX_ADDED_TERMS)
    mistakes: int = Field(ge=0, le=1000)
    random: int = Field(ge=0, le=1000)
    kinds: list[Kind]
    further_prompts: int = Field(ge=0)

    @model_validator(mode="after")
    def _possible(self) -> "EditsParams":
        if self.random and not self.kinds:
            raise ValueError(f"random is {self.random}, but kinds names none; name some")
        return self


class DataParams(Section):
    """Which completions a readout is trained on."""

    num_pairs: Annotated[int, Field(ge=1)] | None
    completions_per_prompt: Annotated[int, Field(ge=2)] | None
    label_noise: float = Field(ge=0, le=0.5)
    ties: bool
    edits: EditsParams | None


class TrainingParams(Section):
    """Losses, optimiser and stop rules."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    schedule: Literal["constant", "cosine"]
    weight_decay: float = Field(ge=0)
    mse_weight: float = Field(ge=0)
    rank_weight: float = Field(ge=0)
    margin: bool
    center_weight: float = Field(ge=0)
    stop_loss: float = Field(ge=0)
    patience: Annotated[int, Field(ge=1)] | None
    checkpoint_epochs: int = Field(ge=1)

    @model_validator(mode="after")
    def _trains(self) -> "TrainingParams":
        if self.mse_weight == self.rank_weight == 0:
            raise ValueError(
                "mse_weight and rank_weight are both 0, so that nothing is learned; raise one"
            )
        if self.margin and self.rank_weight == 0:
            raise ValueError(
                "margin is true, but rank_weight, the weight of the loss that it is a part of, is "
                "0; change one"
            )
        return self


class Recipe(Section):
    """All that makes a reward model, given the language model and the sampled completions."""

    readout: ReadoutParams
    ensemble: EnsembleParams
    data: DataParams
    training: TrainingParams

    @model_validator(mode="after")
    def _noise_is_not_seen_through(self) -> "Recipe":
        if self.data.label_noise and (self.training.mse_weight or self.training.margin):
            raise ValueError(
                "data.label_noise flips pairs, but training.mse_weight or training.margin shows "
                "their exact gold rewards all the same; set mse_weight to 0 and margin to false, "
                "or label_noise to 0"
            )
        return self


def refuse_unranked(training: TrainingParams, recipe: str = "the recipe's ") -> None:
    """Refuse losses that learn nothing from pairs without gold rewards.

    Args:
        training: of a recipe.
        recipe: what to put before a parameter's name in the message.

    Raises:
        GoldrmError: when there is no ranking loss, or one with a margin.
    """
    if training.margin or not training.rank_weight:
        raise GoldrmError(
            "pairs.source has pairs without gold rewards, from which only the ranking loss learns, "
            f"and that without a margin. Set {recipe}rank_weight above 0 and margin to false."
        )


# What tables and metrics files call other things than reward models.
RESERVED_NAMES = {
    *("log_prob", "median", "mean_per_length", "oracle", "random", "gold_reward"),
    *("eval", "pairs", "sft", "gold"),
}


def _unreserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise ValueError(f"{name} has another meaning in tables and metrics; rename the recipe")
    return name


RecipeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$"), AfterValidator(_unreserved)]
Recipes = Annotated[dict[RecipeName, Recipe], Field(min_length=1)]
