"""Simulation-based calibration (arXiv:1804.06788): ranks of the truth among posterior draws are uniform."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.stats import kstest

import ppgen

SIMULATIONS = 80
METHODS = {
    "nuts": {"draws": 100, "tune": 150},
    "svi": {"draws": 100, "guide": "full_rank", "restarts": 1},
    "smc": {"draws": 250},
}


def location(y):
    """Prior N(0, 1), five observations with noise 1."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", 5):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def line(x, y):
    """Prior N(0, 1) for both coefficients, eight observations with noise 0.5."""
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with numpyro.plate("row", 8):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, 0.5), obs=y)


def overconfident(y):
    """The first program, with half the noise that the data have."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", 5):
        numpyro.sample("y", dist.Normal(mu, 0.5), obs=y)


X = np.linspace(-1.0, 1.0, 8)


def simulate_location(rng):
    mu = rng.normal()
    return {"mu": mu}, {"y": mu + rng.normal(size=5)}


def simulate_line(rng):
    beta = rng.normal(size=2)
    return {"beta": beta}, {"x": X, "y": beta[0] + beta[1] * X + 0.5 * rng.normal(size=8)}


def _ranks(program, simulate, method):
    """The rank of each true value among 100 thinned draws, as a fraction ``(simulations * entries,)``."""
    rng = np.random.default_rng(20)
    ranks = []
    for simulation in range(SIMULATIONS):
        truth, data = simulate(rng)
        settings = {"chains": 4, "seed": simulation, "progress": False, **METHODS[method]}
        post = ppgen.infer(program, data, method, **settings)
        for name, value in truth.items():
            draws = post.draws[name].reshape(-1, np.size(value))[:: post.draws[name].shape[1] // 25]
            below = (draws < value).sum(0)
            ranks += list((below + rng.uniform(size=below.shape)) / (len(draws) + 1))
    return np.array(ranks)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # so few draws are said to be few
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("program", "simulate"), [(location, simulate_location), (line, simulate_line)])
def test_ranks_are_uniform(program, simulate, method):
    assert kstest(_ranks(program, simulate, method), "uniform").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")
def test_a_program_that_is_too_sure_is_found_out():
    ranks = _ranks(overconfident, simulate_location, "nuts")
    extreme = np.mean((ranks < 0.1) | (ranks > 0.9))
    assert extreme > 0.3  # uniform ranks would give 0.2 ± 0.045
    assert kstest(np.abs(ranks - 0.5) * 2, "uniform").pvalue < 1e-3
