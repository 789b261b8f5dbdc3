"""Bayesian models, each a plain NumPyro program for ``ppgen.infer``; ``in_pyro`` has the references in Pyro.

======================= ==================================================== ===========================
file                    programs                                             what they show
======================= ==================================================== ===========================
autoregression          ``autoregression``                                   a time series of lags
eight_schools           ``eight_schools``                                    hierarchy, non-centred
garch                   ``garch``                                            a recursion for the variance
gaussian_process        ``poisson_regression``                               a function as a latent vector
hidden_markov           ``poisson_hidden_markov``                            hidden states, marginalised
hierarchical_regression ``varying_slopes``                                   groups that differ
mixture                 ``gaussian_mixture``                                 ordered means, summed-out labels
neural_network          ``neural_network``                                   weights with priors
predator_prey           ``lotka_volterra``                                   a differential equation
probabilistic_pca       ``probabilistic_pca``                                factors, integrated out
regression              ``log_earnings``, ``kid_scores``, ``diamond_prices`` flat priors, strong correlations
state_space             ``local_level``                                      a level that wanders
topic_model             ``topic_model``                                      topics of words, marginalised
======================= ==================================================== ===========================

>>> from ppgen.models.bayesian.mixture import gaussian_mixture
"""

from __future__ import annotations

__all__ = [
    "autoregression",
    "eight_schools",
    "garch",
    "gaussian_process",
    "hidden_markov",
    "hierarchical_regression",
    "in_pyro",
    "mixture",
    "neural_network",
    "predator_prey",
    "probabilistic_pca",
    "regression",
    "state_space",
    "topic_model",
]
