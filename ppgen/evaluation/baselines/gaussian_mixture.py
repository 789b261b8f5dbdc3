"""A mixture of Gaussians."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ppgen.data import Dataset
from ppgen.evaluation.baselines.density import DensityBaseline, Units, continuous_splits
from ppgen.evaluation.scikit_learn import quiet_fits

__all__ = ["GaussianMixture"]

Covariance = Literal["full", "diag"]

_SIZES = (1, 5, 10, 20, 40)
_MOST_DIMS_FOR_FULL = 128  # a full covariance costs dims^2 numbers per component and dims^3 operations


@dataclass(frozen=True, eq=False)
class GaussianMixture(DensityBaseline):
    r"""A mixture of Gaussians with full or diagonal covariances, fitted by EM.

    .. math:: p(x) = \sum_k w_k\, \mathcal N(x; \mu_k, \Sigma_k)

    The number of components and the form of the covariances are chosen on the validation set.

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> ll = GaussianMixture.fit(digits, sizes=(20,)).log_prob(digits.test)
        >>> ll.kind, ll.space, 2.5 < ll.bits_per_dim() < 2.8
        ('lower_bound', 'discrete', True)
    """

    name: ClassVar[str] = "Gaussian mixture"

    @classmethod
    def fit(cls, data: Dataset, *, seed: int = 0, sizes: tuple[int, ...] = _SIZES) -> GaussianMixture:
        """Fit one mixture for every size and form; keep the best on the validation set."""
        units = Units.of(data)
        train, valid = continuous_splits(data, units, seed)
        forms: tuple[Covariance, ...] = ("full", "diag") if data.dims <= _MOST_DIMS_FOR_FULL else ("diag",)
        settings = [(size, form) for size in sizes if size <= len(train) for form in forms]
        fits = [_fit(train, size, form, data.levels, seed) for size, form in settings]
        best = max(range(len(fits)), key=lambda i: fits[i].score(valid))
        size, form = settings[best]
        words = {"full": "full", "diag": "diagonal"}[form]
        return cls(
            fits[best],
            units,
            f"{size} Gaussian{'s' if size > 1 else ''} with {words} covariance by EM",
            _count(size, form, data.dims),
        )

    def _sample_vectors(self, n: int, seed: int) -> np.ndarray:
        # Its `sample` draws from its own seed; the copy leaves this baseline unchanged.
        vectors, _ = copy.copy(self.estimator).set_params(random_state=seed).sample(n)
        return np.random.default_rng(seed).permutation(vectors)  # they come sorted by component


def _fit(vectors: np.ndarray, size: int, form: Covariance, levels: int | None, seed: int) -> Any:
    from sklearn.mixture import GaussianMixture as Estimator

    # The ridge is far below the 1/12 of dequantization noise, and below 1 for standardised columns.
    ridge = 1e-2 if levels else 1e-4
    estimator = Estimator(
        size, covariance_type=form, reg_covar=ridge, max_iter=100, tol=1e-2, random_state=seed
    )
    with quiet_fits():
        return estimator.fit(vectors)


def _count(size: int, form: Covariance, dims: int) -> int:
    covariance = dims * (dims + 1) // 2 if form == "full" else dims
    return size - 1 + size * (dims + covariance)
