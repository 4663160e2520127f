"""What tests of the notebook's prompts share."""

import pytest
from tasks_by_hand import NOTEBOOKS_PROMPTS

from goldrm.task.prompts import Prompt


@pytest.fixture(scope="session")
def everything() -> list[Prompt]:
    """The notebook's prompts, in the order of their ids."""
    return [NOTEBOOKS_PROMPTS[prompt_id] for prompt_id in range(27_000)]
