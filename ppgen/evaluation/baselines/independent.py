"""The independent categorical: one distribution per entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ppgen.checks import check_number
from ppgen.data import Dataset
from ppgen.errors import DataError
from ppgen.evaluation.baselines.baseline import flat_rows
from ppgen.program.likelihood import Likelihood

__all__ = ["IndependentCategorical", "levels_of", "marginal"]


@dataclass(frozen=True, eq=False)
class IndependentCategorical:
    r"""One categorical per entry, estimated from counts with additive smoothing.

    .. math:: p(x) = \prod_d \theta_{d, x_d}, \qquad
              \theta_{dl} = \frac{\#\{i : x_{id} = l\} + \alpha}{n + \alpha L}

    Attributes:
        probs: ``(dims, levels)``, :math:`\theta`.
        shape: the shape of one example.
        smoothing: :math:`\alpha`, counts added to every level (1/2 is the Krichevsky-Trofimov estimator).

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> round(IndependentCategorical.fit(digits).log_prob(digits.test).bits_per_dim(), 3)
        2.43
    """

    name: ClassVar[str] = "independent categorical"

    probs: np.ndarray
    shape: tuple[int, ...]
    smoothing: float

    @classmethod
    def fit(cls, data: Dataset, *, seed: int = 0, smoothing: float = 0.5) -> IndependentCategorical:
        """Count the levels of each entry in the training set; ``seed`` is ignored.

        Raises:
            DataError: if the data is continuous.
            InvalidArgument: if ``smoothing`` is not positive.
        """
        levels = levels_of(data, cls.__name__)
        check_number("smoothing", smoothing, above=0.0, example=0.5)
        rows = data.train.reshape(len(data.train), -1)
        return cls(marginal(rows, levels, smoothing), data.shape, smoothing)

    @property
    def n_parameters(self) -> int:
        """The number of free probabilities: ``dims * (levels - 1)``."""
        dims, levels = self.probs.shape
        return dims * (levels - 1)

    def log_prob(self, x: Any) -> Likelihood:
        """The exact log probability of each example of ``x (n, *shape)``, in nats."""
        dims, levels = self.probs.shape
        rows = flat_rows(x, self.shape, levels)
        values = np.log(self.probs)[np.arange(dims), rows].sum(axis=1)
        how = f"level counts of each entry, {self.smoothing:g} added to each count"
        return Likelihood(values, "exact", "discrete", dims, how)

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` samples of levels."""
        uniform = np.random.default_rng(seed).random((n, len(self.probs), 1))
        # The level is the number of cumulative probabilities below the uniform draw; the last one is 1.
        rows = (uniform > np.cumsum(self.probs, axis=1)[:, :-1]).sum(axis=2)  # (n, dims)
        return rows.reshape(n, *self.shape)


def marginal(rows: np.ndarray, levels: int, smoothing: float) -> np.ndarray:
    """The smoothed frequency of every level of every entry, ``(dims, levels)``."""
    counts = np.stack([np.bincount(column, minlength=levels) for column in rows.T])  # (dims, levels)
    return (counts + smoothing) / (len(rows) + smoothing * levels)


def levels_of(data: Dataset, baseline: str) -> int:
    """How many levels the data has, or an error that says which baselines take continuous data."""
    if data.levels is None:
        raise DataError(
            "data",
            got="continuous data",
            expected=f"data with levels, which {baseline} is for",
            fix="Fit GaussianMixture or KernelDensity instead.",
        )
    return data.levels
