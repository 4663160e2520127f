"""Sections of params.yaml as frozen, validated types, and the sentences about what is wrong.

Nothing has a default: params.yaml is the only place where a value stands. The sections themselves
stand beside the code that they steer; a function takes the section it needs, never the whole.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from goldrm.common.errors import GoldrmError, shown

S = TypeVar("S", bound="Section")


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


Seed = Annotated[int, Field(ge=0, lt=2**63)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
Source = Annotated[Text, AfterValidator(_known_scheme)]
LocalSource = Annotated[Text, AfterValidator(_local)]


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


def checked(model: type[S], content: dict[str, Any], path: Path) -> S:
    """Parameters as `model` declares them.

    Args:
        model: what sections there must be, and no others.
        content: what a YAML file holds, or a part of it.
        path: of that file, for messages.

    Raises:
        GoldrmError: names every parameter that is unknown, missing, of the wrong type or out of
            range, what was found and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = "; ".join(_sentence(model, dict(each)) for each in error.errors())
        raise GoldrmError(f"{path}: {found}. Correct {path} or the -S option.") from None


def _sentence(model: type[Section], error: dict[str, Any]) -> str:
    names, _ = _walk(model, error["loc"])
    name = ".".join(names) or "the file"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "union_tag_not_found":
        return f"{name}.{error['ctx']['discriminator'].strip(chr(39))} is missing"
    if error["type"] == "extra_forbidden":
        _, sections = _walk(model, error["loc"][:-1])
        return f"{name} is not a parameter{_did_you_mean(names[-1], sections)}"
    message: str = error["msg"]
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "value_error":
        return f"{name}: {message}"
    return f"{name} is {shown(error['input'])}, it {message}"


def _did_you_mean(name: str, sections: list[type[BaseModel]]) -> str:
    fields = [field for section in sections for field in section.model_fields]
    close = difflib.get_close_matches(name, fields, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (there are: {', '.join(fields)})"


def _walk(
    model: type[BaseModel], loc: tuple[str | int, ...]
) -> tuple[list[str], list[type[BaseModel]]]:
    """What a user calls a place, and which sections may stand there.

    Args:
        model: the whole.
        loc: pydantic's name of the place, in which the tag of a choice is a part, too.
    """
    names: list[str] = []
    sections: list[type[BaseModel]] = [model]
    for part in loc:
        tagged = [each for each in sections if len(sections) > 1 and part in _tags(each)]
        if tagged:
            sections = tagged
            continue
        names.append(str(part))
        fields = sections[0].model_fields if sections else {}
        if part in fields:  # else it is an item of a list or of a dictionary
            sections = _sections(fields[str(part)].annotation)
    return names, sections


def _tags(section: type[BaseModel]) -> set[Any]:
    return {tag for field in section.model_fields.values() for tag in get_args(field.annotation)}


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections within a type: of a list, of a dictionary's values, of a choice."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections(inner)]
