"""Pyro programs that cannot be lowered, run by Pyro at every step."""

import jax
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen.errors import UnknownName, UnsupportedProgram
from ppgen.program import read_density

Y = np.array([0.5, 1.5, 1.0])


def regular(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.Exponential(1.0))
    pyro.deterministic("double", 2 * mu)
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(mu, scale), obs=y)


def branching(y):
    """A slope that differs by the sign of mu: Python decides."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    mean = 2 * mu if mu > 0 else mu / 2
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_it_is_the_density_that_lowering_gives():
    lowered, native = (read_density(regular, {"y": Y}, backend=backend) for backend in ("jax", "native"))
    points = np.random.default_rng(0).normal(size=(5, 2))
    with jax.enable_x64(True):
        results = []
        for density in (lowered, native):
            function = jax.value_and_grad(lambda z, d=density: d.graph(d.inputs, z).log_joint)
            results.append(jax.jit(jax.vmap(function))(points))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-10)
    for field in ("log_prior", "log_likelihood", "deterministics"):
        found, expected = (getattr(density.evaluate(points[0]), field) for density in (native, lowered))
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # so many draws are few
def test_control_flow_may_depend_on_what_is_sampled():
    with pytest.raises(UnsupportedProgram, match='backend="native"'):
        ppgen.infer(branching, {"y": Y}, progress=False)
    settings = {"draws": 60, "tune": 80, "chains": 2, "seed": 0, "progress": False}
    post = ppgen.infer(branching, {"y": Y}, backend="native", **settings)

    grid = np.linspace(-5, 5, 4001)
    mean = np.where(grid > 0, 2 * grid, grid / 2)
    log_density = -(grid**2) / 2 - ((Y[:, None] - mean) ** 2).sum(0) / 2
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    exact = weights @ grid
    spread = np.sqrt(weights @ (grid - exact) ** 2)
    assert abs(post.draws["mu"].mean() - exact) < 4 * spread / np.sqrt(post.diagnostics.ess_bulk_min)
    assert post.predictive(0)["y"].shape == (2, 60, 3)


def test_programs_that_differ_are_not_taken_for_each_other():
    first = read_density(branching, {"y": Y}, backend="native")
    second = read_density(branching, {"y": Y + 1}, backend="native")
    assert first.graph != second.graph


def test_what_the_native_backend_refuses():
    def mixture(y):
        z = pyro.sample("z", dist.Bernoulli(0.5))
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + z, 1.0), obs=y)

    with pytest.raises(UnsupportedProgram, match="site 'z'"):
        read_density(mixture, {"y": torch.tensor(1.0)}, backend="native")
    with pytest.raises(UnknownName, match="backend: got 'stan'"):
        read_density(regular, {"y": Y}, backend="stan")
