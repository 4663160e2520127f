"""What the task knows of any text: its gold reward and its kind of mistake."""

from typing import NamedTuple

from goldrm.task.task import Task


class Label(NamedTuple):
    """What the task says of a completion.

    Attributes:
        gold_reward: within `gold_reward`'s range.
        mistake: its kind, see `Prompts.mistake`.
    """

    gold_reward: float
    mistake: str


def label(prompt: str, completion: str, task: Task) -> Label | None:
    """The label of a completion; None where the prompt isn't the task's, or no integer answers it.

    Args:
        prompt: any text of the dictionary's tokens.
        completion: likewise; what isn't an integer is left out, as in the notebook.
        task: knows its prompts.

    Raises:
        GoldrmError: when a word isn't in the dictionary.
    """
    prompt_id, rest = task.parse(" ".join(prompt.split())) or (None, "")
    values = task.integers_in(completion)
    if prompt_id is None or rest or not values:
        return None
    mistake = task.space.mistake(task.exact(prompt_id), values)
    return Label(task.gold_reward(prompt_id, values), mistake)
