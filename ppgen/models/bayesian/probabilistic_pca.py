"""Probabilistic principal component analysis: many columns moved by a few factors (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = ["probabilistic_pca"]


def probabilistic_pca(x: Any, factors: int) -> None:
    r"""Rows that are a linear map of a few standard normal factors, plus noise of one size.

    .. math::
        x_i = \mu + W z_i + \varepsilon_i, \quad z_i \sim N(0, I_q), \quad
        \varepsilon_i \sim N(0, \sigma^2 I_d) \quad \Rightarrow \quad x_i \sim N(\mu, W W^\top + \sigma^2 I_d)

    with :math:`\mu_j \sim N(0, 2)`, :math:`\sigma \sim N^+(0, 1)`, and of the loadings
    :math:`W_{jk} \sim N(0, 1)` below the diagonal, :math:`W_{kk} \sim N^+(0, 1)` and zeros above it. The
    factors are integrated out in closed form. Tipping and Bishop (1999), "Probabilistic principal component
    analysis". The data cannot tell a rotation of the factors from the factors; the triangle of Geweke and
    Zhou (1996), "Measuring the pricing error of the arbitrage pricing theory", picks one.

    Args:
        x: ``(n, d)`` rows, best with columns of standard deviation 1.
        factors: q, how many; fewer than d.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> x = np.array([[0.5, -1.0], [1.0, 0.2]])
        >>> density = read_density(probabilistic_pca, {"x": x, "factors": 1})
        >>> z = density.unconstrain({"mu": [0.1, 0.2], "diagonal": [0.8], "below": [-0.5], "sigma": 0.6})
        >>> W = np.array([[0.8], [-0.5]])
        >>> expected = scipy.stats.multivariate_normal([0.1, 0.2], W @ W.T + 0.36 * np.eye(2)).logpdf(x)
        >>> bool(np.allclose(density.log_likelihood(z)["x"], expected))
        True
    """
    n, d = x.shape
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0).expand([d]).to_event(1))
    diagonal = numpyro.sample("diagonal", dist.HalfNormal(1.0).expand([factors]).to_event(1))
    rows, columns = jnp.tril_indices(d, -1, factors)
    below = numpyro.sample("below", dist.Normal(0.0, 1.0).expand([len(rows)]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    W = jnp.zeros((d, factors)).at[rows, columns].set(below)
    W = numpyro.deterministic("W", W + jnp.eye(d, factors) * diagonal)
    with numpyro.plate("row", n):
        numpyro.sample("x", dist.LowRankMultivariateNormal(mu, W, jnp.full(d, sigma**2)), obs=x)
