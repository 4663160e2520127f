"""What a policy is optimised by: REINFORCE with a leave-one-out baseline, and an exact KL."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """What a policy and the frozen model make of completions, summed over each one's actions.

    Attributes:
        log_probs: log of the policy's probability, in nats.
        kl: KL divergence of the policy from the frozen model, exact at every action: summed over
            the vocabulary. Its mean over sampled completions estimates that of completions.
        entropy: of the policy's choices, in nats.
    """

    log_probs: Float[Tensor, " completions"]
    kl: Float[Tensor, " completions"]
    entropy: Float[Tensor, " completions"]


def likelihoods(
    logits: Float[Tensor, "completions time vocab"],
    frozen_logits: Float[Tensor, "completions time vocab"],
    actions: Int[Tensor, "completions time"],
    is_action: Bool[Tensor, "completions time"],
    temperature: float,
) -> Likelihoods:
    """The likelihoods of completions, both models at the temperature they were sampled at.

    Args:
        logits: the policy's.
        frozen_logits: the frozen model's.
        actions: what was picked.
        is_action: False behind a completion's end.
        temperature: of both softmaxes.
    """
    log_policy = torch.log_softmax(logits / temperature, dim=-1)
    log_frozen = torch.log_softmax(frozen_logits / temperature, dim=-1)
    probabilities = log_policy.exp()
    picked = log_policy.gather(-1, actions[..., None]).squeeze(-1)
    kl = (probabilities * (log_policy - log_frozen)).sum(-1)
    entropy = -(probabilities * log_policy).sum(-1)
    return Likelihoods(*((each * is_action).sum(-1) for each in (picked, kl, entropy)))


def leave_one_out(rewards: Float[Tensor, "groups copies"]) -> Float[Tensor, "groups copies"]:
    """Each reward less the mean of its group's others.

    Source: Kool et al., Buy 4 REINFORCE samples, get a baseline for free! (2019); Ahmadian et al.,
        Back to basics (2024), arXiv 2402.14740.

    Example:
        Of 1, 2 and 6: 1 - 4 = -3, 2 - 3.5 = -1.5 and 6 - 1.5 = 4.5.
    """
    copies = rewards.shape[1]
    return (rewards - rewards.mean(dim=1, keepdim=True)) * copies / (copies - 1)


def policy_loss(
    of: Likelihoods,
    rewards: Float[Tensor, " completions"],
    is_used: Bool[Tensor, " completions"],
    sampled: Int[Tensor, "groups copies"],
    kl_weight: float,
) -> Float[Tensor, ""]:
    """A loss whose gradient is, on average, that of kl_weight * KL - reward, summed.

    A completion's KL counts twice: in its reward, since the policy decides where it goes, and by
    itself, since the policy decides what it does there. Without the second part the gradient would
    not be the KL's.

    Args:
        of: the distinct completions.
        rewards: theirs.
        is_used: which of them the policy may learn from.
        sampled: which of them were sampled, a row a prompt.
        kl_weight: what a nat of KL costs in reward.

    Source: Williams, Simple statistical gradient-following algorithms (1992); the exact KL: Amini
        et al., Better estimation of the KL divergence between language models (2025), arXiv
        2504.10637.
    """
    advantages = leave_one_out((rewards - kl_weight * of.kl.detach())[sampled])
    losses = kl_weight * of.kl[sampled] - advantages * of.log_probs[sampled]
    return (losses * is_used[sampled]).sum()
