"""Improved precision and recall: how many samples are realistic, and how much of the data they cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.evaluation.quality.checks import check_samples
from ppgen.evaluation.quality.jackknife import jackknife, share_interval
from ppgen.evaluation.quality.measurement import JointMeasurement, Measurement
from ppgen.evaluation.quality.neighbours import Distances, checked_neighbours, kth_neighbour

__all__ = ["PrecisionRecall", "precision_recall"]


@dataclass(frozen=True)
class PrecisionRecall(JointMeasurement):
    """Precision and recall, measured together.

    Attributes:
        precision: the share of generated examples near real ones.
        recall: the share of real examples near generated ones.
    """

    precision: Measurement
    recall: Measurement


def precision_recall(*, real: Any, generated: Any, neighbours: int = 3, seed: int = 0) -> PrecisionRecall:
    r"""Compute improved precision and recall, from balls that reach the k-th neighbour.

    With :math:`B(X) = \bigcup_i \{z : \lVert z - x_i \rVert \le r_k(x_i)\}`, where :math:`r_k(x)` is the
    distance of x to its k-th nearest other example,

    .. math:: \text{precision} = \frac 1 n \sum_j [y_j \in B(X)], \qquad
              \text{recall} = \frac 1 m \sum_i [x_i \in B(Y)]

    Even samples from the real distribution do not reach 1: compare with what held-out examples reach.
    (Kynkäänniemi et al. 2019, arXiv:1904.06991.)

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
        >>> found = precision_recall(real=real, generated=generated / 10)  # it only makes what is common
        >>> found.precision.value > 0.95, found.recall.value < 0.2
        (True, True)
    """
    samples = check_samples(real, generated)
    k = checked_neighbours(neighbours, samples)
    distances = Distances.of(samples)

    def shares(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        across = distances.across[np.ix_(i, j)]
        reach_real = kth_neighbour(distances.real[np.ix_(i, i)], k)
        reach_generated = kth_neighbour(distances.generated[np.ix_(j, j)], k)
        precise = (across <= reach_real[:, None]).any(axis=0)
        recalled = (across <= reach_generated[None, :]).any(axis=1)
        return np.array([precise.mean(), recalled.mean()])

    spread = jackknife(shares, len(samples.real), len(samples.generated), seed=seed)
    counts = (len(samples.generated), len(samples.real))
    figures = zip(spread.values.tolist(), spread.stderr.tolist(), counts, strict=True)
    how = f"balls to the {k}. neighbour"
    return PrecisionRecall(
        *(
            samples.measurement(
                name, value, share_interval(value, stderr, count), stderr, better="higher", how=how
            )
            for name, (value, stderr, count) in zip(("precision", "recall"), figures, strict=True)
        )
    )
