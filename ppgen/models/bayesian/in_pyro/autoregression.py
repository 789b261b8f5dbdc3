"""Autoregression: each value of a series from the K before it (Pyro)."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch

__all__ = ["autoregression"]


def autoregression(y: Any, K: int) -> None:
    r"""An autoregression of order K, given its first K values.

    .. math::
        \alpha, \beta_k \sim N(0, 10), \quad \sigma \sim C^+(2.5), \quad
        y_t \sim N\Bigl(\alpha + \sum_{k=1}^K \beta_k y_{t-k}, \sigma\Bigr) \quad \text{for } t > K

    The "AR(K)" example of the Stan User's Guide, chapter "Time-Series Models". Predictive draws are
    one step ahead: each value given the observed ones before it.

    Args:
        y: ``(T,)`` the series.
        K: the order; fewer than T.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> y = np.array([0.0, 1.0, 0.5, 1.2])
        >>> density = read_density(autoregression, {"y": y, "K": 1})
        >>> z = density.unconstrain({"alpha": 0.1, "beta": [0.5], "sigma": 0.8})
        >>> expected = scipy.stats.norm.logpdf(y[1:], 0.1 + 0.5 * y[:-1], 0.8)
        >>> bool(np.allclose(density.log_likelihood(z)["y"], expected))
        True
    """
    alpha = pyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([K]).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    lags = torch.stack([y[K - k : len(y) - k] for k in range(1, K + 1)], dim=-1)  # (T - K, K)
    with pyro.plate("time", len(y) - K):
        pyro.sample("y", dist.Normal(alpha + lags @ beta, sigma), obs=y[K:])
