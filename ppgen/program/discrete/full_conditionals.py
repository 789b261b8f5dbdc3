r"""Rows of whole numbers, one entry given all others: what needs no constant. (JAX.)

.. math:: p(x_i = a \mid x_{-i}) = \frac{p(x \text{ with } x_i = a)}{\sum_b p(x \text{ with } x_i = b)}
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["gibbs_sweep", "pseudo_log_prob"]

ENTRIES = 16  # of a row that the pseudo log likelihood looks at; the sum over all is estimated from them

LogDensity = Callable[[jax.Array], jax.Array]
"""The log density ``(n,)`` of rows ``(n, *shape)``, without its constant."""


def gibbs_sweep(log_density: LogDensity, key: jax.Array, x: jax.Array, levels: int) -> jax.Array:
    """Draw each entry of each row anew given all others, in an order that is the same for all rows.

    It leaves the density invariant, and takes ``dims * levels`` evaluations of it.

    Args:
        log_density: of rows.
        key: of the order and the draws.
        x: integer rows ``(n, *shape)``.
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
        logits = _of_each_level(log_density, x, order[k], levels)  # (levels, n)
        drawn = jax.random.categorical(jax.random.fold_in(draw_key, k), logits, axis=0)
        return _with_entry(x, order[k], drawn)

    return lax.fori_loop(0, len(order), visit, x)


def pseudo_log_prob(log_density: LogDensity, key: jax.Array, x: jax.Array, levels: int) -> jax.Array:
    r"""The pseudo log likelihood of rows, from at most 16 entries: :math:`\sum_i \log p(x_i \mid x_{-i})`.

    Args:
        log_density: of rows.
        key: chooses the entries, the same in all rows.
        x: integer rows ``(n, *shape)``.
        levels: how many values an entry can take, from 0.

    Returns:
        ``(n,)``.

    References:
        Besag, *Statistical Analysis of Non-Lattice Data*, The Statistician 1975, doi:10.2307/2987782.

    Example:
        >>> coins = jnp.array([[0, 1], [1, 1]])
        >>> pseudo_log_prob(lambda x: x @ jnp.log(jnp.array([1.0, 3.0])), jax.random.key(0), coins, 2)
        Array([-0.98..., -0.98...], dtype=float32)
    """
    flat = x.reshape(len(x), -1)
    dims = flat.shape[1]

    def of_entry(i: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(_of_each_level(log_density, x, i, levels), 0)  # (levels, n)
        return jnp.take_along_axis(log_p, flat[None, :, i], 0)[0]

    return lax.map(of_entry, jax.random.permutation(key, dims)[:ENTRIES]).mean(0) * dims


def _of_each_level(log_density: LogDensity, x: jax.Array, entry: jax.Array, levels: int) -> jax.Array:
    """The log density ``(levels, n)`` of rows with each level in the place of one entry."""
    return lax.map(lambda level: log_density(_with_entry(x, entry, level)), jnp.arange(levels))


def _with_entry(x: jax.Array, entry: jax.Array, values: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1).at[:, entry].set(values.astype(x.dtype)).reshape(x.shape)
