"""The eight schools: partial pooling of eight noisy measurements (Pyro)."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist

__all__ = ["eight_schools", "eight_schools_centred"]


def eight_schools(sigma: Any, y: Any = None) -> None:
    r"""The non-centred hierarchical model of coaching effects in eight schools.

    .. math::
        \mu \sim N(0, 5), \quad \tau \sim C^+(5), \quad z_j \sim N(0, 1), \quad
        \theta_j = \mu + \tau z_j, \quad y_j \sim N(\theta_j, \sigma_j)

    The data are from Rubin (1981), "Estimation in parallel randomized experiments"; the non-centred
    form, whose geometry does not pinch as :math:`\tau \to 0`, is that of Betancourt and Girolami (2013,
    arXiv:1312.0906).

    Args:
        sigma: ``(J,)`` standard errors of the measured effects.
        y: ``(J,)`` measured effects, in points of the test; ``None`` to simulate them.

    Example:
        >>> import numpy as np, scipy.stats, ppgen
        >>> from ppgen.program import read_density
        >>> data = ppgen.data.load("eight_schools")
        >>> density = read_density(eight_schools, data)
        >>> z = density.unconstrain({"mu": 4.0, "tau": 3.0, "z": np.full(8, 0.5)})
        >>> expected = scipy.stats.norm.logpdf(data["y"], 4.0 + 3.0 * 0.5, data["sigma"])
        >>> bool(np.allclose(density.log_likelihood(z)["y"], expected))
        True
    """
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * z)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_centred(sigma: Any, y: Any = None) -> None:
    r"""The same model in its centred form, which no step size fits: a program to see diagnosed.

    .. math:: \theta_j \sim N(\mu, \tau)

    As :math:`\tau \to 0` the effects are pinched into the neck of a funnel (Betancourt and Girolami 2013,
    arXiv:1312.0906); ``ppgen.workflow.diagnose`` says so, and to write it as :func:`eight_schools`.

    Args:
        sigma: ``(J,)`` standard errors of the measured effects.
        y: ``(J,)`` measured effects, in points of the test; ``None`` to simulate them.

    Example:
        >>> import numpy as np, scipy.stats, ppgen
        >>> from ppgen.program import read_density
        >>> density = read_density(eight_schools_centred, ppgen.data.load("eight_schools"))
        >>> z = density.unconstrain({"mu": 4.0, "tau": 3.0, "theta": np.full(8, 5.0)})
        >>> expected = scipy.stats.norm.logpdf(5.0, 4.0, 3.0)
        >>> bool(np.allclose(density.log_prior(z)["theta"], expected))
        True
    """
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)
