"""Where the language model comes from."""

from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from goldrm.common.params import Section, Source

SAFETENSORS_SUFFIX = ".safetensors"
COURSE_SUFFIXES = (".pkl", ".pt", ".pth")


def suffix_of(source: str) -> str:
    """The suffix of a path or URL."""
    return PurePosixPath(urlsplit(source).path if "://" in source else source).suffix


def _of_known_kind(source: str) -> str:
    if suffix_of(source) not in (SAFETENSORS_SUFFIX, *COURSE_SUFFIXES):
        raise ValueError(
            f"{source!r} must end in {SAFETENSORS_SUFFIX} or, for the course's checkpoint, in "
            f"{', '.join(COURSE_SUFFIXES)}"
        )
    return source


class SftParams(Section):
    """Where the frozen language model comes from, and how it is looked at."""

    source: Annotated[Source, AfterValidator(_of_known_kind)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    evaluation_prompts: int = Field(ge=1)
