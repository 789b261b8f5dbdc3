"""The nine reference posteriors as programs: both languages, and formulas written apart from them."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.infer
import pyro.infer
import pytest
import scipy.linalg
import torch
from scipy.integrate import solve_ivp
from scipy.stats import (
    beta,
    gamma,
    halfcauchy,
    halfnorm,
    kstest,
    lognorm,
    norm,
    poisson,
    t,
    truncnorm,
)

from ppgen.models.bayesian.in_pyro.predator_prey import PositiveNormal
from ppgen.program import read_density, read_sites

# -- the log densities, from the README of the posteriors --------------------------------------------------


def eight_schools(x, sigma, y):
    prior = norm.logpdf(x["mu"], 0, 5) + halfcauchy.logpdf(x["tau"], scale=5) + norm.logpdf(x["z"]).sum()
    return prior + norm.logpdf(y, x["mu"] + x["tau"] * x["z"], sigma).sum()


def autoregression(x, y, K):
    prior = norm.logpdf(x["alpha"], 0, 10) + norm.logpdf(x["beta"], 0, 10).sum()
    means = [x["alpha"] + sum(x["beta"][k - 1] * y[i - k] for k in range(1, K + 1)) for i in range(K, len(y))]
    return prior + halfcauchy.logpdf(x["sigma"], scale=2.5) + norm.logpdf(y[K:], means, x["sigma"]).sum()


def garch(x, y, sigma1):
    total, sigma = np.log(2), sigma1  # flat on a triangle of area 1/2
    for i, value in enumerate(y):
        if i > 0:
            squares = x["alpha1"] * (y[i - 1] - x["mu"]) ** 2 + x["beta1"] * sigma**2
            sigma = np.sqrt(x["alpha0"] + squares)
        total += norm.logpdf(value, x["mu"], sigma)
    return total


def poisson_regression(points, x, k):
    prior = gamma.logpdf(points["rho"], 25, scale=1 / 4) + halfnorm.logpdf(points["alpha"], scale=2)
    differences = np.subtract.outer(x, x)
    kernel = points["alpha"] ** 2 * np.exp(-(differences**2) / (2 * points["rho"] ** 2))
    f = scipy.linalg.cholesky(kernel + 1e-10 * np.eye(len(x)), lower=True) @ points["z"]
    return prior + norm.logpdf(points["z"]).sum() + poisson.logpmf(k, np.exp(f)).sum()


def gaussian_mixture(x, y):
    prior = norm.logpdf(x["mu"], 0, 2).sum() + halfnorm.logpdf(x["sigma"], scale=2).sum()
    first, second = (norm.pdf(y, x["mu"][i], x["sigma"][i]) for i in range(2))
    terms = np.log(x["theta"] * first + (1 - x["theta"]) * second)
    return prior + beta.logpdf(x["theta"], 5, 5) + terms.sum()


def log_earnings(x, height, male, log_earn):
    design = np.stack([np.ones(len(male)), height, male, height * male], axis=1)
    return norm.logpdf(log_earn, design @ x["beta"], x["sigma"]).sum()


def kid_scores(x, mom_hs, mom_iq, kid_score):
    design = np.stack([np.ones(len(mom_hs)), mom_hs, mom_iq, mom_hs * mom_iq], axis=1)
    terms = norm.logpdf(kid_score, design @ x["beta"], x["sigma"])
    return halfcauchy.logpdf(x["sigma"], scale=2.5) + terms.sum()


def diamond_prices(x, X, Y):
    centred = X[:, 1:] - X[:, 1:].mean(0)
    prior = norm.logpdf(x["b"]).sum() + t.logpdf(x["Intercept"], 3, 8, 10)
    prior += np.log(2) + t.logpdf(x["sigma"], 3, 0, 10)
    return prior + norm.logpdf(Y, x["Intercept"] + centred @ x["b"], x["sigma"]).sum()


def lotka_volterra(x, ts, y_init, y):
    means, scales = np.array([1.0, 0.05, 1.0, 0.05]), np.array([0.5, 0.05, 0.5, 0.05])
    prior = truncnorm.logpdf(x["theta"], -means / scales, np.inf, means, scales).sum()
    prior += (
        lognorm.logpdf(x["z_init"], 1, scale=10).sum() + lognorm.logpdf(x["sigma"], 1, scale=np.exp(-1)).sum()
    )

    def slope(time, u):
        a, b, c, d = x["theta"]
        return (a - b * u[1]) * u[0], (-c + d * u[0]) * u[1]

    solved = solve_ivp(slope, (0, ts[-1]), x["z_init"], t_eval=ts, rtol=1e-10, atol=1e-10).y.T
    start = lognorm.logpdf(y_init, x["sigma"], scale=x["z_init"]).sum()
    return prior + start + lognorm.logpdf(y, x["sigma"], scale=solved).sum()


# -- log |dx/dz|, from the values x -----------------------------------------------------------------------


def positive(*names):
    return lambda x: sum(np.log(x[name]).sum() for name in names)


def garchs_jacobian(x):
    room = 1 - x["alpha1"]
    unit = x["alpha1"] * (1 - x["alpha1"]), x["beta1"] * (1 - x["beta1"] / room)
    return np.log(x["alpha0"]) + np.log(unit).sum()


def mixtures_jacobian(x):
    gap = x["mu"][1] - x["mu"][0]
    return np.log(gap) + np.log(x["sigma"]).sum() + np.log(x["theta"] * (1 - x["theta"]))


# -- the nine ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Posterior:
    """A program in both languages, and its log density worked out in another way.

    Attributes:
        file, name: where its programs are, and what they are called.
        arguments: theirs, from the reference's data.
        log_joint: the formula, a function of the latent values and the arguments.
        log_jacobian: of the map from unconstrained space, a function of the latent values.
        tolerance: of the formula, relative.
    """

    file: str
    name: str
    arguments: Callable[[dict], dict]
    log_joint: Callable[..., Any]
    log_jacobian: Callable[[dict], Any]
    tolerance: float = 1e-9

    def programs(self):
        homes = ("ppgen.models.bayesian", "ppgen.models.bayesian.in_pyro")
        return [getattr(importlib.import_module(f"{home}.{self.file}"), self.name) for home in homes]


def _pick(*names):
    return lambda data: {name: data[name] for name in names}


NINE = {
    "eight_schools_noncentered": Posterior(
        "eight_schools", "eight_schools", _pick("sigma", "y"), eight_schools, positive("tau")
    ),
    "arK": Posterior("autoregression", "autoregression", _pick("y", "K"), autoregression, positive("sigma")),
    "garch11": Posterior("garch", "garch", _pick("y", "sigma1"), garch, garchs_jacobian),
    "gp_pois_regr": Posterior(
        "gaussian_process",
        "poisson_regression",
        _pick("x", "k"),
        poisson_regression,
        positive("rho", "alpha"),
        tolerance=1e-7,  # the kernel's condition number is 1e11
    ),
    "low_dim_gauss_mix": Posterior(
        "mixture", "gaussian_mixture", _pick("y"), gaussian_mixture, mixtures_jacobian
    ),
    "logearn_interaction": Posterior(
        "regression",
        "log_earnings",
        lambda data: {"height": data["height"], "male": data["male"], "log_earn": np.log(data["earn"])},
        log_earnings,
        positive("sigma"),
    ),
    "kidscore_interaction": Posterior(
        "regression", "kid_scores", _pick("mom_hs", "mom_iq", "kid_score"), kid_scores, positive("sigma")
    ),
    "diamonds": Posterior("regression", "diamond_prices", _pick("X", "Y"), diamond_prices, positive("sigma")),
    "lotka_volterra": Posterior(
        "predator_prey",
        "lotka_volterra",
        lambda data: {"ts": data["ts"][:6], "y_init": data["y_init"], "y": data["y"][:6]},  # soon read
        lotka_volterra,
        positive("theta", "z_init", "sigma"),
        tolerance=1e-5,  # of the Runge-Kutta steps
    ),
}


@pytest.fixture(params=NINE)
def posterior(request, reference):
    """One of the nine, and its arguments."""
    data = {name: np.asarray(value) for name, value in reference(request.param)[0].items()}
    one = NINE[request.param]
    arguments = one.arguments(data)
    return one, {name: int(value) if name == "K" else value for name, value in arguments.items()}


def test_both_languages_agree(posterior):
    """The log joint, every value, and every term of the prior and of the likelihood, at random points."""
    one, arguments = posterior
    first, second = (read_density(program, arguments) for program in one.programs())
    assert (first.engine, second.engine) == ("numpyro", "pyro")
    assert first.latents == second.latents
    for z in 0.3 * np.random.default_rng(3).normal(size=(2, first.dim)):
        point, other = first.evaluate(z), second.evaluate(z)
        assert np.isfinite(point.log_joint)
        np.testing.assert_allclose(other.log_joint, point.log_joint, rtol=1e-9)
        for part in ("values", "deterministics", "log_prior", "log_likelihood", "observed"):
            ours, theirs = getattr(point, part), getattr(other, part)
            assert list(ours) == list(theirs)
            for name in ours:
                np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_log_densities_against_formulas(posterior):
    one, arguments = posterior
    density = read_density(one.programs()[0], arguments)
    for z in 0.3 * np.random.default_rng(4).normal(size=(2, density.dim)):
        point = density.evaluate(z)
        values = {name: np.asarray(value) for name, value in point.values.items()}
        expected = one.log_joint(values, **arguments) + one.log_jacobian(values)
        np.testing.assert_allclose(point.log_joint, expected, rtol=one.tolerance)


def test_sites_are_the_same_in_both_languages(posterior):
    one, arguments = posterior
    ours, theirs = (
        [(s.name, s.role, s.shape, s.dims) for s in read_sites(p, arguments)] for p in one.programs()
    )
    assert ours == theirs


def test_runge_kutta_steps_are_short_enough(reference):
    """Over the whole series, at the posterior's mean, the log density is right to 0.001 nats."""
    data, answers = reference("lotka_volterra")
    arguments = {name: np.asarray(data[name]) for name in ("ts", "y_init", "y")}
    sizes = {"theta": 4, "z_init": 2, "sigma": 2}
    means = {
        name: np.array([answers[f"{name}[{i + 1}]"]["mean"] for i in range(n)]) for name, n in sizes.items()
    }
    density = read_density(NINE["lotka_volterra"].programs()[0], arguments)
    log_joint = float(density.log_prob(density.unconstrain(means)))
    expected = lotka_volterra(means, **arguments) + NINE["lotka_volterra"].log_jacobian(means)
    assert abs(log_joint - expected) < 1e-3


@pytest.mark.parametrize(
    ("name", "given", "site", "shape"),
    [
        ("eight_schools_noncentered", {"sigma": np.ones(8)}, "y", (8,)),
        ("gp_pois_regr", {"x": 5 * np.arange(4.0)}, "k", (4,)),
        ("lotka_volterra", {"ts": np.array([1.0, 2.0]), "steps": 2}, "y", (2, 2)),
    ],
)
def test_programs_simulate_their_data(name, given, site, shape):
    """Without observations, under each engine's own tools."""
    in_numpyro, in_pyro = NINE[name].programs()
    ours = numpyro.infer.Predictive(in_numpyro, num_samples=3)(jax.random.key(0), **given)
    tensors = {key: torch.tensor(v).float() if isinstance(v, np.ndarray) else v for key, v in given.items()}
    torch.manual_seed(0)
    theirs = pyro.infer.Predictive(in_pyro, num_samples=3)(**tensors)
    for drawn in (np.asarray(ours[site]), theirs[site].numpy()):
        assert drawn.shape == (3, *shape)
        assert np.isfinite(drawn).all()
        assert len(np.unique(drawn[:, 0])) > 1


def test_positive_normal_is_a_truncated_normal():
    loc, scale = torch.tensor([1.0, -0.5], dtype=torch.float64), torch.tensor([0.5, 1.0], dtype=torch.float64)
    torch.manual_seed(0)
    drawn = PositiveNormal(loc, scale).sample((2000,))
    for k in range(2):
        law = truncnorm(-loc[k] / scale[k], np.inf, loc[k], scale[k])
        assert kstest(drawn[:, k].numpy(), law.cdf).pvalue > 0.01
        values = PositiveNormal(loc, scale).log_prob(drawn)[:, k]
        np.testing.assert_allclose(values, law.logpdf(drawn[:, k]), rtol=1e-9)


def test_the_list_of_programs_is_complete():
    for home in ("ppgen.models.bayesian", "ppgen.models.bayesian.in_pyro"):
        package = importlib.import_module(home)
        files = {path.stem for path in Path(package.__file__).parent.glob("[a-z]*.py")}
        assert files == set(package.__all__) - {"in_pyro"}


def test_numpyro_programs_never_load_torch():
    imports = "".join(f"import ppgen.models.bayesian.{one.file}; " for one in NINE.values())
    check = imports + "import sys; assert 'torch' not in sys.modules and 'pyro' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
