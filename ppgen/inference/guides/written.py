"""A guide that a user wrote in NumPyro, fitted to a density and drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.guides.adam import adam_loop, begin_adam
from ppgen.inference.guides.named import GuideDraws
from ppgen.inference.guides.numpyro_guide import ReadGuide, log_jacobian
from ppgen.inference.guides.objectives import Objective, coefficients
from ppgen.inference.guides.recipe import CHUNK, Fit, Recipe, describe_ends, fit_guide
from ppgen.program.density import Density, float64
from ppgen.program.graph import Graph, Inputs

__all__ = ["draw_user_guide", "fit_user_guide"]

_COMMON_DRAWS = 512


def fit_user_guide(
    density: Density, guide: ReadGuide, recipe: Recipe, *, samples: int, restarts: int, seed: int
) -> Fit:
    """Fit a guide to a density; restarts differ by their random draws, all start at the guide's own values.

    Raises:
        InferenceError: if no finite bound is found.
    """
    with float64():
        run_key, common_key = jax.random.split(jax.random.key(seed))
        common = jax.random.split(common_key, _COMMON_DRAWS)
        keys = jax.random.split(run_key, restarts)
    runs = [_Run(density, guide, recipe.objective, samples, key, common) for key in keys]
    best, ends, step_size = fit_guide(runs, recipe)
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
        drawn = _evaluate(density, guide, parameters, all_keys.ravel())
    shape = (chains, draws)
    return GuideDraws(
        drawn.z.reshape(*shape, -1), drawn.lp.reshape(shape), (drawn.lp - drawn.log_weight).reshape(shape)
    )


class _Drawn(NamedTuple):
    """Draws ``(n, dim)`` with their log densities and log weights ``(n,)``."""

    z: Any
    lp: Any
    log_weight: Any


def _evaluate(density: Density, guide: ReadGuide, parameters: Any, keys: jax.Array) -> _Drawn:
    compiled = _compile_draws(guide.graph, density.graph)
    drawn = compiled(guide.inputs, density.inputs, parameters, keys)
    return _Drawn(*(np.asarray(part) for part in drawn))


@dataclass(frozen=True, eq=False)
class _Run:
    """One fit: :class:`ppgen.inference.variational.Run` for guides of users."""

    density: Density
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
            loop = _compile_loop(self.guide.graph, self.density.graph, self.objective, self.samples)
            context = (self.guide.inputs, self.density.inputs)
            state, mean, skipped = loop(context, state, step_size, self.key, first)
            return state, np.asarray(mean), int(skipped)

    def restart(self, state: Any, parameters: np.ndarray) -> Any:
        with float64():
            return jnp.asarray(parameters), state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        with float64():
            found = _evaluate(self.density, self.guide, parameters, self.common).log_weight
        finite = np.isfinite(found)
        if finite.mean() < 0.9:
            return np.full(len(found), np.nan)
        return np.where(finite, found, found[finite].min())


def _one(guide: Graph, program: Graph) -> Callable[..., Any]:
    def one(guide_inputs: Inputs, program_inputs: Inputs, parameters: jax.Array, key: jax.Array) -> Any:
        drawn = guide(guide_inputs, parameters, key)
        point = program(program_inputs, drawn.z)
        log_weight = point.log_joint - log_jacobian(point) - drawn.log_q
        return _Drawn(drawn.z, point.log_joint, log_weight), drawn.log_q

    return one


@lru_cache(maxsize=64)
def _compile_draws(guide: Graph, program: Graph) -> Callable[..., _Drawn]:
    one = _one(guide, program)
    return jax.jit(jax.vmap(lambda *args: one(*args)[0], in_axes=(None, None, None, 0)))


@lru_cache(maxsize=64)
def _compile_loop(guide: Graph, program: Graph, objective: Objective, samples: int) -> Callable[..., Any]:
    one = jax.vmap(_one(guide, program), in_axes=(None, None, None, 0))
    groups = max(1, round(samples / objective.particles))

    def surrogate(
        parameters: jax.Array, key: jax.Array, guide_inputs: Inputs, program_inputs: Inputs
    ) -> jax.Array:
        """A number whose gradient is that of the objective; its value means nothing."""
        keys = jax.random.split(key, groups * objective.particles)
        drawn, log_q = one(guide_inputs, program_inputs, parameters, keys)
        fixed = jax.lax.stop_gradient(drawn.log_weight)
        if objective.name == "wake":  # draws count as they are weighted, and only log q has a gradient
            shares = jax.nn.softmax(fixed.reshape(groups, -1), axis=1).ravel() / groups
            return jnp.sum(shares * log_q)
        return jnp.sum(coefficients(objective, fixed) * drawn.log_weight)

    return adam_loop(surrogate, CHUNK)
