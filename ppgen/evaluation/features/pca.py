"""Principal components of the training set as features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppgen.checks import check_integer
from ppgen.data import Dataset
from ppgen.evaluation.features.rows import RowFeatures, scaled, training_rows

__all__ = ["PCA"]

_MOST_ROWS = 2000  # for finding the directions; more hardly move the leading ones


@dataclass(frozen=True, eq=False)
class PCA(RowFeatures):
    r"""The coordinates of examples along the directions in which the training set varies most.

    .. math:: z = W^\top (x - \mu)

    They are not rescaled: distances are those of the examples, minus the part in the other directions.
    (Pearson 1901; Hotelling 1933.)

    Attributes:
        shape: the shape of one example.
        levels: how many values a discrete entry takes; ``None`` for continuous data.
        mean: ``(d,)``, :math:`\mu`.
        directions: ``(d, k)``, :math:`W`; the largest entry of each is positive.

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> PCA.fit(digits, components=16)(digits.test).values.shape
        (447, 16)
    """

    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def fit(cls, data: Dataset, *, components: int = 32) -> PCA:
        """Find the directions of a dataset's training set, or of about 2000 evenly spaced examples of it.

        Raises:
            InvalidArgument: if there are fewer directions than components.
        """
        train = training_rows(data)
        every = -(-len(train) // _MOST_ROWS)
        rows = scaled(train[::every], data.levels)
        most = min(rows.shape)
        check_integer("components", components, most=most, example=min(32, most))
        mean = rows.mean(axis=0)
        directions = _directions(rows - mean)[:, :components]
        # The sign of a direction is arbitrary; without a convention it may differ between machines.
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(components)])
        # Rounding errors are rounded away, so that the hash is the same on most machines.
        return cls(data.shape, data.levels, mean.round(8), directions.round(8))

    def tensors(self) -> dict[str, np.ndarray]:
        """Mean and directions."""
        return {"mean": self.mean, "directions": self.directions}

    def _name(self) -> str:
        return f"PCA to {self.directions.shape[1]} components"

    def _of(self, flat: np.ndarray) -> tuple[np.ndarray, None]:
        return (flat - self.mean) @ self.directions, None


def _directions(centred: np.ndarray) -> np.ndarray:
    """The right singular vectors ``(d, min(n, d))``, the leading one first."""
    return np.linalg.svd(centred, full_matrices=False)[2].T
