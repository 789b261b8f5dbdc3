"""Guides by name, fitted to many data sets: the usual recipe for each, their steps made together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from inspect import unwrap
from typing import Any, ClassVar

import jax
import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.guides import named
from ppgen.inference.guides.adam import begin_adam
from ppgen.inference.guides.catalog import make_guide
from ppgen.inference.guides.guide import Guide, Whitening
from ppgen.inference.guides.objectives import Objective
from ppgen.inference.guides.recipe import describe_ends, fit_guide
from ppgen.inference.guides.whitening import find_locals
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.svi import SVI
from ppgen.inference.weights import Weights
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.workflow.calibration.fitter import seed_of
from ppgen.workflow.calibration.meeting import Meeting
from ppgen.workflow.calibration.simulations import Simulations, merge

__all__ = ["SVIFitter"]

_SIZES = (32,)  # each further one is compiled as well, which costs more than idle lanes do
_STARTS = 8
_COMMON_DRAWS = 512  # by which fits are compared


class SVIFitter:
    """Fits a batch of data sets at once: :class:`~ppgen.workflow.calibration.fitter.Fitter`."""

    method: ClassVar[str] = "svi"
    size = _SIZES[-1]
    how = f"{_SIZES[-1]} data sets at a time: the steps of their fits made as one vectorised loop."

    def __init__(self, simulations: Simulations, settings: Method, request: Request) -> None:
        assert isinstance(settings, SVI)
        assert isinstance(settings.guide, str)
        dim = simulations.density.dim
        sizes = {name: getattr(settings, name) for name in ("rank", "layers", "width", "knots")}
        self._guide = make_guide(settings.guide, dim, sizes)
        self._settings = settings
        rows = max(simulations.density.graph.largest_matrix, simulations.density.dim)
        self.runs = concurrent_runs(rows, batch=32)
        self._simulations = simulations
        self._request = request
        self._functions = _compile(
            simulations.density.graph,
            simulations.places,
            self._guide,
            settings.recipe.objective,
            settings.samples,
        )

    @staticmethod
    def obstacle(settings: Method, density: Density) -> str | None:
        """Why this has no batched form; ``None`` if it has."""
        assert isinstance(settings, SVI)
        if density.in_minibatches is not None:
            return "each fit reads minibatches of its own"
        return None if isinstance(settings.guide, str) else "the guide is one of your own"

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Fit a guide to each data set, and draw from it."""
        unique = list(dict.fromkeys(int(row) for row in rows))
        shared = self._simulations.density.inputs
        functions = {name: (lambda *a, f=f: f(shared, *a)) for name, f in self._functions.items()}
        procedures = [lambda call, row=row: self._one(row, call) for row in unique]
        fits = dict(zip(unique, Meeting(functions, _SIZES).run(procedures), strict=True))
        for fit in fits.values():
            if not isinstance(fit, (Drawn, PpgenError)):
                raise fit
        return [fits[int(row)] for row in rows]

    def _one(self, row: int, call: Callable[..., Any]) -> Drawn:
        """One data set's fit, as ``ppgen.infer`` does it; only its steps are made together with others'."""
        density, settings, request = self._simulations.density_of(row), self._settings, self._request
        with float64():
            values = tuple(np.asarray(part[0]) for part in self._simulations.arrays(np.array([row])))
            keys = jax.random.split(jax.random.key(seed_of(request, row)), 4)
            starts = max(_STARTS, settings.restarts)
            locals_ = find_locals(density, keys[0], starts, dense=self._guide.dense)
            noise = np.asarray(jax.random.normal(keys[2], (_COMMON_DRAWS, density.dim)))
            runs = [
                _Run(call, self._guide, values, _as_arrays(local.whitening), key, noise)
                for local, key in zip(
                    named._distinct(locals_, settings.restarts),
                    jax.random.split(keys[1], settings.restarts),
                    strict=True,
                )
            ]
            best, ends, _ = fit_guide(runs, settings.recipe)
            shape = (request.chains, request.draws)
            fresh = np.asarray(jax.random.normal(keys[3], (*shape, density.dim)))
            whitening, parameters = runs[best].whitening, ends[best].parameters
            z, lp, log_q = call("draw", (values, whitening, parameters, fresh.reshape(-1, density.dim)))
        lp, log_q = np.nan_to_num(lp, nan=-np.inf).reshape(shape), log_q.reshape(shape)
        return Drawn(
            z.reshape(*shape, -1),
            {"lp": lp, "log_q": log_q},
            log_weights=lp - log_q,
            khat=Weights((lp - log_q).ravel()).khat,
            findings=tuple(describe_ends(best, ends, settings.recipe)),
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """A fit under way, whose steps are made together with those of others."""

    call: Callable[..., Any]
    guide: Guide
    values: tuple[np.ndarray, ...]
    whitening: Whitening
    key: jax.Array
    noise: np.ndarray

    def begin(self) -> Any:
        return jax.tree.map(np.asarray, begin_adam(self.guide.initial(jax.random.fold_in(self.key, 0))))

    def advance(self, state: Any, step_size: float, first: int) -> tuple[Any, np.ndarray, int]:
        key = np.asarray(jax.random.key_data(self.key))
        step = np.float64(step_size)
        state, mean, skipped = self.call(
            "advance", (self.values, self.whitening, state, step, key, np.int64(1 + first))
        )
        return state, mean, int(skipped)

    def restart(self, state: Any, parameters: np.ndarray) -> Any:
        return parameters, state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        _, lp, log_q = self.call("draw", (self.values, self.whitening, parameters, self.noise))
        log_weights = lp - log_q
        finite = np.isfinite(log_weights)
        if finite.mean() < 0.9:
            return np.full(len(log_weights), np.nan)
        return np.where(finite, log_weights, log_weights[finite].min())


def _as_arrays(whitening: Whitening) -> Whitening:
    return Whitening(*(np.asarray(part, float) for part in whitening))


@lru_cache(maxsize=16)
def _compile(
    graph: Graph, places: tuple[int, ...], guide: Guide, objective: Objective, samples: int
) -> dict[str, Callable[..., Any]]:
    """Steps of Adam, and draws with log π and log q, of fits side by side; the first argument is shared."""
    single = unwrap(named._compile(graph, guide, objective, samples).advance)

    def advance(
        inputs: Inputs, values: Any, whitening: Any, state: Any, step_size: Any, key: Any, first: Any
    ) -> Any:
        context = (merge(inputs, places, values), whitening)
        return single(context, state, step_size, jax.random.wrap_key_data(key), first)

    def draw(inputs: Inputs, values: Any, whitening: Any, parameters: Any, noise: jax.Array) -> Any:
        own = merge(inputs, places, values)

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
