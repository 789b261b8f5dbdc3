"""Standard errors of Monte Carlo means over independent draws."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["standard_error"]


def standard_error(draws: np.ndarray, axis: int = -1) -> np.ndarray:
    r"""The standard error of the mean over an axis, :math:`\mathrm{sd} / \sqrt S`; NaN for a single draw.

    Example:
        >>> standard_error(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])).round(3)
        array([0.577, 0.   ])
    """
    count = draws.shape[axis]
    if count < 2:
        return np.full(draws.mean(axis).shape, math.nan)
    return np.asarray(draws.std(axis, ddof=1) / math.sqrt(count))
