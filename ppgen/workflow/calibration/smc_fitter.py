"""Sequential Monte Carlo on many data sets: their populations are tempered side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from inspect import unwrap
from typing import Any, ClassVar

import jax
import numpy as np

from ppgen.errors import PpgenError
from ppgen.findings import Finding
from ppgen.inference.annealing.tempering import Path
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.smc import SMC, Rules, temper
from ppgen.program.density import Density
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.workflow.calibration.fitter import seed_of
from ppgen.workflow.calibration.serial_fitter import SerialFitter
from ppgen.workflow.calibration.simulations import Simulations, merge

__all__ = ["SMCFitter"]

_PARTICLES = 16_000  # of all data sets of a batch
_FEWEST_MOVES = 0.2  # accepted at the end, as a share
_FEWEST_ANCESTORS = 10


class SMCFitter:
    """Fits a batch of data sets at once: :class:`~ppgen.workflow.calibration.fitter.Fitter`.

    Each run reads the data of its own simulation; all share the number of moves at a temperature and of
    leapfrog steps, which the slowest of them sets.
    """

    method: ClassVar[str] = "smc"

    def __init__(self, simulations: Simulations, settings: Method, request: Request) -> None:
        assert isinstance(settings, SMC)
        rows = max(simulations.density.graph.largest_matrix, simulations.density.dim)
        self.runs = concurrent_runs(rows, batch=32)
        self._simulations = simulations
        self._settings = settings
        self._request = request
        self._particles = settings.particles or max(request.draws, 50)
        self._serial = SerialFitter(simulations, settings, request, "")
        self.size = max(1, _PARTICLES // (self._particles * request.chains))
        self.how = f"{self.size} data sets at a time, their particles moved side by side."

    @staticmethod
    def obstacle(settings: Method, density: Density) -> str | None:
        """Why these options have no batched form; ``None`` if they have."""
        assert isinstance(settings, SMC)
        if settings.start not in ("auto", "prior"):
            return f"each path begins at modes of its own (start={settings.start!r})"
        return None

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Temper all populations; where prior and data do not meet, each alone says so."""
        density, request, chains = self._simulations.density, self._request, self._request.chains
        if request.draws > self._particles:
            return self._serial.fit(rows)
        seeds = [seed_of(request, int(row)) for row in rows]
        count = len(rows) * chains * self._particles
        particles = density.draw_prior(seeds[0], count).reshape(len(rows) * chains, -1, density.dim)
        path = _Paths(self._simulations, rows, seeds[0])
        rng = np.random.default_rng(seeds[0])
        if not np.isfinite(path.ends(particles).difference).any(1).all():
            return self._serial.fit(rows)
        done = temper(path, particles, Rules(self._settings.target_ess, self._settings.max_moves), rng)
        log_density = path.ends(done.positions).target
        accepted = done.stages[-1].acceptance
        fits: list[Drawn | PpgenError] = []
        for i in range(len(rows)):
            runs = slice(i * chains, (i + 1) * chains)
            # In random order: neighbours are copies of one particle of the last resampling.
            chosen = np.stack([rng.permutation(self._particles)[: request.draws] for _ in range(chains)])
            positions = np.take_along_axis(done.positions[runs], chosen[..., None], 1)
            lp = np.take_along_axis(log_density[runs], chosen, 1)
            findings = tuple(_findings(accepted[runs], done.ancestors[runs]))
            fits.append(
                Drawn(
                    positions, {"lp": lp}, np.zeros(lp.shape), findings=findings, fit=_LastStage(done, runs)
                )
            )
        return fits


def _findings(accepted: np.ndarray, ancestors: np.ndarray) -> Iterator[Finding]:
    least = float(accepted.min())
    if least < _FEWEST_MOVES:
        what = f"Particles hardly move at the end: {least:.0%} of their moves are accepted."
        yield Finding("particles that move", "problem", what, evidence={"acceptance_rate": least})
    fewest = min(len(np.unique(own)) for own in ancestors)
    if fewest < _FEWEST_ANCESTORS:
        what = f"All particles of a run descend from {fewest} of those it started with."
        yield Finding("ancestors of the particles", "problem", what, evidence={"ancestors": fewest})


class _LastStage:
    """What the method's own diagnosis looks at: the end of the runs of one data set."""

    def __init__(self, population: Any, runs: slice) -> None:
        last = population.stages[-1]
        self.stages = (last._replace(acceptance=last.acceptance[runs]),)


class _Paths(Path):
    """The path of :func:`~ppgen.inference.smc.temper`, of which each run has inputs of its own."""

    def __init__(self, simulations: Simulations, rows: np.ndarray, seed: int) -> None:
        super().__init__(_FromPrior(simulations.density.graph, simulations.places), None, seed)
        self._inputs = (simulations.density.inputs, simulations.arrays(rows))
        self._evaluate, self._move = _compile(self._evaluate, self._move, len(rows))


@dataclass(frozen=True)
class _FromPrior:
    """From the prior to the posterior of one data set."""

    graph: Graph
    places: tuple[int, ...]

    def __call__(self, inputs: tuple[Inputs, Any], z: jax.Array) -> tuple[jax.Array, jax.Array]:
        shared, values = inputs
        point = self.graph(merge(shared, self.places, values), z)
        return point.log_base, point.log_joint


@lru_cache(maxsize=16)
def _compile(evaluate: Callable[..., Any], move: Callable[..., Any], count: int) -> tuple[Any, Any]:
    """Both functions of blocks of particles, for ``count`` data sets that have equally many blocks each."""

    def divide(blocks: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), blocks)

    def join(blocks: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), blocks)

    own = (None, 0)  # the data are each one's, all else is shared
    evaluate_all = jax.vmap(unwrap(evaluate), in_axes=(own, 0))
    move_all = jax.vmap(unwrap(move), in_axes=(own, 0, None))
    return (
        jit(lambda inputs, blocks: join(evaluate_all(inputs, divide(blocks)))),
        jit(lambda inputs, blocks, leapfrogs: join(move_all(inputs, divide(blocks), leapfrogs))),
    )
