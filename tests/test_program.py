"""What ppgen reads off a program: its engine, its sites, its density."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro.contrib.control_flow import scan
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import potential_energy

from ppgen.errors import DataError, InvalidArgument, ProgramError, UnknownName, UnsupportedProgram
from ppgen.models.bayesian.eight_schools import eight_schools
from ppgen.program import detect_engine, read_density, read_sites

SCHOOLS = {
    "sigma": np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
    "y": np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
}


# -- programs of many shapes; each with its data ---------------------------------------------------------


def simplex(counts):
    p = numpyro.sample("p", dist.Dirichlet(jnp.ones(3)))
    numpyro.sample("counts", dist.Multinomial(10, p), obs=counts)


def correlation(y):
    scale = numpyro.sample("scale", dist.HalfNormal(2.0).expand([3]).to_event(1))
    factor = numpyro.sample("L", dist.LKJCholesky(3, 2.0))
    numpyro.sample("y", dist.MultivariateNormal(0.0, scale_tril=scale[:, None] * factor), obs=y)


def dependent_support(y):
    a = numpyro.sample("a", dist.Uniform(0.0, 1.0))
    b = numpyro.sample("b", dist.Uniform(0.0, 1.0 - a))
    numpyro.sample("y", dist.Normal(a + b, 0.5), obs=y)


def flat_and_ordered(y):
    cut = numpyro.sample("cut", dist.ImproperUniform(dist.constraints.ordered_vector, (), (2,)))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.OrderedLogistic(0.3, cut), obs=y)


def random_walk(y):
    step = numpyro.sample("step", dist.HalfNormal(1.0))

    def move(x, _):
        x = numpyro.sample("x", dist.LogNormal(x, step))
        return x, x

    _, path = scan(move, jnp.zeros(()), None, length=len(y))
    numpyro.sample("y", dist.Normal(path, 1.0), obs=y)


def scaled_and_masked(y, keep):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.handlers.scale(scale=2.5), numpyro.handlers.mask(mask=keep):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def factors(y):
    mu = numpyro.sample("mu", dist.Gamma(2.0, 1.0))
    numpyro.factor("penalty", -(mu**2))
    numpyro.sample("y", dist.Poisson(mu), obs=y)


def reparametrised(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.handlers.reparam(config={"theta": LocScaleReparam(0.0)}), numpyro.plate("row", 3):
        theta = numpyro.sample("theta", dist.Normal(mu, 2.0))
        numpyro.sample("y", dist.Normal(theta, 1.0), obs=y)


PROGRAMS = [
    (eight_schools, SCHOOLS),
    (simplex, {"counts": np.array([2, 5, 3])}),
    (correlation, {"y": np.arange(12.0).reshape(4, 3) / 6}),
    (dependent_support, {"y": np.array([0.2, 0.9])}),
    (flat_and_ordered, {"y": np.array([0, 1, 2, 1])}),
    (random_walk, {"y": np.arange(5.0)}),
    (scaled_and_masked, {"y": np.array([0.5, 1.0, 9.0]), "keep": np.array([True, True, False])}),
    (factors, {"y": np.array([1, 4])}),
    (reparametrised, {"y": np.array([0.1, 0.2, 0.3])}),
]
EACH_PROGRAM = pytest.mark.parametrize(
    ("program", "data"), PROGRAMS, ids=lambda p: getattr(p, "__name__", "")
)


@EACH_PROGRAM
def test_log_density_is_numpyros(program, data):
    """The log joint at random points equals NumPyro's own potential energy, to the last digits."""
    density = read_density(program, data)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(value) for name, value in data.items()}
        for _ in range(5):
            z = rng.normal(size=density.dim)
            parts = {
                part.name: jnp.asarray(z[part.start : part.stop]).reshape(part.shape)
                for part in density.latents
            }
            expected = -potential_energy(program, (), arrays, parts)
            assert np.isclose(density.log_prob(z), expected, rtol=1e-12)


@EACH_PROGRAM
def test_constrain_and_unconstrain_are_inverse(program, data):
    density = read_density(program, data)
    z = np.random.default_rng(1).normal(size=density.dim)
    np.testing.assert_allclose(density.unconstrain(density.constrain(z)), z, atol=1e-9)


@EACH_PROGRAM
def test_the_parts_sum_to_the_whole(program, data):
    """log joint - log |det J| = log prior + log likelihood, for programs without scale and factor."""
    if program in (scaled_and_masked, factors):
        pytest.skip("scale and factor add terms that belong to neither part")
    density = read_density(program, data)
    z = np.random.default_rng(2).normal(size=density.dim)
    point = jax.tree.map(np.asarray, density.evaluate(z))
    parts = sum(float(v.sum()) for v in [*point.log_prior.values(), *point.log_likelihood.values()])
    if all(site.support == "real" for site in density.sites if site.role == "latent"):
        assert np.isclose(point.log_joint, parts)
    else:
        jacobian = float(point.log_joint) - parts
        assert np.isfinite(jacobian)
        assert abs(jacobian) > 1e-6


@pytest.mark.quick
def test_density_against_a_closed_form():
    """Eight schools by hand with SciPy, Jacobian of the log transform included."""
    density = read_density(eight_schools, SCHOOLS)
    mu, tau, z = 1.5, 2.0, np.linspace(-1, 1, 8)
    norm = scipy.stats.norm.logpdf
    expected = (
        norm(mu, 0, 5)
        + scipy.stats.halfcauchy.logpdf(tau, scale=5)
        + norm(z).sum()
        + norm(SCHOOLS["y"], mu + tau * z, SCHOOLS["sigma"]).sum()
        + np.log(tau)
    )
    point = density.unconstrain({"mu": mu, "tau": tau, "z": z})
    assert np.isclose(density.log_prob(point), expected, rtol=1e-13)


def test_impossible_observations_have_no_density():
    """A uniform likelihood must cut the posterior off where an observation becomes impossible."""

    def program(y):
        top = numpyro.sample("top", dist.Exponential(0.1))
        numpyro.sample("y", dist.Uniform(0.0, top), obs=y)

    density = read_density(program, {"y": np.array([1.0, 3.0])})
    assert float(density.log_prob(np.log([2.9]))) == -np.inf
    assert np.isfinite(float(density.log_prob(np.log([3.1]))))


def test_equal_programs_share_a_graph():
    """New numbers, or the same function defined again, compile nothing; another program does."""

    def make(scale):
        def program(y):
            mu = numpyro.sample("mu", dist.Normal(0.0, scale))
            numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

        return program

    first = read_density(make(1.0), {"y": np.zeros(3)})
    assert first.graph == read_density(make(1.0), {"y": np.ones(3)}).graph
    assert first.graph != read_density(make(2.0), {"y": np.zeros(3)}).graph
    assert first.graph != read_density(make(1.0), {"y": np.zeros(4)}).graph


def test_numbers_that_python_needs_become_constants():
    def program(group, y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0).expand([len(np.unique(group))]))
        numpyro.sample("y", dist.Normal(mu[group], 1.0), obs=y)

    density = read_density(program, {"group": [0, 1, 1, 2], "y": [0.0, 1.0, 2.0, 3.0]})
    assert density.dim == 3
    other = read_density(program, {"group": [0, 0, 1, 2], "y": [0.0, 1.0, 2.0, 3.0]})
    z = np.array([0.1, 0.2, 0.3])
    assert float(density.log_prob(z)) != float(other.log_prob(z))


def test_simulated_observations_have_the_programs_distribution():
    density = read_density(eight_schools, SCHOOLS)
    values = {"mu": np.full(4000, 3.0), "tau": np.full(4000, 2.0), "z": np.ones((4000, 8))}
    drawn = density.simulate(0, values)["y"]
    assert drawn.shape == (4000, 8)
    np.testing.assert_allclose(drawn.mean(0), 5.0, atol=4 * SCHOOLS["sigma"].max() / np.sqrt(4000))
    np.testing.assert_allclose(drawn.std(0), SCHOOLS["sigma"], rtol=0.05)


# -- engines ---------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_engine_detection():
    import pyro

    def in_numpyro():
        numpyro.sample("x", dist.Normal(0, 1))

    def in_pyro():
        pyro.sample("x", pyro.distributions.Normal(0.0, 1.0))

    def plate_first(y):
        with numpyro.plate("row", len(y)):
            numpyro.sample("x", dist.Normal(0, 1))

    def pyro_with_torch_methods(y):
        pyro.sample("x", pyro.distributions.Normal(y.mean(dim=0), 1.0))

    def swallows_errors():
        try:
            numpyro.sample("x", dist.Normal(0, 1))
        except Exception:
            return

    assert detect_engine(in_numpyro, {}) == "numpyro"
    assert detect_engine(in_pyro, {}) == "pyro"
    assert detect_engine(plate_first, {"y": np.zeros(3)}) == "numpyro"
    assert detect_engine(pyro_with_torch_methods, {"y": np.zeros(3)}) == "pyro"
    assert detect_engine(swallows_errors, {}) == "numpyro"
    assert detect_engine(numpyro.handlers.seed(in_numpyro, 0), {}) == "numpyro"
    assert detect_engine(pyro.poutine.condition(in_pyro, data={}), {}) == "pyro"
    assert detect_engine(lambda: None, {}, engine="pyro") == "pyro"


@pytest.mark.parametrize(
    ("program", "data", "engine", "error", "words"),
    [
        (lambda: 3, {}, None, ProgramError, "no sample statement"),
        (lambda y: y.nothing, {"y": 1}, None, ProgramError, "before the first sample statement"),
        (lambda y: None, {"x": 1}, None, InvalidArgument, r"names \['x'\]"),
        (lambda: None, {}, "stan", UnknownName, "one of 'pyro', 'numpyro'"),
        (3, {}, None, InvalidArgument, "a callable"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_engine_errors(program, data, engine, error, words):
    with pytest.raises(error, match=words):
        detect_engine(program, data, engine)


@pytest.mark.parametrize(
    "lines",
    [
        "import ppgen, ppgen.data, ppgen.models, ppgen.inference, ppgen.evaluation; heavy = ('torch', 'jax')",
        "import ppgen; from ppgen.models.bayesian.eight_schools import eight_schools as p; "
        "d = ppgen.data.load('eight_schools'); ppgen.infer(p, d, draws=20, tune=20, progress=False); "
        "heavy = ('torch', 'pyro')",
    ],
    ids=["import", "numpyro-program"],
)
def test_heavy_imports_are_lazy(lines):
    code = f"import sys, warnings; warnings.simplefilter('ignore'); {lines}; "
    code += "sys.exit([name for name in heavy if name in sys.modules] or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- sites -----------------------------------------------------------------------------------------------


def test_sites_of_the_same_program_in_both_languages():
    import pyro
    import torch

    def in_pyro(sigma, y):
        mu = pyro.sample("mu", pyro.distributions.Normal(0.0, 5.0))
        tau = pyro.sample("tau", pyro.distributions.HalfCauchy(5.0))
        with pyro.plate("school", len(sigma)):
            z = pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
            theta = pyro.deterministic("theta", mu + tau * z)
            pyro.sample("y", pyro.distributions.Normal(theta, sigma), obs=y)

    state = torch.random.get_rng_state()
    sites = {site.name: site for site in read_sites(in_pyro, SCHOOLS)}
    assert torch.equal(state, torch.random.get_rng_state())
    for site in read_sites(eight_schools, SCHOOLS):
        same = sites[site.name]
        assert (same.role, same.distribution, same.shape, same.discrete) == (
            site.role,
            site.distribution,
            site.shape,
            site.discrete,
        )
        if site.role != "deterministic":
            assert same.plates == site.plates


def _broadcasts(y):
    logits = numpyro.sample("logits", dist.Normal(0, 1).expand([5]))
    numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def _discrete(y):
    numpyro.sample("k", dist.Bernoulli(0.5))


def _nothing_latent(y):
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def _free_parameter(y):
    numpyro.sample("y", dist.Normal(numpyro.sample("m", dist.Normal(0, 1)), numpyro.param("w", 1.0)), obs=y)


def _latent_delta(y):
    numpyro.sample("mu", dist.Delta(0.0))


def _fails(y):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(mu + jnp.ones(3), 1.0), obs=y[:, 0])


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (_broadcasts, ProgramError, r"site 'y'.*25 log densities of shape \(5, 5\)"),
        (_discrete, UnsupportedProgram, "site 'k'.*discrete latent"),
        (_nothing_latent, ProgramError, "no latent site"),
        (_free_parameter, UnsupportedProgram, "site 'w'.*param"),
        (_latent_delta, UnsupportedProgram, "site 'mu'.*numpyro.deterministic"),
        (_fails, ProgramError, "when it was run on the data"),
    ],
)
def test_bad_programs(program, error, words):
    with pytest.raises(error, match=words):
        read_density(program, {"y": np.ones((5, 1))})


def test_pyro_broadcasting_is_caught():
    import pyro

    def program(y):
        logits = pyro.sample("logits", pyro.distributions.Normal(0.0, 1.0).expand([5]).to_event(1))
        pyro.sample("y", pyro.distributions.Bernoulli(logits=logits), obs=y)

    with pytest.raises(ProgramError, match="site 'y'.*25 log densities"):
        read_sites(program, {"y": np.ones((5, 1))})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.array([1.0, np.nan, 3.0]), r"data\['y'\]: got 1 NaN or infinite values, the first at \[1\]"),
        (np.array([np.inf]), r"data\['y'\]: got 1 NaN or infinite"),
        (np.zeros(0), r"data\['y'\]: got an empty array"),
        (["a", "b"], r"data\['y'\].*dtype"),
        ([[1.0], [1.0, 2.0]], r"data\['y'\]: got rows of unequal length"),
    ],
)
def test_bad_data(value, words):
    with pytest.raises(DataError, match=words):
        read_density(_nothing_latent, {"y": value})
