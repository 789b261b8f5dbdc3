"""Features without a network: the values themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.data import Dataset
from ppgen.evaluation.features.rows import check_rows_for, quantization, scaled, training_rows
from ppgen.evaluation.features.spec import Features, FeatureSpec, digest

__all__ = ["Pixels", "Standardised"]


@dataclass(frozen=True, eq=False)
class Pixels:
    """Every value is a feature; levels are scaled to 0 … 1.

    Attributes:
        shape: of a row.
        levels: how many values a discrete entry takes; ``None`` for continuous data.
        spec: how the features are made.

    Example:
        >>> Pixels((2, 2), 17)(np.full((3, 2, 2), 16)).values[0]
        array([1., 1., 1., 1.])
    """

    shape: tuple[int, ...]
    levels: int | None

    @classmethod
    def of(cls, data: Dataset) -> Pixels:
        """The values of a dataset's rows."""
        return cls(data.shape, data.levels)

    @property
    def spec(self) -> FeatureSpec:
        """How the features are made."""
        return FeatureSpec(f"the values of rows {self.shape}", quantization=quantization(self.levels))

    def __call__(self, rows: Any) -> Features:
        """The features of rows ``(n, *shape)``."""
        return Features(scaled(check_rows_for(rows, self.shape, self.levels), self.levels), self.spec)


@dataclass(frozen=True, eq=False)
class Standardised:
    """Every value is a feature, in standard deviations of the training rows from their mean.

    Attributes:
        shape: of a row.
        levels: how many values a discrete entry takes; ``None`` for continuous data.
        mean, scale: ``(d,)``, of the training rows; the scale of a constant entry is 1.

    Example:
        >>> from ppgen.data import load
        >>> moons = load("two_moons")
        >>> Standardised.fit(moons)(moons.train).values.std(axis=0).round(6)
        array([1., 1.])
    """

    shape: tuple[int, ...]
    levels: int | None
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, data: Dataset) -> Standardised:
        """Take mean and scale from a dataset's training rows."""
        return cls.of_rows(training_rows(data), data.levels)

    @classmethod
    def of_rows(cls, rows: np.ndarray, levels: int | None) -> Standardised:
        """Take mean and scale from these rows ``(n, *shape)``."""
        flat = scaled(rows, levels)
        deviations = flat.std(axis=0)
        return cls(rows.shape[1:], levels, flat.mean(axis=0), np.where(deviations > 0, deviations, 1.0))

    @property
    def spec(self) -> FeatureSpec:
        """How the features are made."""
        weights = digest({"mean": self.mean, "scale": self.scale})
        return FeatureSpec("standardised values", weights, quantization=quantization(self.levels))

    def __call__(self, rows: Any) -> Features:
        """The features of rows ``(n, *shape)``."""
        flat = scaled(check_rows_for(rows, self.shape, self.levels), self.levels)
        return Features((flat - self.mean) / self.scale, self.spec)
