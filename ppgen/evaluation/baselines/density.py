"""A density as a baseline: exact on continuous data, a dequantization bound on discrete data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ppgen.data import Dataset
from ppgen.evaluation.baselines.baseline import flat_rows, train_and_valid
from ppgen.kernels.monte_carlo import standard_error
from ppgen.program.likelihood import Likelihood

__all__ = ["DensityBaseline", "Units", "continuous_splits"]


@dataclass(frozen=True, eq=False)
class Units:
    r"""The transformation from examples to the vectors that a density is fitted to.

    Continuous data are divided by their standard deviations :math:`s`, and the density is returned in the
    data's own units: :math:`\log p(x) = \log q(x / s) - \sum_d \log s_d`. Discrete data get uniform
    noise, :math:`y = x + u` with :math:`u \sim U[0, 1)^d`; their cells have width 1, so that the units
    of :math:`y` are levels and nothing is rescaled.

    Attributes:
        shape: the shape of one example.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        scale: ``(dims,)``, :math:`s`; ones for discrete data.
    """

    shape: tuple[int, ...]
    levels: int | None
    scale: np.ndarray

    @classmethod
    def of(cls, data: Dataset) -> Units:
        """The units of a dataset's training set."""
        rows = data.train.reshape(len(data.train), -1)
        return cls(data.shape, data.levels, np.ones(data.dims) if data.levels else rows.std(axis=0))

    def vectors(self, rows: np.ndarray, copies: int, rng: np.random.Generator) -> np.ndarray:
        """Flat examples ``(n, dims)`` as vectors ``(copies, n, dims)``, each copy with its own noise."""
        if self.levels is None:
            return (rows / self.scale)[None]
        return rows + rng.random((copies, *rows.shape))

    def rows(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors ``(n, dims)`` as examples ``(n, *shape)``; a discrete entry is its cell."""
        if self.levels is None:
            rows = vectors * self.scale
        else:
            rows = np.clip(np.floor(vectors), 0, self.levels - 1).astype(np.int64)
        return rows.reshape(len(rows), *self.shape)


@dataclass(frozen=True, eq=False)
class DensityBaseline:
    r"""A scikit-learn density with the interface of a model.

    On continuous data its log density is exact. On discrete data it is averaged over dequantization
    noise, which by Jensen's inequality bounds the probability of the cell from below (Theis, van den
    Oord and Bethge, "A note on the evaluation of generative models", 2015, arXiv:1511.01844):

    .. math:: \mathbb E_u \log q(x + u) \le \log \int_{[0,1)^d} q(x + u)\, du = \log P(x)

    Attributes:
        estimator: a fitted scikit-learn density.
        units: how examples become its vectors.
        setting: a description of the settings chosen on the validation set.
        n_parameters: the number of fitted parameters.
    """

    name: ClassVar[str] = "density"

    estimator: Any
    units: Units
    setting: str
    n_parameters: int

    def log_prob(self, x: Any, *, noise: int = 4, seed: int = 0) -> Likelihood:
        """The log density of each example of ``x (n, *shape)`` in nats, or a lower bound for discrete data.

        Args:
            x: examples like those it was fitted to.
            noise: how many draws of dequantization noise to average over.
            seed: the seed of the noise.

        Raises:
            DataError: if the examples have another shape or lie outside the levels.
        """
        rows = flat_rows(x, self.units.shape, self.units.levels)
        vectors = self.units.vectors(rows, noise, np.random.default_rng(seed))  # (noise, n, dims)
        draws = np.stack([self.estimator.score_samples(copy) for copy in vectors])  # (noise, n)
        dims = rows.shape[1]
        if self.units.levels is None:
            values = draws[0] - np.log(self.units.scale).sum()
            return Likelihood(values, "exact", "continuous", dims, self.setting)
        how = f"{self.setting}; uniform dequantization, mean of {noise} draws"
        stderr = standard_error(draws, axis=0) if noise > 1 else None
        return Likelihood(draws.mean(axis=0), "lower_bound", "discrete", dims, how, stderr)

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values."""
        return self.units.rows(self._sample_vectors(n, seed))

    def _sample_vectors(self, n: int, seed: int) -> np.ndarray:
        raise NotImplementedError


def continuous_splits(data: Dataset, units: Units, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors to fit to ``(copies * n, dims)``, and those to choose settings on ``(m, dims)``."""
    train, valid = train_and_valid(data)
    rng = np.random.default_rng(seed)
    # Several noisy copies of an example fill its cell; large data do so with many examples instead.
    copies = 4 if train.size <= 1_000_000 else 1
    flat = units.vectors(train, copies, rng).reshape(-1, train.shape[1])
    return flat, units.vectors(valid, 1, rng)[0]
