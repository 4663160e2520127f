"""Sections of params.yaml as frozen, validated types, and the sentences about what is wrong.

Nothing has a default: params.yaml is the only place where a value stands. The sections themselves
stand beside the code that they steer; a function takes the section it needs, never the whole.
"""

import difflib
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from goldrm.common.errors import GoldrmError, shown

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A section of params.yaml: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _printable(source: str) -> str:
    if not source.isprintable() or source != source.strip():
        raise ValueError(f"{source!r:.80} holds characters that no path or URL should")
    return source


def _local(source: str) -> str:
    if "://" in source:
        raise ValueError(f"{source!r} must be a path, not a URL")
    return source


def _known_scheme(source: str) -> str:
    scheme, separator, rest = source.partition("://")
    if separator and (scheme not in ("http", "https", "s3") or rest.startswith("/")):
        raise ValueError(f"{source!r} is neither a path nor an http, https or s3 URL")
    return source


def _literal(source: str) -> str:
    """Refuse a path that a shell would make another of: to DVC it is a name like any other."""
    if "://" in source:
        return source
    if source.startswith("~") or "$" in source:
        raise ValueError(f"{source!r} is taken as it stands, ~ and $ too; write the path in full")
    if "\\" in source or re.match(r"\w+:/", source):
        raise ValueError(f"{source!r} is no path here; write folders with / between them")
    if source.endswith(("/", "/.", "/..")) or source in (".", ".."):
        raise ValueError(f"{source!r} is a folder; name the file in it")
    return source


Seed = Annotated[int, Field(ge=0, lt=2**63)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_printable), AfterValidator(_literal)]
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
    tag = str(error.get("ctx", {}).get("discriminator", "")).strip("'")
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "union_tag_not_found":
        return f"{name}.{tag} is missing"
    if error["type"] == "union_tag_invalid":
        allowed = error["ctx"]["expected_tags"]
        return f"{name}.{tag} is {shown(error['input'][tag])}, it should be one of {allowed}"
    if error["type"] == "extra_forbidden":
        _, types = _walk(model, error["loc"][:-1])
        return f"{name} is not a parameter{_did_you_mean(names[-1], types)}"
    if error["type"] == "value_error":
        return f"{name}: {error['msg'].removeprefix('Value error, ')}"
    _, verb, expected = error["msg"].partition("should ")  # without "Input", "List", "String"
    return f"{name} is {shown(error['input'])}, it {verb}{expected or error['msg']}"


def _did_you_mean(name: str, types: list[Any]) -> str:
    fields = [field for section in types for field in section.model_fields]
    close = difflib.get_close_matches(name, fields, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (there are: {', '.join(fields)})"


def _walk(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[list[str], list[Any]]:
    """What a user calls a place, and which types may stand there.

    Args:
        model: the whole.
        loc: pydantic's name of the place, in which the tag of a choice is a part, too, such as
            models, notebook, readout, last_token, layers.
    """
    names: list[str] = []
    types: list[Any] = [model]
    for part in loc:
        if len(types) > 1:
            types = [choice for choice in types if part in _tags(choice)]
        elif part != "[key]":  # of a dictionary, which pydantic names twice
            name = str(part)
            names.append(name if name.isprintable() and len(name) <= 80 else shown(name))
            types = _inner(types[0], part) if types else []
    return names, types


def _tags(section: type[BaseModel]) -> set[Any]:
    return {tag for field in section.model_fields.values() for tag in get_args(field.annotation)}


def _inner(annotation: Any, part: str | int) -> list[Any]:
    """What types may stand in a section under a name, in a list or under a dictionary's key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return _choices(field.annotation) if field else []
    return [choice for inner in get_args(annotation)[-1:] for choice in _choices(inner)]


def _choices(annotation: Any) -> list[Any]:
    """The types of a choice, but for None; without what Annotated adds."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [choice for inner in get_args(annotation) for choice in _choices(inner)]
    return [] if annotation is NoneType else [annotation]
