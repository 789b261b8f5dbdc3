r"""Annealed importance sampling: weighted chains along a path of densities. (JAX.)

For a path of unnormalised densities :math:`f_0, \dots, f_K` whose first is easy to draw from, chains that
move by kernels which leave each :math:`f_k` invariant have weights

.. math:: \log w = \sum_{k=1}^{K} \log f_k(x_{k-1}) - \log f_{k-1}(x_{k-1}), \qquad
    \mathbb{E}[w] = Z_K / Z_0

On the geometric path between two densities :mod:`ppgen.kernels.tempered_hmc` moves the chains, and returns
the log ratio by which their weights grow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["AISState", "anneal", "init", "sigmoid_schedule", "step"]

Energy = Callable[[Any, jax.Array], jax.Array]
"""From a point of the path and chains ``(n, *shape)`` to minus the unnormalised log density ``(n,)``."""
Move = Callable[[Any, jax.Array, jax.Array], jax.Array]
"""From a point of the path, a key and chains to the chains after a step that leaves its density invariant."""

_STEEPNESS = 4.0


class AISState(NamedTuple):
    """Chains ``(n, *shape)`` and their log weights ``(n,)``."""

    position: jax.Array
    log_weights: jax.Array


def init(position: jax.Array) -> AISState:
    """Initial draws, with equal weights."""
    return AISState(position, jnp.zeros(len(position)))


def step(key: jax.Array, state: AISState, energy: Energy, move: Move, before: Any, after: Any) -> AISState:
    """Advance to the next point of the path: weight the chains, then move them."""
    gain = energy(before, state.position) - energy(after, state.position)
    return AISState(move(after, key, state.position), state.log_weights + gain)


def anneal(energy: Energy, move: Move, path: Any, position: jax.Array, keys: jax.Array) -> AISState:
    """Move chains along a path, or a part of it.

    Args:
        energy: of chains at a point of the path.
        move: leaves the density at that point invariant.
        path: the points, a tree of arrays ``(k + 1, ...)``, the start first.
        position: draws ``(n, *shape)`` from the density at the start.
        keys: random keys ``(k,)`` of the moves.

    Returns:
        The final positions and log weights: in expectation the mean weight is the ratio of the last
        normalising constant to the first.

    References:
        Neal, *Annealed Importance Sampling*, 1998, arXiv:physics/9803008; Salakhutdinov and Murray, *On the
        Quantitative Analysis of Deep Belief Networks*, ICML 2008.

    Example:
        >>> energy = lambda precision, x: precision * x**2 / 2           # from N(0, 1) to N(0, 1/4)
        >>> redraw = lambda precision, key, x: jax.random.normal(key, x.shape) / jnp.sqrt(precision)
        >>> key, *keys = jax.random.split(jax.random.key(0), 101)
        >>> path, start = jnp.linspace(1.0, 4.0, 101), jax.random.normal(key, (1000,))
        >>> ends = anneal(energy, redraw, path, start, jnp.stack(keys))
        >>> print(f"{jnp.exp(ends.log_weights).mean():.2f}")             # the ratio of the constants, 1 / 2
        0.50
    """

    def advance(state: AISState, at: tuple[Any, Any, jax.Array]) -> tuple[AISState, None]:
        before, after, key = at
        return step(key, state, energy, move, before, after), None

    before = jax.tree.map(lambda places: places[:-1], path)
    after = jax.tree.map(lambda places: places[1:], path)
    return lax.scan(advance, init(position), (before, after, keys))[0]


def sigmoid_schedule(k: Any, steps: Any) -> jax.Array:
    """The k-th of ``steps`` inverse temperatures: 0 at the start, 1 at the end, and dense at both ends.

    References:
        Wu, Burda, Salakhutdinov and Grosse, *On the Quantitative Analysis of Decoder-Based Generative
        Models*, 2016, arXiv:1611.04273.

    Example:
        >>> [f"{beta:.2f}" for beta in sigmoid_schedule(jnp.arange(5), 4)]
        ['0.00', '0.10', '0.50', '0.90', '1.00']
    """

    def curve(place: Any) -> Any:
        return jax.nn.sigmoid(_STEEPNESS * (2 * place - 1))

    low, high = curve(0.0), curve(1.0)
    return (curve(k / steps) - low) / (high - low)
