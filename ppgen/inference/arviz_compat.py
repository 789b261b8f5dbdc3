"""Compatibility with both major versions of ArviZ, in one place.

ArviZ 0.x keeps its groups in an ``InferenceData`` and takes them as keywords; 1.x keeps them in an
xarray ``DataTree`` and takes one nested dictionary.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = [
    "Groups",
    "make_arviz",
    "pareto_smooth",
    "power_scaling",
    "write_netcdf",
]

Groups = Mapping[str, Mapping[str, np.ndarray]]


@cache
def _arviz() -> Any:
    """Import ArviZ on first use: with its plots that takes a second or two."""
    with warnings.catch_warnings():  # 0.x announces 1.x each time it is imported
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def _legacy() -> bool:
    return _arviz().__version__.startswith("0.")


def make_arviz(
    groups: Groups, *, coords: Mapping[str, Any] | None, dims: Mapping[str, Sequence[str]] | None
) -> Any:
    """ArviZ data from arrays ``(chain, draw, *event)`` by group and variable."""
    filled: dict[str, Any] = {name: dict(group) for name, group in groups.items() if group}
    names = {name: list(value) for name, value in (dims or {}).items()}
    if not _legacy():
        return _arviz().from_dict(filled, coords=dict(coords or {}), dims=names)
    log_prior = filled.pop("log_prior", None)  # 0.x has this group, but its from_dict drops it
    warmup = "warmup_posterior" in filled
    data = _arviz().from_dict(**filled, coords=dict(coords or {}), dims=names, save_warmup=warmup)
    if log_prior is not None:
        data.add_groups(log_prior=log_prior, coords=dict(coords or {}), dims=names)
    return data


def write_netcdf(data: Any, path: Path) -> None:
    """Write ArviZ data as netCDF."""
    data.to_netcdf(str(path), engine="h5netcdf")


def pareto_smooth(log_weights: np.ndarray, efficiency: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed log weights that sum to 1, and the Pareto shape of each row (arXiv:1507.02646).

    Args:
        log_weights: ``(draws,)``, or ``(n, draws)`` for one set of log weights a row.
        efficiency: how many independent draws each draw is worth; it sets how long a tail is fitted.
    """
    # Fits of the tails of weights that are bounded, and of equal ones, overflow.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if _legacy():
            smoothed, khat = _arviz().psislw(log_weights.copy(), efficiency)
        else:
            from arviz_stats.base import array_stats

            # 1.x takes their negatives
            smoothed, khat = array_stats.psislw(-log_weights, r_eff=efficiency)
    return np.asarray(smoothed), np.asarray(khat)


def power_scaling(
    draws: Mapping[str, np.ndarray], log_density: np.ndarray, part: Literal["prior", "likelihood"]
) -> dict[str, np.ndarray]:
    """How fast the draws of each site change as a part of the log joint is raised to a power.

    It is the slope of the square root of the cumulative Jensen-Shannon divergence, against the binary
    logarithm of the power (arXiv:2107.14054).

    Args:
        draws: ``(chain, draw, *event)``.
        log_density: ``(chain, draw)``, the part's.
        part: its name.
    """
    groups = {"posterior": dict(draws), f"log_{part}": {"total": log_density}}
    data = make_arviz(groups, coords=None, dims=None)
    with np.errstate(divide="ignore", invalid="ignore"):  # draws that never change give NaN
        if _legacy():
            found = _arviz().psens(data, component=part)
        else:
            from arviz_stats import psense

            found = psense(data, group=part)
    return {name: np.asarray(found[name]) for name in draws}
