"""Where Markov chains start: points with a finite log density and gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc.hmc import HMCState
from blackjax.vi import pathfinder

from ppgen.errors import DataError, InferenceError
from ppgen.inference.batch import data_axes
from ppgen.inference.markov.space import Space
from ppgen.program.density import Density
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["Start", "find_start", "try_starts"]

Start = Literal["uniform", "pathfinder"]

_TRIES = 100


def find_start(space: Space, key: jax.Array, chains: int, how: Start = "uniform") -> HMCState:
    """A point with finite log density and gradient for each chain.

    Points are uniform on (-2, 2) in unconstrained space, as in Stan; later attempts draw closer to 0.
    With ``"pathfinder"`` each is then moved to a draw of the Gaussian that Pathfinder (arXiv:2108.03782)
    finds from there, if that has a higher log density.

    Raises:
        InferenceError: if no finite log density is found for some chain.
        DataError: if an observation lies outside the support of its site.
    """
    keys = jax.random.split(key)  # of the points, and of the paths
    state, found = try_starts(space, keys[:1], chains)
    if not found.all():
        failed = np.asarray(state.position)[None, [int(np.argmin(found))]]  # (1, 1, dim)
        raise _no_start(space.density, space.to_program(failed)[0, 0])
    return _along_paths(space, keys[1], state) if how == "pathfinder" else state


def try_starts(space: Space, keys: jax.Array, chains: int) -> tuple[HMCState, np.ndarray]:
    """Points that are uniform on (-2, 2) or closer to 0, and which of them are finite.

    Args:
        space: of one data set, or of as many as there are keys.
        keys: one per data set.
        chains: how many points for each; those of all data sets are ``(chain, dim)``.
    """
    look = _compile_look(space.graph, space.varies)
    count = len(keys) * chains
    positions, found = jnp.zeros((count, space.dim)), jnp.zeros(count, bool)
    for attempt in range(_TRIES):
        radius = 2.0 * (1 - attempt / _TRIES)
        state, found = look(space.inputs, keys, attempt, radius, positions, found)
        if np.all(found):
            break
        positions = state.position
    return state, np.asarray(found)


def _along_paths(space: Space, key: jax.Array, state: HMCState) -> HMCState:
    keys = jax.random.split(key, len(state.position))
    drawn = _compile_paths(space.graph)(space.inputs, keys, state.position)
    moved = _compile_states(space.graph)(space.inputs, drawn)
    better = _finite(moved) & (moved.logdensity > state.logdensity)

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, moved, state)


def _finite(state: HMCState) -> jax.Array:
    return jnp.isfinite(state.logdensity) & jnp.isfinite(state.logdensity_grad).all(axis=1)


@lru_cache(maxsize=64)
def _compile_look(graph: Graph, varies: tuple[bool, ...]) -> Callable[..., tuple[HMCState, jax.Array]]:
    """One more attempt for each chain without a start."""
    states = jax.vmap(lambda inputs, z: _state(graph, inputs, z), in_axes=(data_axes(varies), 0))

    def look(
        inputs: Inputs, keys: jax.Array, attempt: Any, radius: Any, positions: jax.Array, found: jax.Array
    ) -> tuple[HMCState, jax.Array]:
        shape = (len(positions) // len(keys), positions.shape[1])

        def draw(key: jax.Array) -> jax.Array:
            key = jax.random.fold_in(key, attempt)
            return jax.random.uniform(key, shape, positions.dtype, -radius, radius)

        fresh = jax.vmap(draw)(keys).reshape(positions.shape)
        state = states(inputs, jnp.where(found[:, None], positions, fresh))
        return state, _finite(state)

    return jit(look)


@lru_cache(maxsize=64)
def _compile_states(graph: Graph) -> Callable[..., HMCState]:
    return jit(jax.vmap(lambda inputs, z: _state(graph, inputs, z), in_axes=(None, 0)))


def _state(graph: Graph, inputs: Inputs, z: jax.Array) -> HMCState:
    return blackjax.mcmc.hmc.init(z, lambda z: graph(inputs, z).log_joint)


@lru_cache(maxsize=16)
def _compile_paths(graph: Graph) -> Callable[..., jax.Array]:
    def draw(inputs: Inputs, key: jax.Array, z: jax.Array) -> jax.Array:
        fit_key, draw_key = jax.random.split(key)
        path, _ = pathfinder.approximate(fit_key, lambda z: graph(inputs, z).log_joint, z)
        return pathfinder.sample(draw_key, path, 1)[0][0]

    return jit(jax.vmap(draw, in_axes=(None, 0, 0)))


def _no_start(density: Density, z: np.ndarray) -> InferenceError | DataError:
    """Name the sites that keep the log density from being finite."""
    point = density.evaluate(z)
    for name, possible in point.in_support.items():
        if not possible:
            return DataError(
                f"site {name!r}",
                got="observations outside the support of its distribution",
                expected="values that the distribution can produce",
                fix="Check the data, or the distribution, of this site.",
            )
    by_site: dict[str, Any] = point.log_prior | point.log_likelihood
    bad = [name for name, value in by_site.items() if not np.isfinite(value).all()]
    return InferenceError(
        "program",
        got=f"no finite log density and gradient at any of {_TRIES} starts"
        + (f"; not finite at: {', '.join(bad)}" if bad else ""),
        expected="a finite log density near 0 in unconstrained space",
        fix="Check these sites for overflow, logs of 0 and priors that exclude the data; rescale the data "
        "or the parameters to the order of 1.",
    )
