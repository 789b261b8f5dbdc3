"""A sum over all states of binary units. (JAX.)"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp

__all__ = ["LARGEST_EXACT", "every_state"]

LARGEST_EXACT = 20  # binary units whose states are enumerated, 2^20

_BLOCK = 12  # 2^12 states at once


def every_state(units: int, log_sum: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The log of a sum over all states of binary units, some thousands at a time.

    Args:
        units: how many.
        log_sum: the log of the term ``(m,)`` of each of the states ``(m, units)``.

    Example:
        >>> round(float(every_state(3, lambda h: h.sum(-1))), 4)          # (1 + e)^3
        3.9398
    """
    together = min(units, _BLOCK)
    few = _states(jnp.arange(2**together), together)

    def block(number: jax.Array) -> jax.Array:
        fixed = jnp.broadcast_to(_states(number, units - together), (len(few), units - together))
        return logsumexp(log_sum(jnp.concatenate([fixed, few], 1)))

    return logsumexp(lax.map(block, jnp.arange(2 ** (units - together))))


def _states(numbers: jax.Array, units: int) -> jax.Array:
    return ((numbers[..., None] >> jnp.arange(units)) & 1).astype(jnp.float32)
