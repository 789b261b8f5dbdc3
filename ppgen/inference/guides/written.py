"""A guide that a user wrote, fitted to a density and drawn from."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.cores import concurrent_runs
from ppgen.inference.guides.adam import Climb, adam_loop
from ppgen.inference.guides.named import GuideDraws, draw_keys
from ppgen.inference.guides.objectives import Bound
from ppgen.inference.guides.recipe import GuideFit, Recipe, fit_guide
from ppgen.inference.guides.target import Target, log_density_and_jacobian, make_target, read_at, reshuffled
from ppgen.inference.guides.whitening import find_locals
from ppgen.inference.method import Request
from ppgen.program.density import Density, float64
from ppgen.program.guides import ReadGuide
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
) -> GuideFit:
    """Fit a guide to a density; restarts differ by their random draws, all start at the guide's own values.

    Args:
        density: the target.
        guide: the guide.
        recipe: the objective and how it is raised.
        samples: draws per step.
        restarts: how many fits.
        seed: of everything.
        minibatches: the density on minibatches, for steps that are not to read all rows.

    Raises:
        InferenceError: if no finite bound is found.
    """
    target = make_target(density, minibatches)
    with float64():
        run_key, common_key = jax.random.split(jax.random.key(seed))
        common = jax.random.split(common_key, _COMMON_DRAWS)
        inputs: Any = density.inputs
        if minibatches is not None:  # a guide of a user's has no map before it that would say where to expand
            local = find_locals(density, jax.random.fold_in(run_key, 0), _STARTS, dense=False)[0]
            inputs = read_at(density, minibatches, local.whitening.location, seed)
        loop = _compile_steps(guide.graph, target, recipe.bound, samples)

        def climb(key: jax.Array) -> Climb:
            return Climb(
                start=lambda: jnp.asarray(guide.initial),
                loop=loop,
                context=lambda first: (guide.inputs, reshuffled(inputs, jax.random.fold_in(key, first))),
                key=key,
                weigh=lambda parameters: _evaluate(target, inputs, guide, parameters, common).log_weight,
            )

        climbs = [climb(key) for key in jax.random.split(run_key, restarts)]
        # Whatever matrices the guide solves have no more rows than there are dimensions.
        at_once = concurrent_runs(max(density.graph.largest_matrix, density.dim), samples)
        return fit_guide("the given guide", climbs, recipe, at_once=at_once)


def draw_user_guide(
    density: Density,
    guide: ReadGuide,
    parameters: np.ndarray,
    request: Request,
    first: int,
) -> GuideDraws:
    """Draw from a fitted guide: in each chain, those from number ``first`` of its stream on."""
    with float64():
        keys = draw_keys(request, first).ravel()
        drawn = _evaluate(density.graph, density.inputs, guide, parameters, keys)
    shape = (request.chains, request.draws)
    return GuideDraws(
        drawn.z.reshape(*shape, -1), drawn.lp.reshape(shape), (drawn.lp - drawn.log_weight).reshape(shape)
    )


class _Weighted(NamedTuple):
    """Draws ``(n, dim)`` with their log densities, log weights and log q in the program's space ``(n,)``."""

    z: Any
    lp: Any
    log_weight: Any
    log_q: Any


def _evaluate(target: Target, inputs: Any, guide: ReadGuide, parameters: Any, keys: jax.Array) -> _Weighted:
    weighted = _compile_draws(guide.graph, target)(guide.inputs, inputs, parameters, keys, keys)
    return _Weighted(*(np.asarray(part) for part in weighted))


def _weigher(guide: Graph, target: Target) -> Callable[..., Any]:
    """Draws and weighs once; where the target has minibatches, their rows come by a key of their own."""

    def weigh(
        guide_inputs: Inputs, inputs: Any, parameters: jax.Array, key: jax.Array, row_key: Any
    ) -> _Weighted:
        drawn = guide(guide_inputs, parameters, key)
        lp, jacobian = log_density_and_jacobian(target, inputs, row_key, drawn.z)
        return _Weighted(drawn.z, lp, lp - jacobian - drawn.log_q, drawn.log_q)

    return weigh


@lru_cache(maxsize=64)
def _compile_draws(guide: Graph, target: Target) -> Callable[..., _Weighted]:
    return jit(jax.vmap(_weigher(guide, target), in_axes=(None, None, None, 0, 0)))


@lru_cache(maxsize=64)
def _compile_steps(guide: Graph, target: Target, bound: Bound, samples: int) -> Callable[..., Any]:
    weigh = jax.vmap(_weigher(guide, target), in_axes=(None, None, None, 0, None))
    groups = bound.groups(samples)

    def surrogate(parameters: jax.Array, key: jax.Array, guide_inputs: Inputs, inputs: Any) -> jax.Array:
        """A number whose gradient is that of the objective; its value means nothing."""
        keys = jax.random.split(key, groups * bound.particles)
        drawn = weigh(guide_inputs, inputs, parameters, keys, key)
        fixed = jax.lax.stop_gradient(drawn.log_weight)
        if bound.objective == "wake_sleep":  # draws count as they are weighted, and only log q has a gradient
            return jnp.sum(bound.shares(fixed) * drawn.log_q) / groups
        return jnp.sum(bound.coefficients(fixed) * drawn.log_weight)

    return adam_loop(surrogate)
