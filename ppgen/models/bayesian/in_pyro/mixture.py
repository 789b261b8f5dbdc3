"""A mixture of two normal distributions (Pyro)."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints

__all__ = ["gaussian_mixture"]


def gaussian_mixture(y: Any) -> None:
    r"""Two normal distributions, which of the two each value came from being marginalised.

    .. math::
        \mu_1 < \mu_2 \sim N(0, 2), \quad \sigma_1, \sigma_2 \sim N^+(0, 2), \quad
        \theta \sim \mathrm{Beta}(5, 5), \quad
        y_n \sim \theta N(\mu_1, \sigma_1) + (1 - \theta) N(\mu_2, \sigma_2)

    Ordered means tell the two components apart; without an order the posterior has two mirrored
    modes. The example is from Betancourt's case study "Identifying Bayesian Mixture Models" (2017).

    Args:
        y: ``(N,)`` values.

    Example:
        >>> import numpy as np
        >>> from scipy.stats import norm
        >>> from ppgen.program import read_density
        >>> y = np.array([-2.0, 0.5, 3.0])
        >>> density = read_density(gaussian_mixture, {"y": y})
        >>> z = density.unconstrain({"mu": [-1.0, 2.0], "sigma": [0.5, 1.5], "theta": 0.3})
        >>> expected = np.log(0.3 * norm.pdf(y, -1.0, 0.5) + 0.7 * norm.pdf(y, 2.0, 1.5))
        >>> bool(np.allclose(density.log_likelihood(z)["y"], expected))
        True
    """
    mu = pyro.sample("mu", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    pyro.factor("mu_prior", dist.Normal(0.0, 2.0).log_prob(mu).sum())
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0).expand([2]).to_event(1))
    theta = pyro.sample("theta", dist.Beta(5.0, 5.0))
    component = dist.Categorical(torch.stack([theta, 1.0 - theta]))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.MixtureSameFamily(component, dist.Normal(mu, sigma)), obs=y)
