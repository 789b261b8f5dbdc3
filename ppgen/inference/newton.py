"""Newton's method from many points of many densities, as one vectorised loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.batch import Batch, data_axes
from ppgen.program.density import float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["Ends", "climb_together"]

_STEPS = 300
_GAIN = 1e-15  # nats that another step would gain; far below what matters, as the last step costs little


class Ends(NamedTuple):
    """The ends of runs, ``(data set, start, …)``: JAX arrays during the run, NumPy arrays after.

    Attributes:
        position: ``(…, dim)``.
        value: log π there.
        gradient: its gradient ``(…, dim)``.
        precision: its negative Hessian ``(…, dim, dim)``.
    """

    position: Any
    value: Any
    gradient: Any
    precision: Any


def climb_together(batch: Batch, starts: np.ndarray) -> Ends:
    """Climb the densities of a batch from ``starts (data set, start, dim)``.

    A damping grows until a step gains, and shrinks after; directions in which the log density curves upwards
    are followed as if it curved downwards.
    """
    with float64():
        found = _compile(batch.graph, batch.varies)(batch.inputs, starts)
    return Ends(*(np.asarray(part) for part in found))


class _Climb(NamedTuple):
    count: Any
    end: Ends
    damping: Any
    gain: Any


@lru_cache(maxsize=16)
def _compile(graph: Graph, varies: tuple[bool, ...]) -> Callable[..., Ends]:
    def climb(inputs: Inputs, start: jax.Array) -> Ends:
        def log_joint(z: jax.Array) -> jax.Array:
            return graph(inputs, z).log_joint

        def look(z: jax.Array) -> Ends:
            hessian = jax.hessian(log_joint)(z)
            return Ends(z, log_joint(z), jax.grad(log_joint)(z), -(hessian + hessian.T) / 2)

        def step(climb: _Climb) -> _Climb:
            curvatures, directions = jnp.linalg.eigh(climb.end.precision)
            pull = directions.T @ climb.end.gradient
            move = directions @ (pull / (jnp.maximum(jnp.abs(curvatures), 1e-12) + climb.damping))
            new = look(climb.end.position + move)
            sound = jnp.isfinite(new.precision).all() & jnp.isfinite(new.gradient).all()
            better = sound & (new.value >= climb.end.value - 1e-12)
            end = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, climb.end)
            damping = _next_damping(climb.damping, better, jnp.maximum(jnp.abs(curvatures).max(), 1e-12))
            return _Climb(climb.count + 1, end, damping, _gain(end.gradient, end.precision))

        def rising(climb: _Climb) -> jax.Array:
            return (climb.count < _STEPS) & ~(climb.gain < _GAIN)

        begin = _Climb(0, look(start), jnp.zeros(()), jnp.full((), jnp.inf))
        return jax.lax.while_loop(rising, step, begin).end

    return jit(jax.vmap(jax.vmap(climb, in_axes=(None, 0)), in_axes=(data_axes(varies), 0)))


def _next_damping(damping: jax.Array, better: jax.Array, scale: jax.Array) -> jax.Array:
    damping = jnp.where(better, damping / 8, jnp.maximum(4 * damping, 1e-3 * scale))
    return jnp.where(damping < 1e-9 * scale, 0.0, damping)


def _gain(gradient: jax.Array, precision: jax.Array) -> jax.Array:
    """The gain of another step, in nats; infinite if the precision is not positive definite."""
    curvatures, directions = jnp.linalg.eigh(precision)
    gain = jnp.sum((directions.T @ gradient) ** 2 / curvatures) / 2
    return jnp.where((curvatures > 0).all() & jnp.isfinite(gain), gain, jnp.inf)
