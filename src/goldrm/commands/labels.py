"""What the task knows of any text: its gold reward and its kind of mistake."""

from typing import NamedTuple

from goldrm.edits.mistakes import Mistake, mistake
from goldrm.task.series import split_text
from goldrm.task.task import Task


class Label(NamedTuple):
    """What the task says of a completion.

    Attributes:
        gold_reward: within `gold_reward`'s range.
        mistake: see `edits.mistakes.mistake`.
    """

    gold_reward: float
    mistake: Mistake


def label(prompt: str, completion: str, task: Task) -> Label | None:
    """The label of a completion; None where the prompt isn't the task's, or no integer answers it.

    Args:
        prompt: any text of the dictionary's tokens.
        completion: likewise; what isn't an integer is left out, as in the notebook.
        task: knows its prompts.

    Raises:
        GoldrmError: when a word isn't in the dictionary.
    """
    parsed = split_text(" ".join(prompt.split()))
    values = task.dictionary.integers_in(task.dictionary.encode(completion))
    if parsed is None or parsed[1] or not values:
        return None
    try:
        prompt_id = task.space.id_of(parsed[0])
    except ValueError:  # outside the task's ranges
        return None
    gold_reward = task.series(0, prompt_id, values)["gold_reward"]
    return Label(gold_reward, mistake(task.exact(prompt_id), values))
