"""A flow that is fast to draw from: what an amortised guide needs."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.models.distributions import PyroDistribution

__all__ = ["InverseFlow"]


class InverseFlow(TorchDistribution):
    r"""Standard normal noise pushed forward through an invertible map, then shifted and scaled.

    .. math:: u \sim N(0, I), \quad z = m + s \, f(u), \qquad
        \log q(z) = \log N(u \mid 0, I) - \log |\det f'(u)| - \sum_i \log s_i

    A draw and its log density take one pass of f. The log density of any other value inverts f, which
    for an autoregressive f takes a pass per entry.

    Args:
        transform: :math:`f`, one of zuko's, which give the log-determinant along with the value.
        loc, scale: :math:`m` and :math:`s > 0`, each ``(*batch, d)``.
    """

    has_rsample = True
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(self, transform: Any, loc: Tensor, scale: Tensor) -> None:
        self.transform = transform
        self.loc = loc
        self.scale = scale
        self._drawn: tuple[Tensor, Tensor] | None = None
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All real vectors."""
        return constraints.real_vector

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution with a larger batch."""
        shape = Size(batch_shape) + self.event_shape
        return InverseFlow(self.transform, self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch, d)``."""
        noise = torch.randn(self.shape(Size(sample_shape)), dtype=self.loc.dtype, device=self.loc.device)
        pushed, log_det = self.transform.call_and_ladj(noise)
        z = self.loc + self.scale * pushed
        # Kept for log_prob, which a program asks for right after the draw.
        self._drawn = z, self._log_density(noise, log_det)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density ``(*batch)`` of values ``(*batch, d)``; free of cost for the last draw."""
        if self._drawn is not None and value is self._drawn[0]:
            drawn = self._drawn[1]
            # A draw that was made without gradients says nothing of how its density moves.
            if drawn.requires_grad or not torch.is_grad_enabled():
                return drawn
        noise, log_det = self.transform.inv.call_and_ladj((value - self.loc) / self.scale)
        return self._log_density(noise, -log_det)

    def _log_density(self, noise: Tensor, log_det: Tensor) -> Tensor:
        normal = torch.distributions.Normal(0.0, 1.0, validate_args=False).log_prob(noise).sum(-1)
        return normal - log_det - self.scale.log().sum(-1)
