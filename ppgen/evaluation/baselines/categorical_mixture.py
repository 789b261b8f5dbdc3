"""A mixture of independent categoricals (a latent class model), fitted by EM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from ppgen.data import Dataset
from ppgen.evaluation.baselines.baseline import flat_rows, train_and_valid
from ppgen.evaluation.baselines.independent import levels_of, marginal
from ppgen.evaluation.scikit_learn import quiet_fits
from ppgen.program.likelihood import Likelihood

__all__ = ["CategoricalMixture"]

_SIZES = (1, 5, 10, 20, 40)
_SMOOTHINGS = (4.0, 16.0)


@dataclass(frozen=True, eq=False)
class CategoricalMixture:
    r"""A mixture of independent categoricals.

    .. math:: p(x) = \sum_k w_k \prod_d \theta_{k d, x_d}

    Fitted by expectation–maximisation (Dempster, Laird and Rubin, "Maximum likelihood from incomplete
    data via the EM algorithm", 1977) from a k-means start. Each component's counts are smoothed by
    :math:`\alpha` pseudo-examples of the marginal distribution, so that a rare component falls back on the
    independent categorical.

    Attributes:
        weights: ``(k,)``, :math:`w`.
        probs: ``(k, dims, levels)``, :math:`\theta`.
        shape: the shape of one example.
        smoothing: :math:`\alpha`.

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> mixture = CategoricalMixture.fit(digits, sizes=(10,), smoothings=(16.0,))
        >>> mixture.log_prob(digits.test).bits_per_dim() < 2.25
        True
    """

    name: ClassVar[str] = "categorical mixture"

    weights: np.ndarray
    probs: np.ndarray
    shape: tuple[int, ...]
    smoothing: float

    @classmethod
    def fit(
        cls,
        data: Dataset,
        *,
        seed: int = 0,
        sizes: tuple[int, ...] = _SIZES,
        smoothings: tuple[float, ...] = _SMOOTHINGS,
    ) -> CategoricalMixture:
        """Fit one mixture for every size and smoothing; keep the best on the validation set.

        Raises:
            DataError: if the data is continuous.
        """
        levels = levels_of(data, cls.__name__)
        train, valid = train_and_valid(data)
        starts = {size: _k_means(train, size, seed) for size in sizes if size <= len(train)}
        candidates = [
            cls(*_expectation_maximization(train, levels, start, smoothing), data.shape, smoothing)
            for start in starts.values()
            for smoothing in smoothings
        ]
        encoded = _one_hot(valid, levels)
        return max(candidates, key=lambda mixture: mixture._log_joint(encoded)[0].mean())

    @property
    def n_parameters(self) -> int:
        """The number of free weights and probabilities."""
        size, dims, levels = self.probs.shape
        return size - 1 + size * dims * (levels - 1)

    def log_prob(self, x: Any) -> Likelihood:
        """The exact log probability of each example of ``x (n, *shape)``, in nats."""
        size, dims, levels = self.probs.shape
        values, _ = self._log_joint(_one_hot(flat_rows(x, self.shape, levels), levels))
        how = f"{size} components by EM, counts smoothed by {self.smoothing:g} rows of the marginal"
        return Likelihood(values, "exact", "discrete", dims, how)

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` samples of levels."""
        rng = np.random.default_rng(seed)
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        cumulative = np.cumsum(self.probs[component], axis=2)[:, :, :-1]  # (n, dims, levels - 1)
        rows = (rng.random((n, self.probs.shape[1], 1)) > cumulative).sum(axis=2)  # (n, dims)
        return rows.reshape(n, *self.shape)

    def _log_joint(self, encoded: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        return _log_joint(encoded, self.weights, self.probs)


def _expectation_maximization(
    rows: np.ndarray, levels: int, responsibilities: np.ndarray, smoothing: float, steps: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    encoded = _one_hot(rows, levels)  # (n, dims * levels)
    prior = smoothing * marginal(rows, levels, 0.5)  # (dims, levels)
    last = -np.inf
    for _ in range(steps):
        weights, probs = _maximize(encoded, responsibilities, prior)
        log_p, log_joint = _log_joint(encoded, weights, probs)
        responsibilities = np.exp(log_joint - log_p[:, None])  # (n, k)
        if log_p.mean() - last < 1e-3:
            break
        last = log_p.mean()
    return weights, probs


def _maximize(
    encoded: csr_matrix, responsibilities: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n, size = responsibilities.shape
    weights = (responsibilities.sum(axis=0) + 1) / (n + size)  # one pseudo-example each: no component dies
    counts = (encoded.T @ responsibilities).T.reshape(size, *prior.shape) + prior  # (k, dims, levels)
    return weights, counts / counts.sum(axis=2, keepdims=True)


def _log_joint(encoded: csr_matrix, weights: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    log_probs = np.log(probs).reshape(len(weights), -1)  # (k, dims * levels)
    log_joint = encoded @ log_probs.T + np.log(weights)  # (n, k)
    return logsumexp(log_joint, axis=1), log_joint


def _one_hot(rows: np.ndarray, levels: int) -> csr_matrix:
    # Sparse, as only one entry in `levels` is 1: this takes no more memory than the data.
    n, dims = rows.shape
    columns = (rows + levels * np.arange(dims)).ravel()
    starts = np.arange(0, n * dims + 1, dims)
    return csr_matrix((np.ones(n * dims), columns, starts), shape=(n, dims * levels))


def _k_means(rows: np.ndarray, size: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    with quiet_fits():
        labels = KMeans(size, n_init=1, random_state=seed).fit_predict(rows)
    return np.eye(size)[labels]  # (n, k)
