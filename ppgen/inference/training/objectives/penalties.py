"""Penalties on a critic's gradient, which stabilise adversarial training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Score", "r1_penalty", "slopes_between", "squared_slope"]

Score = Callable[..., Tensor]
"""A critic of rows, perhaps with latent values: ``score(x, *latents) -> (n,)``."""


def r1_penalty(score: Score, real: Sequence[Tensor]) -> Float[Tensor, " n"]:
    r"""Half the squared gradient of the critic at each real example.

    .. math:: \tfrac12 \lVert \nabla_x T(x) \rVert^2, \qquad x \sim p_{\text{data}}

    With it training converges near a solution, where without it the players can cycle forever.

    Args:
        score: the critic.
        real: what it reads: examples ``(n, *shape)``, and perhaps latent values of them.

    References:
        Mescheder, Geiger and Nowozin, *Which Training Methods for GANs do actually Converge?*, 2018,
        arXiv:1801.04406.

    Example:
        >>> r1_penalty(lambda x: (x**2).sum(-1), [torch.tensor([[0.0, 1.0], [3.0, 4.0]])]).tolist()
        [2.0, 50.0]
    """
    return 0.5 * squared_slope(score, real)


def slopes_between(
    score: Score, real: Sequence[Tensor], fake: Sequence[Tensor], share: Float[Tensor, " n"] | None = None
) -> Float[Tensor, " n"]:
    r"""The slope of the critic at a random point between each real example and a sampled one.

    .. math:: \lVert \nabla T(\hat x) \rVert, \qquad \hat x = \epsilon x + (1 - \epsilon) \tilde x, \quad
        \epsilon \sim U(0, 1)

    The best critic with slopes of at most 1 has slope 1 almost everywhere between the two distributions.

    Args:
        score: the critic.
        real, fake: what it reads: examples ``(n, *shape)``, and perhaps latent values of them.
        share: the share of the real example in each point ``(n,)``; drawn if it is not given.

    References:
        Gulrajani et al., *Improved Training of Wasserstein GANs*, 2017, arXiv:1704.00028.

    Example:
        >>> real, fake = torch.ones(3, 2), torch.zeros(3, 2)
        >>> slopes_between(lambda x: x @ torch.tensor([3.0, 4.0]), [real], [fake])
        tensor([5., 5., 5.])
    """
    if share is None:
        share = torch.rand(len(real[0]), device=real[0].device)
    between = [_mix(ours, theirs, share) for ours, theirs in zip(real, fake, strict=True)]
    # A root has no gradient at 0, where a critic without any slope begins.
    return (squared_slope(score, between) + 1e-12).sqrt()


def squared_slope(score: Score, points: Sequence[Tensor]) -> Float[Tensor, " n"]:
    """The squared norm of the critic's gradient at each point ``(n,)``, itself differentiable."""
    with torch.enable_grad():  # validation turns gradients off
        points = [point.detach().requires_grad_() for point in points]
        # A row's score depends on that row alone, so the gradient of the sum holds the rows' own gradients.
        gradients = torch.autograd.grad(score(*points).sum(), points, create_graph=True)
        return torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)


def _mix(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(fake, real, share.reshape(-1, *(1,) * (real.ndim - 1)).to(real.dtype))
