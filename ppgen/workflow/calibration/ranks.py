"""Fits all simulations, and ranks each truth among the draws of its own fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np

from ppgen.errors import PpgenError
from ppgen.findings import Finding
from ppgen.inference.method import Drawn
from ppgen.inference.pointwise import constrain_draws, flatten_draws, pointwise, unflatten_draws
from ppgen.style.bar import ProgressBar
from ppgen.workflow.calibration.chain_check import check_chains
from ppgen.workflow.calibration.fits import Fitter
from ppgen.workflow.calibration.simulations import Simulations, evaluate_together

__all__ = ["LOG_LIKELIHOOD", "Ranked", "rank_truths"]

LOG_LIKELIHOOD = "log likelihood"
"""The name of the quantity that depends on the data: the joint log likelihood (arXiv:2211.02383)."""


class Ranked(NamedTuple):
    """The ranks of all truths.

    Attributes:
        names: of the quantities.
        ranks: ``(simulation, quantity)``, how many of the draws lie below the truth; -1 without a fit.
        truths: each site's true values ``(simulation, *event)``.
        findings: for each simulation, what the fit's own diagnostics found wrong, or the error it ended in.
    """

    names: tuple[str, ...]
    ranks: np.ndarray
    truths: Mapping[str, np.ndarray]
    findings: tuple[tuple[Finding, ...], ...]


class _Fitted(NamedTuple):
    """Of one simulation: the true quantities, those of the draws that count, and what was found wrong."""

    truth: np.ndarray  # (quantity,)
    draws: np.ndarray | None  # (draw, quantity)
    findings: tuple[Finding, ...]


def rank_truths(fitter: Fitter, draws: int, thin: int) -> Ranked:
    """Fit every data set, batch by batch, and rank.

    Args:
        fitter: fits the data sets of some simulations.
        draws: how many of each fit's draws count.
        thin: of each chain every so many counts.
    """
    judge = _Judge(fitter, draws, thin)
    simulations, batching = fitter.simulations, fitter.batching
    truths = judge.true_sites()
    columns = _Columns.of(simulations, truths)
    rng = np.random.default_rng([fitter.request.seed, 3])
    ties = rng.uniform(size=(len(simulations), len(columns.names)))
    ranks = np.full(ties.shape, -1)
    findings: list[tuple[Finding, ...]] = [()] * len(simulations)

    def fit(rows: np.ndarray) -> tuple[np.ndarray, list[_Fitted]]:
        return rows, judge.look(rows, fitter.fit(rows), columns)

    everything = np.arange(len(simulations))
    batches = np.split(everything, everything[batching.size :: batching.size])
    title = f"SBC of {fitter.method.name}, {len(simulations)} fits"
    with ProgressBar(title, len(simulations) * draws, show=fitter.request.progress, unit="draws") as bar:
        for rows, fits in _run(fit, batches, batching.at_once):
            for row, one in zip(rows, fits, strict=True):
                findings[row] = one.findings
                if one.draws is not None:
                    ranks[row] = _rank(one.truth, one.draws, ties[row])
            bar.advance(len(rows) * draws)
    return Ranked(columns.names, ranks, truths, tuple(findings))


def _rank(truth: np.ndarray, draws: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """How many draws lie below; of those that are equal, a random number is counted (arXiv:2211.02383)."""
    below, equal = (draws < truth).sum(0), (draws == truth).sum(0)
    return below + np.floor(ties * (equal + 1)).astype(int)


def _run(
    function: Callable[[np.ndarray], tuple[np.ndarray, list[_Fitted]]], batches: list[np.ndarray], runs: int
) -> Iterator[tuple[np.ndarray, list[_Fitted]]]:
    """Results in order of arrival; the first batch alone, or every thread would compile the same."""
    yield function(batches[0])
    if runs == 1:
        yield from map(function, batches[1:])
        return
    with ThreadPoolExecutor(runs) as pool:
        waiting: set[Future] = {pool.submit(function, rows) for rows in batches[1:]}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


class _Columns(NamedTuple):
    """Which entries of which sites are ranked.

    Attributes:
        names: of the quantities: ``theta[0]``, …, and the log likelihood last.
        kept: by site, which of its flattened entries vary.
    """

    names: tuple[str, ...]
    kept: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, simulations: Simulations, truths: Mapping[str, np.ndarray]) -> _Columns:
        kept, names = {}, []
        for name, values in truths.items():
            flat = values.reshape(len(values), -1)
            kept[name] = np.flatnonzero((np.ptp(flat, axis=0) > 0) | (len(flat) < 2))
            for entry in kept[name]:
                index = np.unravel_index(entry, values.shape[1:])
                names.append(f"{name}[{', '.join(map(str, index))}]" if values.ndim > 1 else name)
        return cls((*names, LOG_LIKELIHOOD), kept)

    def take(self, sites: Mapping[str, np.ndarray], log_likelihood: np.ndarray) -> np.ndarray:
        """``(draw, quantity)`` of sites ``(draw, *event)`` and the log likelihood ``(draw,)``."""
        parts = [sites[name].reshape(len(log_likelihood), -1)[:, kept] for name, kept in self.kept.items()]
        return np.concatenate([*parts, log_likelihood[:, None]], 1)


class _Judge:
    """What each fit's draws say of the sites, of the truth, and of themselves."""

    def __init__(self, fitter: Fitter, draws: int, thin: int) -> None:
        self._simulations = fitter.simulations
        self._method = fitter.method
        self._shape = (fitter.request.chains, fitter.request.draws)
        self._size = fitter.batching.size
        self._draws = draws
        self._thin = thin
        sites = self._simulations.density.sites
        self._names = [site.name for site in sites if site.role in ("latent", "deterministic")]

    def true_sites(self) -> dict[str, np.ndarray]:
        """Each ranked site's true values ``(simulation, *event)``."""
        everything = np.arange(len(self._simulations))
        if self._simulations.batched:
            sites, _ = self._evaluate(everything, self._simulations.truths[:, None])
            return {name: sites[name][:, 0] for name in self._names if name in sites}
        each = [self._evaluate_one(int(row), self._simulations.truths[row][None]) for row in everything]
        return {
            name: np.stack([sites[name][0] for sites, _ in each])
            for name in self._names
            if name in each[0][0]
        }

    def look(self, rows: np.ndarray, fits: list[Drawn | PpgenError], columns: _Columns) -> list[_Fitted]:
        """Judge the fits to the data of ``rows``."""
        rows = np.concatenate([rows, np.repeat(rows[-1:], self._size - len(rows))])  # as they were compiled
        truths = self._simulations.truths[rows][:, None]
        positions = np.repeat(truths, 1 + int(np.prod(self._shape)), axis=1)  # (row, 1 + draw, dim)
        for place, fit in zip(positions, fits, strict=False):
            if isinstance(fit, Drawn):  # an error leaves the truth in the place of draws, for nobody to see
                place[1:] = flatten_draws(fit.positions)
        sites, likelihood = self._evaluate(rows, positions)
        return [
            self._look_at(fit, {name: values[i] for name, values in sites.items()}, likelihood[i], columns)
            for i, fit in enumerate(fits)
        ]

    def _look_at(
        self,
        fit: Drawn | PpgenError,
        sites: Mapping[str, np.ndarray],
        likelihood: np.ndarray,
        columns: _Columns,
    ) -> _Fitted:
        values = columns.take(sites, likelihood)
        if not isinstance(fit, Drawn):
            return _Fitted(values[0], None, (Finding("errors", "problem", str(fit)),))
        latents = self._simulations.density.latents
        latent = {part.name: unflatten_draws(sites[part.name][1:], self._shape) for part in latents}
        draws = unflatten_draws(values[1:], self._shape)  # (chain, draw, quantity)
        kept = flatten_draws(draws[:, self._thin - 1 :: self._thin].swapaxes(0, 1))[: self._draws]
        found = tuple(self._findings(draws, latent, fit, columns.names))
        if not np.isfinite(kept).all():
            found += (Finding("finite draws", "problem", "Some draws have values that are not finite."),)
        return _Fitted(values[0], kept, tuple(finding for finding in found if finding.severity != "ok"))

    def _findings(
        self, values: np.ndarray, latent: Mapping[str, np.ndarray], fit: Drawn, names: tuple[str, ...]
    ) -> Iterable[Finding]:
        if fit.log_weights is None:  # Markov chains
            return (*fit.findings, *check_chains(values, fit.stats, names=names, wanted=self._draws))
        return (fit.by or self._method).diagnose(latent, fit).findings

    def _evaluate(self, rows: np.ndarray, positions: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Sites and log likelihood at ``positions (row, draw, dim)``."""
        simulations = self._simulations
        if simulations.batched:
            return evaluate_together(simulations.batch(rows), positions)
        each = [self._evaluate_one(int(row), z) for row, z in zip(rows, positions, strict=True)]
        sites = {name: np.stack([found[name] for found, _ in each]) for name in each[0][0]}
        return sites, np.stack([likelihood for _, likelihood in each])

    def _evaluate_one(self, row: int, z: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        density = self._simulations.density_of(row)
        sites = {name: value[0] for name, value in constrain_draws(density, z[None]).items()}
        likelihood, _, _ = pointwise(density, z[None])
        total = sum(value[0].reshape(len(z), -1).sum(1) for value in likelihood.values())
        return sites, np.asarray(total)
