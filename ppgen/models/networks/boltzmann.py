"""The weights of Boltzmann machines: biases of units, and couplings between pairs of them. (Equinox.)"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

__all__ = ["Bipartite", "Pairwise"]

_START = 0.01  # standard deviation of the first weights, as Hinton (2010) advises


class Bipartite(eqx.Module):
    """Couplings between two layers, with a bias for each unit.

    Attributes:
        weights: ``(visible, hidden)``.
        lower, upper: the biases ``(visible,)`` and ``(hidden,)``.
    """

    weights: jax.Array
    lower: jax.Array
    upper: jax.Array

    @classmethod
    def random(cls, visible: int, hidden: int, key: jax.Array) -> Bipartite:
        """Weak random couplings of layers with so many units."""
        return cls(_START * jax.random.normal(key, (visible, hidden)), jnp.zeros(visible), jnp.zeros(hidden))

    def up(self, units: jax.Array) -> jax.Array:
        """The fields ``(n, hidden)`` that units ``(n, visible)`` exert."""
        return units @ self.weights + self.upper

    def down(self, units: jax.Array) -> jax.Array:
        """The fields ``(n, visible)`` that units ``(n, hidden)`` exert."""
        return units @ self.weights.T + self.lower


class Pairwise(eqx.Module):
    """Couplings between all pairs of units of one layer, with a bias for each.

    Attributes:
        triangle: ``(units, units)``, of which only the part below the diagonal is used.
        bias: ``(units,)``.
    """

    triangle: jax.Array
    bias: jax.Array

    @classmethod
    def random(cls, units: int, key: jax.Array) -> Pairwise:
        """Weak random couplings of so many units."""
        return cls(_START * jax.random.normal(key, (units, units)), jnp.zeros(units))

    @property
    def weights(self) -> jax.Array:
        """The symmetric weights ``(units, units)``, zero on the diagonal."""
        below = jnp.tril(self.triangle, -1)
        return below + below.T
