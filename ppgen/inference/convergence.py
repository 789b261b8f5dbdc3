"""R-hat, effective sample sizes and Monte Carlo errors of plain arrays, by arviz-stats.

Its array functions need only NumPy and SciPy; importing all of ArviZ takes longer than sampling a small
posterior.
"""

from __future__ import annotations

import numpy as np
from arviz_stats.base import array_stats

__all__ = ["ess_bulk", "ess_mean", "ess_tail", "mcse_mean", "mcse_sd", "rhat", "shortest_interval"]


def rhat(draws: np.ndarray) -> float:
    """Rank-normalised split R-hat of one quantity ``(chain, draw)``; NaN for one chain (arXiv:1903.08008)."""
    if len(draws) < 2:
        return float("nan")
    return float(array_stats.rhat(draws))


def ess_bulk(draws: np.ndarray) -> float:
    """Effective sample size in the bulk of one quantity ``(chain, draw)`` (arXiv:1903.08008)."""
    return float(array_stats.ess(draws, method="bulk"))


def ess_tail(draws: np.ndarray) -> float:
    """Effective sample size in the 5 % tails of one quantity ``(chain, draw)`` (arXiv:1903.08008)."""
    return float(array_stats.ess(draws, method="tail", prob=(0.05, 0.95)))


def ess_mean(draws: np.ndarray) -> float:
    """Effective sample size for the mean of one quantity ``(chain, draw)`` (arXiv:1903.08008)."""
    return float(array_stats.ess(draws, method="mean"))


def mcse_mean(draws: np.ndarray) -> float:
    """Monte Carlo standard error of the mean of one quantity ``(chain, draw)``."""
    return float(array_stats.mcse(draws, method="mean"))


def mcse_sd(draws: np.ndarray) -> float:
    """Monte Carlo standard error of the standard deviation of one quantity ``(chain, draw)``."""
    return float(array_stats.mcse(draws, method="sd"))


def shortest_interval(draws: np.ndarray, prob: float = 0.94) -> tuple[float, float]:
    """The shortest interval that contains a share of the draws of one quantity ``(chain, draw)``.

    Example:
        >>> low, high = shortest_interval(np.random.default_rng(0).exponential(size=(4, 5000)))
        >>> round(low, 1), round(high, 1)                     # from 0 to -log(1 - 0.94)
        (0.0, 2.8)
    """
    low, high = array_stats.hdi(draws.ravel(), prob)
    return float(low), float(high)
