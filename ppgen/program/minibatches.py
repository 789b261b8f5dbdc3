"""A program's density on minibatches: read alongside that of all rows, and compared with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.errors import UnsupportedProgram
from ppgen.program.density import Density, Evaluation
from ppgen.program.sites import Site
from ppgen.program.subsampling import Minibatches, MinibatchGraph, Subsampled, first_rows

__all__ = ["read_minibatches"]

_TOLERANCE = 1e-6  # of log densities, relative to the largest


def read_minibatches(
    whole: Density, plates: Sequence[Subsampled], read: Callable[[Mapping[str, Any]], Density]
) -> Minibatches:
    """Read a program's density on minibatches.

    Args:
        whole: its density on all rows.
        plates: the plates that subsample.
        read: gives the program's density on data that say which rows it reads.

    Raises:
        UnsupportedProgram: if a latent site lies inside a plate that subsamples; if what the program says of
            a row depends on the other rows of the minibatch; or if Python needs the numbers of the rows.
    """
    _check_global(whole, plates)
    rows = first_rows(plates)
    density = read({**whole.data, **rows})
    if len(density.inputs.arrays) < len(rows):
        raise UnsupportedProgram(
            f"plate {plates[0].name!r}",
            got="data whose numbers Python needs, which are part of the recorded program",
            expected="rows of plates and data in array operations only, where the rows change at every step",
            fix="Give such numbers as Python integers, or leave out subsample_size=.",
        )
    minibatches = Minibatches(MinibatchGraph(density.graph, tuple(plates)), density.inputs)
    _check_rows(whole, minibatches)
    return minibatches


def _check_global(whole: Density, plates: Sequence[Subsampled]) -> None:
    names = {plate.name for plate in plates}
    continuous = {latent.name for latent in whole.latents}
    for site in whole.sites:
        inside = [plate.name for plate in site.plates if plate.name in names]
        if inside and site.name in continuous:
            raise UnsupportedProgram(
                f"site {site.name!r}",
                got=f"a latent site inside of plate {inside[0]!r}, which subsamples: one for each row",
                expected="latent sites outside of it: a step would leave out those of most rows",
                fix="Fit an amortised guide with ppgen.train, leave out subsample_size=, or take "
                "method='nuts', which reads all rows.",
            )


def _check_rows(whole: Density, minibatches: Minibatches) -> None:
    """Hold what the program says of rows in a minibatch against what it says of them among all rows."""
    rng = np.random.default_rng(0)
    rows = {
        plate.name: rng.choice(plate.size, plate.rows, replace=False).astype(float)
        for plate in minibatches.plates
    }
    z = 0.1 * np.cos(np.arange(whole.dim))
    everything = whole.evaluate(z)
    with_rows = minibatches.evaluate(rows, z)
    by_name = {site.name: site for site in whole.sites}
    likelihood = 0.0
    for name, of_all in everything.log_likelihood.items():
        if name not in by_name:  # discrete latents tie several sites together
            return
        expected, scale = _at_rows(np.asarray(of_all), by_name[name], rows)
        found = np.asarray(with_rows.log_likelihood[name])
        if found.shape != expected.shape or not _close(found, expected):
            raise UnsupportedProgram(
                f"site {name!r}",
                got="a log density of rows in a minibatch that is not theirs among all rows",
                expected="rows that are independent given the latent sites, and data indexed by the plate",
                fix="Write y[rows] or subsample(y, event_dim=0) for all data of the plate, and compute means "
                "and the like of all rows before the program, or outside of the plate.",
            )
        likelihood += scale * expected.sum()
    _check_total(everything, with_rows, likelihood)


def _check_total(everything: Evaluation, with_rows: Evaluation, likelihood: float) -> None:
    """Nothing else may change with the rows; with factors and scales of the user's it cannot be told."""
    plain = np.asarray(everything.log_base) + sum(
        np.asarray(value).sum() for value in everything.log_likelihood.values()
    )
    if not _close(everything.log_joint, plain):
        return
    expected = float(everything.log_base) + likelihood
    if not _close(with_rows.log_joint, expected):
        raise UnsupportedProgram(
            "program",
            got=f"a log density of {float(with_rows.log_joint):.6g} on a minibatch that is {expected:.6g} by "
            "its rows",
            expected="priors that do not depend on the minibatch",
            fix="Compute what depends on the data from all rows, before the plate, or leave out "
            "subsample_size=.",
        )


def _at_rows(log_prob: np.ndarray, site: Site, rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """The entries of these rows, and how much each counts for."""
    scale = 1.0
    for plate in site.plates:
        axis = log_prob.ndim + plate.dim
        if plate.name in rows and axis >= 0 and log_prob.shape[axis] == plate.size:
            chosen = rows[plate.name].astype(int)
            log_prob, scale = np.take(log_prob, chosen, axis), scale * plate.size / len(chosen)
    return log_prob, scale


def _close(found: Any, expected: Any) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max(initial=1.0))
    return bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE * largest, equal_nan=True))
