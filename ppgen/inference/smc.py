"""Sequential Monte Carlo: particles that are tempered from the prior to the posterior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import rankdata

from ppgen.checks import check_choice, check_integer, check_number
from ppgen.errors import InferenceError, PpgenError
from ppgen.findings import Finding, judge
from ppgen.inference.annealing.bases import BASES, Base, FromPrior, begin_with
from ppgen.inference.annealing.evidence import PathEvidence, combine_evidence, estimate_evidence, explain_gap
from ppgen.inference.annealing.tempering import Path, Tuning
from ppgen.inference.batch import Batch, Batching, draw_or_error, one_by_one
from ppgen.inference.convergence import rhat
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.diagnostics import Diagnostics, scalars_of
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import explain_no_start
from ppgen.inference.resampling import diagnose_resampled
from ppgen.kernels.resampling import systematic_resampling
from ppgen.kernels.weights import log_effective_size
from ppgen.program.density import Density
from ppgen.style.bar import ProgressBar

__all__ = ["SMC", "Rules", "SMCFit", "Stage", "temper"]

_REMEDY = 'Take more particles (particles=4000), more moves (max_moves=100), or method="nuts".'
_FIRST_STEP = 0.6
_LEAST_MOVES = 2
_MOVED = 0.05  # the rank correlation with where they started below which particles have moved
_LARGEST_RHAT = 1.01
_PARTICLES_TOGETHER = 16_000  # of all data sets of a batch


class Stage(NamedTuple):
    """One temperature of every run.

    Attributes:
        beta: ``(run,)``.
        tuning: how the particles moved at the end of it.
        acceptance: ``(run,)``.
        moves: how many moves were made.
        correlation: the largest that was left between where particles began and where they ended.
    """

    beta: np.ndarray
    tuning: Tuning
    acceptance: np.ndarray
    moves: int
    correlation: float


class SMCFit(NamedTuple):
    """The result of the runs.

    Attributes:
        stages: one per temperature.
        evidence: each run's own estimate of it.
        ancestors: ``(run, particle)``, the particle of the start that each descends from.
    """

    stages: tuple[Stage, ...]
    evidence: tuple[PathEvidence, ...]
    ancestors: np.ndarray


class Rules(NamedTuple):
    """How long steps of β are, and how many moves follow each at most; options of :class:`SMC`."""

    target_ess: float
    max_moves: int


@dataclass(frozen=True)
class SMC:
    r"""Options of ``ppgen.infer(..., method="smc")``.

    Particles move from the prior to the posterior through :math:`\pi_\beta \propto q^{1-\beta} \pi^\beta`.
    Each step of β is chosen so that the weights :math:`(\pi/q)^{\Delta\beta}` have an effective sample size
    of ``target_ess`` of the particles; they are resampled, and moved by Hamiltonian Monte Carlo until the
    rank correlation with their starting points is nearly gone. Bennett's acceptance ratio between
    neighbouring temperatures estimates the evidence.

    Every chain is an independent run. Disagreement between runs is reported, and their spread gives the
    standard error of the evidence.

    Attributes:
        particles: of each run; as many as draws when not given.
        start: what the path begins with: ``"prior"``; ``"laplace"`` or ``"pathfinder"``, a heavy-tailed
            density around the mode; ``"auto"`` is the prior if it is proper, else the second.
        target_ess: the effective share of particles after a step of β, between 0 and 1.
        max_moves: the most moves at each β.

    References:
        Del Moral, Doucet and Jasra (2006), doi:10.1111/j.1467-9868.2006.00553.x; Buchholz, Chopin and
        Jacob (2021), arXiv:1808.07730; Bennett (1976), doi:10.1016/0021-9991(76)90078-4.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> import ppgen
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        ...     numpyro.sample("y", dist.Normal(mu**2, 1.0), obs=y)        # two modes
        >>> post = ppgen.infer(program, {"y": 9.0}, method="smc", progress=False)
        >>> print(f"{(post.draws['mu'] > 0).mean():.1f}")
        0.5
    """

    name: ClassVar[str] = "smc"

    particles: int | None = None
    start: Base = "auto"
    target_ess: float = 0.5
    max_moves: int = 30

    def __post_init__(self) -> None:
        if self.particles is not None:
            check_integer("particles", self.particles, least=50, example=1000)
        check_choice("start", self.start, BASES)
        check_number("target_ess", self.target_ess, above=0.0, below=1.0, example=0.5)
        check_integer("max_moves", self.max_moves, least=_LEAST_MOVES, example=30)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Temper the particles of all runs.

        Raises:
            UnsupportedProgram: if the start is the prior, and it is improper.
            DataError: if an observation lies outside the support of its site.
            InferenceError: if no particle of the start has a finite log density.
        """
        runs, size = request.chains, self._size(request)
        begin = begin_with(density, self.start, runs * size, request.seed)
        path = Path(begin.pair, begin.inputs, request.seed, begin.at_once)
        rng = np.random.default_rng(request.seed)
        total = runs * request.draws
        with (
            explain_no_start(density, request.seed),
            ProgressBar("SMC", total, show=request.progress, unit="draws") as bar,
        ):
            population = temper(
                path,
                begin.positions.reshape(runs, size, density.dim),
                Rules(self.target_ess, self.max_moves),
                rng,
                lambda share: bar.advance(round(share * total)),
            )
            positions, lp, families = _collect(path, population, request.draws, self.max_moves, rng)
        drawn = _as_drawn(positions, lp, population)
        return replace(
            drawn,
            ess=_effective_size(np.concatenate([positions, lp[..., None]], 2), families),
            how=f"{begin.how} {drawn.how}".strip(),
        )

    def batching(self, density: Density, request: Request) -> Batching:
        """The populations of many data sets are tempered at once, if they begin with the prior."""
        if self.start not in ("auto", "prior"):
            return one_by_one(f"each path begins at modes of its own (start={self.start!r})")
        if self.particles is not None and request.draws > self.particles:
            return one_by_one("each moves its particles on (draws= above particles=)")
        size = max(1, _PARTICLES_TOGETHER // (self._size(request) * request.chains))
        rows = max(density.graph.largest_matrix, density.dim)
        how = f"{size} data sets at a time, their particles moved side by side."
        return Batching(size, concurrent_runs(rows, batch=32), how)

    def draw_many(self, batch: Batch, requests: Sequence[Request]) -> list[Drawn | PpgenError]:
        """Temper all populations; where prior and data do not meet, each alone says so.

        All share the number of moves at a temperature and of leapfrog steps, which the slowest of them sets.
        """
        runs, size, seed = requests[0].chains, self._size(requests[0]), requests[0].seed
        particles = batch.densities[0].draw_prior(seed, len(requests) * runs * size)
        particles = particles.reshape(len(requests) * runs, size, batch.dim)
        path = Path(FromPrior(batch.graph), batch.inputs, seed, varies=batch.varies)
        if not np.isfinite(path.ends(particles).difference).any(1).all():
            return [draw_or_error(self, *one) for one in zip(batch.densities, requests, strict=True)]
        rng = np.random.default_rng(seed)
        population = temper(path, particles, Rules(self.target_ess, self.max_moves), rng)
        positions, lp, _ = _collect(path, population, requests[0].draws, self.max_moves, rng)
        shares = [slice(i * runs, (i + 1) * runs) for i in range(len(requests))]
        return [_as_drawn(positions[own], lp[own], population.of(own)) for own in shares]

    def _size(self, request: Request) -> int:
        return self.particles or max(request.draws, 50)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Compare the runs with each other."""
        rhats = {
            name: rhat(values) for name, values in scalars_of({**draws, "log density": drawn.stats["lp"]})
        }
        worst = max(rhats, key=lambda name: np.nan_to_num(rhats[name], nan=np.inf))
        findings = (*drawn.findings, _agreement(rhats[worst], worst, *drawn.stats["lp"].shape))
        judged = diagnose_resampled(draws, replace(drawn, findings=findings), _REMEDY)
        acceptance = float(np.mean(drawn.fit.stages[-1].acceptance))
        return replace(judged, rhat_max=rhats[worst], worst=worst, acceptance_rate=acceptance)


# -- the runs ------------------------------------------------------------------------------------------


class _Population(NamedTuple):
    positions: np.ndarray  # (run, particle, dim)
    ancestors: np.ndarray  # (run, particle)
    evidence: tuple[PathEvidence, ...]
    stages: tuple[Stage, ...]

    def of(self, runs: slice) -> _Population:
        """Some of the runs."""
        stages = tuple(
            stage._replace(beta=stage.beta[runs], acceptance=stage.acceptance[runs]) for stage in self.stages
        )
        return _Population(self.positions[runs], self.ancestors[runs], self.evidence[runs], stages)


def temper(
    path: Path,
    positions: np.ndarray,
    rules: Rules,
    rng: np.random.Generator,
    report: Callable[[float], None] = lambda share: None,
) -> _Population:
    """Bring particles ``(run, particle, dim)``, drawn from the start of a path, to its end.

    Args:
        path: the path.
        positions: draws of the density that it begins with.
        rules: how long steps are, and how many moves they are followed by.
        rng: for the resampling.
        report: receives the share of the path just covered.
    """
    runs, size, _ = positions.shape
    positions, beta = positions.copy(), np.zeros(runs)
    ancestors = np.tile(np.arange(size), (runs, 1))
    gains, families = [path.ends(positions).difference], [ancestors]
    increases: list[np.ndarray] = []
    step_size = np.full(runs, _FIRST_STEP)
    stages: list[Stage] = []
    while (beta < 1).any():
        gain, begin = gains[-1], beta.mean()
        _check_alive(gain)
        ancestors, increase = ancestors.copy(), np.zeros(runs)
        for run in np.flatnonzero(beta < 1):
            increase[run] = _next_step(gain[run], 1 - beta[run], rules.target_ess)
            log_weights = _times(increase[run], gain[run])
            chosen = systematic_resampling(np.exp(log_weights - log_weights.max()), size, rng)
            positions[run], ancestors[run] = positions[run, chosen], ancestors[run, chosen]
            beta[run] = 1.0 if increase[run] >= 1 - beta[run] else beta[run] + increase[run]
        tuning = Tuning.learn(positions, step_size)
        positions, gain, stage = _spread_out(path, positions, beta, tuning, rules.max_moves)
        stages.append(stage)
        step_size = stage.tuning.step_size
        gains.append(gain)
        families.append(ancestors)
        increases.append(increase)
        report(beta.mean() - begin)
    evidence = [
        estimate_evidence(*(np.stack(values)[:, run] for values in (gains, increases, families)))
        for run in range(runs)
    ]
    return _Population(positions, ancestors, tuple(evidence), tuple(stages))


def _next_step(gain: np.ndarray, rest: float, target_ess: float) -> float:
    """The increase of β at which the weights leave the wanted share of the particles that can be left."""
    alive = np.count_nonzero(np.isfinite(gain))

    def surplus(log_increase: float) -> float:
        log_weights = _times(math.exp(log_increase), gain)
        return log_effective_size(log_weights) - math.log(target_ess * alive)

    longest = math.log(rest)
    if surplus(longest) >= 0:
        return rest
    return math.exp(brentq(surplus, longest - 700, longest, xtol=1e-6, maxiter=1000))


def _times(increase: float, gain: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(gain), increase * np.where(np.isfinite(gain), gain, 0.0), -np.inf)


def _spread_out(
    path: Path, positions: np.ndarray, beta: np.ndarray, tuning: Tuning, max_moves: int
) -> tuple[np.ndarray, np.ndarray, Stage]:
    """Move all particles until they are nearly uncorrelated with where they started.

    Among what must have been forgotten is log π − log q: particles that lag behind in it bias the
    evidence, though each coordinate may have moved.

    Returns:
        The new positions, log π − log q at them, and what was done.
    """

    def look() -> tuple[np.ndarray, np.ndarray]:
        gain = path.ends(positions).difference
        return gain, _standard_ranks(np.concatenate([positions, gain[..., None]], 2))

    _, start = look()
    noise = 2.5 / math.sqrt(positions[..., 0].size)  # of a zero correlation
    for moves in range(1, max_moves + 1):
        positions, _, acceptance = path.move(positions, beta, tuning)
        gain, ranks = look()
        correlation = float(np.abs((start * ranks).mean((0, 1))).max())
        stage = Stage(beta.copy(), tuning, acceptance, moves, correlation)
        tuning = tuning.after(acceptance)
        if moves >= _LEAST_MOVES and correlation < _MOVED + noise and (acceptance > 0.4).all():
            break
    return positions, gain, stage._replace(tuning=tuning)


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within each run, of mean 0 and variance 1: means of their products are rank correlations."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    return ranks / np.maximum(ranks.std(1, keepdims=True), 1e-9)


def _collect(
    path: Path, population: _Population, draws: int, max_moves: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``draws`` of each run's particles, in random order: some of them, or from further moves."""
    positions, families = population.positions, population.ancestors
    runs, size, _ = positions.shape
    beta, tuning = np.ones(runs), population.stages[-1].tuning
    seen, lps, whose = [positions], [path.ends(positions).target], [families]
    while sum(one.shape[1] for one in seen) < draws:
        positions, _, _ = _spread_out(path, positions, beta, tuning, max_moves)
        seen.append(positions)
        lps.append(path.ends(positions).target)
        whose.append(families)
    chosen = np.stack([rng.permutation(size * len(seen))[:draws] for _ in range(runs)])
    taken = [np.take_along_axis(np.concatenate(values, 1), chosen, 1) for values in (lps, whose)]
    return np.take_along_axis(np.concatenate(seen, 1), chosen[..., None], 1), taken[0], taken[1]


# -- what can be said of them --------------------------------------------------------------------------


def _as_drawn(positions: np.ndarray, lp: np.ndarray, population: _Population) -> Drawn:
    return Drawn(
        positions,
        {"lp": lp},
        log_weights=np.zeros(lp.shape),
        log_evidence=combine_evidence(population.evidence),
        findings=tuple(_findings(population)),
        how=explain_gap(population.evidence),
        fit=SMCFit(population.stages, population.evidence, population.ancestors),
        cites=("smc", "blackjax"),
    )


def _effective_size(values: np.ndarray, families: np.ndarray) -> float:
    r"""How many independent draws the worst of the quantities ``(run, draw, quantity)`` is worth.

    Particles of one ancestor may be alike, so that the variance of the mean is that of sums over
    families, :math:`\sum_k (\sum_{i \in k} (x_i - \bar x))^2 / n^2`, as in Lee and Whiteley (2018,
    arXiv:1509.00394).
    """
    runs, draws, quantities = values.shape
    centred = (values - values.mean((0, 1))).reshape(-1, quantities)
    family = (families + (families.max() + 1) * np.arange(runs)[:, None]).ravel()
    _, family = np.unique(family, return_inverse=True)
    sums = np.zeros((family.max() + 1, quantities))
    np.add.at(sums, family, centred)
    moving = centred.std(0) > 0
    sizes = runs * draws * np.square(centred).sum(0)[moving] / np.square(sums).sum(0)[moving]
    return float(min(sizes.min(initial=np.inf), runs * draws))


def _agreement(largest: float, worst: str, runs: int, draws: int) -> Finding:
    return judge(
        "agreement of the runs",
        # Two halves of a run of few draws differ by chance.
        runs == 1 or largest <= _LARGEST_RHAT + 2 / draws,
        fine=f"The runs agree: R-hat is at most {largest:.3f} ({worst}).",
        what=f"The runs do not agree: R-hat of {worst} is {largest:.2f}.",
        do=_REMEDY,
        evidence={"rhat": largest, "site": worst},
        severity="problem",
    )


def _findings(population: _Population) -> Iterator[Finding]:
    last = population.stages[-1].acceptance
    for run in map(int, np.flatnonzero(last < 0.2)):
        what = f"Run {run} hardly moves at its end: {last[run]:.0%} of its moves are accepted."
        numbers = {"run": run, "acceptance_rate": float(last[run])}
        yield Finding("particles that move", "problem", what, _REMEDY, numbers)
    few = [len(np.unique(ancestors)) for ancestors in population.ancestors]
    if min(few) < 10:
        run = int(np.argmin(few))
        yield Finding(
            "ancestors of the particles",
            "problem",
            f"All particles of run {run} descend from {min(few)} of those it started with: what they say of "
            "the spread is not to be trusted.",
            _REMEDY,
            {"run": run, "ancestors": min(few)},
        )
    logs = [one.value for one in population.evidence]
    if np.ptp(logs) > max(1.0, 8 * math.sqrt(np.mean([one.variance for one in population.evidence]))):
        yield Finding(
            "agreement of the runs",
            "problem",
            f"The runs' estimates of the log evidence differ by up to {np.ptp(logs):.1f} nats.",
            _REMEDY,
            {"nats": float(np.ptp(logs))},
        )


def _check_alive(gain: np.ndarray) -> None:
    dead = ~np.isfinite(gain).any(1)
    if dead.any():
        raise InferenceError(
            "program",
            got=f"no finite log density at any of {gain.shape[1]} draws of what the path begins with",
            expected="a prior under which the data are possible",
            fix='Check the prior and the data; or take start="laplace".',
        )
