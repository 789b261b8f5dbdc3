"""Distances between rows, and to the k-th nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppgen.checks import check_integer
from ppgen.evaluation.quality.checks import Samples, refuse_many_rows

__all__ = ["Distances", "checked_neighbours", "kth_neighbour"]


@dataclass(frozen=True, eq=False)
class Distances:
    """The Euclidean distances within and between two samples.

    They are computed from squared differences, so that copies are at a distance of exactly 0.

    Attributes:
        real: ``(m, m)`` among real rows.
        across: ``(m, n)`` from real to generated rows.
        generated: ``(n, n)`` among generated rows.
    """

    real: np.ndarray
    across: np.ndarray
    generated: np.ndarray

    @classmethod
    def of(cls, samples: Samples) -> Distances:
        """Compute all distances of two samples."""
        from scipy.spatial.distance import cdist

        refuse_many_rows(samples)
        x, y = samples.real, samples.generated
        return cls(cdist(x, x), cdist(x, y), cdist(y, y))


def kth_neighbour(distances: np.ndarray, k: int) -> np.ndarray:
    """The distance of each row of ``(n, n)`` to its k-th nearest other row, ``(n,)``."""
    # A row is its own nearest neighbour; among copies at distance 0 the order does not matter.
    return np.partition(distances, k, axis=1)[:, k]


def checked_neighbours(neighbours: int, samples: Samples) -> int:
    """Check the number of neighbours, which must exist even if half of the rows are left out."""
    most = min(len(samples.real), len(samples.generated)) // 2 - 1
    return check_integer("neighbours", neighbours, most=most)
