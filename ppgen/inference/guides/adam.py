"""Adam: steps as one compiled loop, with the mean of the parameters on the way, and a climb made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ppgen.program.density import float64
from ppgen.program.jaxprs.compiler import jit

__all__ = ["CHUNK", "Climb", "adam_loop", "begin_adam", "make_finite"]

CHUNK = 200
"""Steps of a climb between two looks at the bound."""

_FEWEST_FINITE = 0.9  # log weights, as a share, for a bound


@dataclass(frozen=True, eq=False)
class Climb:
    """A fit from one start.

    Attributes:
        start: the parameters there.
        loop: :data:`CHUNK` steps, from :func:`adam_loop`.
        context: what the steps from a given one on read.
        key: of the steps.
        weigh: log π(z) − log q(z) ``(draws,)`` at draws that are the same in every call, but for q.
    """

    start: Callable[[], jax.Array]
    loop: Callable[..., Any]
    context: Callable[[int], tuple[Any, ...]]
    key: jax.Array
    weigh: Callable[[np.ndarray], np.ndarray]

    def begin(self) -> Any:
        """The optimizer's state at the start."""
        with float64():
            return begin_adam(self.start())

    def advance(self, state: Any, step_size: float, first: int) -> tuple[Any, np.ndarray, int]:
        """Make :data:`CHUNK` steps.

        Returns:
            The new state, the mean of the parameters over the steps, and how many steps were skipped
            because their gradient was not finite.
        """
        with float64():
            state, mean, skipped = self.loop(self.context(first), state, step_size, self.key, 1 + first)
            return state, np.asarray(mean), int(skipped)

    def move(self, state: Any, parameters: np.ndarray) -> Any:
        """The state with these parameters instead."""
        with float64():
            return jnp.asarray(parameters), state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        """Log weights of the common draws, made finite."""
        with float64():
            return make_finite(np.asarray(self.weigh(parameters)))


def make_finite(log_weights: np.ndarray) -> np.ndarray:
    """Log weights, of which the few that are not finite count as the smallest of the others; NaN if many."""
    finite = np.isfinite(log_weights)
    if finite.mean() < _FEWEST_FINITE:
        return np.full(len(log_weights), np.nan)
    return np.where(finite, log_weights, log_weights[finite].min())


def begin_adam(parameters: jax.Array) -> Any:
    """The state of :func:`adam_loop` at parameters ``(p,)``."""
    return parameters, optax.scale_by_adam().init(parameters)


def adam_loop(surrogate: Callable[..., jax.Array], steps: int = CHUNK) -> Callable[..., Any]:
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
