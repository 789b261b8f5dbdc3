"""The log evidence from particles at every temperature of a path, estimated from both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from ppgen.inference.weights import LogEvidence

__all__ = ["PathEvidence", "combine_evidence", "estimate_evidence", "explain_gap"]


class PathEvidence(NamedTuple):
    """One run's estimate of a log evidence.

    Attributes:
        value: Bennett's, from both sides of each step.
        variance: of ``value``.
        forward: by weighting the particles of each temperature to the next; biased low.
        backward: by weighting them to the previous one; biased high.
    """

    value: float
    variance: float
    forward: float
    backward: float


def estimate_evidence(gains: np.ndarray, increases: np.ndarray, families: np.ndarray) -> PathEvidence:
    r"""The log evidence from particles at each of the temperatures of a path.

    Between two temperatures that are :math:`\Delta\beta` apart, with :math:`g = \log \pi - \log q`, Bennett's
    estimate c of the log ratio of normalising constants solves

    .. math:: \sum_{i} \sigma(\Delta\beta\, g_i - c) = \sum_{j} \sigma(c - \Delta\beta\, g_j)

    where i runs over the particles before the step, and j over those after it.

    The variance of their sum is that of the sums of the particles' influences over families, the
    particles that descend from one of the start: a particle counts at each temperature, and what
    descends from it may be like it.

    Args:
        gains: ``(temperature, particle)``, g at each, the start first.
        increases: ``(temperature - 1,)``, Δβ of each step; steps of 0 are skipped.
        families: ``(temperature, particle)``, the particle of the start that each descends from.

    References:
        Bennett (1976), doi:10.1016/0021-9991(76)90078-4; Shirts, Bair, Hooker and Pande (2003),
        doi:10.1103/PhysRevLett.91.140601; Lee and Whiteley (2018), arXiv:1509.00394, for the families.

    Example:
        >>> rng = np.random.default_rng(0)                   # from N(0, 1) to exp(-2 z²) in two steps
        >>> scales = [1.0, (1 / 2.5) ** 0.5, 0.5]
        >>> gains = np.stack([-1.5 * (s * rng.normal(size=4000)) ** 2 for s in scales])
        >>> gains = gains + np.log(2 * np.pi) / 2            # less log q, which is normalised
        >>> found = estimate_evidence(gains, np.array([0.5, 0.5]), np.tile(np.arange(4000), (3, 1)))
        >>> print(f"{found.value:.1f}, {np.log(np.pi / 2) / 2:.1f}")
        0.2, 0.2
    """
    value = forward = backward = 0.0
    influence = np.zeros(gains.shape)
    log_size = math.log(gains.shape[1])
    for t in np.flatnonzero(increases > 0):
        before, after = increases[t] * gains[t], increases[t] * gains[t + 1]

        def surplus(c: float, before: np.ndarray = before, after: np.ndarray = after) -> float:
            return float(expit(before - c).sum() - expit(c - after).sum())

        finite = np.concatenate([before[np.isfinite(before)], after[np.isfinite(after)]])
        step = brentq(surplus, finite.min() - 50, finite.max() + 50, xtol=1e-10, maxiter=1000)
        accepted, returned = expit(before - step), expit(step - after)
        curvature = (accepted * (1 - accepted)).sum() + (returned * (1 - returned)).sum()
        if curvature > 0:
            influence[t] += (accepted - accepted.mean()) / curvature
            influence[t + 1] -= (returned - returned.mean()) / curvature
        value += step
        forward += float(logsumexp(before)) - log_size
        backward -= float(logsumexp(-after)) - log_size
    by_family = np.bincount(families.ravel(), weights=influence.ravel())
    return PathEvidence(value, float(np.square(by_family).sum()), forward, backward)


def combine_evidence(runs: Sequence[PathEvidence]) -> LogEvidence:
    """The mean of independent runs, with its standard error.

    The variance of a run is its own estimate, or that from the spread of the runs if larger. Half of the gap
    between the two ends of the path is added if it is more than chance.
    """
    values = np.array([run.value for run in runs])
    stderr = _stderr(runs)
    return LogEvidence(float(values.mean()), math.hypot(stderr, _gap(runs) / 2))


def explain_gap(runs: Sequence[PathEvidence]) -> str:
    """A sentence if the estimates from the two ends of the path differ clearly."""
    gap = _gap(runs)
    if not gap:
        return ""
    return (
        f"Seen from the two ends of the path, the log evidence differs by {gap:.1f}; its standard error says "
        "so. More moves (max_moves=100) or smaller steps (target_ess=0.9) bring them together."
    )


def _stderr(runs: Sequence[PathEvidence]) -> float:
    spread = float(np.var([run.value for run in runs], ddof=1)) if len(runs) > 1 else 0.0
    return math.sqrt(max(spread, float(np.mean([run.variance for run in runs]))) / len(runs))


def _gap(runs: Sequence[PathEvidence]) -> float:
    """How far apart the two ends are; 0 if it may be chance."""
    gap = abs(float(np.mean([run.backward - run.forward for run in runs])))
    return gap if gap > max(0.2, 5 * _stderr(runs)) else 0.0
