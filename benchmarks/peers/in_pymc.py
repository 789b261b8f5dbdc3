"""The nine posteriors in PyMC, their observations as ``pm.Data`` so that new ones compile nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

__all__ = ["build"]


def build(posterior: str, data: Mapping[str, Any]) -> pm.Model:
    """The model of a posterior on the arguments of its ppgen program."""
    return _MODELS[posterior](**data)


def _eight_schools(sigma, y):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        z = pm.Normal("z", 0, 1, shape=len(y))
        theta = pm.Deterministic("theta", mu + tau * z)
        pm.Normal("obs", theta, sigma, observed=pm.Data("y", y))
    return model


def _autoregression(y, K):
    with pm.Model() as model:
        series = pm.Data("y", y)
        alpha = pm.Normal("alpha", 0, 10)
        beta = pm.Normal("beta", 0, 10, shape=K)
        sigma = pm.HalfCauchy("sigma", 2.5)
        mean = alpha + sum(beta[k - 1] * series[K - k : len(y) - k] for k in range(1, K + 1))
        pm.Normal("obs", mean, sigma, observed=series[K:])
    return model


def _garch(y, sigma1):
    first = pt.as_tensor(np.square(sigma1), dtype="float64")
    with pm.Model() as model:
        series = pm.Data("y", y)
        mu = pm.Flat("mu")
        alpha0 = pm.HalfFlat("alpha0")
        alpha1 = pm.Beta("alpha1", 1, 2)
        beta1 = pm.Uniform("beta1", 0, 1 - alpha1)
        later = pytensor.scan(
            lambda y, variance, mu, alpha0, alpha1, beta1: alpha0 + alpha1 * (y - mu) ** 2 + beta1 * variance,
            sequences=[series[:-1]],
            outputs_info=[first],
            non_sequences=[mu, alpha0, alpha1, beta1],
            return_updates=False,
        )
        variance = pt.concatenate([first[None], later])
        pm.Normal("obs", mu, pt.sqrt(variance), observed=series)
    return model


def _poisson_regression(x, k):
    squares = np.subtract.outer(x, x).astype(float) ** 2
    with pm.Model() as model:
        rho = pm.Gamma("rho", 25, 4)
        alpha = pm.HalfNormal("alpha", 2)
        z = pm.Normal("z", 0, 1, shape=len(x))
        kernel = alpha**2 * pt.exp(-squares / (2 * rho**2)) + 1e-10 * np.eye(len(x))
        f = pm.Deterministic("f", pt.linalg.cholesky(kernel) @ z)
        pm.Poisson("obs", pt.exp(f), observed=pm.Data("k", k))
    return model


def _gaussian_mixture(y):
    with pm.Model() as model:
        ordered = pm.distributions.transforms.ordered
        mu = pm.Normal("mu", 0, 2, shape=2, transform=ordered, initval=[-1.0, 1.0])
        sigma = pm.HalfNormal("sigma", 2, shape=2)
        theta = pm.Beta("theta", 5, 5)
        weights = pt.stack([theta, 1 - theta])
        pm.NormalMixture("obs", weights, mu, sigma, observed=pm.Data("y", y))
    return model


def _log_earnings(height, male, log_earn):
    with pm.Model() as model:
        beta = pm.Flat("beta", shape=4)
        sigma = pm.HalfFlat("sigma")
        mean = beta[0] + beta[1] * height + beta[2] * male + beta[3] * (height * male)
        pm.Normal("obs", mean, sigma, observed=pm.Data("log_earn", log_earn))
    return model


def _kid_scores(mom_hs, mom_iq, kid_score):
    with pm.Model() as model:
        beta = pm.Flat("beta", shape=4)
        sigma = pm.HalfCauchy("sigma", 2.5)
        mean = beta[0] + beta[1] * mom_hs + beta[2] * mom_iq + beta[3] * (mom_hs * mom_iq)
        pm.Normal("obs", mean, sigma, observed=pm.Data("kid_score", kid_score))
    return model


def _diamond_prices(X, Y):
    centred = X[:, 1:] - X[:, 1:].mean(0)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=centred.shape[1])
        intercept = pm.StudentT("Intercept", nu=3, mu=8, sigma=10)
        sigma = pm.HalfStudentT("sigma", nu=3, sigma=10)
        pm.Normal("obs", intercept + pt.as_tensor(centred) @ b, sigma, observed=pm.Data("Y", Y))
    return model


def _lotka_volterra(ts, y_init, y, steps=8):
    """The equations by the same Runge–Kutta steps as in ppgen's programs."""
    widths = np.repeat(np.diff(ts, prepend=0.0) / steps, steps)
    means, scales = np.array([1.0, 0.05, 1.0, 0.05]), np.array([0.5, 0.05, 0.5, 0.05])
    with pm.Model() as model:
        theta = pm.TruncatedNormal("theta", means, scales, lower=0, shape=4)
        z_init = pm.LogNormal("z_init", np.log(10), 1, shape=2)
        sigma = pm.LogNormal("sigma", -1, 1, shape=2)

        def step(h, log_z, theta):
            def slope(log_z):
                growth, interaction = pt.stack([theta[0], -theta[2]]), pt.stack([-theta[1], theta[3]])
                return growth + interaction * pt.exp(log_z)[::-1]

            k1 = slope(log_z)
            k2 = slope(log_z + h / 2 * k1)
            k3 = slope(log_z + h / 2 * k2)
            k4 = slope(log_z + h * k3)
            return log_z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        path = pytensor.scan(
            step,
            sequences=[pt.as_tensor(widths)],
            outputs_info=[pt.log(z_init)],
            non_sequences=[theta],
            return_updates=False,
        )
        pm.LogNormal("start", pt.log(z_init), sigma, observed=y_init)
        pm.LogNormal("obs", path[steps - 1 :: steps], sigma, observed=pm.Data("y", y))
    return model


_MODELS = {
    "eight_schools_noncentered": _eight_schools,
    "arK": _autoregression,
    "garch11": _garch,
    "gp_pois_regr": _poisson_regression,
    "low_dim_gauss_mix": _gaussian_mixture,
    "logearn_interaction": _log_earnings,
    "kidscore_interaction": _kid_scores,
    "diamonds": _diamond_prices,
    "lotka_volterra": _lotka_volterra,
}
