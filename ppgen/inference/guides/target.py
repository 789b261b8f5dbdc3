r"""What a guide is fitted to: a log density of all rows, or an estimate of it from a random minibatch.

The estimate has a control variate, the first-order expansion at a point :math:`a` near the posterior,

.. math:: \ell_B(z) = \log \hat\pi_B(z) - \log \hat\pi_B(a) - (z - a)^\top \nabla \log \hat\pi_B(a)
                      + \log \pi(a) + (z - a)^\top \nabla \log \pi(a),

whose expectation over minibatches is :math:`\log \pi(z)` at every z. What is left of the noise is of second
order in z − a, so that the fit settles and its stopping rule sees the bound, and not the minibatches. All
draws of a step share the minibatch, and with it the expansion: it costs one gradient more.

Wang, Geffner and Domke, *Joint Control Variate for Faster Black-Box Variational Inference*, arXiv:2210.07290;
Baker, Fearnhead, Fox and Nemeth, *Control Variates for Stochastic Gradient MCMC*, arXiv:1706.05439.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.guides.whitening import ROWS, log_density_and_gradient
from ppgen.program.density import Density, Evaluation
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.program.subsampling import Minibatches, MinibatchGraph

__all__ = [
    "Anchored",
    "MinibatchTarget",
    "Target",
    "estimates",
    "log_density_and_jacobian",
    "log_density_of",
    "make_target",
    "read_at",
    "reshuffled",
    "spread_of",
]


class Anchored(NamedTuple):
    """The arrays that estimates from minibatches read.

    Attributes:
        inputs: of the program.
        anchor: the point ``(dim,)`` of the expansion.
        lp, gradient: the log density of all rows there, and its gradient ``(dim,)``.
        orders: the rows of each plate in random order; a minibatch is a run of them.
    """

    inputs: Inputs
    anchor: jax.Array
    lp: jax.Array
    gradient: jax.Array
    orders: tuple[jax.Array, ...]


@dataclass(frozen=True)
class MinibatchTarget:
    """A log density that each step estimates from a minibatch of its own."""

    program: MinibatchGraph

    def rows(self, arrays: Anchored, key: jax.Array) -> list[jax.Array]:
        """A random minibatch of each plate, without repetitions."""
        starts = jax.random.split(key, len(self.program.plates))
        return [
            order[(jax.random.randint(start, (), 0, plate.size) + jnp.arange(plate.rows)) % plate.size]
            for plate, order, start in zip(self.program.plates, arrays.orders, starts, strict=True)
        ]

    def estimate(self, arrays: Anchored, rows: list[jax.Array]) -> Callable[[jax.Array], jax.Array]:
        """The estimate from these rows, as a function of ``z (dim,)``."""

        def from_rows(z: jax.Array) -> jax.Array:
            return self.program(arrays.inputs, rows, z).log_joint

        lp, gradient = jax.value_and_grad(from_rows)(arrays.anchor)
        level, slope = arrays.lp - lp, arrays.gradient - gradient
        return lambda z: from_rows(z) + level + slope @ (z - arrays.anchor)


Target = Graph | MinibatchTarget


def make_target(density: Density, minibatches: Minibatches | None) -> Target:
    """The log density of all rows, or its estimate if there are minibatches."""
    return density.graph if minibatches is None else MinibatchTarget(minibatches.graph)


def log_density_of(target: Target, inputs: Any, key: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """What a step climbs, as a function of ``z (dim,)``: the same for all of its draws."""
    if isinstance(target, Graph):
        return lambda z: target(inputs, z).log_joint
    return target.estimate(inputs, target.rows(inputs, jax.random.fold_in(key, 1)))


def log_density_and_jacobian(target: Target, inputs: Any, key: jax.Array, z: jax.Array) -> Any:
    """The log density at ``z (dim,)``, and the log |det ∂x/∂z| that is part of it."""
    if isinstance(target, Graph):
        point = target(inputs, z)
        return point.log_joint, _log_jacobian(point)
    rows = target.rows(inputs, jax.random.fold_in(key, 1))
    return target.estimate(inputs, rows)(z), _log_jacobian(target.program(inputs.inputs, rows, z))


def _log_jacobian(point: Evaluation) -> jax.Array:
    return point.log_base - sum((jnp.sum(value) for value in point.log_prior.values()), jnp.zeros(()))


def spread_of(target: Target) -> float:
    """How much larger gradients may be than those of all rows: the root of the rows that each stands for."""
    if isinstance(target, Graph):
        return 1.0
    return math.sqrt(math.prod(plate.size / plate.rows for plate in target.program.plates))


def read_at(density: Density, minibatches: Minibatches | None, anchor: np.ndarray, seed: int) -> Any:
    """The arrays that a target reads; for minibatches with what all rows say at an anchor ``(dim,)``."""
    if minibatches is None:
        return density.inputs
    lp, gradient = log_density_and_gradient(density, anchor[None])
    orders = tuple(jnp.arange(plate.size) for plate in minibatches.plates)
    at = (jnp.asarray(anchor), jnp.asarray(lp[0]), jnp.asarray(gradient[0]))
    return reshuffled(Anchored(minibatches.inputs, *at, orders), jax.random.key(seed))


def reshuffled(inputs: Any, key: jax.Array) -> Any:
    """The same arrays, with the rows of plates in new random orders."""
    if not isinstance(inputs, Anchored):
        return inputs
    keys = jax.random.split(key, len(inputs.orders))
    return inputs._replace(orders=tuple(map(_shuffle, keys, inputs.orders)))


def estimates(density: Density, target: Target, inputs: Any, z: np.ndarray) -> np.ndarray:
    """The log density ``(n,)`` at points ``(n, dim)``, or estimates: the same minibatches in every call.

    Each point has a minibatch of its own, so that the standard error of a mean over points covers both.
    """
    if isinstance(target, Graph):
        return log_density_and_gradient(density, z)[0]
    evaluate = _compile_estimates(target)
    keys = jax.random.split(jax.random.key(0), len(z))
    padding = np.arange(-(-len(z) // ROWS) * ROWS) % len(z)
    parts = [evaluate(inputs, keys[rows], z[rows]) for rows in padding.reshape(-1, ROWS)]
    return np.concatenate(parts)[: len(z)]


_shuffle = jax.jit(jax.random.permutation)


@lru_cache(maxsize=64)
def _compile_estimates(target: MinibatchTarget) -> Callable[..., jax.Array]:
    def one(inputs: Any, key: jax.Array, z: jax.Array) -> jax.Array:
        return log_density_of(target, inputs, key)(z)

    return jit(jax.vmap(one, in_axes=(None, 0, 0)))
