"""The Wasserstein distance: how far the mass of one sample must move to become the other."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.evaluation.quality.checks import check_samples, refuse_many_rows
from ppgen.evaluation.quality.jackknife import Statistic, around, jackknife
from ppgen.evaluation.quality.measurement import Measurement

__all__ = ["wasserstein_distance"]

Method = Literal["exact", "sliced"]

_MOST_STEPS = 10_000_000  # of the network simplex, which ends long before


def wasserstein_distance(
    *,
    real: Any,
    generated: Any,
    method: Method = "exact",
    power: int = 2,
    projections: int = 200,
    seed: int = 0,
) -> Measurement:
    r"""Compute the Wasserstein distance between two samples, exact or sliced.

    .. math:: W_p = \Bigl(\min_{\gamma} \sum_{i, j} \gamma_{ij} \lVert x_i - y_j \rVert^p\Bigr)^{1/p},
              \qquad \gamma 1 = \tfrac 1 m, \; \gamma^\top 1 = \tfrac 1 n

    The exact distance is solved as a linear program. The sliced one averages :math:`W_p^p` over random
    directions, along which it reduces to sorting. The exact distance between two samples of one distribution
    is not 0 and falls slowly with their size, like :math:`n^{-1/d}`: the interval is for samples of these
    sizes. (Villani 2009; Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures"; Flamary
    et al. 2021, "POT: Python Optimal Transport".)

    Args:
        real: features ``(m, d)``, an array or :class:`~ppgen.evaluation.features.Features`.
        generated: features ``(n, d)`` of the same spec.
        method: ``"exact"``, for up to about 2000 rows, or ``"sliced"``, for any number.
        power: p, 1 or 2.
        projections: how many directions the sliced distance averages over.
        seed: the seed of the directions and of the jackknife's random groups.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all constant.
        InvalidArgument: if the two have features of different specs, or for another method or power.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> round(wasserstein_distance(real=x, generated=x + [3.0, 4.0]).value, 6)
        5.0
    """
    samples = check_samples(real, generated)
    check_choice("method", method, get_args(Method))
    check_integer("power", power, most=2, example=2)
    check_integer("projections", projections, most=100_000, example=200)
    x, y = samples.real, samples.generated
    if method == "exact":
        refuse_many_rows(samples)
        distance, how = _exact(x, y, power), f"W{power}, exact"
    else:
        distance = _sliced(x, y, power, projections, seed)
        how = f"W{power}, sliced along {projections} directions, seed {seed}"
    spread = jackknife(distance, len(x), len(y), seed=seed)
    value, stderr = float(spread.values[0]), float(spread.stderr[0])
    interval = around(value, stderr, spread.groups, least=0.0)
    return samples.measurement("Wasserstein distance", value, interval, stderr, better="lower", how=how)


def _exact(x: np.ndarray, y: np.ndarray, power: int) -> Statistic:
    from ot import emd2
    from scipy.spatial.distance import cdist

    costs = cdist(x, y, "euclidean" if power == 1 else "sqeuclidean")

    def distance(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        masses = np.full(len(i), 1 / len(i)), np.full(len(j), 1 / len(j))
        cost = emd2(*masses, np.ascontiguousarray(costs[np.ix_(i, j)]), numItermax=_MOST_STEPS)
        return np.array([max(0.0, float(cost)) ** (1 / power)])

    return distance


def _sliced(x: np.ndarray, y: np.ndarray, power: int, projections: int, seed: int) -> Statistic:
    directions = np.random.default_rng(seed).normal(size=(x.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    along_x, along_y = x @ directions, y @ directions  # (m, projections), (n, projections)

    def distance(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        sorted_x, sorted_y = np.sort(along_x[i], axis=0), np.sort(along_y[j], axis=0)
        # Both quantile functions are step functions, constant between consecutive jumps of either.
        ends = np.union1d(np.arange(1, len(i) + 1) / len(i), np.arange(1, len(j) + 1) / len(j))
        widths = np.diff(ends, prepend=0.0)
        middles = ends - widths / 2
        gaps = np.abs(sorted_x[(middles * len(i)).astype(int)] - sorted_y[(middles * len(j)).astype(int)])
        return np.array([(widths @ gaps**power).mean() ** (1 / power)])

    return distance
