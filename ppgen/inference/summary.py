"""The summary table of a posterior: means, intervals, Monte Carlo errors and diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.inference import convergence
from ppgen.style.entries import entries_of

__all__ = ["named_entries", "summarise"]

_DECIMALS = 3


def summarise(
    draws: Mapping[str, np.ndarray], coords: Mapping[str, Sequence[Any]], dims: Mapping[str, Sequence[str]]
) -> Any:
    """A pandas table with one row per number, in the columns of ArviZ's summary.

    Args:
        draws: ``(chain, draw, *event)`` by site.
        coords, dims: names of the entries, as ArviZ takes them.

    Example:
        >>> draws = {"theta": np.random.default_rng(0).normal(size=(4, 500, 2))}
        >>> table = summarise(draws, coords={"school": ["A", "B"]}, dims={"theta": ["school"]})
        >>> list(table.index), list(table.columns)[:4]
        (['theta[A]', 'theta[B]'], ['mean', 'sd', 'hdi_3%', 'hdi_97%'])
    """
    import pandas as pd

    rows = {name: _row(values) for name, values in named_entries(draws, coords, dims)}
    table = pd.DataFrame.from_dict(rows, orient="index").round(_DECIMALS)
    return table.astype(
        {column: int for column in ("ess_bulk", "ess_tail") if np.isfinite(table[column]).all()}
    )


def named_entries(
    draws: Mapping[str, np.ndarray], coords: Mapping[str, Sequence[Any]], dims: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Each number of each site ``(chain, draw)``, under the names of the site and of the entry.

    Example:
        >>> draws = {"theta": np.zeros((4, 500, 2))}
        >>> [name for name, _ in named_entries(draws, {"school": ["A", "B"]}, {"theta": ["school"]})]
        ['theta[A]', 'theta[B]']
    """
    for site, array in draws.items():
        for index, name in entries_of(site, array.shape[2:], coords, dims.get(site, ())):
            yield name, array[(slice(None), slice(None), *index)]


def _row(values: np.ndarray) -> dict[str, float]:
    low, high = convergence.shortest_interval(values)
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "hdi_3%": low,
        "hdi_97%": high,
        "mcse_mean": convergence.mcse_mean(values),
        "mcse_sd": convergence.mcse_sd(values),
        "ess_bulk": convergence.ess_bulk(values),
        "ess_tail": convergence.ess_tail(values),
        "r_hat": convergence.rhat(values),
    }
