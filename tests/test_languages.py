"""A third language, of which ppgen knows nothing but its adapter, gets all that needs no optional part."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from toy_language import Exponential, Normal, Toy, sample

import ppgen
from ppgen.program import detect_engine, read_density, read_sites, register_language

register_language(Toy())

Y = np.array([0.4, 1.9, 1.1, 0.7, 2.2, 1.3])
MEAN, SD = Y.sum() / 7, 7**-0.5  # of the posterior: y ~ N(mu, 1), mu ~ N(0, 1)


def conjugate(y):
    mu = sample("mu", Normal(0.0, 1.0))
    sample("y", Normal(mu, 1.0), obs=y)


def scaled(y):
    mu, sigma = sample("mu", Normal(0.0, 1.0)), sample("sigma", Exponential(1.0))
    sample("y", Normal(mu, sigma), obs=y)


def scaled_in_numpyro(y):
    mu, sigma = numpyro.sample("mu", dist.Normal(0.0, 1.0)), numpyro.sample("sigma", dist.Exponential(1.0))
    numpyro.sample("y", dist.Normal(mu, sigma), obs=y)


def test_its_programs_are_recognised_and_read():
    assert detect_engine(conjugate, {"y": Y}) == "toy"
    assert [(s.name, s.role, s.distribution, s.support, s.shape) for s in read_sites(scaled, {"y": Y})] == [
        ("mu", "latent", "Normal", "real", ()),
        ("sigma", "latent", "Exponential", "positive", ()),
        ("y", "observed", "Normal", "real", (6,)),
    ]


def test_its_density_is_that_of_the_same_program_in_numpyro():
    ours, theirs = read_density(scaled, {"y": Y}), read_density(scaled_in_numpyro, {"y": Y})
    for z in np.random.default_rng(0).normal(size=(5, 2)):
        assert ours.log_prob(z) == pytest.approx(float(theirs.log_prob(z)), rel=1e-12)
        assert ours.unconstrain(ours.constrain(z)) == pytest.approx(z)


@pytest.mark.parametrize(
    ("method", "options"), [("nuts", {"draws": 500}), ("svi", {}), ("importance", {}), ("laplace", {})]
)
def test_a_method_reaches_the_posterior(method, options):
    post = ppgen.infer(conjugate, {"y": Y}, method, progress=False, **options)
    draws = post.corrected().draws["mu"] if method == "svi" else post.draws["mu"]
    assert draws.mean() == pytest.approx(MEAN, abs=0.05)
    assert draws.std() == pytest.approx(SD, rel=0.1)


def test_the_workflow_serves_it():
    post = ppgen.infer(conjugate, {"y": Y}, draws=500, progress=False)
    drawn = post.predictive(seed=1)["y"]
    assert drawn.shape == (4, 500, 6)
    assert drawn.std() == pytest.approx((1 + SD**2) ** 0.5, rel=0.05)
    # Leaving y_i out: y_i ~ N(m, 1 + 1/6), m = sum of the others / 6.
    others = (Y.sum() - Y) / 6
    exact = -0.5 * (Y - others) ** 2 / (7 / 6) - 0.5 * np.log(2 * np.pi * 7 / 6)
    assert ppgen.workflow.loo(post).elpd_i.sum() == pytest.approx(exact.sum(), abs=0.1)
    calibration = ppgen.workflow.calibrate(conjugate, {"y": Y}, simulations=50, progress=False)
    assert calibration.ok, calibration.reading
