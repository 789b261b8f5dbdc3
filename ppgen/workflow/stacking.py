"""How much each of several models should count in a common prediction."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

__all__ = ["mixture_elpd", "pseudo_bma", "stack"]

_RESAMPLES = 2000


def stack(elpd: np.ndarray) -> np.ndarray:
    r"""The weights under which the mixture of the models predicts left-out observations best.

    .. math:: \max_w \sum_i \log \sum_k w_k\, p(y_i \mid y_{-i}, M_k), \quad w_k \ge 0, \quad \sum_k w_k = 1

    ArviZ's ``compare`` does the same; here densities of an observation are taken relative to the best
    model's, so that none underflows.

    Args:
        elpd: ``(models, n)``, log densities of left-out observations.

    References:
        Yao, Vehtari, Simpson and Gelman, *Using stacking to average Bayesian predictive distributions*,
        arXiv:1704.02030.

    Example:
        >>> stack(np.log([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]])).round(2)      # each is best somewhere
        array([0.71, 0.29])
    """
    models = len(elpd)
    if models == 1:
        return np.ones(1)
    relative = np.exp(elpd - elpd.max(axis=0))  # (models, n), the best is 1
    tiny = np.finfo(float).tiny

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(w @ relative, tiny)
        return -float(np.log(mixed).mean()), -(relative / mixed).mean(axis=1)

    found = minimize(
        loss,
        np.full(models, 1 / models),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(models)},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    weights = np.clip(found.x, 0.0, None)
    return np.asarray(weights / weights.sum())


def pseudo_bma(elpd: np.ndarray, seed: int = 0) -> np.ndarray:
    r"""Pseudo-BMA+ weights: :math:`w_k \propto \exp(\mathrm{elpd}_k)`, averaged over the Bayesian bootstrap.

    Unlike stacking these weigh each model by itself; the bootstrap keeps a small lead from taking all.

    Args:
        elpd: ``(models, n)``, log densities of left-out observations.
        seed: seed of the bootstrap.

    References:
        Yao, Vehtari, Simpson and Gelman, arXiv:1704.02030, section 3.4.

    Example:
        >>> pseudo_bma(np.zeros((2, 10)))
        array([0.5, 0.5])
    """
    n = elpd.shape[1]
    shares = np.random.default_rng(seed).dirichlet(np.ones(n), size=_RESAMPLES)  # (resamples, n)
    return np.asarray(softmax(n * shares @ elpd.T, axis=1).mean(axis=0))


def mixture_elpd(elpd: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The log density of each left-out observation ``(n,)`` under the weighted mixture of the models."""
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(elpd + np.log(weights)[:, None], axis=0))
