"""Kernel density estimation: a small Gaussian on every training example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ppgen.data import Dataset
from ppgen.evaluation.baselines.density import DensityBaseline, Units, continuous_splits

__all__ = ["KernelDensity"]

_DISCRETE_BANDWIDTHS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)  # in levels
_CONTINUOUS_BANDWIDTHS = (0.02, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5)  # in standard deviations
_MOST_ROWS_TO_CHOOSE_ON = 500


@dataclass(frozen=True, eq=False)
class KernelDensity(DensityBaseline):
    r"""A Gaussian kernel on every training example.

    .. math:: p(x) = \frac 1 n \sum_i \mathcal N(x; x_i, h^2 I)

    The bandwidth :math:`h` is chosen on the validation set: in levels for discrete data, in
    standard deviations of each column for continuous data.

    (Rosenblatt, "Remarks on some nonparametric estimates of a density function", 1956.)

    Example:
        >>> from ppgen.data import as_dataset
        >>> rows = np.random.default_rng(0).normal(size=(500, 1))
        >>> data = as_dataset(rows, splits=(0.8, 0.1, 0.1))
        >>> KernelDensity.fit(data).log_prob(data.test).kind
        'exact'
    """

    name: ClassVar[str] = "kernel density"

    @classmethod
    def fit(cls, data: Dataset, *, seed: int = 0, bandwidths: tuple[float, ...] = ()) -> KernelDensity:
        """Try every bandwidth on the validation set; keep the best."""
        units = Units.of(data)
        train, valid = continuous_splits(data, units, seed)
        candidates = bandwidths or (_DISCRETE_BANDWIDTHS if data.levels else _CONTINUOUS_BANDWIDTHS)
        fits = [_fit(train, bandwidth) for bandwidth in candidates]
        best = max(range(len(fits)), key=lambda i: fits[i].score(valid[:_MOST_ROWS_TO_CHOOSE_ON]))
        unit = "levels" if data.levels else "standard deviations"
        setting = f"a Gaussian of width {candidates[best]:g} {unit} on each of {len(train):,} training points"
        return cls(fits[best], units, setting, train.size + 1)

    def _sample_vectors(self, n: int, seed: int) -> np.ndarray:
        return self.estimator.sample(n, random_state=seed)


def _fit(vectors: np.ndarray, bandwidth: float) -> Any:
    from sklearn.neighbors import KernelDensity as Estimator

    return Estimator(bandwidth=bandwidth, kernel="gaussian").fit(vectors)
