"""What a calibration found: ranks, tests, and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ppgen.findings import Finding, problems_of
from ppgen.inference import arviz_compat
from ppgen.workflow.calibration.uniformity import holm, p_value

__all__ = ["Calibration", "QuantityTest"]

_MOST_FAILED = 0.05  # of the fits, before that is a problem of the calibration
_SHOWN = 6  # sentences about quantities before the rest is counted
_CLEAR = 2.5  # standard errors from which on a shape is named


class QuantityTest(NamedTuple):
    """Whether the ranks of one quantity are uniform.

    Attributes:
        name: the quantity.
        p_value: exact, of the largest departure of the ECDF at any point.
        adjusted: the same, allowing for all quantities having been tested (Holm).
        shift: the mean rank, as a share of the largest, less a half; positive if truths lie too high.
        shift_interval: 95 % interval of it.
        spread: the variance of the ranks over that of uniform ones; above 1 if truths lie too far out.
        spread_interval: 95 % interval of it.
    """

    name: str
    p_value: float
    adjusted: float
    shift: float
    shift_interval: tuple[float, float]
    spread: float
    spread_interval: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Calibration:
    """The result of :func:`~ppgen.workflow.calibrate`.

    ``print`` gives the verdict in sentences; ``ppgen.plots.ranks`` and ``ppgen.plots.ecdf_difference`` draw.

    Attributes:
        ranks: ``(simulation, quantity)`` from 0 to ``draws``: how many draws lie below the truth; -1 where
            the fit gave no draws.
        names: of the quantities: entries of sites, and ``"log likelihood"``.
        draws: how many draws each truth is ranked among.
        alpha: the probability of a false alarm, all quantities together.
        method: of the fits.
        around_data: whether truths came from a posterior, not from the prior.
        how: how the fits were made, as a sentence.
        batched: whether many data sets were fitted at once.
        fit_findings: for each simulation, what the fit's own diagnostics found wrong.
        truths: each site's true values ``(simulation, *event)``.
        data: the simulated arguments of the program, ``(simulation, *shape)``.
        seed: of everything.
        seconds: all in all, compilation included.
    """

    ranks: np.ndarray
    names: tuple[str, ...]
    draws: int
    alpha: float
    method: str
    around_data: bool
    how: str
    batched: bool
    fit_findings: tuple[tuple[Finding, ...], ...]
    truths: Mapping[str, np.ndarray]
    data: Mapping[str, np.ndarray]
    seed: int
    seconds: float

    @property
    def simulations(self) -> int:
        """How many truths there were."""
        return len(self.ranks)

    @property
    def failed(self) -> int:
        """How many fits did not pass their own diagnostics, those without draws included."""
        return sum(bool(findings) for findings in self.fit_findings)

    @property
    def fit_problems(self) -> tuple[tuple[str, ...], ...]:
        """:attr:`fit_findings` as sentences."""
        return tuple(problems_of(findings) for findings in self.fit_findings)

    @property
    def without_draws(self) -> int:
        """How many fits ended in an error; their truths have no ranks."""
        return int((self.ranks < 0).any(1).sum())

    @cached_property
    def tests(self) -> tuple[QuantityTest, ...]:
        """One for each quantity, over the simulations that have ranks."""
        ranked = self.ranks[(self.ranks >= 0).all(1)]
        if not len(ranked):
            return ()
        raw = np.array([p_value(ranks, self.draws) for ranks in ranked.T])
        return tuple(
            _test(name, ranks, self.draws, float(p), float(adjusted))
            for name, ranks, p, adjusted in zip(self.names, ranked.T, raw, holm(raw), strict=True)
        )

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, each a sentence; empty if nothing is."""
        return problems_of(self.findings)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found in the ranks and in the diagnostics of the fits."""
        return (*self._rank_findings(), *self._fit_findings())

    def _rank_findings(self) -> Iterator[Finding]:
        wrong = sorted(
            (test for test in self.tests if test.adjusted <= self.alpha), key=lambda test: test.p_value
        )
        topic = "uniform ranks"
        for test in wrong[:_SHOWN]:
            what = f"{_describe(test)} (p = {test.adjusted:.2g}, allowing for {len(self.names)} quantities)."
            yield Finding(topic, "problem", what, evidence={"quantity": test.name, "p_value": test.adjusted})
        if len(wrong) > _SHOWN:
            what = f"The ranks of {len(wrong) - _SHOWN} more quantities are not uniform: see .tests."
            yield Finding(topic, "problem", what)

    def _fit_findings(self) -> Iterator[Finding]:
        if self.without_draws:
            what = (
                f"{self.without_draws} of {self.simulations} fits ended in an error and have no ranks, so "
                f"that the others may be a choice of easy data: {self._example(errors=True)}"
            )
            yield Finding("fits without draws", "problem", what, evidence={"fits": self.without_draws})
        failed = self.failed - self.without_draws
        if failed:
            what = (
                f"{failed} of {self.simulations} fits gave draws that did not pass their own diagnostics; "
                f"they are counted in. {self._example(errors=False)}"
            )
            many = failed > _MOST_FAILED * self.simulations
            yield Finding("fits of doubt", "problem" if many else "ok", what, evidence={"fits": failed})

    def _example(self, *, errors: bool) -> str:
        missing = np.any(self.ranks < 0, axis=1)
        which = next(i for i, found in enumerate(self.fit_findings) if found and missing[i] == errors)
        return f"The first, simulation {which}: {self.fit_findings[which][0]}"

    @property
    def reading(self) -> str:
        """The verdict in one sentence."""
        truths = "draws of the posterior" if self.around_data else "draws of the prior"
        what = f"{self.simulations} simulations with {truths} as truths, fitted by {self.method}"
        if self.ok:
            smallest = min(test.adjusted for test in self.tests)
            return (
                f"No miscalibration found in {what}: the ranks of all {len(self.names)} quantities are "
                f"compatible with uniform ones (smallest p = {smallest:.2g})."
            )
        count = len(self.problems)
        return f"Something is wrong in {what}: {count} {'problem' if count == 1 else 'problems'}."

    def __str__(self) -> str:
        lines = (f"- {finding}" for finding in self.findings)
        return "\n".join([self.reading, *lines, f"{self.how} {self.seconds:.1f} s."])

    def __repr__(self) -> str:
        state = "ok" if self.ok else f"{len(self.problems)} problems"
        return (
            f"Calibration({self.method}, {self.simulations} simulations, {len(self.names)} quantities, "
            f"ranks among {self.draws} draws; {state})"
        )

    def to_json(self) -> dict[str, Any]:
        """The verdict and the tests as plain numbers and text."""
        return {
            "method": self.method,
            "simulations": self.simulations,
            "draws": self.draws,
            "alpha": self.alpha,
            "ok": self.ok,
            "reading": self.reading,
            "problems": list(self.problems),
            "failed": self.failed,
            "without_draws": self.without_draws,
            "how": self.how,
            "seed": self.seed,
            "seconds": self.seconds,
            "tests": [test._asdict() for test in self.tests],
        }

    def to_arviz(self) -> Any:
        """Truths, simulated data and ranks as ArviZ data, one draw a simulation.

        The groups are ``prior`` (the truths), ``prior_predictive`` (the data that were fitted) and
        ``sample_stats_prior``, which has the rank of each quantity as a share of ``draws``. For truths from a
        posterior the names are the same.
        """
        share = np.where(self.ranks < 0, np.nan, self.ranks / self.draws)
        groups = {
            "prior": {name: values[None] for name, values in self.truths.items()},
            "prior_predictive": {name: values[None] for name, values in self.data.items()},
            "sample_stats_prior": {f"rank {name}": share[None, :, i] for i, name in enumerate(self.names)},
        }
        return arviz_compat.make_arviz(groups, coords=None, dims=None)


def _test(name: str, ranks: np.ndarray, draws: int, p: float, adjusted: float) -> QuantityTest:
    share, n = ranks / draws, len(ranks)
    # Moments of a discrete uniform variable on 0, 1/L, …, 1 about its middle.
    values = np.linspace(-0.5, 0.5, draws + 1)
    variance, fourth = float(np.mean(values**2)), float(np.mean(values**4))
    shift = float(share.mean() - 0.5)
    spread = float(np.mean(np.square(share - 0.5)) / variance)
    shift_error = math.sqrt(variance / n)
    spread_error = math.sqrt((fourth / variance**2 - 1) / n)
    return QuantityTest(
        name,
        p,
        adjusted,
        shift,
        (shift - 1.96 * shift_error, shift + 1.96 * shift_error),
        spread,
        (spread - 1.96 * spread_error, spread + 1.96 * spread_error),
    )


def _describe(test: QuantityTest) -> str:
    """What the shape of the ranks says of the posterior."""
    shift_error = (test.shift_interval[1] - test.shift) / 1.96
    spread_error = (test.spread_interval[1] - test.spread) / 1.96
    words = []
    if test.spread - 1 > _CLEAR * spread_error:
        words.append("is too narrow: too many truths lie at both ends of the draws")
    elif 1 - test.spread > _CLEAR * spread_error:
        words.append("is too wide: too many truths lie in the middle of the draws")
    if abs(test.shift) > _CLEAR * shift_error:
        side = ("downwards", "above") if test.shift > 0 else ("upwards", "below")
        words.append(f"is biased {side[0]}: too many truths lie {side[1]} most draws")
    if not words:
        words.append("is wrong in shape: the ranks are not uniform, though neither shifted nor spread")
    # A truth at one end alone shows as both; the larger departure is said first.
    if len(words) == 2 and abs(test.shift) / shift_error > abs(test.spread - 1) / spread_error:
        words.reverse()
    return f"The posterior of {test.name} {', and '.join(words)}"
