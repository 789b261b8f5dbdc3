"""Gaussian guides: diagonal, dense, and diagonal plus low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from ppgen.inference.guides.guide import Pushed, log_normal

__all__ = ["FullRank", "LowRank", "MeanField"]


@dataclass(frozen=True)
class MeanField:
    r"""Independent normal distributions: :math:`y = \mu + \sigma \odot u`.

    Attributes:
        dim: length of y.

    Example:
        >>> guide = MeanField(2)
        >>> y, log_det = guide.push(jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([0.5, -0.5]))
        >>> y.tolist(), float(log_det)
        ([1.5, -0.5], 0.0)
    """

    name: ClassVar[str] = "mean_field"
    dense: ClassVar[bool] = False
    cites: ClassVar[tuple[str, ...]] = ("advi",)

    dim: int

    def initial(self, key: jax.Array) -> jax.Array:
        """Parameters ``(p,)`` of the standard normal distribution."""
        return jnp.zeros(2 * self.dim)

    def push(self, parameters: jax.Array, u: jax.Array) -> Pushed:
        """Bring noise ``u (dim,)`` to ``y (dim,)``, with log |det ∂y/∂u|."""
        location, log_scale = jnp.split(parameters, 2)
        return Pushed(location + jnp.exp(log_scale) * u, log_scale.sum())

    def score(self, parameters: jax.Array, u: jax.Array) -> jax.Array:
        """The gradient ``(dim,)`` of log q with respect to y, at the y of u."""
        return -u / jnp.exp(parameters[self.dim :])

    def log_prob(self, parameters: jax.Array, y: jax.Array) -> jax.Array:
        """log q(y)."""
        location, log_scale = jnp.split(parameters, 2)
        return log_normal((y - location) / jnp.exp(log_scale)) - log_scale.sum()


@dataclass(frozen=True)
class FullRank:
    r"""A normal distribution with any covariance: :math:`y = \mu + L u`, L lower triangular.

    Attributes:
        dim: length of y.
    """

    name: ClassVar[str] = "full_rank"
    dense: ClassVar[bool] = True
    cites: ClassVar[tuple[str, ...]] = ("advi",)

    dim: int

    def initial(self, key: jax.Array) -> jax.Array:
        """Parameters ``(p,)`` of the standard normal distribution."""
        return jnp.zeros(2 * self.dim + self.dim * (self.dim - 1) // 2)

    def push(self, parameters: jax.Array, u: jax.Array) -> Pushed:
        """Bring noise ``u (dim,)`` to ``y (dim,)``, with log |det ∂y/∂u|."""
        location, log_diagonal, factor = self._unpack(parameters)
        return Pushed(location + factor @ u, log_diagonal.sum())

    def score(self, parameters: jax.Array, u: jax.Array) -> jax.Array:
        """The gradient ``(dim,)`` of log q with respect to y, at the y of u."""
        return -solve_triangular(self._unpack(parameters)[2], u, lower=True, trans=1)

    def log_prob(self, parameters: jax.Array, y: jax.Array) -> jax.Array:
        """log q(y)."""
        location, log_diagonal, factor = self._unpack(parameters)
        return log_normal(solve_triangular(factor, y - location, lower=True)) - log_diagonal.sum()

    def _unpack(self, parameters: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        location, log_diagonal = parameters[: self.dim], parameters[self.dim : 2 * self.dim]
        below = jnp.tril_indices(self.dim, -1)
        factor = jnp.diag(jnp.exp(log_diagonal)).at[below].set(parameters[2 * self.dim :])
        return location, log_diagonal, factor


@dataclass(frozen=True)
class LowRank:
    r"""A normal distribution whose covariance is diagonal plus low rank.

    .. math:: y = \mu + d \odot (u + F F^\top u)

    Its covariance :math:`d (I + F F^\top)^2 d = d (I + F (2 I + F^\top F) F^\top) d` reaches every diagonal
    plus every matrix of F's rank, and unlike the usual form with noise of its own for the factors, it is
    a bijection of u.

    Attributes:
        dim: length of y.
        rank: columns of F.
    """

    name: ClassVar[str] = "low_rank"
    dense: ClassVar[bool] = False
    cites: ClassVar[tuple[str, ...]] = ("low_rank",)

    dim: int
    rank: int

    def initial(self, key: jax.Array) -> jax.Array:
        """Parameters ``(p,)`` near the standard normal distribution; F = 0 would be a saddle point."""
        factors = 0.1 * jax.random.normal(key, (self.dim * self.rank,)) / math.sqrt(self.dim)
        return jnp.concatenate([jnp.zeros(2 * self.dim), factors])

    def push(self, parameters: jax.Array, u: jax.Array) -> Pushed:
        """Bring noise ``u (dim,)`` to ``y (dim,)``, with log |det ∂y/∂u|."""
        location, log_scale, factors, inner = self._unpack(parameters)
        y = location + jnp.exp(log_scale) * (u + factors @ (factors.T @ u))
        return Pushed(y, log_scale.sum() + jnp.linalg.slogdet(inner)[1])

    def score(self, parameters: jax.Array, u: jax.Array) -> jax.Array:
        """The gradient ``(dim,)`` of log q with respect to y, at the y of u."""
        _, log_scale, factors, inner = self._unpack(parameters)
        return -(u - factors @ jnp.linalg.solve(inner, factors.T @ u)) / jnp.exp(log_scale)

    def log_prob(self, parameters: jax.Array, y: jax.Array) -> jax.Array:
        """log q(y)."""
        location, log_scale, factors, inner = self._unpack(parameters)
        scaled = (y - location) / jnp.exp(log_scale)
        u = scaled - factors @ jnp.linalg.solve(inner, factors.T @ scaled)
        return log_normal(u) - log_scale.sum() - jnp.linalg.slogdet(inner)[1]

    def _unpack(self, parameters: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        location, log_scale = parameters[: self.dim], parameters[self.dim : 2 * self.dim]
        factors = parameters[2 * self.dim :].reshape(self.dim, self.rank)
        return location, log_scale, factors, jnp.eye(self.rank) + factors.T @ factors
