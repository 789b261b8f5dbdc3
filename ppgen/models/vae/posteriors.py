"""Distributions of the latent vector given an encoder's outputs: one small module per kind of guide."""

from __future__ import annotations

from typing import Literal

import pyro.distributions as dist
from torch import Tensor, nn

from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.inverse_flow import InverseFlow
from ppgen.models.networks.inverse_autoregressive import inverse_autoregressive_map

__all__ = ["Posterior", "Posteriors", "posterior"]

Posteriors = Literal["diagonal", "full", "flow"]

CONTEXT = 32  # encoder outputs that the flow reads, besides location and scale


class Posterior(nn.Module):
    """Takes outputs ``(*batch, numbers)`` to a distribution of latent vectors, batch shape ``(*batch)``.

    Attributes:
        numbers: how many outputs of the encoder it takes.
    """

    def __init__(self, latent_dim: int, numbers: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.numbers = numbers

    def forward(self, outputs: Tensor) -> PyroDistribution:
        """The distribution of latent vectors, event shape ``(latent_dim,)``."""
        raise NotImplementedError


def posterior(kind: Posteriors, latent_dim: int) -> Posterior:
    """Build the module for a kind of guide.

    Example:
        >>> import torch
        >>> full = posterior("full", 3)
        >>> full(torch.zeros(5, full.numbers)).covariance_matrix.shape
        torch.Size([5, 3, 3])
    """
    return {"diagonal": _Diagonal, "full": _Full, "flow": _Flow}[kind](latent_dim)


class _Diagonal(Posterior):
    """A Gaussian with independent entries."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim, 2 * latent_dim)

    def forward(self, outputs: Tensor) -> PyroDistribution:
        loc, log_scale = outputs.chunk(2, -1)
        return dist.Normal(loc, log_scale.clamp(-7, 7).exp()).to_event(1)


class _Full(Posterior):
    """A Gaussian with any covariance, given by its Cholesky factor."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim, latent_dim + latent_dim**2)

    def forward(self, outputs: Tensor) -> PyroDistribution:
        loc = outputs[..., : self.latent_dim]
        square = outputs[..., self.latent_dim :].unflatten(-1, (self.latent_dim, self.latent_dim))
        diagonal = square.diagonal(dim1=-2, dim2=-1).clamp(-7, 7).exp()
        return dist.MultivariateNormal(loc, scale_tril=square.tril(-1) + diagonal.diag_embed())


class _Flow(Posterior):
    """An inverse autoregressive flow, whose maps the encoder sets row by row (Kingma et al. 2016)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim, 2 * latent_dim + CONTEXT)
        self.map = inverse_autoregressive_map(latent_dim, CONTEXT, transforms=2, hidden=(64, 64))

    def forward(self, outputs: Tensor) -> PyroDistribution:
        loc, log_scale, context = outputs.split([self.latent_dim, self.latent_dim, CONTEXT], -1)
        return InverseFlow(self.map(context), loc, log_scale.clamp(-7, 7).exp())
