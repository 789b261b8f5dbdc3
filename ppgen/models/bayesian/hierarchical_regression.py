"""Regression in groups whose lines differ, but not without bound (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = ["varying_slopes"]


def varying_slopes(x: Any, group: Any, groups: int, y: Any = None) -> None:
    r"""A line a group; intercepts and slopes come from one bivariate normal that is learned with them.

    .. math::
        \beta_k \sim N(0, 5), \quad \tau_k \sim N^+(0, 2), \quad L L^\top \sim \mathrm{LKJ}(2), \quad
        z_j \sim N(0, I), \quad (a_j, b_j) = \beta + \mathrm{diag}(\tau) L z_j, \quad
        \sigma \sim N^+(0, 2), \quad y_i \sim N(a_{j(i)} + b_{j(i)} x_i, \sigma)

    Gelman and Hill (2007), *Data Analysis Using Regression and Multilevel/Hierarchical Models*, chapter
    13; the prior of the correlation is that of Lewandowski, Kurowicka and Joe (2009), "Generating random
    correlation matrices based on vines and extended onion method". The form is non-centred: groups with
    few rows would otherwise pinch the posterior where a :math:`\tau` is small.

    Args:
        x: ``(n,)`` the predictor, best on a scale of about 1.
        group: ``(n,)`` the group of each example, 0 to ``groups - 1``.
        groups: how many groups there are.
        y: ``(n,)`` the response, best on a scale of about 1; ``None`` to simulate it.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> data = {"x": np.array([0.5, -1.0]), "y": np.array([1.0, 0.0])}
        >>> data |= {"group": np.array([1, 0]), "groups": 2}
        >>> density = read_density(varying_slopes, data)
        >>> values = {"beta": [1.0, 2.0], "tau": [0.5, 0.3], "sigma": 0.7, "z": [[0.1, 0.2], [-1.0, 0.4]]}
        >>> z = density.unconstrain(values | {"correlation": np.linalg.cholesky([[1.0, 0.6], [0.6, 1.0]])})
        >>> a, b = 1.0 - 0.5, 2.0 + 0.3 * (-0.6 + 0.8 * 0.4)         # of group 1
        >>> expected = scipy.stats.norm.logpdf(1.0, a + b * 0.5, 0.7)
        >>> bool(np.isclose(density.log_likelihood(z)["y"][0], expected))
        True
    """
    beta = numpyro.sample("beta", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    tau = numpyro.sample("tau", dist.HalfNormal(2.0).expand([2]).to_event(1))
    correlation = numpyro.sample("correlation", dist.LKJCholesky(2, concentration=2.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2.0))
    with numpyro.plate("group", groups):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    lines = numpyro.deterministic("lines", beta + z @ (tau[:, None] * correlation).T)  # (groups, 2)
    intercept, slope = jnp.moveaxis(lines[group], -1, 0)
    with numpyro.plate("row", len(x)):
        numpyro.sample("y", dist.Normal(intercept + slope * x, sigma), obs=y)
