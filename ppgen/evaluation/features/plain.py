"""Features without a network: the values themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppgen.data import Dataset
from ppgen.evaluation.features.rows import RowFeatures, scaled, training_rows

__all__ = ["Pixels", "Standardised"]


@dataclass(frozen=True, eq=False)
class Pixels(RowFeatures):
    """Every value is a feature; levels are scaled to 0 … 1.

    Attributes:
        shape: the shape of one example.
        levels: how many values a discrete entry takes; ``None`` for continuous data.
        spec: how the features are made.

    Example:
        >>> Pixels((2, 2), 17)(np.full((3, 2, 2), 16)).values[0]
        array([1., 1., 1., 1.])
    """

    @classmethod
    def of(cls, data: Dataset) -> Pixels:
        """The features of a dataset's shape and levels."""
        return cls(data.shape, data.levels)

    def tensors(self) -> dict[str, np.ndarray]:
        """Nothing: no parameters are fitted."""
        return {}

    def _name(self) -> str:
        return f"the values of rows {self.shape}"

    def _of(self, flat: np.ndarray) -> tuple[np.ndarray, None]:
        return flat, None


@dataclass(frozen=True, eq=False)
class Standardised(RowFeatures):
    """Every value is a feature, in standard deviations of the training set from its mean.

    Attributes:
        shape: the shape of one example.
        levels: how many values a discrete entry takes; ``None`` for continuous data.
        mean, scale: ``(d,)``, of the training set; the scale of a constant entry is 1.

    Example:
        >>> from ppgen.data import load
        >>> moons = load("two_moons")
        >>> Standardised.fit(moons)(moons.train).values.std(axis=0).round(6)
        array([1., 1.])
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, data: Dataset) -> Standardised:
        """Take mean and scale from a dataset's training set."""
        return cls.of_rows(training_rows(data), data.levels)

    @classmethod
    def of_rows(cls, rows: np.ndarray, levels: int | None) -> Standardised:
        """Take mean and scale from examples ``(n, *shape)``."""
        flat = scaled(rows, levels)
        deviations = flat.std(axis=0)
        return cls(rows.shape[1:], levels, flat.mean(axis=0), np.where(deviations > 0, deviations, 1.0))

    def tensors(self) -> dict[str, np.ndarray]:
        """Mean and scale."""
        return {"mean": self.mean, "scale": self.scale}

    def _name(self) -> str:
        return "standardised values"

    def _of(self, flat: np.ndarray) -> tuple[np.ndarray, None]:
        return (flat - self.mean) / self.scale, None
