"""A program's log densities at many positions, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from ppgen.kernels.weights import log_ratio
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["LogDensities", "in_batches", "log_densities"]

_BATCH = 1024


class LogDensities(NamedTuple):
    """Log densities ``(n,)`` in unconstrained space; NaN counts as ``-inf``.

    Attributes:
        log_joint: log π, the Jacobian included.
        log_base: the log density of the prior, if that is proper.
    """

    log_joint: np.ndarray
    log_base: np.ndarray

    @property
    def log_ratio(self) -> np.ndarray:
        """Their difference, the log likelihood: ``-inf`` where the posterior has no density."""
        return log_ratio(self.log_joint, self.log_base)


def log_densities(density: Density, positions: np.ndarray) -> LogDensities:
    """Both log densities at each of ``positions (n, dim)``.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from ppgen.program import read_density
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = log_densities(read_density(program, {"y": 0.0}), np.zeros((2, 1)))
        >>> print(found.log_joint.round(4), found.log_base.round(4))
        [-1.8379 -1.8379] [-0.9189 -0.9189]
    """
    evaluate = _compile(density.graph)
    return LogDensities(*in_batches(lambda batch: evaluate(density.inputs, batch), positions))


def in_batches(evaluate: Callable[[np.ndarray], Any], positions: np.ndarray) -> np.ndarray:
    """Log densities ``(k, n)`` at ``positions (n, dim)``, by a compiled function; NaN becomes ``-inf``."""
    parts = []
    with float64():
        for first in range(0, len(positions), _BATCH):
            batch = positions[first : first + _BATCH]
            # One shape for all batches, so that one program is compiled for them.
            filled = np.concatenate([batch, np.repeat(batch[-1:], _BATCH - len(batch), 0)])
            found = np.asarray(evaluate(filled))
            parts.append(np.where(np.isnan(found), -np.inf, found)[:, : len(batch)])
    return np.concatenate(parts, 1)


@lru_cache(maxsize=64)
def _compile(graph: Graph) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def both(inputs: Inputs, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        point = graph(inputs, z)
        return point.log_joint, point.log_base

    return jit(jax.vmap(both, in_axes=(None, 0)))
