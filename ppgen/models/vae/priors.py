"""Priors of the latent vector: one small module per kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.flow import Flow
from ppgen.models.distributions.mixture import Mixture
from ppgen.models.networks.spline import spline_map

__all__ = ["Infer", "Prior", "Priors", "VampPrior", "prior"]

Priors = Literal["normal", "mixture", "vamp", "flow"]

Infer = Callable[[Tensor], PyroDistribution]
"""The guide's distribution of latent vectors for inputs ``(n, inputs)`` of the encoder."""


class Prior(nn.Module):
    """The distribution of one latent vector."""

    def forward(self, infer: Infer) -> PyroDistribution:
        """The distribution, batch shape ``()`` and event shape ``(latent_dim,)``."""
        raise NotImplementedError


def prior(kind: Priors, latent_dim: int, *, components: int, inputs: int, classes: int) -> Prior:
    """Build the module for a kind of prior.

    Args:
        kind: its name.
        latent_dim: the length of a latent vector.
        components: of a mixture.
        inputs: how many numbers of a row the encoder reads.
        classes: how many numbers of a label's one-hot vector it reads behind them, 0 if none.
    """
    if kind == "mixture":
        return _GaussianMixture(latent_dim, components)
    if kind == "vamp":
        return VampPrior(components, inputs, classes)
    return _Normal(latent_dim) if kind == "normal" else _Flow(latent_dim)


class _Normal(Prior):
    r""":math:`N(0, I)`."""

    loc: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self, infer: Infer) -> PyroDistribution:
        return dist.Normal(self.loc, 1.0).to_event(1)


class _GaussianMixture(Prior):
    r"""A learned mixture of Gaussians, :math:`\sum_k \pi_k N(m_k, \mathrm{diag}(s_k^2))`."""

    def __init__(self, latent_dim: int, components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, infer: Infer) -> PyroDistribution:
        parts = dist.Normal(self.loc, self.log_scale.clamp(-7, 7).exp()).to_event(1)
        return Mixture(dist.Categorical(logits=self.logits), parts)


class VampPrior(Prior):
    r"""The VampPrior: a mixture of the guide's posteriors of learned pseudo-inputs.

    .. math:: p(z) = \frac1K \sum_{k=1}^K q(z \mid u_k)

    Where rows have classes, a pseudo-input has learned shares of them instead of a label.

    References:
        Tomczak and Welling, *VAE with a VampPrior*, 2017, arXiv:1705.07120.
    """

    def __init__(self, components: int, inputs: int, classes: int) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.randn(components, inputs))
        self.class_logits = nn.Parameter(torch.zeros(components, classes)) if classes else None

    def forward(self, infer: Infer) -> PyroDistribution:
        """The mixture, from one pass of the encoder."""
        inputs: Tensor = self.pseudo_inputs
        if self.class_logits is not None:
            inputs = torch.cat([inputs, self.class_logits.softmax(-1)], -1)
        return Mixture(dist.Categorical(logits=inputs.new_zeros(len(inputs))), infer(inputs))

    def start_from(self, rows: Tensor) -> None:
        """Initialise the pseudo-inputs at encoder inputs ``(n, inputs)``, in turn."""
        with torch.no_grad():
            turns = torch.arange(len(self.pseudo_inputs), device=rows.device) % len(rows)
            self.pseudo_inputs.copy_(rows[turns])


class _Flow(Prior):
    """A neural spline flow of standard normal noise."""

    loc: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.map = spline_map(latent_dim, transforms=3, hidden=(64, 64), bins=8, coupling=False)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self, infer: Infer) -> PyroDistribution:
        base = dist.Normal(self.loc, 1.0).to_event(1)
        return Flow(self.map(), base, self.loc, torch.ones_like(self.loc))
