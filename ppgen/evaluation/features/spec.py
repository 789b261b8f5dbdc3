"""Features, and the spec of how they were made: results are comparable only if their specs are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ppgen.data.rows import describe_array, is_numeric
from ppgen.errors import DataError

__all__ = ["FeatureSpec", "Features", "Takes", "digest"]


@dataclass(frozen=True)
class FeatureSpec:
    """How features were made from examples.

    Attributes:
        name: the method, for example ``"PCA to 32 components"``.
        weights: the SHA-256 of the network's file, or of the fitted arrays; empty if nothing was fitted.
        resize: how images were scaled; ``"none"`` if they were not.
        quantization: the levels of the original values; ``"none"`` for continuous data.

    Example:
        >>> str(FeatureSpec("pixels", quantization="17 levels, scaled to 0 … 1"))
        'pixels; resize: none; quantization: 17 levels, scaled to 0 … 1'
    """

    name: str
    weights: str = ""
    resize: str = "none"
    quantization: str = "none"

    def __str__(self) -> str:
        weights = f"; weights {self.weights[:12]}…" if self.weights else ""
        return f"{self.name}{weights}; resize: {self.resize}; quantization: {self.quantization}"


@dataclass(frozen=True, eq=False)
class Features:
    """Feature vectors, with the spec of how they were made.

    Attributes:
        values: ``(n, d)``.
        spec: how they were made.
        probabilities: ``(n, classes)``, a classifier's predictions; ``None`` without one.

    Raises:
        DataError: if the values are not numbers ``(n, d)``, or the numbers of rows differ.

    Example:
        >>> Features(np.zeros((3, 2)), FeatureSpec("pixels")).values.shape
        (3, 2)
    """

    values: np.ndarray
    spec: FeatureSpec
    probabilities: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not is_numeric(self.values):
            raise DataError(
                "values",
                got=describe_array(self.values),
                expected="numbers (n, d)",
                fix="Write rows.reshape(len(rows), -1).",
            )
        if self.probabilities is not None and len(self.probabilities) != len(self.values):
            raise DataError(
                "probabilities",
                got=f"{len(self.probabilities)} rows",
                expected=f"{len(self.values)}, one per row of features",
                fix="Compute both from the same rows.",
            )

    def __len__(self) -> int:
        return len(self.values)


@runtime_checkable
class Takes(Protocol):
    """A callable from examples to features; ``ppgen.evaluate(features=...)`` accepts your own."""

    @property
    def spec(self) -> FeatureSpec:
        """How the features are made."""
        ...

    def __call__(self, rows: Any) -> Features:
        """The features of examples ``(n, *shape)`` in the data's own values."""
        ...


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of arrays with their names, shapes and types, sorted by name.

    Example:
        >>> digest({"a": np.zeros(2)})[:8], digest({"a": np.zeros(3)})[:8]
        ('f961adf5', '9d1192ec')
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()
