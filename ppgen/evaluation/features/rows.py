"""Features of examples of one shape, with finite numbers within their levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.data import Dataset
from ppgen.data.rows import as_array
from ppgen.errors import DataError
from ppgen.evaluation.features.spec import Features, FeatureSpec, digest

__all__ = ["RowFeatures", "as_images", "scaled", "training_rows"]


@dataclass(frozen=True, eq=False)
class RowFeatures(ABC):
    """Base of features of one shape: a subclass adds a name, fitted arrays and a function.

    Attributes:
        shape: the shape of one example.
        levels: how many values a discrete entry takes; ``None`` for continuous data.
    """

    shape: tuple[int, ...]
    levels: int | None

    @abstractmethod
    def _name(self) -> str: ...

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """The fitted arrays, by name."""

    @abstractmethod
    def _of(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features ``(n, d)`` of scaled vectors, and class probabilities if there are any."""

    @property
    def spec(self) -> FeatureSpec:
        """How the features are made."""
        fitted = self.tensors()
        weights = digest(fitted) if fitted else ""
        return FeatureSpec(self._name(), weights, quantization=_quantization(self.levels))

    def __call__(self, rows: Any) -> Features:
        """The features of examples ``(n, *shape)``."""
        values, probabilities = self._of(scaled(_check_rows(rows, self.shape, self.levels), self.levels))
        return Features(values, self.spec, probabilities)


def _check_rows(rows: Any, shape: tuple[int, ...], levels: int | None) -> np.ndarray:
    """Check that rows are ``(n, *shape)`` finite numbers within their levels."""
    values = as_array(rows, argument="rows")
    if values.shape[1:] != shape:
        raise DataError(
            "rows",
            got=f"an array of shape {values.shape}",
            expected=f"(n, {', '.join(map(str, shape))}), the shape that the features are for",
            fix="Pass rows of the data's shape.",
        )
    if not np.isfinite(values).all():
        raise DataError(
            "rows",
            got="NaN or infinite values",
            expected="finite numbers",
            fix="Check the model that drew them.",
        )
    if levels is not None and values.size and (values.min() < 0 or values.max() > levels - 1):
        raise DataError(
            "rows",
            got=f"values from {values.min():g} to {values.max():g}",
            expected=f"0 … {levels - 1}, the data's levels",
            fix="Pass rows in the data's own values.",
        )
    return values


def as_images(rows: Any, levels: int | None) -> np.ndarray:
    """Images ``(n, h, w)`` or ``(n, 3, h, w)`` as ``(n, 3, h, w)`` in 0 … 255, in single precision.

    Raises:
        DataError: if they are not images of one size, or outside their levels.
    """
    values = as_array(rows, argument="rows")
    if not (values.ndim == 3 or (values.ndim == 4 and values.shape[1] in (1, 3))):
        raise DataError(
            "rows",
            got=f"an array of shape {values.shape}",
            expected="images (n, h, w) or (n, 3, h, w)",
            fix="Write rows.reshape(-1, 8, 8) for flat images; use PCA for other rows.",
        )
    colours = values[:, None] if values.ndim == 3 else values
    checked = _check_rows(colours, colours.shape[1:], levels or 256)
    grey = checked.astype(np.float32) * (255 / ((levels or 256) - 1))
    return np.broadcast_to(grey, (len(grey), 3, *grey.shape[2:]))


def scaled(rows: np.ndarray, levels: int | None) -> np.ndarray:
    """Flatten examples to vectors ``(n, d)``; levels become numbers from 0 to 1."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return flat if levels is None else flat / (levels - 1)


def _quantization(levels: int | None) -> str:
    """A description of the original values."""
    return "none" if levels is None else f"{levels} levels, scaled to 0 … 1"


def training_rows(data: Any) -> np.ndarray:
    """The training set of a dataset, in memory."""
    if not isinstance(data, Dataset):
        raise DataError(
            "data",
            got=f"a {type(data).__name__}",
            expected="a Dataset, whose training rows the features are fitted to",
            fix="Write ppgen.data.as_dataset(array).",
        )
    return np.asarray(data.train)
