r"""Whether ranks are uniform: the ECDF with bands that hold at all points at once, and exact p-values.

Of n uniform ranks on 0 … L, the number below i is binomial, with probability i / (L + 1). The probability
that all of these counts stay inside their bounds is that of a random walk: with Poisson increments that are
conditioned on their sum, one convolution a point gives it exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

__all__ = ["Band", "counts_below", "holm", "p_value", "simultaneous_band", "stay_inside"]

_HALVINGS = 60


class Band(NamedTuple):
    """Bounds of the number of ranks below each point.

    Attributes:
        points: ``(L,)``: i / (L + 1) for i from 1 to L.
        low, high: ``(L,)`` the least and the greatest count inside, as shares of the number of ranks.
        coverage: the probability that uniform ranks stay inside at all points.
    """

    points: np.ndarray
    low: np.ndarray
    high: np.ndarray
    coverage: float


def counts_below(ranks: np.ndarray, draws: int) -> np.ndarray:
    """How many of the ``ranks (n,)``, each from 0 to ``draws``, lie below 1, 2, …, ``draws``.

    Example:
        >>> counts_below(np.array([0, 0, 2, 3]), draws=3)
        array([2, 2, 3])
    """
    return np.cumsum(np.bincount(ranks, minlength=draws + 1))[:-1]


@lru_cache(maxsize=64)
def simultaneous_band(n: int, draws: int, level: float) -> Band:
    r"""The band of the ECDF of ``n`` uniform ranks on 0 … ``draws`` that holds at all points at once.

    At each point the count lies in the band unless it is in a tail of probability γ/2 or less; γ is the
    largest for which all points hold together with probability ``level``.

    Args:
        n: number of ranks.
        draws: the largest rank.
        level: wanted simultaneous coverage, between 0 and 1; as counts are whole, a little more is had.

    References:
        Säilynoja, Bürkner and Vehtari, *Graphical test for discrete uniformity and its applications in
        goodness of fit evaluation and multiple sample comparison*, arXiv:2103.10522.

    Example:
        >>> band = simultaneous_band(100, 99, 0.95)
        >>> print(f"{band.coverage:.3f}: {band.low[49]:.2f} to {band.high[49]:.2f} at {band.points[49]}")
        0.951: 0.36 to 0.64 at 0.5
    """
    narrow, wide = 1 - level, (1 - level) / (10 * draws)  # too narrow a band, and Bonferroni's
    for _ in range(_HALVINGS):
        middle = np.sqrt(narrow * wide)
        if stay_inside(n, *_bounds(n, draws, middle)) >= level:
            wide = middle
        else:
            narrow = middle
    # A little wider, or rounding could part the two ends of the band, whose tails are equal.
    low, high = _bounds(n, draws, wide * (1 - 1e-7))
    points = np.arange(1, draws + 1) / (draws + 1)
    return Band(points, low / n, high / n, stay_inside(n, low, high))


def p_value(ranks: np.ndarray, draws: int) -> float:
    """The exact probability that the ECDF of uniform ranks leaves as wide a band as that of these does.

    Args:
        ranks: ``(n,)`` whole numbers from 0 to ``draws``.
        draws: the largest rank.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> even, ends = rng.integers(0, 100, 200), rng.choice([0, 1, 2, 97, 98, 99], 200)
        >>> p_value(even, 99) > 0.05, p_value(ends, 99) < 1e-6
        (True, True)
    """
    counts, n = counts_below(ranks, draws), len(ranks)
    low_tail, high_tail = _tails(n, draws, counts)
    rarest = 2 * float(np.minimum(low_tail, high_tail).min())
    return float(np.clip(1 - stay_inside(n, *_bounds(n, draws, min(rarest, 1.0))), 0.0, 1.0))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values ``(k,)`` that allow for k tests having been made: Holm (1979), at any dependence.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def stay_inside(n: int, low: np.ndarray, high: np.ndarray) -> float:
    """The probability that the counts below of ``n`` uniform ranks lie within bounds at all points.

    Args:
        n: number of ranks, on 0 … L.
        low, high: ``(L,)`` whole numbers, bounds included.

    Example:
        >>> stay_inside(2, np.array([1]), np.array([1]))          # one of two coins is a head
        0.5
    """
    if (low > high).any():
        return 0.0
    # All that n points can do in one step, as a Poisson variable; conditioning on their sum makes it exact.
    step = stats.poisson.pmf(np.arange(n + 1), n / (len(low) + 1))
    inside, first = np.ones(1), 0  # the probabilities of counts first, first + 1, …
    for least, most in zip(low, high, strict=True):
        reached = np.convolve(inside, step[: most - first + 1])[: most - first + 1]
        skipped = max(least - first, 0)
        inside, first = reached[skipped:], first + skipped
    last = step[n - first - np.arange(len(inside))]
    return float(min(inside @ last / stats.poisson.pmf(n, n), 1.0))


def _tails(n: int, draws: int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = np.arange(1, draws + 1) / (draws + 1)
    return stats.binom.cdf(counts, n, share), stats.binom.sf(counts - 1, n, share)


def _bounds(n: int, draws: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """The counts ``(L,)`` of which neither tail has a probability of γ/2 or less."""
    share = np.arange(1, draws + 1) / (draws + 1)
    tail = gamma / 2 * (1 + 1e-9)  # a count just as rare as γ says is outside
    low = stats.binom.ppf(tail, n, share).astype(int)
    high = stats.binom.isf(tail, n, share).astype(int)
    low = np.where(stats.binom.cdf(low, n, share) > tail, low, low + 1)
    low = np.where((low > 0) & (stats.binom.cdf(low - 1, n, share) > tail), low - 1, low)
    high = np.where(stats.binom.sf(high, n, share) > tail, high + 1, high)
    high = np.where(stats.binom.sf(high - 1, n, share) > tail, high, high - 1)
    return np.clip(low, 0, n), np.clip(high, 0, n)
