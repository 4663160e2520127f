"""params.yaml as frozen, validated types: one class a section.

Nothing here has a default: params.yaml is the only place where a value stands. A function of the
package takes the section it needs, never the whole.
"""

import difflib
import re
import reprlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from goldrm.edits import FURTHER_STEPS, MISREAD_BY, Kind
from goldrm.errors import GoldrmError

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1), AfterValidator(lambda source: _printable(source))]
Source = Annotated[Text, AfterValidator(lambda source: _known_scheme(source))]
LocalSource = Annotated[Text, AfterValidator(lambda source: _local(source))]
DecoderName = Literal["kv_cache", "sliding_window"]
Probability = Annotated[float, Field(ge=0, lt=1)]
P = TypeVar("P", bound="Section")
LARGEST_YAML = 100_000  # bytes; PyYAML takes seconds, and a thousand times the memory, for 1 MB


class Section(BaseModel):
    """A section of params.yaml: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _printable(source: str) -> str:
    if not source.isprintable():
        raise ValueError(f"{source!r:.80} holds characters that no path or URL should")
    return source


def _local(source: str) -> str:
    if "://" in source:
        raise ValueError(f"{source!r} must be a path, not a URL")
    return source


def _known_scheme(source: str) -> str:
    scheme, separator, _ = source.partition("://")
    if separator and scheme not in ("http", "https", "s3"):
        raise ValueError(f"{source!r} is neither a path nor an http, https or s3 URL")
    return source


class IntRange(Section):
    """Whole numbers from `min` to `max`, both included."""

    min: int = Field(ge=0)
    max: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be greater than max ({self.max})")
        return self


class RuntimeParams(Section):
    """Where and with how many threads the work is done."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int = Field(ge=1, le=1024)


class SharedRuntimeParams(RuntimeParams):
    """The same, and how many processes share what can be shared."""

    processes: int = Field(ge=1, le=1024)


class HoldoutParams(Section):
    """Kinds of prompt that the reward model isn't trained on, to see how far it generalises."""

    template: list[Literal[1, 2, 3]]
    difference: list[int]
    terms: list[int]


class TaskParams(Section):
    """The prompts: which series may be asked for, and what decides their split."""

    max_value: int = Field(ge=1, le=100_000)
    start: IntRange
    difference: IntRange
    terms: IntRange
    split_seed: Seed
    holdout: HoldoutParams

    @model_validator(mode="after")
    def _possible(self) -> "TaskParams":
        if self.start.max > self.max_value:
            raise ValueError(f"start.max ({self.start.max}) exceeds max_value ({self.max_value})")
        if self.difference.min < 1:
            raise ValueError("difference.min must be at least 1")
        if self.terms.min < 1:
            raise ValueError("terms.min must be at least 1")
        for name, asked in (("difference", self.difference), ("terms", self.terms)):
            never = [n for n in getattr(self.holdout, name) if not asked.min <= n <= asked.max]
            if never:
                raise ValueError(
                    f"holdout.{name} names {never[0]}, outside {name} ({asked.min}..{asked.max})"
                )
        return self


class DictionaryParams(Section):
    """Where the token dictionary comes from."""

    source: LocalSource


class SftParams(Section):
    """Where the frozen language model comes from, and how it is looked at."""

    source: Source
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    evaluation_prompts: int = Field(ge=1)


class SamplingParams(Section):
    """How completions are sampled from the language model."""

    decoder: DecoderName
    dtype: Literal["float32", "bfloat16"]
    dropout: bool
    temperature: float = Field(ge=0, le=100)
    max_new_tokens: int = Field(ge=1, le=10_000)
    completions_per_prompt: int = Field(ge=2, le=1024)
    chunk_size: int = Field(ge=1, le=1_000_000)


class PairsParams(Section):
    """Where preference pairs come from and how many are wanted."""

    source: LocalSource | None
    num_pairs: int = Field(ge=1)


class GoldRewardParams(Section):
    """The gold reward: min + (max - min) / (1 + beta * sqrt(sum of absolute errors))."""

    min: float
    max: float
    beta: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "GoldRewardParams":
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be less than max ({self.max})")
        return self


class RewardModelParams(Section):
    """What is trained on the frozen hidden states."""

    readout: Literal["last_token", "token_damage"]
    layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    prompt_layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    hidden_size: int = Field(ge=1, le=65_536)
    channels: int = Field(ge=1, le=65_536)
    dropout: Probability
    members: int = Field(ge=1, le=100)
    combine: Literal["mean", "worst", "uncertainty"]
    uncertainty_weight: float = Field(ge=0)

    @model_validator(mode="after")
    def _ascending(self) -> "RewardModelParams":
        for layers in (self.layers, self.prompt_layers):
            if layers != sorted(set(layers)):
                raise ValueError(f"layers must ascend without repetition, found {layers}")
        return self


class EditsParams(Section):
    """Exactly labelled variations of series, made for training."""

    lengths: int = Field(ge=0, le=FURTHER_STEPS)
    misread: int = Field(ge=0, le=len(MISREAD_BY))
    mistakes: int = Field(ge=0, le=1000)
    of_exact: int = Field(ge=0, le=1000)
    of_sampled: int = Field(ge=0, le=1000)
    more_prompts: int = Field(ge=0)
    kinds: list[Kind]

    @property
    def adds_exact(self) -> bool:
        """Whether each prompt's exact series is trained on, with edits of it."""
        return self.lengths + self.misread + self.mistakes + self.of_exact > 0


class TrainParams(Section):
    """Data, losses, optimiser and stop rules of the readout's training."""

    num_pairs: Annotated[int, Field(ge=1)] | None
    completions_per_prompt: Annotated[int, Field(ge=2)] | None
    ties: bool
    edits: EditsParams
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


class BaselineParams(Section):
    """The notebook's own readout and recipe, trained beside for comparison."""

    reward_model: RewardModelParams
    train: TrainParams


class Params(Section):
    """The whole of params.yaml. Stages take sections from it; the package never sees it."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    dictionary: DictionaryParams
    sft: SftParams
    sampling: SamplingParams
    pairs: PairsParams
    gold_reward: GoldRewardParams
    reward_model: RewardModelParams
    train: TrainParams
    baseline: BaselineParams
    evaluate: EvaluateParams


class ModelParams(Section):
    """Sizes of the language model that upstream trains."""

    d: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    context_length: int = Field(ge=2)
    dropout: Probability
    num_layers: int = Field(ge=1)

    @model_validator(mode="after")
    def _divisible(self) -> "ModelParams":
        if self.d % self.num_heads:
            raise ValueError(f"d ({self.d}) must be a multiple of num_heads ({self.num_heads})")
        return self


class SftPhaseParams(Section):
    """A part of upstream's training, with an optimiser and a learning-rate schedule of its own."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    offset_draws: int = Field(ge=1)
    counted_weight: float = Field(gt=0)
    dropout: bool
    bfloat16: bool


class SftTrainParams(Section):
    """How upstream trains the language model."""

    phases: list[SftPhaseParams] = Field(min_length=1)
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    checkpoint_steps: int = Field(ge=1)


class UpstreamParams(Section):
    """The whole of upstream/params.yaml."""

    seed: Seed
    runtime: RuntimeParams
    model: ModelParams
    train: SftTrainParams


class _Yaml12Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, as YAML 1.2 does (and `dvc exp run -S` writes).

    And that refuses a key that stands twice, of which the first would be ignored.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [name for name, count in Counter(key.value for key in keys).items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                problem=f"{twice[0]:.40} stands there twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
        GoldrmError: when the file is missing, unreadable or not such a mapping.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_YAML + 1)
        if len(text) > LARGEST_YAML:
            raise ValueError(f"it has more than {LARGEST_YAML} bytes")
        content = yaml.load(text.decode(), Loader=_Yaml12Loader)  # noqa: S506
    except FileNotFoundError:
        raise GoldrmError(
            f"{path} doesn't exist here. Run from the project's root folder, or restore it "
            f"with `git checkout -- {path}`."
        ) from None
    except (OSError, ValueError, AttributeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(f"{path} can't be read as YAML: {reason}. Correct that place.") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise GoldrmError(f"{path} must hold sections (`name: value`), found {_shown(content)}.")
    return content


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the project's parameters.

    Raises:
        GoldrmError: names every parameter that is unknown, missing, of the wrong type or out of
            range, what was found and what is allowed.
    """
    return _validate(Params, path)


def load_upstream_params(path: Path = Path("params.yaml")) -> UpstreamParams:
    """Read and check upstream's parameters; raises like `load_params`."""
    return _validate(UpstreamParams, path)


def _validate(model: type[P], path: Path) -> P:
    content = read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = "; ".join(_sentence(model, dict(each)) for each in error.errors())
        raise GoldrmError(f"{path}: {found}. Correct {path} or the -S option.") from None


def _sentence(model: type[Section], error: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"]) or "the file"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        return f"{name} is not a parameter{_did_you_mean(model, error['loc'])}"
    message: str = error["msg"]
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "value_error":
        return f"{name}: {message}"
    return f"{name} is {_shown(error['input'])}, it {message}"


def _shown(value: object) -> str:
    try:
        return f"{reprlib.repr(value):.80}"
    except ValueError:
        return "a number of thousands of digits"


def _did_you_mean(model: type[Section], loc: tuple[str | int, ...]) -> str:
    fields = _fields_at(model, loc[:-1])
    close = difflib.get_close_matches(str(loc[-1]), fields, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (there are: {', '.join(fields)})"


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, int):
            continue  # an item of the list that was named before
        inner = model.model_fields[part].annotation
        inner = next(iter(get_args(inner)), inner)
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
