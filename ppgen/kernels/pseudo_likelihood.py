"""The pseudo-likelihood of discrete data, which needs no normalising constant. (JAX.)"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from ppgen.kernels.gibbs import LogDensity, conditional_logits

__all__ = ["pseudo_log_prob"]

_ENTRIES = 16  # evaluated per example; the sum over all entries is estimated from them


def pseudo_log_prob(log_density: LogDensity, key: jax.Array, x: jax.Array, levels: int) -> jax.Array:
    r"""The log pseudo-likelihood :math:`\sum_i \log p(x_i \mid x_{-i})`, estimated from at most 16 entries.

    Args:
        log_density: the unnormalised log density of examples.
        key: chooses the entries, the same in all examples.
        x: integer examples ``(n, *shape)``.
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
        log_p = jax.nn.log_softmax(conditional_logits(log_density, x, i, levels), 0)  # (levels, n)
        return jnp.take_along_axis(log_p, flat[None, :, i], 0)[0]

    return lax.map(of_entry, jax.random.permutation(key, dims)[:_ENTRIES]).mean(0) * dims
