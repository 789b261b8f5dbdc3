"""A state-space model: a level that wanders, seen through noise (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = ["local_level"]


def local_level(y: Any, loc: Any, scale: Any) -> None:
    r"""The local level model: a random walk, and measurements of it.

    .. math::
        \sigma_\eta, \sigma_\varepsilon \sim N^+(0, s), \quad
        \mu_1 \sim N(m, 2 s), \quad \mu_{t+1} = \mu_t + \sigma_\eta z_t,\ z_t \sim N(0, 1), \quad
        y_t \sim N(\mu_t, \sigma_\varepsilon)

    Durbin and Koopman (2001), *Time Series Analysis by State Space Methods*, chapter 2. The steps are
    sampled as white noise: the levels themselves would be strongly correlated.

    Args:
        y: ``(T,)`` measurements.
        loc: m, about where the series lies.
        scale: s, about how far it varies.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> y = np.array([1.0, 1.5, 0.5])
        >>> density = read_density(local_level, {"y": y, "loc": 1.0, "scale": 1.0})
        >>> z = density.unconstrain(
        ...     {"sigma_level": 0.5, "sigma_noise": 0.8, "start": 0.2, "steps": np.array([1.0, -2.0])}
        ... )                                                             # level 1.4, 1.9, 0.9
        >>> expected = scipy.stats.norm.logpdf(y, [1.4, 1.9, 0.9], 0.8)
        >>> bool(np.allclose(density.log_likelihood(z)["y"], expected))
        True
    """
    sigma_level = numpyro.sample("sigma_level", dist.HalfNormal(scale))
    sigma_noise = numpyro.sample("sigma_noise", dist.HalfNormal(scale))
    start = numpyro.sample("start", dist.Normal(0.0, 1.0))  # in units of its own prior
    steps = numpyro.sample("steps", dist.Normal(0.0, 1.0).expand([len(y) - 1]).to_event(1))
    walk = jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)])
    level = numpyro.deterministic("level", loc + 2.0 * scale * start + sigma_level * walk)
    with numpyro.plate("time", len(y)):
        numpyro.sample("y", dist.Normal(level, sigma_noise), obs=y)
