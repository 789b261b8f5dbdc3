r"""Gibbs sampling of discrete data, one entry at a time given all others. (JAX.)

.. math:: p(x_i = a \mid x_{-i}) = \frac{p(x \text{ with } x_i = a)}{\sum_b p(x \text{ with } x_i = b)}
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["LogDensity", "conditional_logits", "gibbs_sweep"]

LogDensity = Callable[[jax.Array], jax.Array]
"""The unnormalised log density ``(n,)`` of examples ``(n, *shape)``."""


def gibbs_sweep(log_density: LogDensity, key: jax.Array, x: jax.Array, levels: int) -> jax.Array:
    """Redraw each entry given all others, in a random order that all examples share.

    A sweep leaves the density invariant, and evaluates it ``dims * levels`` times.

    Args:
        log_density: the unnormalised log density of examples.
        key: random key of the order and the draws.
        x: integer examples ``(n, *shape)``.
        levels: how many values an entry can take, from 0.

    References:
        Geman and Geman, *Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration of Images*,
        IEEE PAMI 1984, doi:10.1109/TPAMI.1984.4767596.

    Example:
        >>> coins = jnp.zeros((4000, 2), int)
        >>> odds = lambda x: x @ jnp.log(jnp.array([1.0, 3.0]))
        >>> heads = gibbs_sweep(odds, jax.random.key(0), coins, 2).mean(0)
        >>> [f"{share:.2f}" for share in heads]
        ['0.50', '0.75']
    """
    order_key, draw_key = jax.random.split(key)
    order = jax.random.permutation(order_key, x[0].size)

    def visit(k: jax.Array, x: jax.Array) -> jax.Array:
        logits = conditional_logits(log_density, x, order[k], levels)  # (levels, n)
        drawn = jax.random.categorical(jax.random.fold_in(draw_key, k), logits, axis=0)
        return _with_entry(x, order[k], drawn)

    return lax.fori_loop(0, len(order), visit, x)


def conditional_logits(log_density: LogDensity, x: jax.Array, entry: jax.Array, levels: int) -> jax.Array:
    """The log probability ``(levels, n)`` of each level of one entry given all others, up to a constant."""
    return lax.map(lambda level: log_density(_with_entry(x, entry, level)), jnp.arange(levels))


def _with_entry(x: jax.Array, entry: jax.Array, values: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1).at[:, entry].set(values.astype(x.dtype)).reshape(x.shape)
