"""A guide by name fitted to many data sets: the usual fit of each, whose compiled calls are made together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from inspect import unwrap
from typing import Any

import jax
import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.batch import Batch, select_inputs
from ppgen.inference.batched_calls import BatchedCalls
from ppgen.inference.guides.guide import Guide, log_normal
from ppgen.inference.guides.named import FittedGuide, GuideFunctions, compile_steps, fit_named
from ppgen.inference.guides.objectives import Bound
from ppgen.inference.guides.recipe import GuideFit, Recipe
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["LANES", "fit_together"]

LANES = 32
"""How many fits run together; idle lanes cost less than recompiling for other numbers."""


def fit_together(
    batch: Batch, seeds: Sequence[int], guide: Guide, recipe: Recipe, *, samples: int, restarts: int
) -> list[tuple[FittedGuide, GuideFit] | PpgenError]:
    """What :func:`fit_named` returns for each data set, or raises; those with the same seed are one."""
    compiled = _compile(batch.graph, batch.varies, guide, recipe.bound, samples)
    functions = {name: partial(function, batch.inputs) for name, function in compiled.items()}
    places = {seed: place for place, seed in enumerate(seeds)}

    def fit(seed: int, call: Callable[..., Any]) -> tuple[FittedGuide, GuideFit]:
        own = _functions_of(places[seed], call)
        options: Any = {"samples": samples, "restarts": restarts, "seed": seed, "functions": own}
        return fit_named(batch.densities[places[seed]], guide, recipe, **options)

    found = BatchedCalls(functions, (LANES,)).run([partial(fit, seed) for seed in places])
    fits = dict(zip(places, found, strict=True))
    for one in found:
        if isinstance(one, Exception) and not isinstance(one, PpgenError):
            raise one
    return [fits[seed] for seed in seeds]


def _functions_of(place: int, call: Callable[..., Any]) -> GuideFunctions:
    """What one data set's fit calls, with NumPy arrays, which those of several are stacked from."""

    def steps(context: Any, state: Any, step_size: float, key: jax.Array, first: int) -> Any:
        _, whitening = context
        arguments = (place, whitening, state, step_size, jax.random.key_data(key), first)
        return call("steps", jax.tree.map(np.asarray, arguments))

    def log_weights(inputs: Inputs, fitted: FittedGuide, noise: np.ndarray) -> np.ndarray:
        arguments = (place, fitted.whitening, fitted.parameters, noise)
        return call("log_weights", jax.tree.map(np.asarray, arguments))

    return GuideFunctions(steps, log_weights)


@lru_cache(maxsize=16)
def _compile(
    graph: Graph, varies: tuple[bool, ...], guide: Guide, bound: Bound, samples: int
) -> dict[str, Callable[..., Any]]:
    """Both functions of fits at once; the inputs are those of all data sets."""
    single = unwrap(compile_steps(graph, guide, bound, samples))

    def steps(
        inputs: Inputs, place: Any, whitening: Any, state: Any, step_size: Any, key: Any, first: Any
    ) -> Any:
        context = (select_inputs(inputs, varies, place), whitening)
        return single(context, state, step_size, jax.random.wrap_key_data(key), first)

    def log_weights(inputs: Inputs, place: Any, whitening: Any, parameters: Any, noise: Any) -> jax.Array:
        own = select_inputs(inputs, varies, place)

        def one(u: jax.Array) -> jax.Array:
            z, log_det = FittedGuide(guide, parameters, whitening).push(u)
            return graph(own, z).log_joint - log_normal(u) + log_det

        return jax.vmap(one)(noise)

    own = (None, 0, 0, 0)
    return {
        "steps": jit(jax.vmap(steps, in_axes=(*own, 0, 0, 0))),
        "log_weights": jit(jax.vmap(log_weights, in_axes=(*own, 0))),
    }
