"""How much the evaluation looks at."""

from pydantic import Field

from goldrm.common.params import Section


class BestOfNParams(Section):
    """How the pick of the best of many completions is measured."""

    prompts: int = Field(ge=1)
    completions: int = Field(ge=2, le=4096)


class EvaluateParams(Section):
    """What is reported about the reward model on the test split."""

    best_of_n: BestOfNParams
    probed_prompts: int = Field(ge=1)
    search_rounds: int = Field(ge=0, le=100)

    bootstrap_samples: int = Field(ge=100)
    confidence: float = Field(gt=0, lt=1)
    examples: int = Field(ge=1)
