"""Linear regressions: two with flat priors and an interaction, one with many correlated columns (Pyro)."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints

__all__ = ["diamond_prices", "kid_scores", "log_earnings"]


def log_earnings(height: Any, male: Any, log_earn: Any = None) -> None:
    r"""Log earnings by height and sex, under flat priors.

    .. math::
        \log \mathrm{earn} \sim N(\beta_1 + \beta_2 \mathrm{height} + \beta_3 \mathrm{male}
        + \beta_4 \mathrm{height} \cdot \mathrm{male}, \sigma)

    Gelman and Hill (2007), *Data Analysis Using Regression and Multilevel/Hierarchical Models*, chapter 4.
    Nothing is centred or scaled, so the coefficients are strongly correlated and of very unlike sizes.

    Args:
        height: ``(N,)`` in inches.
        male: ``(N,)`` 0 or 1.
        log_earn: ``(N,)`` natural logarithm of the yearly earnings; ``None`` to simulate them.

    Example:
        >>> import numpy as np
        >>> import ppgen
        >>> rng = np.random.default_rng(0)
        >>> height, male = rng.normal(67, 4, size=50), rng.integers(2, size=50)
        >>> data = {"height": height, "male": male, "log_earn": 6 + 0.05 * height + rng.normal(size=50)}
        >>> density = ppgen.program.read_density(log_earnings, data)
        >>> z = density.unconstrain({"beta": [6.0, 0.05, 0.0, 0.0], "sigma": 1.0})
        >>> squares = (data["log_earn"] - 6 - 0.05 * height) ** 2
        >>> bool(np.isclose(density.log_prob(z), -squares.sum() / 2 - 25 * np.log(2 * np.pi)))
        True
    """
    beta = pyro.sample("beta", dist.ImproperUniform(constraints.real_vector, (), (4,)))
    sigma = pyro.sample("sigma", dist.ImproperUniform(constraints.positive, (), ()))
    mean = beta[0] + beta[1] * height + beta[2] * male + beta[3] * height * male
    with pyro.plate("person", len(height)):
        pyro.sample("log_earn", dist.Normal(mean, sigma), obs=log_earn)


def kid_scores(mom_hs: Any, mom_iq: Any, kid_score: Any = None) -> None:
    r"""Children's test scores by their mothers' schooling and IQ, under flat priors on the coefficients.

    .. math::
        \sigma \sim C^+(2.5), \quad \mathrm{kid\_score} \sim N(\beta_1 + \beta_2 \mathrm{mom\_hs}
        + \beta_3 \mathrm{mom\_iq} + \beta_4 \mathrm{mom\_hs} \cdot \mathrm{mom\_iq}, \sigma)

    Gelman and Hill (2007), *Data Analysis Using Regression and Multilevel/Hierarchical Models*, chapter 3.

    Args:
        mom_hs: ``(N,)`` 1 if the mother finished high school, else 0.
        mom_iq: ``(N,)`` the mother's IQ.
        kid_score: ``(N,)`` the child's score; ``None`` to simulate it.

    Example:
        >>> import numpy as np
        >>> from scipy.stats import halfcauchy, norm
        >>> from ppgen.program import read_density
        >>> data = {"mom_hs": np.array([0, 1]), "mom_iq": np.array([90.0, 110.0]), "kid_score": [65.0, 98.0]}
        >>> density = read_density(kid_scores, data)
        >>> z = density.unconstrain({"beta": [10.0, 5.0, 0.6, 0.1], "sigma": 18.0})
        >>> expected = norm.logpdf([65.0, 98.0], [10 + 0.6 * 90, 15 + 0.7 * 110], 18.0).sum()
        >>> expected += halfcauchy.logpdf(18.0, scale=2.5) + np.log(18.0)     # the Jacobian of log sigma
        >>> bool(np.isclose(density.log_prob(z), expected))
        True
    """
    beta = pyro.sample("beta", dist.ImproperUniform(constraints.real_vector, (), (4,)))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    mean = beta[0] + beta[1] * mom_hs + beta[2] * mom_iq + beta[3] * mom_hs * mom_iq
    with pyro.plate("child", len(mom_hs)):
        pyro.sample("kid_score", dist.Normal(mean, sigma), obs=kid_score)


def diamond_prices(X: Any, Y: Any = None) -> None:
    r"""Log prices of diamonds by many strongly correlated columns, each centred.

    .. math::
        b_k \sim N(0, 1), \quad a \sim \mathrm{StudentT}(3, 8, 10), \quad
        \sigma \sim \mathrm{StudentT}^+(3, 0, 10), \quad Y \sim N(a + (X - \bar X) b, \sigma)

    The model that brms (Bürkner 2017, doi:10.18637/jss.v080.i01) writes for this regression. ``Intercept``
    is a, the mean at average columns; ``b_Intercept`` is the one of the columns as they are.

    Args:
        X: ``(N, K)`` the design, its first column 1.
        Y: ``(N,)`` log prices; ``None`` to simulate them.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> X, Y = np.array([[1.0, 2.0], [1.0, 4.0]]), np.array([7.0, 9.5])
        >>> density = read_density(diamond_prices, {"X": X, "Y": Y})
        >>> z = density.unconstrain({"b": [0.5], "Intercept": 8.0, "sigma": 0.7})
        >>> expected = scipy.stats.norm.logpdf(Y, [7.5, 8.5], 0.7)
        >>> bool(np.allclose(density.log_likelihood(z)["Y"], expected))
        True
    """
    means = X[:, 1:].mean(0)
    b = pyro.sample("b", dist.Normal(0.0, 1.0).expand([len(means)]).to_event(1))
    intercept = pyro.sample("Intercept", dist.StudentT(3.0, 8.0, 10.0))
    sigma = pyro.sample("sigma", dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 10.0)))
    b_intercept = pyro.deterministic("b_Intercept", intercept - means @ b)
    with pyro.plate("diamond", len(X)):
        pyro.sample("Y", dist.Normal(X @ torch.cat([b_intercept[None], b]), sigma), obs=Y)
