"""A guide that a user wrote in NumPyro, fitted to a density and drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.cores import concurrent_runs
from ppgen.inference.guides.adam import adam_loop, begin_adam
from ppgen.inference.guides.named import GuideDraws
from ppgen.inference.guides.numpyro_guide import ReadGuide
from ppgen.inference.guides.objectives import Objective, coefficients
from ppgen.inference.guides.recipe import CHUNK, Fit, Recipe, describe_ends, fit_guide
from ppgen.inference.guides.target import (
    MinibatchTarget,
    Target,
    log_density_and_jacobian,
    read_at,
    reshuffled,
)
from ppgen.inference.guides.whitening import find_locals
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.program.subsampling import Minibatches

__all__ = ["draw_user_guide", "fit_user_guide"]

_COMMON_DRAWS = 512
_STARTS = 4


def fit_user_guide(
    density: Density,
    guide: ReadGuide,
    recipe: Recipe,
    *,
    samples: int,
    restarts: int,
    seed: int,
    minibatches: Minibatches | None = None,
) -> Fit:
    """Fit a guide to a density; restarts differ by their random draws, all start at the guide's own values.

    Args:
        density: the target.
        guide: the guide.
        recipe: the objective and how it is raised.
        samples: draws a step.
        restarts: how many fits.
        seed: of everything.
        minibatches: the density on minibatches, for steps that are not to read all rows.

    Raises:
        InferenceError: if no finite bound is found.
    """
    target: Target = density.graph if minibatches is None else MinibatchTarget(minibatches.graph)
    with float64():
        run_key, common_key = jax.random.split(jax.random.key(seed))
        common = jax.random.split(common_key, _COMMON_DRAWS)
        keys = jax.random.split(run_key, restarts)
        inputs: Any = density.inputs
        if minibatches is not None:  # a guide of a user's has no map before it that would say where to expand
            local = find_locals(density, jax.random.fold_in(run_key, 0), _STARTS, dense=False)[0]
            inputs = read_at(density, minibatches, local.whitening.location, seed)
    runs = [_Run(target, inputs, guide, recipe.objective, samples, key, common) for key in keys]
    # Whatever matrices the guide solves have no more rows than there are dimensions.
    at_once = concurrent_runs(max(density.graph.largest_matrix, density.dim), samples)
    best, ends, step_size = fit_guide(runs, recipe, at_once=at_once)
    return Fit(
        guide="the given guide",
        objective=recipe.objective,
        parameters=ends[best].parameters,
        history=ends[best].history,
        step_size=step_size,
        restarts=tuple(end.bound for end in ends),
        converged=ends[best].converged,
        findings=tuple(describe_ends(best, ends, recipe)),
    )


def draw_user_guide(
    density: Density,
    guide: ReadGuide,
    parameters: np.ndarray,
    *,
    chains: int,
    draws: int,
    first: int,
    seed: int,
) -> GuideDraws:
    """Draw from a fitted guide: in each chain, draws number ``first`` to ``first + draws`` of its stream."""
    with float64():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), chains)
        numbers = first + jnp.arange(draws)
        all_keys = jax.vmap(lambda key: jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers))(keys)
        drawn = _evaluate(density.graph, density.inputs, guide, parameters, all_keys.ravel())
    shape = (chains, draws)
    return GuideDraws(
        drawn.z.reshape(*shape, -1), drawn.lp.reshape(shape), (drawn.lp - drawn.log_weight).reshape(shape)
    )


class _Drawn(NamedTuple):
    """Draws ``(n, dim)`` with their log densities and log weights ``(n,)``."""

    z: Any
    lp: Any
    log_weight: Any


def _evaluate(target: Target, inputs: Any, guide: ReadGuide, parameters: Any, keys: jax.Array) -> _Drawn:
    compiled = _compile_draws(guide.graph, target)
    drawn = compiled(guide.inputs, inputs, parameters, keys)
    return _Drawn(*(np.asarray(part) for part in drawn))


@dataclass(frozen=True, eq=False)
class _Run:
    """One fit: :class:`ppgen.inference.variational.Run` for guides of users."""

    target: Target
    inputs: Any
    guide: ReadGuide
    objective: Objective
    samples: int
    key: jax.Array
    common: jax.Array

    def begin(self) -> Any:
        with float64():
            return begin_adam(jnp.asarray(self.guide.initial))

    def advance(self, state: Any, step_size: float, first: int) -> tuple[Any, np.ndarray, int]:
        with float64():
            loop = _compile_loop(self.guide.graph, self.target, self.objective, self.samples)
            context = (self.guide.inputs, reshuffled(self.inputs, jax.random.fold_in(self.key, first)))
            state, mean, skipped = loop(context, state, step_size, self.key, first)
            return state, np.asarray(mean), int(skipped)

    def restart(self, state: Any, parameters: np.ndarray) -> Any:
        with float64():
            return jnp.asarray(parameters), state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        with float64():
            found = _evaluate(self.target, self.inputs, self.guide, parameters, self.common).log_weight
        finite = np.isfinite(found)
        if finite.mean() < 0.9:
            return np.full(len(found), np.nan)
        return np.where(finite, found, found[finite].min())


def _one(guide: Graph, target: Target) -> Callable[..., Any]:
    """One draw, with a minibatch of rows by a key of its own where the target has minibatches."""

    def one(guide_inputs: Inputs, inputs: Any, parameters: jax.Array, key: jax.Array, row_key: Any) -> Any:
        drawn = guide(guide_inputs, parameters, key)
        lp, jacobian = log_density_and_jacobian(target, inputs, row_key, drawn.z)
        return _Drawn(drawn.z, lp, lp - jacobian - drawn.log_q), drawn.log_q

    return one


@lru_cache(maxsize=64)
def _compile_draws(guide: Graph, target: Target) -> Callable[..., _Drawn]:
    one = _one(guide, target)
    return jit(
        jax.vmap(
            lambda guide_inputs, inputs, parameters, key: one(guide_inputs, inputs, parameters, key, key)[0],
            in_axes=(None, None, None, 0),
        )
    )


@lru_cache(maxsize=64)
def _compile_loop(guide: Graph, target: Target, objective: Objective, samples: int) -> Callable[..., Any]:
    one = jax.vmap(_one(guide, target), in_axes=(None, None, None, 0, None))
    groups = max(1, round(samples / objective.particles))

    def surrogate(parameters: jax.Array, key: jax.Array, guide_inputs: Inputs, inputs: Any) -> jax.Array:
        """A number whose gradient is that of the objective; its value means nothing."""
        keys = jax.random.split(key, groups * objective.particles)
        drawn, log_q = one(guide_inputs, inputs, parameters, keys, key)
        fixed = jax.lax.stop_gradient(drawn.log_weight)
        if objective.name == "wake":  # draws count as they are weighted, and only log q has a gradient
            shares = jax.nn.softmax(fixed.reshape(groups, -1), axis=1).ravel() / groups
            return jnp.sum(shares * log_q)
        return jnp.sum(coefficients(objective, fixed) * drawn.log_weight)

    return adam_loop(surrogate, CHUNK)
