r"""Units of an energy-based model: their values, and their distribution under a field.

Given a field :math:`\eta`, a layer of units u has the density
:math:`p(u) \propto \exp(\eta^\top \phi(u) - g(u))`; the three kinds differ in the features
:math:`\phi`, and in g, which is 0 except for Gaussian units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp

from ppgen.data.lazy import RowArray

__all__ = ["BinaryUnits", "CategoricalUnits", "GaussianUnits", "Units", "count_levels", "units_of"]


@runtime_checkable
class Units(Protocol):
    """A layer of units of one kind."""

    @property
    def width(self) -> int:
        """How many features the layer has, each with a bias."""
        ...

    def features(self, x: jax.Array) -> jax.Array:
        """The features ``(n, width)`` of units ``(n, dims)``."""
        ...

    def given(self, field: jax.Array, precision: jax.Array) -> dist.Distribution:
        """The distribution of the units under a field ``(n, width)``."""
        ...

    def log_normaliser(self, field: jax.Array, precision: jax.Array) -> jax.Array:
        """The log normalising constant ``(n,)`` of that density."""
        ...

    def penalty(self, x: jax.Array, precision: jax.Array) -> jax.Array:
        """The part ``(n,)`` of the energy that does not depend on the field."""
        ...

    def field_of(self, counts: jax.Array | None) -> jax.Array:
        """The field ``(width,)`` of independent units, from how often each value was seen."""
        ...


@dataclass(frozen=True)
class BinaryUnits:
    """Units that are 0 or 1.

    Example:
        >>> units = BinaryUnits(2)
        >>> units.given(jnp.array([[0.0, jnp.log(3.0)]]), jnp.ones(())).mean.round(2).tolist()
        [[0.5, 0.75]]
    """

    dims: int

    @property
    def width(self) -> int:
        """One feature per unit."""
        return self.dims

    def features(self, x: jax.Array) -> jax.Array:
        """The units themselves."""
        return x.astype(jnp.float32)

    def given(self, field: jax.Array, precision: jax.Array) -> dist.Distribution:
        """Independent coins whose log odds are the field."""
        return dist.Bernoulli(logits=field).to_event(1)

    def log_normaliser(self, field: jax.Array, precision: jax.Array) -> jax.Array:
        """A sum of softplus."""
        return jax.nn.softplus(field).sum(-1)

    def penalty(self, x: jax.Array, precision: jax.Array) -> jax.Array:
        """None."""
        return jnp.zeros(len(x))

    def field_of(self, counts: jax.Array | None) -> jax.Array:
        """Log odds, from counts ``(dims, 2)`` with one more of each."""
        assert counts is not None
        return jnp.log1p(counts[:, 1]) - jnp.log1p(counts[:, 0])


@dataclass(frozen=True)
class CategoricalUnits:
    """Units with more than two levels: a softmax each."""

    dims: int
    levels: int

    @property
    def width(self) -> int:
        """One feature per level of each unit."""
        return self.dims * self.levels

    def features(self, x: jax.Array) -> jax.Array:
        """One-hot vectors, one after the other."""
        return jax.nn.one_hot(x.astype(jnp.int32), self.levels).reshape(len(x), self.width)

    def given(self, field: jax.Array, precision: jax.Array) -> dist.Distribution:
        """Independent dice whose logits are the field."""
        return dist.Categorical(logits=self._by_unit(field)).to_event(1)

    def log_normaliser(self, field: jax.Array, precision: jax.Array) -> jax.Array:
        """A sum of log-sum-exps over the levels."""
        return logsumexp(self._by_unit(field), -1).sum(-1)

    def penalty(self, x: jax.Array, precision: jax.Array) -> jax.Array:
        """None."""
        return jnp.zeros(len(x))

    def field_of(self, counts: jax.Array | None) -> jax.Array:
        """Logits, from counts ``(dims, levels)`` with one more of each."""
        assert counts is not None
        logs = jnp.log1p(counts)
        return (logs - logs.mean(1, keepdims=True)).reshape(self.width)

    def _by_unit(self, field: jax.Array) -> jax.Array:
        return field.reshape(*field.shape[:-1], self.dims, self.levels)


@dataclass(frozen=True)
class GaussianUnits:
    r"""Real units, with :math:`g(u) = \tfrac12 \sum_i \lambda_i u_i^2` of a precision :math:`\lambda`."""

    dims: int

    @property
    def width(self) -> int:
        """One feature per unit."""
        return self.dims

    def features(self, x: jax.Array) -> jax.Array:
        """The units themselves."""
        return x

    def given(self, field: jax.Array, precision: jax.Array) -> dist.Distribution:
        """Independent Gaussians around field / precision."""
        return dist.Normal(field / precision, precision**-0.5).to_event(1)

    def log_normaliser(self, field: jax.Array, precision: jax.Array) -> jax.Array:
        """The Gaussian integral."""
        return 0.5 * (field**2 / precision + jnp.log(2 * math.pi / precision)).sum(-1)

    def penalty(self, x: jax.Array, precision: jax.Array) -> jax.Array:
        """Half the squared length in units of the precision."""
        return 0.5 * (precision * x**2).sum(-1)

    def field_of(self, counts: jax.Array | None) -> jax.Array:
        """0, the mean of standardised units."""
        return jnp.zeros(self.width)


def units_of(dims: int, levels: int | None) -> Units:
    """The kind of units that hold values with so many levels; ``None`` for continuous ones."""
    if levels is None:
        return GaussianUnits(dims)
    return BinaryUnits(dims) if levels == 2 else CategoricalUnits(dims, levels)


def count_levels(rows: RowArray, levels: int) -> jax.Array:
    """How often each entry of ``rows (n, *shape)`` takes each level, ``(dims, levels)``."""
    flat = np.asarray(rows).reshape(len(rows), -1)
    return jnp.asarray(np.stack([(flat == level).sum(0) for level in range(levels)], 1), jnp.int32)
