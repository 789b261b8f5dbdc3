"""The position in the unit cell given the levels: the guide of dequantization."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.models.distributions import PyroDistribution

__all__ = ["CellFlow"]

EDGE = 1e-9  # a draw keeps this far from the next cell, into which single precision could round it


class CellFlow(TorchDistribution):
    r"""Uniform noise on a cube, bent by a map of the cube onto itself, as a place in the cell at a corner.

    .. math:: v \sim U[-b, b]^d, \qquad y = x + \frac{f(v) + b}{2 b}, \qquad
        \log q(y) = -\log |\det f'(v)|

    Args:
        transform: :math:`f`, of zuko's, which gives the log-determinant along with the value; ``None`` leaves
            the noise uniform.
        corner: :math:`x`, the levels ``(*batch, *shape)``.
        bound: :math:`b`.
        event_dim: how many dimensions a row has.
    """

    has_rsample = True
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(self, transform: Any, corner: Tensor, bound: float, event_dim: int) -> None:
        self.transform = transform
        # In double precision: in single, x + u rounds up to x + 1 once in a million draws.
        self.corner = corner.double()
        self.bound = bound
        self._drawn: tuple[Tensor, Tensor] | None = None
        shape = corner.shape
        super().__init__(
            shape[: len(shape) - event_dim], shape[len(shape) - event_dim :], validate_args=False
        )

    @property
    def support(self) -> constraints.Constraint:
        """The cell."""
        return constraints.independent(constraints.interval(self.corner, self.corner + 1), self.event_dim)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        corner = self.corner.expand(Size(batch_shape) + self.event_shape)
        return CellFlow(self.transform, corner, self.bound, self.event_dim)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, *shape)``."""
        shape = self.shape(Size(sample_shape))
        noise = torch.rand(shape, device=self.corner.device)
        if self.transform is None:
            return self.corner + noise.double().clamp(EDGE, 1 - EDGE)
        flat = self.bound * (2 * noise.flatten(len(shape) - self.event_dim) - 1)  # (..., d)
        bent, log_det = self.transform.call_and_ladj(flat)
        place = ((bent.double() + self.bound) / (2 * self.bound)).clamp(EDGE, 1 - EDGE)
        y = self.corner + place.reshape(shape)
        # Kept for log_prob, which a program asks for right after the draw: to invert f can take d passes.
        self._drawn = y, -log_det
        return y

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density ``(*batch)`` of values ``(*batch, *shape)``; free of cost for the last draw."""
        if self._drawn is not None and value is self._drawn[0]:
            return self._drawn[1]
        place = value - self.corner
        inside = ((place >= 0) & (place <= 1)).flatten(place.ndim - self.event_dim).all(-1)
        if self.transform is None:
            return torch.where(inside, 0.0, -torch.inf)
        bent = (self.bound * (2 * place - 1)).float().flatten(place.ndim - self.event_dim)
        _, log_det = self.transform.inv.call_and_ladj(bent)
        return torch.where(inside, log_det, -torch.inf)
