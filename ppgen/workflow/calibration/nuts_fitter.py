"""The No-U-Turn sampler on many data sets: vectorised warm-up and sampling, one thread a core.

Chains that run as one batch wait for the longest trajectory among them at every draw, but share the cost of
each operation. On eight schools (17 leapfrog steps a draw on average, heavy tails), with 128 data sets and
two cores, batches of 2, 8, 32 and 128 chains took 19.2, 17.6, 11.9 and 16.6 s for two chains a data set;
batches of 16, 32 and 64 took 7.0, 7.1 and 13.4 s for one. So a batch has 32 chains.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.diagnostics import drifting_sites
from ppgen.inference.markov import chains as markov
from ppgen.inference.markov.chains import CHUNK, Record, Rules, compile_loop, metric_rows
from ppgen.inference.markov.stuck_chains import judge, looking_points
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.nuts import NUTS
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.workflow.calibration.fitter import seed_of
from ppgen.workflow.calibration.serial_fitter import SerialFitter
from ppgen.workflow.calibration.simulations import Simulations, merge

__all__ = ["NUTSFitter"]

_CHAINS = 32  # of a batch
_TRIES = 100  # to find a start, as a single fit makes


class NUTSFitter:
    """Fits a batch of data sets at once: :class:`~ppgen.workflow.calibration.fitter.Fitter`."""

    method: ClassVar[str] = "nuts"

    def __init__(self, simulations: Simulations, settings: Method, request: Request) -> None:
        assert isinstance(settings, NUTS)
        self.size = max(1, _CHAINS // request.chains)
        self.how = f"{self.size} data sets at a time as one vectorised batch of chains, a thread a core."
        self._simulations = simulations
        self._request = request
        self._serial = SerialFitter(simulations, settings, request, "")
        density = simulations.density
        rules = settings._rules(density, request)
        rows = max(density.graph.largest_matrix, metric_rows(rules.metric, density.dim))
        self.runs = concurrent_runs(rows, batch=_CHAINS)
        self._compiled = _compile(density.graph, rules, simulations.places)

    @staticmethod
    def obstacle(settings: Method, density: Density) -> str | None:
        """Why these options have no batched form; ``None`` if they have."""
        assert isinstance(settings, NUTS)
        if settings.guide is not None:
            return "a flow is fitted to each first (guide=)"
        if settings.until_ess is not None:
            return "each has a length of its own (until_ess=)"
        return "each starts with Pathfinder" if settings.start == "pathfinder" else None

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Warm up and draw; where a chain got lost, the data set is left to ``ppgen.infer``'s way."""
        density, request = self._simulations.density, self._request
        with float64():
            values = self._simulations.arrays(rows)
            keys = jnp.stack([jax.random.key(seed_of(request, int(row))) for row in rows])
            starts, found = self._starts(values, keys)
            batch = self._compiled.begin(density.inputs, values, starts, jax.vmap(_second)(keys))
            record = self._run(values, batch)
        fits: list[Drawn | PpgenError] = []
        for i, row in enumerate(rows):
            own = Record(*(part[i] for part in record))  # (chain, step, …)
            if not found[i] or _lost(own, request):
                fits += self._serial.fit(np.array([row]))
                continue
            stats = {name: part[:, request.tune :] for name, part in own._asdict().items()}
            positions = stats.pop("position")
            findings = tuple(drifting_sites(density, positions))
            fits.append(Drawn(positions, stats, findings=findings))
        return fits

    def _starts(self, values: Any, keys: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Points ``(row, chain, dim)`` of finite log density, and for which rows there are such."""
        shape = (len(keys), self._request.chains, self._simulations.density.dim)
        points: Any = np.zeros(shape)
        found: Any = np.zeros(shape[:2], bool)
        for attempt in range(_TRIES):
            radius = 2.0 * (1 - attempt / _TRIES)
            points, found = self._compiled.look(
                self._simulations.density.inputs, values, keys, attempt, radius, points, found
            )
            if np.all(found):
                break
        return np.asarray(points), np.all(np.asarray(found), axis=1)

    def _run(self, values: Any, batch: Any) -> Record:
        """All steps of all chains, ``(row, chain, step, …)``."""
        inputs, request, chains, parts = self._simulations.density.inputs, self._request, batch.chains, []
        total = request.tune + request.draws
        for first in range(0, total, CHUNK):
            count = min(CHUNK, total - first)
            stages = np.zeros(CHUNK, int)
            stages[:count] = markov._stages(request.tune, first, count)
            chains, record = self._compiled.advance(
                inputs, values, chains, batch.keys, jnp.asarray(stages), first, count
            )
            parts.append([np.asarray(part)[:, :count].swapaxes(1, 2) for part in record])
        return Record(*(np.concatenate(part, 2) for part in zip(*parts, strict=True)))


def _lost(record: Record, request: Request) -> bool:
    """Whether ``ppgen.infer`` would have started a chain anew during the warm-up."""
    if request.chains == 1:
        return False
    return any(
        judge(Record(*(part[:, :steps] for part in record))).lost.any()
        for steps in looking_points(request.tune)
    )


def _second(key: jax.Array) -> jax.Array:
    return jax.random.fold_in(key, 1)


@lru_cache(maxsize=16)
def _compile(graph: Graph, rules: Rules, places: tuple[int, ...]) -> _Compiled:
    return _Compiled(graph, rules, places)


class _Compiled:
    """Starts, first states and steps of chains ``(row, chain)``; each row reads arrays of its own."""

    def __init__(self, graph: Graph, rules: Rules, places: tuple[int, ...]) -> None:
        loop = compile_loop(graph, rules)

        def state(inputs: Inputs, z: jax.Array) -> Any:
            return blackjax.mcmc.hmc.init(z, lambda z: graph(inputs, z).log_joint)

        def look(
            inputs: Inputs, values: Any, key: jax.Array, attempt: Any, radius: Any, points: Any, found: Any
        ) -> Any:
            key = jax.random.fold_in(jax.random.fold_in(key, 0), attempt)
            fresh = jax.random.uniform(key, points.shape, points.dtype, -radius, radius)
            points = jnp.where(found[:, None], points, fresh)
            begun = jax.vmap(lambda z: state(merge(inputs, places, values), z))(points)
            return points, jnp.isfinite(begun.logdensity) & jnp.isfinite(begun.logdensity_grad).all(1)

        def begin(inputs: Inputs, values: Any, points: jax.Array, key: jax.Array) -> Any:
            return loop.begin_chains(jax.vmap(lambda z: state(merge(inputs, places, values), z))(points), key)

        def advance(inputs: Inputs, values: Any, *rest: Any) -> Any:
            return loop.advance_chains(merge(inputs, places, values), *rest)

        self.look = jit(jax.vmap(look, in_axes=(None, 0, 0, None, None, 0, 0)))
        self.begin = jit(jax.vmap(begin, in_axes=(None, 0, 0, 0)))
        self.advance = jit(jax.vmap(advance, in_axes=(None, 0, 0, 0, None, None, None)))
