"""Annealed importance sampling: independent chains from the prior to the posterior, with weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.inference.annealing.bases import BASES, Base, begin_with
from ppgen.inference.annealing.tempering import Path, Tuning
from ppgen.inference.diagnostics import Diagnostics
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import explain_no_start
from ppgen.inference.resampling import Proposals, diagnose_resampled, draw_from
from ppgen.inference.smc import Rules, Stage, temper
from ppgen.program.density import Density
from ppgen.style.bar import ProgressBar

__all__ = ["AIS", "Schedule", "anneal", "plan"]

_REMEDY = 'Take more temperatures (temperatures=2000), or method="smc" or "nuts".'
_PILOTS = 512
_BATCH = 1024  # chains that are annealed together
_MOST_TEMPERATURES = 2000


class Schedule(NamedTuple):
    """The temperatures of annealing, and how to move at each.

    Attributes:
        beta: ``(temperatures,)``, rising to 1; 0 is left out.
        tuning: of ``(temperatures,)`` step sizes and metrics.
    """

    beta: np.ndarray
    tuning: Tuning

    def at(self, k: int) -> tuple[np.ndarray, Tuning]:
        """β and the tuning of temperature k, for one run."""
        one = slice(k, k + 1)
        return self.beta[one], Tuning(self.tuning.step_size[one], self.tuning.covariance[one])


@dataclass(frozen=True)
class AIS:
    r"""Options of ``ppgen.infer(..., method="ais")``.

    Each chain starts at a draw of the prior q and makes one move of Hamiltonian Monte Carlo at each of
    :math:`0 < \beta_1 < \dots < \beta_K = 1`. Its weight

    .. math:: \log w = \sum_k (\beta_k - \beta_{k-1}) \log \frac{\pi(z_{k-1})}{q(z_{k-1})}

    is valid however few the temperatures are; the mean weight estimates the evidence without bias.
    Temperatures, step sizes and metrics are learnt from a pilot run of sequential Monte Carlo with separate
    particles. The draws are the chains' ends, resampled by their weights.

    Attributes:
        temperatures: K; when not given, enough for weights whose logarithms vary by about 0.5.
        samples: how many chains; by default one per draw.
        start: what the path begins with, as for :class:`~ppgen.inference.smc.SMC`.
        resample: ``False`` returns the ends unchanged, with their weights.

    References:
        Neal (2001), *Annealed importance sampling*, arXiv:physics/9803008.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> import ppgen
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": 2.0}, method="ais", progress=False)
        >>> print(f"{post.log_evidence.value:.1f}")                   # log N(2; 0, sqrt 2) = -2.27
        -2.3
    """

    name: ClassVar[str] = "ais"

    temperatures: int | None = None
    samples: int | None = None
    start: Base = "auto"
    resample: bool = True

    def __post_init__(self) -> None:
        if self.temperatures is not None:
            check_integer("temperatures", self.temperatures, example=500)
        if self.samples is not None:
            check_integer("samples", self.samples, example=4000)
        check_choice("start", self.start, BASES)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Anneal the chains.

        Raises:
            UnsupportedProgram: if the start is the prior, and it is improper.
            InvalidArgument: if there are fewer chains than draws.
            DataError: if an observation lies outside the support of its site.
            InferenceError: if no chain of the pilot has a finite log density.
        """
        size = request.chains * request.draws
        samples = size if self.samples is None else self.samples
        check_integer("samples", samples, least=size)  # one chain a draw
        begin = begin_with(density, self.start, _PILOTS + samples, request.seed)
        path = Path(begin.pair, begin.inputs, request.seed, begin.at_once)
        with ProgressBar("AIS", samples, show=request.progress, unit="draws") as bar:
            with explain_no_start(density, request.seed):
                schedule = plan(path, begin.positions[:_PILOTS], self.temperatures, request.seed)
            parts = []
            for first in range(_PILOTS, _PILOTS + samples, _BATCH):
                batch = begin.positions[first : first + _BATCH]
                parts.append(anneal(path, batch, schedule, bar.advance))
        pool = Proposals(*(np.concatenate(values) for values in zip(*parts, strict=True)))
        drawn = draw_from(pool, request, resample=self.resample, seed=request.seed)
        how = f"{len(schedule.beta)} temperatures. {begin.how}".strip()
        return replace(drawn, how=how, fit=schedule, cites=("ais", "psis", "blackjax"))

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the weights that the draws have, or were resampled by."""
        return diagnose_resampled(draws, drawn, _REMEDY)


def anneal(
    path: Path, positions: np.ndarray, schedule: Schedule, report: Callable[[int], None] = lambda chains: None
) -> Proposals:
    """Move chains from draws ``(chain, dim)`` of the start of a path to its end.

    Args:
        path: between any two densities.
        positions: draws of the first.
        schedule: the temperatures, learnt from other draws than these.
        report: receives the number of chains completed since the last call.
    """
    particles = positions[None]  # one run
    log_weights = np.zeros(len(positions))
    before = 0.0
    for k in range(len(schedule.beta)):
        beta, tuning = schedule.at(k)
        particles, log_ratio, _ = path.move(particles, beta, tuning)
        log_weights += (beta[0] - before) * log_ratio[0]
        before = beta[0]
        done = len(positions) * np.arange(k, k + 2) // len(schedule.beta)
        report(int(done[1] - done[0]))
    return Proposals(particles[0], path.ends(particles).target[0], log_weights)


def plan(path: Path, positions: np.ndarray, temperatures: int | None, seed: int) -> Schedule:
    """Temperatures that are equally far apart, from a pilot run with draws ``(chain, dim)`` of the start.

    A stage of the pilot leaves half of the particles: its log weights vary by log 2. Cut into m parts,
    with particles that forget where they were between two, they vary by log 2 / m.
    """
    pilot = temper(path, positions[None], Rules(target_ess=0.5, max_moves=20), np.random.default_rng(seed))
    stages = pilot.stages
    if temperatures is None:
        parts = math.ceil(2 * math.log(2) * sum(_moves_to_forget(stage) for stage in stages))
        temperatures = min(max(parts * len(stages), 20), _MOST_TEMPERATURES)
    places = np.linspace(0, len(stages), temperatures + 1)[1:]
    beta = np.interp(places, np.arange(len(stages) + 1), [0.0, *(stage.beta[0] for stage in stages)])
    which = np.minimum(np.ceil(places).astype(int) - 1, len(stages) - 1)
    step_size = np.array([stage.tuning.step_size[0] for stage in stages])[which]
    # The chains are others than the pilots, so that both halves may take one metric.
    covariance = np.stack([stage.tuning.covariance[0].mean(0, keepdims=True) for stage in stages])[which]
    return Schedule(np.append(beta[:-1], 1.0), Tuning(step_size, covariance))


def _moves_to_forget(stage: Stage) -> float:
    """The autocorrelation time of a stage's moves, from what was left after them."""
    left = float(np.clip(stage.correlation, 0.02, 0.99)) ** (1 / stage.moves)
    return (1 + left) / (1 - left)
