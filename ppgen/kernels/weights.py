r"""Importance weights :math:`w_s = \pi(z_s) / q(z_s)`: their mean, and their effective sample size."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp

from ppgen.kernels.monte_carlo import standard_error

__all__ = ["log_effective_size", "log_mean_weight", "log_ratio"]


def log_ratio(log_target: np.ndarray, log_base: np.ndarray) -> np.ndarray:
    r""":math:`\log \pi - \log q`, ``-inf`` wherever the target has no density.

    Example:
        >>> log_ratio(np.array([1.0, -np.inf, -np.inf]), np.array([3.0, 3.0, -np.inf]))
        array([ -2., -inf, -inf])
    """
    base = np.where(np.isfinite(log_base), log_base, 0.0)
    return np.where(np.isfinite(log_target), log_target - base, -np.inf)


def log_mean_weight(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""The log of the mean weight, and its standard error by the delta method.

    .. math:: \log \hat Z = \log \frac1S \sum_s w_s, \qquad
        \mathrm{se} = \frac{\mathrm{sd}(w)}{\sqrt S \, \bar w}

    Args:
        log_weights: ``(..., draws)``; ``-inf`` and NaN count as a weight of zero.

    Returns:
        Two arrays ``(...)``; the standard error is 0 where no weight is positive.

    Example:
        >>> value, stderr = log_mean_weight(np.log([[1.0, 2.0, 3.0]]))
        >>> round(float(value[0]), 3), round(float(stderr[0]), 3)          # log 2 and 1 / (2 sqrt 3)
        (0.693, 0.289)
    """
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf).astype(np.float64)
    draws = finite.shape[-1]
    value = np.asarray(logsumexp(finite, axis=-1) - math.log(draws))
    relative = np.exp(finite - np.where(np.isfinite(value), value, 0.0)[..., None])
    return value, standard_error(relative)


def log_effective_size(log_weights: np.ndarray) -> float:
    r"""The log of Kish's effective sample size, :math:`(\sum_s w_s)^2 / \sum_s w_s^2`.

    Args:
        log_weights: ``(draws,)``, up to a constant.

    References:
        Kish, *Survey Sampling*, 1965, section 11.7.

    Example:
        >>> round(math.exp(log_effective_size(np.array([3.0, 3.0, -np.inf]))), 3)
        2.0
    """
    return float(2 * logsumexp(log_weights) - logsumexp(2 * np.asarray(log_weights)))
