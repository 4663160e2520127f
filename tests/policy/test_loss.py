"""What a policy is optimised by, against numbers derived by hand and against all its choices."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from goldrm.policy.loss import Likelihoods, leave_one_out, likelihoods, policy_loss


def test_kl_and_entropy_of_two_tokens_by_hand():
    """0.8 and 0.2 against 0.5 and 0.5, at one action; behind the completion's end nothing counts.

    KL: 0.8 log 1.6 + 0.2 log 0.4; entropy: -0.8 log 0.8 - 0.2 log 0.2.
    """
    policy = torch.tensor([[[math.log(0.8), math.log(0.2)], [5.0, -5.0]]])
    frozen = torch.tensor([[[0.0, 0.0], [-5.0, 5.0]]])
    of = likelihoods(
        policy, frozen, torch.tensor([[1, 0]]), torch.tensor([[True, False]]), temperature=1.0
    )
    assert float(of.kl) == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), rel=1e-6)
    assert float(of.entropy) == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.2), rel=1e-6)
    assert float(of.log_probs) == pytest.approx(math.log(0.2), rel=1e-6)


def test_actions_are_added_up_at_the_temperature_of_the_sampling():
    """At temperature 2, logits of log 16 and 0 are 4 to 1."""
    logits = torch.tensor([[[math.log(16.0), 0.0]] * 3])
    of = likelihoods(logits, logits, torch.tensor([[0, 1, 0]]), torch.ones(1, 3) == 1, 2.0)
    assert float(of.log_probs) == pytest.approx(2 * math.log(0.8) + math.log(0.2), rel=1e-6)
    assert float(of.kl) == 0


def test_leave_one_out_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])
    expected = torch.tensor([[-3.0, -1.5, 4.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(leave_one_out(rewards), expected)


def of_bit(theta: Tensor, bit: int) -> Tensor:
    """log P of a bit whose logit is theta."""
    return torch.nn.functional.logsigmoid(theta if bit else -theta)


def test_gradient_of_a_step_by_hand():
    """A policy of one bit with P(1) = 1/4, rewards 3 of 1 and 0 of 0, samples 1, 0, 0.

    Advantages: 3, -1.5, -1.5. d log P(1) / dθ = 1 - 1/4, d log P(0) / dθ = -1/4. So the loss's
    gradient is -(3 * 3/4 + 2 * 1.5/4) = -3, and without the second completion, from which nothing
    is learned, -(3 * 3/4) = -2.25.
    """
    theta = torch.tensor(-math.log(3.0), requires_grad=True)
    for is_used, expected in (([True, True], -3.0), ([True, False], -2.25)):
        log_probs = torch.stack([of_bit(theta, 1), of_bit(theta, 0)])
        of = Likelihoods(log_probs, torch.zeros(2), torch.zeros(2))
        loss = policy_loss(
            of,
            torch.tensor([3.0, 0.0]),
            torch.tensor(is_used),
            torch.tensor([[0, 1, 1]]),
            kl_weight=0.0,
        )
        (gradient,) = torch.autograd.grad(loss, theta)
        assert float(gradient) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kl_weight", [0.0, 0.7])
def test_mean_gradient_over_all_samples_is_that_of_reward_less_kl(kl_weight: float):
    """A policy of two bits, the second of which depends on the first: all its pairs of samples.

    The objective itself is a sum over four completions, and its KL that of their probabilities.
    """
    theta = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64, requires_grad=True)
    frozen = torch.tensor([-0.4, 0.2, 0.6], dtype=torch.float64)
    rewards = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    completions = list(itertools.product((0, 1), repeat=2))

    def logits(parameters: Tensor) -> Tensor:
        """Of the four completions' two choices of two tokens."""
        of_one = torch.stack(
            [torch.stack([parameters[0], parameters[1 + first]]) for first, _ in completions]
        )
        return torch.stack([torch.zeros_like(of_one), of_one], dim=-1)

    bits = torch.tensor(completions)
    of = likelihoods(logits(theta), logits(frozen), bits, torch.ones(4, 2) == 1, temperature=1.0)
    log_frozen = likelihoods(
        logits(frozen), logits(frozen), bits, torch.ones(4, 2) == 1, temperature=1.0
    ).log_probs
    probabilities = of.log_probs.exp()
    kl = (probabilities * (of.log_probs - log_frozen)).sum()
    objective = kl_weight * kl - (probabilities * rewards).sum()
    (expected,) = torch.autograd.grad(objective, theta, retain_graph=True)

    mean = torch.zeros_like(theta)
    for sampled in itertools.product(range(4), repeat=2):
        loss = policy_loss(of, rewards, torch.ones(4) == 1, torch.tensor([sampled]), kl_weight)
        (gradient,) = torch.autograd.grad(loss, theta, retain_graph=True)
        mean += probabilities.detach()[list(sampled)].prod() * gradient / len(sampled)
    torch.testing.assert_close(mean, expected)
