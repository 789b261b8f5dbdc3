"""The eight schools: partial pooling of eight noisy measurements (NumPyro)."""

from __future__ import annotations

from typing import Any

import numpyro
import numpyro.distributions as dist

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
        >>> import ppgen
        >>> data = ppgen.data.load("eight_schools")
        >>> post = ppgen.infer(eight_schools, data, seed=1, target_accept=0.95, progress=False)
        >>> bool(3.9 < post.draws["mu"].mean() < 4.9)          # reference: 4.41
        True
    """
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", len(sigma)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * z)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


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
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", len(sigma)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)
