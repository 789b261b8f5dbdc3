"""Bayesian models, each a plain NumPyro program for ``ppgen.infer``; ``in_pyro`` holds the same in Pyro.

================== ======================================================= ==============================
file               programs                                                what they show
================== ======================================================= ==============================
autoregression     ``autoregression``                                      a time series of lags
eight_schools      ``eight_schools``                                       hierarchy, non-centred
garch              ``garch``                                               a recursion for the variance
gaussian_process   ``poisson_regression``                                  a function as a latent vector
mixture            ``gaussian_mixture``                                    ordered means, summed-out labels
predator_prey      ``lotka_volterra``                                      a differential equation
regression         ``log_earnings``, ``kid_scores``, ``diamond_prices``    flat priors, strong correlations
================== ======================================================= ==============================

>>> from ppgen.models.bayesian.mixture import gaussian_mixture
"""

from __future__ import annotations

__all__ = [
    "autoregression",
    "eight_schools",
    "garch",
    "gaussian_process",
    "in_pyro",
    "mixture",
    "predator_prey",
    "regression",
]
