"""What a readout reads of completions: hidden states, computed and kept in files.

It must not know how a readout uses them.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.hidden_states import completion_hidden_states, last_hidden_states, outlook
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.states import States
from goldrm.task.dictionary import Dictionary


def read_completions(
    backbone: Backbone,
    dictionary: Dictionary,
    params: RewardModelParams,
    prompts: Sequence[str],
    completions: Sequence[str],
    further: Callable[[int, Float[Tensor, "tokens vocabulary"]], list[str]] | None = None,
) -> States:
    """The hidden states that the readout of `params` reads, in float32.

    A readout of every token also reads what the language model expected there: `outlook`.

    Args:
        backbone: the frozen language model.
        dictionary: its tokens.
        params: of the readout.
        prompts: of each completion.
        completions: at least one.
        further: gives more completions of a prompt, which follow the others (not to readouts of
            the last token). It is asked once a prompt, with the number of its first completion and
            the probability, by the language model, of each token after the prompt and after each of
            that one's tokens: see `completion_hidden_states`.

    Raises:
        GoldrmError: when a word isn't in the dictionary, or prompt and completion are empty.
    """
    before = [dictionary.encode(prompt) for prompt in prompts]
    after = [dictionary.encode(completion) for completion in completions]
    if params.readout == "last_token":
        both = [first + second for first, second in zip(before, after, strict=True)]
        return _last_token(last_hidden_states(backbone, both))
    d = backbone.sizes.d
    layers = sorted({*params.layers, backbone.sizes.num_layers})

    def encoded(first: int, rows: Float[Tensor, "tokens embds"]) -> list[list[int]]:
        assert further is not None
        logits = backbone.token_prediction(rows[:, -d:]).double()  # of the unlikeliest, too
        found = [dictionary.encode(each) for each in further(first, logits.softmax(dim=-1))]
        after.extend(found)
        return found

    states = completion_hidden_states(
        backbone, before, after, layers, params.prompt_layers, encoded if further else None
    )
    device = states.rows.device
    return States(
        states.rows[:, : len(params.layers) * d],
        torch.cat(states.places).to(device),
        outlook(backbone, states.rows[:, -d:], states.places, after),
        torch.tensor([len(each) for each in states.places], device=device),
        torch.cat(states.prompts),
        torch.tensor([len(each) for each in states.prompts], device=device),
        torch.tensor(states.prompt, device=device),
    )


def _last_token(rows: Float[Tensor, "completions embd"]) -> States:
    place = torch.arange(len(rows), device=rows.device)
    one, nothing = torch.ones_like(place), rows[:, :0]
    return States(rows, place, nothing, one, nothing[:0], one[:0], torch.zeros_like(one))
