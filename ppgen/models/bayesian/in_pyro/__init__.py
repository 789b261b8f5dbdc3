"""The programs of ``ppgen.models.bayesian``, written in Pyro: the same files, names, sites and densities."""

from __future__ import annotations

__all__ = [
    "autoregression",
    "eight_schools",
    "garch",
    "gaussian_process",
    "mixture",
    "predator_prey",
    "regression",
]
