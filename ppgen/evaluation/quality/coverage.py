"""Density and coverage: precision and recall that are robust to outliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.evaluation.quality.checks import check_samples
from ppgen.evaluation.quality.jackknife import around, jackknife, share_interval
from ppgen.evaluation.quality.measurement import JointMeasurement, Measurement
from ppgen.evaluation.quality.neighbours import Distances, checked_neighbours, kth_neighbour

__all__ = ["DensityCoverage", "density_coverage"]


@dataclass(frozen=True)
class DensityCoverage(JointMeasurement):
    """Density and coverage, measured together.

    Attributes:
        density: how many real balls contain a generated example on average, divided by k.
        coverage: the share of real balls that contain a generated example.
    """

    density: Measurement
    coverage: Measurement


def density_coverage(*, real: Any, generated: Any, neighbours: int = 5, seed: int = 0) -> DensityCoverage:
    r"""Compute density and coverage, from balls around real examples only.

    With :math:`r_k(x)` the distance of a real example to its k-th nearest other real example,

    .. math:: \text{density} = \frac{1}{k n} \sum_{i, j} [\lVert y_j - x_i \rVert < r_k(x_i)], \qquad
              \text{coverage} = \frac 1 m \sum_i \bigl[\min_j \lVert y_j - x_i \rVert < r_k(x_i)\bigr]

    Samples from the real distribution have density 1 and, with equally many of each, coverage near
    :math:`1 - 2^{-k}`. Density may exceed 1. A ball of radius 0, around duplicate real examples, counts
    exact hits. (Naeem et al. 2020, arXiv:2002.09797.)

    Args:
        real: features ``(m, d)``, an array or :class:`~ppgen.evaluation.features.Features`.
        generated: features ``(n, d)`` of the same spec.
        neighbours: k.
        seed: the seed of the jackknife's random groups.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all constant.
        InvalidArgument: if the two have features of different specs, or k is not below half of the rows.

    Example:
        >>> real, generated = np.random.default_rng(0).normal(size=(2, 300, 2))
        >>> found = density_coverage(real=real, generated=generated)
        >>> 0.8 < found.density.value < 1.2, found.coverage.value > 0.9
        (True, True)
    """
    samples = check_samples(real, generated)
    k = checked_neighbours(neighbours, samples)
    distances = Distances.of(samples)

    def both(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        across = distances.across[np.ix_(i, j)]
        reach = kth_neighbour(distances.real[np.ix_(i, i)], k)[:, None]
        inside = (across < reach) | ((reach == 0) & (across == 0))
        return np.array([inside.sum() / (k * len(j)), inside.any(axis=1).mean()])

    spread = jackknife(both, len(samples.real), len(samples.generated), seed=seed)
    (density, coverage), (density_stderr, coverage_stderr) = spread.values.tolist(), spread.stderr.tolist()
    how = f"balls to the {k}. real neighbour"
    in_density = around(density, density_stderr, spread.groups, least=0.0)
    in_coverage = share_interval(coverage, coverage_stderr, len(samples.real))
    return DensityCoverage(
        samples.measurement("density", density, in_density, density_stderr, better="higher", how=how),
        samples.measurement("coverage", coverage, in_coverage, coverage_stderr, better="higher", how=how),
    )
