"""Where the language model comes from."""

from typing import Annotated

from pydantic import Field

from goldrm.common.params import Section, Source


class SftParams(Section):
    """Where the frozen language model comes from, and how it is looked at."""

    source: Source
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    evaluation_prompts: int = Field(ge=1)
