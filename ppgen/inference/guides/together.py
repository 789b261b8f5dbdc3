"""A guide by name fitted to many data sets: the usual recipe for each, their steps made together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import unwrap
from typing import Any

import jax
import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.batch import Batch, select_inputs
from ppgen.inference.batched_calls import BatchedCalls
from ppgen.inference.guides.adam import Climb
from ppgen.inference.guides.guide import Guide, Whitening
from ppgen.inference.guides.named import compile_steps, distinct_starts
from ppgen.inference.guides.objectives import Bound
from ppgen.inference.guides.recipe import Recipe, fit_guide
from ppgen.inference.guides.whitening import find_locals
from ppgen.inference.method import Drawn, Request
from ppgen.inference.weights import Weights
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["LANES", "fit_together"]

LANES = 32
"""How many fits are made together; other numbers would be compiled anew, which idle lanes cost less than."""

_STARTS = 8
_COMMON_DRAWS = 512  # by which fits are compared


def fit_together(
    batch: Batch, requests: Sequence[Request], guide: Guide, recipe: Recipe, *, samples: int, restarts: int
) -> list[Drawn | PpgenError]:
    """Fit a guide to each data set, and draw from it; data sets with the same seed are one."""
    compiled = _compile(batch.graph, batch.varies, guide, recipe.bound, samples)
    functions = {name: (lambda *a, f=f: f(batch.inputs, *a)) for name, f in compiled.items()}
    places = {request.seed: place for place, request in enumerate(requests)}

    def fit(place: int, call: Callable[..., Any]) -> Drawn:
        one = _OneFit(call, np.int64(place), batch.densities[place], guide)
        return one.draw(recipe, restarts, requests[place])

    procedures = [lambda call, place=place: fit(place, call) for place in places.values()]
    fits = dict(zip(places, BatchedCalls(functions, (LANES,)).run(procedures), strict=True))
    for found in fits.values():
        if not isinstance(found, (Drawn, PpgenError)):
            raise found
    return [fits[request.seed] for request in requests]


@dataclass(frozen=True, eq=False)
class _OneFit:
    """One data set's fit, as ``ppgen.infer`` does it; only its steps are made together with others'."""

    call: Callable[..., Any]
    place: np.int64
    density: Density
    guide: Guide

    def draw(self, recipe: Recipe, restarts: int, request: Request) -> Drawn:
        with float64():
            keys = jax.random.split(jax.random.key(request.seed), 4)
            locals_ = find_locals(self.density, keys[0], max(_STARTS, restarts), dense=self.guide.dense)
            noise = np.asarray(jax.random.normal(keys[2], (_COMMON_DRAWS, self.density.dim)))
            starts = [_as_arrays(local.whitening) for local in distinct_starts(locals_, restarts)]
            climbs = [
                self._climb(whitening, key, noise)
                for whitening, key in zip(starts, jax.random.split(keys[1], restarts), strict=True)
            ]
            fit = fit_guide(self.guide.name, climbs, recipe)
            shape = (request.chains, request.draws)
            fresh = np.asarray(jax.random.normal(keys[3], (*shape, self.density.dim)))
            flat = fresh.reshape(-1, self.density.dim)
            z, lp, log_q = self.call("draw", (self.place, starts[fit.best], fit.parameters, flat))
        lp, log_q = np.nan_to_num(lp, nan=-np.inf).reshape(shape), log_q.reshape(shape)
        return Drawn(
            z.reshape(*shape, -1),
            {"lp": lp, "log_q": log_q},
            log_weights=lp - log_q,
            khat=Weights((lp - log_q).ravel()).khat,
            findings=fit.findings,
        )

    def _climb(self, whitening: Whitening, key: jax.Array, noise: np.ndarray) -> Climb:
        def steps(context: Any, state: Any, step_size: float, key: jax.Array, first: int) -> Any:
            numbers = np.float64(step_size), np.asarray(jax.random.key_data(key)), np.int64(first)
            return self.call("advance", (*context, jax.tree.map(np.asarray, state), *numbers))

        def weigh(parameters: np.ndarray) -> np.ndarray:
            _, lp, log_q = self.call("draw", (self.place, whitening, np.asarray(parameters), noise))
            return lp - log_q

        return Climb(
            start=lambda: self.guide.initial(jax.random.fold_in(key, 0)),
            loop=steps,
            context=lambda first: (self.place, whitening),
            key=key,
            weigh=weigh,
        )


def _as_arrays(whitening: Whitening) -> Whitening:
    return Whitening(*(np.asarray(part, float) for part in whitening))


@lru_cache(maxsize=16)
def _compile(
    graph: Graph, varies: tuple[bool, ...], guide: Guide, bound: Bound, samples: int
) -> dict[str, Callable[..., Any]]:
    """Steps of Adam, and draws with log π and log q, of fits side by side; the inputs are those of all."""
    single = unwrap(compile_steps(graph, guide, bound, samples))

    def advance(
        inputs: Inputs, place: Any, whitening: Any, state: Any, step_size: Any, key: Any, first: Any
    ) -> Any:
        context = (select_inputs(inputs, varies, place), whitening)
        return single(context, state, step_size, jax.random.wrap_key_data(key), first)

    def draw(inputs: Inputs, place: Any, whitening: Any, parameters: Any, noise: jax.Array) -> Any:
        own = select_inputs(inputs, varies, place)

        def one(u: jax.Array) -> Any:
            y, log_det = guide.push(parameters, u)
            z = whitening.apply(y)
            log_q = -0.5 * (u @ u) - 0.5 * len(u) * np.log(2 * np.pi) - log_det - whitening.log_det
            return z, graph(own, z).log_joint, log_q

        return jax.vmap(one)(noise)

    own = (None, 0, 0, 0)
    return {
        "advance": jit(jax.vmap(advance, in_axes=(*own, 0, 0, 0))),
        "draw": jit(jax.vmap(draw, in_axes=(*own, 0))),
    }
