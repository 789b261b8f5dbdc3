"""GARCH: a series whose variance depends on its past surprises (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

__all__ = ["garch"]


def garch(y: Any, sigma1: Any) -> None:
    r"""The generalised autoregressive conditional heteroskedastic model, GARCH(1, 1).

    .. math::
        \sigma_t^2 = \alpha_0 + \alpha_1 (y_{t-1} - \mu)^2 + \beta_1 \sigma_{t-1}^2, \quad
        y_t \sim N(\mu, \sigma_t)

    The prior is flat where the variance is positive and does not explode: :math:`\mu \in \mathbb{R}`,
    :math:`\alpha_0 > 0`, and :math:`(\alpha_1, \beta_1)` in the triangle :math:`\alpha_1 + \beta_1 < 1`.
    Uniform on that triangle means :math:`\alpha_1 \sim \mathrm{Beta}(1, 2)` and
    :math:`\beta_1 \sim U(0, 1 - \alpha_1)`. Bollerslev (1986), "Generalized autoregressive conditional
    heteroskedasticity"; the form is that of the Stan User's Guide. Predictive draws are one step ahead.

    Args:
        y: ``(T,)`` the series.
        sigma1: the standard deviation of its first value.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> y = np.array([0.2, 1.0, -0.5])
        >>> density = read_density(garch, {"y": y, "sigma1": 0.5})
        >>> z = density.unconstrain({"mu": 0.0, "alpha0": 0.4, "alpha1": 0.5, "beta1": 0.2})
        >>> variance = [0.25, 0.4 + 0.5 * 0.04 + 0.2 * 0.25, 0.4 + 0.5 * 1.0 + 0.2 * 0.47]
        >>> expected = scipy.stats.norm.logpdf(y, 0.0, np.sqrt(variance))
        >>> bool(np.allclose(density.log_likelihood(z)["y"], expected))
        True
    """
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
    alpha0 = numpyro.sample("alpha0", dist.ImproperUniform(constraints.positive, (), ()))
    alpha1 = numpyro.sample("alpha1", dist.Beta(1.0, 2.0))
    beta1 = numpyro.sample("beta1", dist.Uniform(0.0, 1.0 - alpha1))

    def next_variance(variance: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        variance = alpha0 + alpha1 * (y - mu) ** 2 + beta1 * variance
        return variance, variance

    first = jnp.square(sigma1)
    _, later = jax.lax.scan(next_variance, first, y[:-1])
    sigma = jnp.sqrt(jnp.append(first, later))
    with numpyro.plate("time", len(y)):
        numpyro.sample("y", dist.Normal(mu, sigma), obs=y)
