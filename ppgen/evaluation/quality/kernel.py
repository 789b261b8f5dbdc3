"""The kernel distance: the unbiased maximum mean discrepancy, called KID on Inception features."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from ppgen.checks import check_choice, check_number
from ppgen.errors import InvalidArgument
from ppgen.evaluation.quality.checks import check_samples
from ppgen.evaluation.quality.measurement import Measurement

__all__ = ["kernel_distance"]

Kernel = Literal["polynomial", "gaussian"]

_BLOCK = 2048  # rows of the kernel matrix at a time
_MOST_FOR_MEDIAN = 1000


def kernel_distance(
    *, real: Any, generated: Any, kernel: Kernel = "polynomial", bandwidth: float | None = None
) -> Measurement:
    r"""The squared maximum mean discrepancy, by its unbiased estimator.

    .. math:: \widehat{\mathrm{MMD}}^2 = \frac{\sum_{i \ne j} k(x_i, x_j)}{m (m - 1)} +
              \frac{\sum_{i \ne j} k(y_i, y_j)}{n (n - 1)} - \frac{2 \sum_{i, j} k(x_i, y_j)}{m n}

    The polynomial kernel is :math:`k(x, y) = (x^\top y / d + 1)^3`, the Gaussian one
    :math:`\exp(-\lVert x - y \rVert^2 / 2 h^2)`. Being unbiased, the estimate of a small distance may
    fall below zero. The standard error is from the exact jackknife over single rows, by the kernel's row
    sums.

    (Gretton et al. 2012, "A kernel two-sample test"; Bińkowski et al. 2018, arXiv:1801.01401.)

    Args:
        real: features ``(m, d)``, an array or :class:`~ppgen.evaluation.features.Features`.
        generated: features ``(n, d)`` of the same spec.
        kernel: ``"polynomial"``, which compares moments up to the third, or ``"gaussian"``, which detects
            every difference.
        bandwidth: :math:`h` of the Gaussian kernel; by default the median distance between real examples, so
            that it is the same for all models compared with them.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all constant.
        InvalidArgument: if the two have features of different specs, or for another kernel or bandwidth.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 500, 2))
        >>> found = kernel_distance(real=x, generated=y)  # the truth is 0
        >>> bool(found.interval[0] < 0 < found.interval[1])
        True
    """
    samples = check_samples(real, generated)
    width = _bandwidth(kernel, bandwidth, samples.real)
    x, y = samples.real, samples.generated
    m, n = len(x), len(y)
    within_x = _row_sums(x, x, width) - _diagonal(x, width)  # (m,), sums over the other rows
    within_y = _row_sums(y, y, width) - _diagonal(y, width)
    across_x = _row_sums(x, y, width)
    across_y = _row_sums(y, x, width)
    total_x, total_y, total = within_x.sum(), within_y.sum(), across_x.sum()
    part_x, part_y = total_x / (m * (m - 1)), total_y / (n * (n - 1))
    # The estimate without each single row, whose terms leave the sums.
    without_x = (total_x - 2 * within_x) / ((m - 1) * (m - 2)) + part_y
    without_x -= 2 * (total - across_x) / ((m - 1) * n)
    without_y = part_x + (total_y - 2 * within_y) / ((n - 1) * (n - 2))
    without_y -= 2 * (total - across_y) / (m * (n - 1))
    variance = (m - 1) * without_x.var() + (n - 1) * without_y.var()
    value, stderr = float(part_x + part_y - 2 * total / (m * n)), float(np.sqrt(variance))
    words = f"Gaussian kernel of width {width:.4g}" if width else "kernel (x·y / d + 1)³"
    how = f"unbiased squared maximum mean discrepancy, {words}"
    interval = (value - 1.96 * stderr, value + 1.96 * stderr)
    return samples.measurement("kernel distance", value, interval, stderr, better="lower", how=how)


def _bandwidth(kernel: str, bandwidth: Any, real: np.ndarray) -> float | None:
    """The width of the Gaussian kernel; ``None`` for the polynomial one."""
    check_choice("kernel", kernel, get_args(Kernel))
    if kernel == "polynomial":
        if bandwidth is not None:
            raise InvalidArgument(
                "bandwidth",
                got=repr(bandwidth),
                expected="nothing: the polynomial kernel has none",
                fix='Leave it out, or write kernel="gaussian".',
            )
        return None
    if bandwidth is None:
        from scipy.spatial.distance import pdist

        distances = pdist(real[:_MOST_FOR_MEDIAN])
        return float(np.median(distances[distances > 0]))
    return check_number("bandwidth", bandwidth, above=0.0, example=1.0)


def _row_sums(x: np.ndarray, y: np.ndarray, width: float | None) -> np.ndarray:
    """For each x, the sum of the kernel over all y, computed in blocks of rows."""
    sums = np.empty(len(x))
    for start in range(0, len(x), _BLOCK):
        part = x[start : start + _BLOCK]
        sums[start : start + _BLOCK] = _kernel(part, y, width).sum(axis=1)
    return sums


def _kernel(x: np.ndarray, y: np.ndarray, width: float | None) -> np.ndarray:
    if width is None:
        return (x @ y.T / x.shape[1] + 1) ** 3
    from scipy.spatial.distance import cdist

    return np.exp(-cdist(x, y, "sqeuclidean") / (2 * width**2))


def _diagonal(x: np.ndarray, width: float | None) -> np.ndarray:
    return ((x**2).mean(axis=1) + 1) ** 3 if width is None else np.ones(len(x))
