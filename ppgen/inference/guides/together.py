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
from ppgen.inference.guides import named
from ppgen.inference.guides.adam import begin_adam
from ppgen.inference.guides.guide import Guide, Whitening
from ppgen.inference.guides.objectives import Objective
from ppgen.inference.guides.recipe import Recipe, describe_ends, fit_guide
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
    compiled = _compile(batch.graph, batch.varies, guide, recipe.objective, samples)
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
            runs = [
                _Run(self.call, self.guide, self.place, _as_arrays(local.whitening), key, noise)
                for local, key in zip(
                    named._distinct(locals_, restarts), jax.random.split(keys[1], restarts), strict=True
                )
            ]
            best, ends, _ = fit_guide(runs, recipe)
            shape = (request.chains, request.draws)
            fresh = np.asarray(jax.random.normal(keys[3], (*shape, self.density.dim)))
            z, lp, log_q = self.call(
                "draw",
                (
                    self.place,
                    runs[best].whitening,
                    ends[best].parameters,
                    fresh.reshape(-1, self.density.dim),
                ),
            )
        lp, log_q = np.nan_to_num(lp, nan=-np.inf).reshape(shape), log_q.reshape(shape)
        return Drawn(
            z.reshape(*shape, -1),
            {"lp": lp, "log_q": log_q},
            log_weights=lp - log_q,
            khat=Weights((lp - log_q).ravel()).khat,
            findings=tuple(describe_ends(best, ends, recipe)),
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """A fit under way, whose steps are made together with those of others."""

    call: Callable[..., Any]
    guide: Guide
    place: np.int64
    whitening: Whitening
    key: jax.Array
    noise: np.ndarray

    def begin(self) -> Any:
        return jax.tree.map(np.asarray, begin_adam(self.guide.initial(jax.random.fold_in(self.key, 0))))

    def advance(self, state: Any, step_size: float, first: int) -> tuple[Any, np.ndarray, int]:
        key = np.asarray(jax.random.key_data(self.key))
        step = np.float64(step_size)
        state, mean, skipped = self.call(
            "advance", (self.place, self.whitening, state, step, key, np.int64(1 + first))
        )
        return state, mean, int(skipped)

    def restart(self, state: Any, parameters: np.ndarray) -> Any:
        return parameters, state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        _, lp, log_q = self.call("draw", (self.place, self.whitening, parameters, self.noise))
        log_weights = lp - log_q
        finite = np.isfinite(log_weights)
        if finite.mean() < 0.9:
            return np.full(len(log_weights), np.nan)
        return np.where(finite, log_weights, log_weights[finite].min())


def _as_arrays(whitening: Whitening) -> Whitening:
    return Whitening(*(np.asarray(part, float) for part in whitening))


@lru_cache(maxsize=16)
def _compile(
    graph: Graph, varies: tuple[bool, ...], guide: Guide, objective: Objective, samples: int
) -> dict[str, Callable[..., Any]]:
    """Steps of Adam, and draws with log π and log q, of fits side by side; the inputs are those of all."""
    single = unwrap(named._compile(graph, guide, objective, samples).advance)

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
