r"""Importance weights: smoothed, judged by their Pareto shape, and used to resample.

Draws from a density q represent a posterior π with weights :math:`w = \pi(z) / q(z)`. A few draws may carry
nearly all the weight; the shape k of a Pareto distribution fitted to the largest weights detects this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from ppgen.inference.arviz_compat import pareto_smooth
from ppgen.kernels.resampling import systematic_resampling
from ppgen.kernels.weights import log_effective_size, log_mean_weight

__all__ = ["LogEvidence", "Weights", "khat_threshold", "smooth_rows"]

_ROWS_AT_ONCE = 256


class LogEvidence(NamedTuple):
    """An estimate of the log marginal likelihood, in nats, with its standard error."""

    value: float
    stderr: float


def khat_threshold(draws: int) -> float:
    r"""The largest Pareto shape at which importance sampling with so many draws can be trusted.

    .. math:: \min(1 - 1 / \log_{10} S,\ 0.7)

    References:
        Vehtari, Simpson, Gelman, Yao and Gabry, *Pareto smoothed importance sampling*, arXiv:1507.02646.

    Example:
        >>> round(khat_threshold(100), 2), khat_threshold(4000)
        (0.5, 0.7)
    """
    return min(1 - 1 / math.log10(max(draws, 2)), 0.7)


@dataclass(frozen=True, eq=False)
class Weights:
    r"""Log importance weights :math:`\log \pi(z_s) - \log q(z_s)` of draws :math:`z_s \sim q`.

    Attributes:
        raw: ``(draws,)``; ``-inf`` and NaN count as zero weight.

    Example:
        >>> z = np.random.default_rng(0).normal(size=4000)          # q = N(0, 1), π = N(0.5, 1)
        >>> weights = Weights(0.5 * z - 0.125)
        >>> print(f"{np.exp(weights.smoothed) @ z:.1f}")            # the mean of π
        0.5
        >>> weights.usable
        True
    """

    raw: np.ndarray

    @cached_property
    def _smooth(self) -> tuple[np.ndarray, float]:
        finite = np.where(np.isfinite(self.raw), self.raw, -np.inf)
        if not np.isfinite(finite).any():
            return np.full(len(finite), -math.log(len(finite))), math.inf
        tail = np.sort(finite)[-int(min(len(finite) / 5, 3 * math.sqrt(len(finite)))) - 1 :]
        if np.ptp(tail) < 1e-6:  # the largest weights are equal: there is no tail to fit
            return finite - logsumexp(finite), 0.0
        # A weight of zero has a logarithm of its own in what is fitted: far below all others.
        floor = finite[np.isfinite(finite)].min() - 700.0
        smoothed, khat = pareto_smooth(np.maximum(finite, floor))
        return smoothed, float(khat)

    @property
    def smoothed(self) -> np.ndarray:
        """Pareto-smoothed log weights ``(draws,)``, whose exponentials sum to 1 (arXiv:1507.02646)."""
        return self._smooth[0]

    @property
    def khat(self) -> float:
        """The Pareto shape of the largest weights: 0 where they are equal, infinite where one has it all."""
        return self._smooth[1]

    @property
    def usable(self) -> bool:
        """Whether the Pareto shape allows the weights to be used."""
        return self.khat <= khat_threshold(len(self.raw))

    @property
    def ess(self) -> float:
        """Kish's effective sample size of the smoothed weights."""
        return math.exp(log_effective_size(self.smoothed))

    @property
    def log_evidence(self) -> LogEvidence:
        """Log of the mean raw weight, with the delta method's standard error."""
        value, stderr = log_mean_weight(self.raw)
        return LogEvidence(float(value), float(stderr))

    def resample(self, n: int, seed: int) -> np.ndarray:
        """Indices ``(n,)`` of draws in proportion to the smoothed weights, in random order."""
        rng = np.random.default_rng(seed)
        return rng.permutation(systematic_resampling(np.exp(self.smoothed), n, rng))


def smooth_rows(log_weights: np.ndarray, efficiency: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed log weights ``(n, draws)``, whose exponentials sum to 1 in each row, and n shapes.

    Args:
        log_weights: one set of weights per row; ``-inf`` and NaN count as zero weight. Rows of equal weights
            have no tail to fit: their shape is 0.
        efficiency: how many independent draws each draw is worth; it sets how long a tail is fitted.
    """
    # A weight of zero has a logarithm that can be fitted: far below all others.
    finite = np.isfinite(log_weights)
    lowest = np.where(finite, log_weights, np.inf).min(axis=1, keepdims=True)
    far = np.where(log_weights == np.inf, 700.0, -700.0) + np.where(lowest < np.inf, lowest, 0)
    raw = np.where(finite, log_weights, far)
    smoothed = np.full(raw.shape, -math.log(raw.shape[1]))
    khat = np.where(finite.any(axis=1), 0.0, np.inf)
    uneven = np.flatnonzero(np.ptp(raw, axis=1) >= 1e-10)
    for first in range(0, len(uneven), _ROWS_AT_ONCE):
        rows = uneven[first : first + _ROWS_AT_ONCE]
        smoothed[rows], khat[rows] = pareto_smooth(raw[rows], efficiency)
    return smoothed, khat
