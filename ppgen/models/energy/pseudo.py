r"""The pseudo log likelihood of discrete rows: each entry given all others, which needs no constant.

.. math:: \log \tilde p(x) = \sum_i \log p(x_i \mid x_{-i})
    = \sum_i \log \frac{\exp(-E(x))}{\sum_a \exp(-E(x \text{ with } x_i = a))}
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ppgen.data.lazy import RowArray

__all__ = ["count_levels", "pseudo_log_prob"]

ENTRIES = 16  # of a row that are looked at; the sum over all is estimated from them


def pseudo_log_prob(
    energy: Callable[[jax.Array], jax.Array], key: jax.Array, x: jax.Array, levels: int
) -> jax.Array:
    """The pseudo log likelihood ``(n,)`` of rows ``(n, *shape)``, from at most 16 entries of each.

    Args:
        energy: of rows, ``(n,)``.
        key: chooses the entries, the same in all rows.
        x: integer rows.
        levels: how many values an entry can take.

    References:
        Besag, *Statistical Analysis of Non-Lattice Data*, The Statistician 1975, doi:10.2307/2987782.

    Example:
        >>> coins = jnp.array([[0, 1], [1, 1]])
        >>> pseudo_log_prob(lambda x: -x @ jnp.log(jnp.array([1.0, 3.0])), jax.random.key(0), coins, 2)
        Array([-0.98..., -0.98...], dtype=float32)
    """
    flat = x.reshape(len(x), -1)
    dims = flat.shape[1]
    entries = jax.random.permutation(key, dims)[:ENTRIES]

    def of_entry(i: jax.Array) -> jax.Array:
        def with_level(a: jax.Array) -> jax.Array:
            return -energy(flat.at[:, i].set(a).reshape(x.shape))

        log_p = jax.nn.log_softmax(lax.map(with_level, jnp.arange(levels)), 0)  # (levels, n)
        return jnp.take_along_axis(log_p, flat[None, :, i], 0)[0]

    return lax.map(of_entry, entries).mean(0) * dims


def count_levels(rows: RowArray, levels: int) -> jax.Array:
    """How often each entry takes each level, ``(dims, levels)``."""
    flat = np.asarray(rows).reshape(len(rows), -1)
    return jnp.asarray(np.stack([(flat == level).sum(0) for level in range(levels)], 1), jnp.int32)
