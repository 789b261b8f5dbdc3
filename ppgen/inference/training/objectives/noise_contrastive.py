"""Noise-contrastive estimation: classify data and noise, and so learn the density with its constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from ppgen.checks import check_integer
from ppgen.errors import TrainingError
from ppgen.inference.training.objectives.unnormalised import Points, as_levels, as_points
from ppgen.program.languages.rows import Batch

__all__ = ["NoiseContrastiveEstimation"]

_LARGEST_DENSE = 128  # entries of a row, above which the noise's covariance is diagonal


@dataclass(frozen=True)
class NoiseContrastiveEstimation:
    r"""Logistic regression of rows x against noise y of a known density q, by their log densities.

    .. math:: -\log \sigma(G(x)) - \sum_{j=1}^{\nu} \log(1 - \sigma(G(y_j))), \qquad
        G(u) = \log p(u) - \log q(u) - \log \nu

    At the minimum p is self-normalised: a program needs a parameter for the constant, such as
    ``numpyro.param("log_z", 0.0)``, which the loss learns too. The noise is fitted to the rows seen so far:
    a Gaussian with their mean and covariance (diagonal above 128 entries), or for whole numbers
    independent entries with their frequencies.

    Attributes:
        noise_samples: :math:`\nu`, draws of the noise for each example.
        levels: how many values an entry can take, for programs of discrete data.

    References:
        Gutmann and Hyvärinen, *Noise-contrastive estimation: A new estimation principle for unnormalized
        statistical models*, AISTATS 2010.
    """

    name: ClassVar[str] = "nce"
    requires: ClassVar[type] = object
    arrays: ClassVar[str] = "jax"

    noise_samples: int = 1
    levels: int | None = None

    def __post_init__(self) -> None:
        check_integer("noise_samples", self.noise_samples, example=4)
        if self.levels is not None:
            check_integer("levels", self.levels, example=2)

    def begin(self, subject: Any, batch: Batch) -> Any:
        """Statistics of the data: counts, or moments."""
        rows, _ = self._read(subject, batch)
        return _Counts.of(rows, self.levels) if self.levels else _Moments.of(rows)

    def advance(self, subject: Any, batch: Batch, memory: Any) -> tuple[Any, Any]:
        """The loss of each example ``(n,)``, and what is known of the rows with these."""
        rows, log_density = self._read(subject, batch)
        memory = memory.with_rows(lax.stop_gradient(rows))
        noise = memory.noise()
        # One row of noise each at a time: a program may be written for rows and their labels.
        drawn = [
            noise.sample(jax.random.fold_in(batch.key, 10 + j), rows.shape) for j in range(self.noise_samples)
        ]

        def log_odds(u: jax.Array) -> jax.Array:
            return log_density(u) - noise.log_density(u) - math.log(self.noise_samples)

        rejected = sum(jax.nn.softplus(log_odds(y)) for y in drawn)
        return jax.nn.softplus(-log_odds(rows)) + rejected, memory

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, against noise fitted to these rows alone."""
        return self.advance(subject, batch, self.begin(subject, batch))[0]

    def _read(self, subject: Any, batch: Batch) -> Points:
        if self.levels is not None:
            return as_levels(subject, batch, self.levels, "the noise is then a Gaussian")
        if not jnp.issubdtype(batch.x.dtype, jnp.floating) and subject.family is None:
            raise TrainingError(
                "levels",
                got="none, and rows of whole numbers",
                expected="how many values an entry can take, for the noise",
                fix="Write levels=2, or give floats.",
            )
        return as_points(subject, batch)


class _Moments(NamedTuple):
    """Number, mean ``(d,)`` and scatter of rows, ``(d, d)`` or its diagonal ``(d,)``."""

    number: jax.Array
    mean: jax.Array
    scatter: jax.Array

    @classmethod
    def of(cls, rows: jax.Array) -> _Moments:
        flat = rows.reshape(len(rows), -1)
        mean = flat.mean(0)
        away = flat - mean
        scatter = away.T @ away if flat.shape[1] <= _LARGEST_DENSE else (away**2).sum(0)
        return cls(jnp.asarray(float(len(rows))), mean, scatter)

    def with_rows(self, rows: jax.Array) -> _Moments:
        """Those of all rows together (Chan, Golub and LeVeque 1979)."""
        new = _Moments.of(rows)
        count, apart = self.number + new.number, new.mean - self.mean
        between = jnp.outer(apart, apart) if self.scatter.ndim == 2 else apart**2
        scatter = self.scatter + new.scatter + between * (self.number * new.number / count)
        return _Moments(count, self.mean + apart * (new.number / count), scatter)

    def noise(self) -> _Gaussian:
        dims = len(self.mean)
        if self.scatter.ndim == 1:
            return _Gaussian(self.mean, jnp.sqrt(self.scatter / self.number + 1e-12))
        covariance = self.scatter / self.number
        # Few examples say little about correlations, which get more weight as more are seen.
        trust = self.number / (self.number + dims)
        variances = jnp.diag(covariance) + 1e-12
        return _Gaussian(
            self.mean, jnp.linalg.cholesky(trust * covariance + (1 - trust + 1e-4) * jnp.diag(variances))
        )


class _Gaussian(NamedTuple):
    """Gaussian noise: mean ``(d,)``, and the Cholesky factor of its covariance or standard deviations."""

    mean: jax.Array
    factor: jax.Array

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        noise = jax.random.normal(key, (shape[0], len(self.mean)))
        spread = noise @ self.factor.T if self.factor.ndim == 2 else noise * self.factor
        return (self.mean + spread).reshape(shape)

    def log_density(self, x: jax.Array) -> jax.Array:
        away = x.reshape(len(x), -1) - self.mean
        if self.factor.ndim == 2:
            whitened = solve_triangular(self.factor, away.T, lower=True).T
            scales = jnp.diag(self.factor)
        else:
            whitened, scales = away / self.factor, self.factor
        constant = len(scales) / 2 * math.log(2 * math.pi) + jnp.log(scales).sum()
        return -0.5 * (whitened**2).sum(1) - constant


class _Counts(NamedTuple):
    """How often each entry took each level, ``(d, levels)``."""

    counts: jax.Array

    @classmethod
    def of(cls, rows: jax.Array, levels: int) -> _Counts:
        return cls(jax.nn.one_hot(rows.reshape(len(rows), -1), levels).sum(0))

    def with_rows(self, rows: jax.Array) -> _Counts:
        return _Counts(self.counts + _Counts.of(rows, self.counts.shape[1]).counts)

    def noise(self) -> _Independent:
        seen = self.counts + 1
        return _Independent(jnp.log(seen / seen.sum(1, keepdims=True)))


class _Independent(NamedTuple):
    """Noise of independent entries with log probabilities ``(d, levels)``."""

    log_p: jax.Array

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.categorical(key, self.log_p, shape=(shape[0], len(self.log_p))).reshape(shape)

    def log_density(self, x: jax.Array) -> jax.Array:
        flat = x.reshape(len(x), -1)
        return self.log_p[jnp.arange(flat.shape[1]), flat].sum(1)
