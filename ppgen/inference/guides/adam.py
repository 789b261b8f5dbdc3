"""Steps of Adam as one compiled loop, with the mean of the parameters on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ppgen.program.jaxprs.compiler import jit

__all__ = ["adam_loop", "begin_adam"]


def begin_adam(parameters: jax.Array) -> Any:
    """The state of :func:`adam_loop` at parameters ``(p,)``."""
    return parameters, optax.scale_by_adam().init(parameters)


def adam_loop(surrogate: Callable[..., jax.Array], steps: int) -> Callable[..., Any]:
    """A compiled loop that climbs the gradient of ``surrogate(parameters, key, *context)``.

    Adam is Kingma and Ba, arXiv:1412.6980. A step whose gradient is not finite is skipped.

    Returns:
        A function of ``(context, state, step_size, key, first)``, whose step number i uses the key
        folded with ``first + i``; it gives the new state, the mean parameters, and how many were skipped.

    Example:
        >>> climb = adam_loop(lambda x, key: -jnp.sum((x - 3.0) ** 2), steps=500)
        >>> state, mean, skipped = climb((), begin_adam(jnp.zeros(1)), 0.1, jax.random.key(0), 0)
        >>> round(float(state[0][0]), 2), int(skipped)
        (3.0, 0)
    """
    optimizer = optax.scale_by_adam()

    def loop(context: tuple[Any, ...], state: Any, step_size: Any, key: jax.Array, first: Any) -> Any:
        def step(i: Any, carry: Any) -> Any:
            (parameters, moments), total, skipped = carry
            gradient = jax.grad(surrogate)(parameters, jax.random.fold_in(key, first + i), *context)
            update, moved = optimizer.update(gradient, moments)
            fine = jnp.isfinite(gradient).all()
            moments = jax.tree.map(lambda new, old: jnp.where(fine, new, old), moved, moments)
            parameters = jnp.where(fine, parameters + step_size * update, parameters)
            return (parameters, moments), total + parameters, skipped + ~fine

        start = (state, jnp.zeros_like(state[0]), jnp.zeros((), int))
        state, total, skipped = jax.lax.fori_loop(0, steps, step, start)
        return state, total / steps, skipped

    return jit(loop)
