"""Fits all simulations, and ranks each truth among the draws of its own fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np

from ppgen.errors import PpgenError
from ppgen.findings import Finding
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.pointwise import constrain_draws, pointwise
from ppgen.program.sites import Site
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


class _Fit(NamedTuple):
    """Of one simulation: the true quantities, those of the draws that count, and what was found wrong."""

    truth: np.ndarray  # (quantity,)
    draws: np.ndarray | None  # (draw, quantity)
    findings: tuple[Finding, ...]


def rank_truths(
    simulations: Simulations, fitter: Fitter, method: Method, request: Request, draws: int, thin: int
) -> Ranked:
    """Fit every data set, batch by batch, and rank.

    Args:
        simulations: truths and data.
        fitter: fits a batch of data sets.
        method: the method, which judges its own draws.
        request: what each fit was asked for.
        draws: how many of each fit's draws count.
        thin: of each chain every so many counts.
    """
    judge = _Judge(simulations, method, request, draws, thin)
    truths = judge.true_sites()
    columns = _Columns.of(simulations, truths)
    rng = np.random.default_rng([request.seed, 3])
    ties = rng.uniform(size=(len(simulations), len(columns.names)))
    ranks = np.full(ties.shape, -1)
    findings: list[tuple[Finding, ...]] = [()] * len(simulations)

    size = fitter.batching.size

    def fit(rows: np.ndarray) -> tuple[np.ndarray, list[_Fit]]:
        # The last batch is filled up, so that all have the shape that was compiled.
        filled = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows))])
        return rows, judge.look(filled, fitter.fit(filled)[: len(rows)], columns)

    batches = [
        np.arange(first, min(first + size, len(simulations))) for first in range(0, len(simulations), size)
    ]
    title = f"SBC of {method.name}, {len(simulations)} fits"
    with ProgressBar(title, len(simulations) * draws, show=request.progress, unit="draws") as bar:
        for rows, fits in _run(fit, batches, fitter.batching.at_once):
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
    function: Callable[[np.ndarray], tuple[np.ndarray, list[_Fit]]], batches: list[np.ndarray], runs: int
) -> Iterator[tuple[np.ndarray, list[_Fit]]]:
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

    def __init__(
        self, simulations: Simulations, method: Method, request: Request, draws: int, thin: int
    ) -> None:
        self._simulations = simulations
        self._method = method
        self._request = request
        self._draws = draws
        self._thin = thin
        self._names = _ranked_sites(simulations.density.sites)

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

    def look(self, rows: np.ndarray, fits: list[Drawn | PpgenError], columns: _Columns) -> list[_Fit]:
        """Judge fits to the data of ``rows``, which may be fewer than rows."""
        shape = (self._request.chains, self._request.draws, self._simulations.density.dim)
        positions = np.zeros((len(rows), 1 + shape[0] * shape[1], shape[2]))
        positions[:, 0] = self._simulations.truths[rows]
        for i, fit in enumerate(fits):
            # An error leaves the truth in the place of draws; they are looked at by nobody.
            positions[i, 1:] = self._simulations.truths[rows[i]]
            if isinstance(fit, Drawn):
                positions[i, 1:] = fit.positions.reshape(-1, shape[2])
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
    ) -> _Fit:
        values = columns.take(sites, likelihood)
        if not isinstance(fit, Drawn):
            return _Fit(values[0], None, (Finding("errors", "problem", str(fit)),))
        shape = (self._request.chains, self._request.draws)
        latent = {
            part.name: sites[part.name][1:].reshape(*shape, *sites[part.name].shape[1:])
            for part in self._simulations.density.latents
        }
        chains = values[1:].reshape(*shape, -1)[:, self._thin - 1 :: self._thin]  # (chain, draw, quantity)
        kept = chains.swapaxes(0, 1).reshape(-1, chains.shape[2])[: self._draws]
        found = tuple(self._findings(values[1:].reshape(*shape, -1), latent, fit, columns.names))
        if not np.isfinite(kept).all():
            found += (Finding("finite draws", "problem", "Some draws have values that are not finite."),)
        return _Fit(values[0], kept, tuple(finding for finding in found if finding.severity != "ok"))

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


def _ranked_sites(sites: Iterable[Site]) -> list[str]:
    return [site.name for site in sites if site.role in ("latent", "deterministic")]
