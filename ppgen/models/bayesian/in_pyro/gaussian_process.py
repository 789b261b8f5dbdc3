"""A Gaussian process behind counts: Poisson regression on a smooth unknown function (Pyro)."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch

__all__ = ["poisson_regression"]


def poisson_regression(x: Any, k: Any = None) -> None:
    r"""Counts whose log rate is a Gaussian process of one input, with a squared-exponential kernel.

    .. math::
        \rho \sim \mathrm{Gamma}(25, 4), \quad \alpha \sim N^+(0, 2), \quad z_i \sim N(0, 1), \quad
        f = L z, \quad L L^\top = \alpha^2 \exp\Bigl(-\frac{(x - x')^2}{2 \rho^2}\Bigr) + 10^{-10} I, \quad
        k_i \sim \mathrm{Poisson}(e^{f_i})

    Rasmussen and Williams (2006), *Gaussian Processes for Machine Learning*. Sampled is the white noise
    z, not the function f, whose values at near inputs are almost the same.

    Args:
        x: ``(n,)`` inputs.
        k: ``(n,)`` counts; ``None`` to simulate them.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> x, k, z = np.array([0.0, 3.0]), np.array([2, 5]), np.array([0.5, -0.2])
        >>> density = read_density(poisson_regression, {"x": x, "k": k})
        >>> point = density.unconstrain({"rho": 6.0, "alpha": 1.5, "z": z})
        >>> near = 1.5**2 * np.exp(-(3.0**2) / (2 * 6.0**2))
        >>> f = np.linalg.cholesky([[1.5**2, near], [near, 1.5**2]]) @ z
        >>> bool(np.allclose(density.log_likelihood(point)["k"], scipy.stats.poisson.logpmf(k, np.exp(f))))
        True
    """
    rho = pyro.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = pyro.sample("alpha", dist.HalfNormal(2.0))
    z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1))
    kernel = alpha**2 * torch.exp(-((x[:, None] - x) ** 2) / (2 * rho**2))  # (n, n)
    f = pyro.deterministic("f", torch.linalg.cholesky(kernel + 1e-10 * torch.eye(len(x))) @ z)
    with pyro.plate("point", len(x)):
        pyro.sample("k", dist.Poisson(f.exp()), obs=k)
