"""Resampling: from weighted to equally weighted draws."""

from __future__ import annotations

import numpy as np

__all__ = ["systematic_resampling"]


def systematic_resampling(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    r"""Choose ``n`` indices of draws in proportion to their weights, in ascending order.

    A draw with normalised weight w is chosen :math:`\lfloor nw \rfloor` or :math:`\lceil nw \rceil` times,
    nw in expectation, which adds less noise than independent choices.

    Args:
        weights: ``(draws,)``, at least 0, up to a constant.
        n: how many indices.
        rng: source of the one uniform number that this needs.

    References:
        Carpenter, Clifford and Fearnhead, *Improved particle filter for nonlinear problems*, IEE
        Proceedings 1999, doi:10.1049/ip-rsn:19990255.

    Example:
        >>> systematic_resampling(np.array([1.0, 0.0, 3.0]), 4, np.random.default_rng(0))
        array([0, 2, 2, 2])
    """
    cumulative = np.cumsum(weights)
    places = (np.arange(n) + rng.uniform()) / n
    indices = np.searchsorted(cumulative / cumulative[-1], places, side="right")
    return np.minimum(indices, len(cumulative) - 1)
