"""The interface of a baseline, and how each one checks and splits its data."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np

from ppgen.data import Dataset
from ppgen.data.rows import as_rows_of
from ppgen.errors import DataError
from ppgen.program.likelihood import Likelihood

__all__ = ["Baseline", "flat_rows", "train_and_valid"]


class Baseline(Protocol):
    """A simple model, fitted in one call.

    Attributes:
        name: its name in tables.
    """

    name: ClassVar[str]

    @property
    def n_parameters(self) -> int:
        """The number of fitted parameters."""
        ...

    @classmethod
    def fit(cls, data: Dataset, *, seed: int = 0) -> Baseline:
        """Fit to the training set, choosing settings on the validation set."""
        ...

    def log_prob(self, x: Any) -> Likelihood:
        """The log density of each example of ``x (n, *shape)``."""
        ...

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values."""
        ...


def flat_rows(x: Any, shape: tuple[int, ...], levels: int | None) -> np.ndarray:
    """Check examples against the shape and levels of a baseline, and flatten them to ``(n, dims)``.

    Raises:
        DataError: if ``x`` has another shape, is not finite or lies outside the levels.
    """
    rows = as_rows_of(x, shape, levels)
    flat = rows.reshape(len(rows), -1)  # (n, dims)
    return flat.astype(np.int64) if levels else flat


def train_and_valid(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The flattened examples to fit to, and those to choose settings on.

    Without a validation set, the last tenth of the training set takes its place.
    """
    train = data.train.reshape(len(data.train), -1)
    if len(data.valid):
        return train, data.valid.reshape(len(data.valid), -1)
    n_valid = max(1, len(train) // 10)
    if n_valid >= len(train):
        raise DataError(
            "data",
            got=f"{len(train)} training rows and none to validate on",
            expected="at least 2 training rows",
            fix="Pass more rows.",
        )
    return train[:-n_valid], train[-n_valid:]
