"""Finite discrete latents: summed out exactly, and drawn exactly, in both languages."""

import functools
import itertools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as jdist
import pyro
import pyro.distributions as tdist
import pytest
import torch
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.ops.indexing import Vindex
from scipy.special import logsumexp

import ppgen
from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.program import read_density

# -- programs, each in both languages --------------------------------------------------------------------


def mixture_numpyro(y):
    w = numpyro.sample("w", jdist.Dirichlet(jnp.ones(3)))
    locs = numpyro.sample("locs", jdist.Normal(0.0, 3.0).expand([3]).to_event(1))
    with numpyro.plate("row", len(y)):
        z = numpyro.sample("z", jdist.Categorical(w), infer={"enumerate": "parallel"})
        numpyro.sample("y", jdist.Normal(locs[z], 0.7), obs=y)


@config_enumerate
def mixture_pyro(y):
    w = pyro.sample("w", tdist.Dirichlet(torch.ones(3)))
    locs = pyro.sample("locs", tdist.Normal(0.0, 3.0).expand([3]).to_event(1))
    with pyro.plate("row", len(y)):
        z = pyro.sample("z", tdist.Categorical(w))
        pyro.sample("y", tdist.Normal(locs[z], 0.7), obs=y)


def hmm_numpyro(y):
    move = numpyro.sample("move", jdist.Dirichlet(jnp.ones(2)).expand([2]).to_event(1))
    locs = numpyro.sample("locs", jdist.Normal(0.0, 3.0).expand([2]).to_event(1))
    z = 0
    for t in range(len(y)):
        z = numpyro.sample(f"z_{t}", jdist.Categorical(move[z]))
        numpyro.sample(f"y_{t}", jdist.Normal(locs[z], 1.0), obs=y[t])


def hmm_pyro(y):
    move = pyro.sample("move", tdist.Dirichlet(torch.ones(2)).expand([2]).to_event(1))
    locs = pyro.sample("locs", tdist.Normal(0.0, 3.0).expand([2]).to_event(1))
    z = torch.tensor(0)
    for t in pyro.markov(range(len(y))):
        z = pyro.sample(f"z_{t}", tdist.Categorical(Vindex(move)[z]), infer={"enumerate": "parallel"})
        pyro.sample(f"y_{t}", tdist.Normal(locs[z], 1.0), obs=y[t])


def topics_numpyro(y):
    """A topic a document, a word a position, and a language for all of them."""
    a = numpyro.sample("a", jdist.Normal(0.0, 1.0))
    language = numpyro.sample("language", jdist.Bernoulli(0.3))
    words = jnp.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    with numpyro.plate("document", y.shape[1], dim=-1):
        topic = numpyro.sample("topic", jdist.Bernoulli(logits=a + language))
        with numpyro.plate("position", y.shape[0], dim=-2):
            numpyro.sample("y", jdist.Categorical(words[topic]), obs=y)


def topics_pyro(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    language = pyro.sample("language", tdist.Bernoulli(0.3))
    words = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    with pyro.plate("document", y.shape[1], dim=-1):
        topic = pyro.sample("topic", tdist.Bernoulli(logits=a + language))
        with pyro.plate("position", y.shape[0], dim=-2):
            pyro.sample("y", tdist.Categorical(words[topic.long()]), obs=y)


def global_numpyro(y):
    """One switch for all rows, with a count that depends on it, beside two tied switches a row."""
    a = numpyro.sample("a", jdist.Normal(0.0, 1.0))
    k = numpyro.sample("k", jdist.Binomial(3, jax.nn.sigmoid(a)))
    with numpyro.plate("row", len(y)):
        u = numpyro.sample("u", jdist.Bernoulli(logits=a))
        v = numpyro.sample("v", jdist.Categorical(jnp.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])[u]))
        numpyro.sample("y", jdist.Normal(k + 2.0 * u - v, 1.0 + 0.1 * v), obs=y)


def global_pyro(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    k = pyro.sample("k", tdist.Binomial(3, torch.sigmoid(a)))
    with pyro.plate("row", len(y)):
        u = pyro.sample("u", tdist.Bernoulli(logits=a))
        table = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
        v = pyro.sample("v", tdist.Categorical(table[u.long()]))
        pyro.sample("y", tdist.Normal(k + 2.0 * u - v, 1.0 + 0.1 * v), obs=y)


def factorial_numpyro(y):
    """Three independent causes of each observation, one of them shared, under a mask."""
    a = numpyro.sample("a", jdist.HalfNormal(1.0))
    with numpyro.plate("cause", 3):
        on = numpyro.sample("on", jdist.Bernoulli(0.4).mask(True))
    with numpyro.plate("row", len(y)), numpyro.handlers.mask(mask=jnp.array([True, False, True])):
        own = numpyro.sample("own", jdist.Bernoulli(0.2))
        numpyro.sample("y", jdist.Normal(a * on.sum() + own, 1.0), obs=y)


def factorial_pyro(y):
    a = pyro.sample("a", tdist.HalfNormal(1.0))
    with pyro.plate("cause", 3):
        on = pyro.sample("on", tdist.Bernoulli(0.4).mask(True))
    with pyro.plate("row", len(y)), poutine.mask(mask=torch.tensor([True, False, True])):
        own = pyro.sample("own", tdist.Bernoulli(0.2))
        pyro.sample("y", tdist.Normal(a * on.sum() + own, 1.0), obs=y)


def spike_numpyro(y):
    """A continuous site whose prior depends on a discrete one, and a factor that does, too."""
    with numpyro.plate("row", len(y)):
        s = numpyro.sample("s", jdist.Bernoulli(0.3))
        mu = numpyro.sample("mu", jdist.Normal(0.0, jnp.where(s == 1, 2.0, 0.1)))
        numpyro.factor("penalty", -0.2 * s * mu**2)
        numpyro.sample("y", jdist.Normal(mu, 1.0), obs=y)


def spike_pyro(y):
    with pyro.plate("row", len(y)):
        s = pyro.sample("s", tdist.Bernoulli(0.3))
        mu = pyro.sample("mu", tdist.Normal(torch.zeros(()), torch.where(s == 1, 2.0, 0.1)))
        pyro.factor("penalty", -0.2 * s * mu**2)
        pyro.sample("y", tdist.Normal(mu, 1.0), obs=y)


def events_numpyro(y):
    """A site with several entries in one event, and a site with a batch but no plate."""
    a = numpyro.sample("a", jdist.Normal(0.0, 1.0))
    bits = numpyro.sample("bits", jdist.Bernoulli(logits=jnp.array([0.3, -0.2]) * a).to_event(1))
    z = numpyro.sample("z", jdist.Bernoulli(logits=jnp.array([0.5, a, -1.0])))
    numpyro.sample("y", jdist.Normal(bits[0] - 2.0 * bits[1] + z, 1.0), obs=y)


def events_pyro(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    bits = pyro.sample("bits", tdist.Bernoulli(logits=torch.tensor([0.3, -0.2]) * a).to_event(1))
    half, one = torch.tensor(0.5), torch.tensor(-1.0)
    z = pyro.sample("z", tdist.Bernoulli(logits=torch.stack([half, a, one])))
    pyro.sample("y", tdist.Normal(bits[..., 0] - 2.0 * bits[..., 1] + z, 1.0), obs=y)


ROWS = np.array([0.3, 2.5, -1.0])
PROGRAMS = {
    "mixture": (mixture_numpyro, mixture_pyro, ROWS),
    "hmm": (hmm_numpyro, hmm_pyro, np.array([0.3, 2.5, -1.0, 0.1, 1.0])),
    "topics": (topics_numpyro, topics_pyro, np.array([[0, 2, 1], [1, 2, 0]])),
    "global": (global_numpyro, global_pyro, ROWS),
    "factorial": (factorial_numpyro, factorial_pyro, ROWS),
    "spike": (spike_numpyro, spike_pyro, ROWS),
    "events": (events_numpyro, events_pyro, ROWS),
}
EACH = pytest.mark.parametrize("name", PROGRAMS)


class Brute(NamedTuple):
    """All joint values of the discrete sites, and the log density of the program at each."""

    values: list[dict[str, Any]]
    log_joint: np.ndarray


def brute_force(name, constrained):
    """Every assignment of the discrete sites, by conditioning the NumPyro program on it."""
    assignments, joint = _conditioned(name)
    with jax.enable_x64(True):
        stacked = {site: jnp.stack([a[site] for a in assignments]) for site in assignments[0]}
        return Brute(assignments, np.asarray(joint(stacked, constrained)))


@functools.cache
def _conditioned(name):
    program, _, y = PROGRAMS[name]
    with jax.enable_x64(True), numpyro.handlers.seed(rng_seed=0):
        trace = numpyro.handlers.trace(program).get_trace(jnp.asarray(y))
        supports = {}
        for site in trace.values():
            if site["type"] == "sample" and not site["is_observed"] and site["fn"].is_discrete:
                base = site["fn"]
                while hasattr(base, "base_dist"):
                    base = base.base_dist
                one, shape = np.asarray(base.enumerate_support(expand=False)).ravel(), np.shape(site["value"])
                every = itertools.product(one, repeat=int(np.prod(shape)))
                supports[site["name"]] = [np.reshape(values, shape) for values in every]
    assignments = [dict(zip(supports, row, strict=True)) for row in itertools.product(*supports.values())]

    def joint(discrete, constrained):
        return log_density(program, (jnp.asarray(y),), {}, {**constrained, **discrete})[0]

    return assignments, jax.jit(jax.vmap(joint, (0, None)))


def at_random_point(density, seed=0):
    z = np.random.default_rng(seed).normal(size=density.dim)
    return z, {name: np.asarray(value) for name, value in evaluate(density, z).values.items()}


def evaluate(density, z):
    """Everything that the program says, compiled: one by one, the operations take longer."""
    with jax.enable_x64(True):
        return jax.jit(density.graph)(density.inputs, jnp.asarray(z))


def log_jacobian(point):
    prior = sum(np.asarray(value).sum() for value in point.log_prior.values())
    return float(point.log_base) - prior


@functools.cache
def density_of(name, engine):
    in_numpyro, in_pyro, y = PROGRAMS[name]
    return read_density(in_numpyro if engine == "numpyro" else in_pyro, {"y": y}, engine=engine)


# -- laws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param("mixture", marks=pytest.mark.quick), *list(PROGRAMS)[1:]])
@pytest.mark.parametrize("engine", ["numpyro", "pyro"])
def test_the_density_is_the_sum_over_all_assignments(name, engine):
    density = density_of(name, engine)
    for seed in range(2):
        z, values = at_random_point(density, seed)
        point = evaluate(density, z)
        expected = logsumexp(brute_force(name, values).log_joint)
        assert np.isclose(float(point.log_joint) - log_jacobian(point), expected, atol=1e-9, rtol=1e-9)


@EACH
def test_both_languages_agree(name):
    """Value, pointwise likelihood and prior."""
    first, second = density_of(name, "numpyro"), density_of(name, "pyro")
    z, values = at_random_point(first)
    a, b = evaluate(first, z), evaluate(second, second.unconstrain(values))
    assert np.isclose(float(a.log_joint) - log_jacobian(a), float(b.log_joint) - log_jacobian(b))
    assert a.log_likelihood.keys() == b.log_likelihood.keys()
    assert a.log_prior.keys() == b.log_prior.keys()
    for key in a.log_likelihood:
        np.testing.assert_allclose(a.log_likelihood[key], b.log_likelihood[key], rtol=1e-9, atol=1e-12)
    for key in a.log_prior:
        np.testing.assert_allclose(a.log_prior[key], b.log_prior[key], rtol=1e-9, atol=1e-12)


@EACH
@pytest.mark.parametrize("engine", ["numpyro", "pyro"])
def test_gradients(name, engine):
    """Central differences of the density."""
    density = density_of(name, engine)
    z, _ = at_random_point(density)
    with jax.enable_x64(True):
        log_prob = jax.jit(lambda z: density.graph(density.inputs, z).log_joint)
        gradient = jax.jit(jax.grad(log_prob))(jnp.asarray(z))
        steps = 1e-5 * np.eye(density.dim)
        differences = [(log_prob(jnp.asarray(z + h)) - log_prob(jnp.asarray(z - h))) / 2e-5 for h in steps]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7)


@EACH
@pytest.mark.parametrize("engine", ["numpyro", "pyro"])
def test_discrete_draws_have_the_exact_posterior(name, engine):
    """The frequency of each joint assignment that is not rare, and of each pair of neighbours with it."""
    density = density_of(name, engine)
    z, values = at_random_point(density, 1)
    brute = brute_force(name, values)
    probability = np.exp(brute.log_joint - logsumexp(brute.log_joint))
    n = 20_000
    drawn = density.infer_discrete(3, np.repeat(z[None], n, 0))
    assert {site: value.shape[1:] for site, value in drawn.items()} == {
        site.name: site.shape for site in density.sites if site.role == "latent" and site.discrete
    }
    rows = np.concatenate([drawn[site].reshape(n, -1) for site in brute.values[0]], 1).astype(int)
    table = {
        tuple(np.concatenate([np.ravel(v) for v in a.values()]).astype(int)): p
        for a, p in zip(brute.values, probability, strict=True)
    }
    counts: dict[tuple[int, ...], int] = {}
    for row in map(tuple, rows):
        counts[row] = counts.get(row, 0) + 1
    assert all(table[row] > 0 for row in counts)
    common = {row: p for row, p in table.items() if p > 0.002}
    for row, p in common.items():
        assert abs(counts.get(row, 0) / n - p) < 4.5 * np.sqrt(p * (1 - p) / n)


# -- chains ----------------------------------------------------------------------------------------------


def hmm_scan(y):
    move = numpyro.sample("move", jdist.Dirichlet(jnp.ones(2)).expand([2]).to_event(1))
    locs = numpyro.sample("locs", jdist.Normal(0.0, 3.0).expand([2]).to_event(1))

    def step(z, y):
        z = numpyro.sample("z", jdist.Categorical(move[z]))
        x = numpyro.sample("x", jdist.Normal(0.0, 1.0))
        numpyro.deterministic("x_twice", 2 * x)
        numpyro.sample("y", jdist.Normal(locs[z] + x, 1.0), obs=y)
        return z, None

    scan(step, 0, y)


def forward_algorithm(move, log_likelihood):
    """By hand: log p(y) of a chain that starts in state 0, with log p(y_t | z_t) in rows."""
    state = np.array([0.0, -np.inf])
    for row in log_likelihood:
        with np.errstate(divide="ignore"):
            state = logsumexp(state[:, None] + np.log(move), axis=0) + row
    return logsumexp(state)


def log_normal(y, loc):
    return -0.5 * (y - loc) ** 2 - 0.5 * np.log(2 * np.pi)


@pytest.mark.parametrize("program", [hmm_numpyro, hmm_pyro])
def test_a_long_chain_against_the_forward_algorithm(program):
    y = np.random.default_rng(0).normal(size=60)
    density = read_density(program, {"y": y})
    z, values = at_random_point(density)
    point = evaluate(density, z)
    expected = forward_algorithm(values["move"], log_normal(y[:, None], values["locs"]))
    (name,) = point.log_likelihood
    assert name == "y_0+…+y_59_marginal"
    assert np.isclose(point.log_likelihood[name], expected, rtol=1e-12)
    prior = sum(float(np.asarray(value).sum()) for value in point.log_prior.values())
    assert np.isclose(float(point.log_joint) - log_jacobian(point) - prior, expected, rtol=1e-12)


def test_a_scan_is_summed_step_by_step():
    """Discrete and continuous sites, observations and deterministics, all inside numpyro's scan."""
    y = np.array([0.3, 2.5, -1.0, 0.1, 1.0, 2.0])
    density = read_density(hmm_scan, {"y": y})
    z, values = at_random_point(density)
    point = evaluate(density, z)
    expected = forward_algorithm(values["move"], log_normal((y - values["x"])[:, None], values["locs"]))
    assert np.isclose(point.log_likelihood["y_marginal"], expected, rtol=1e-12)
    np.testing.assert_allclose(point.deterministics["x_twice"], 2 * values["x"])
    np.testing.assert_allclose(point.log_prior["x"], log_normal(values["x"], 0.0))
    np.testing.assert_array_equal(point.observed["y"], y)
    np.testing.assert_allclose(density.unconstrain(values), z, atol=1e-9)
    drawn = density.infer_discrete(0, np.repeat(z[None], 2000, 0))["z"]
    assert drawn.shape == (2000, 6)
    assert density.draw_prior(0, 5).shape == (5, density.dim)
    # The last state's posterior by the filter, which is its smoother.
    state = np.array([0.0, -np.inf])
    for row in log_normal((y - values["x"])[:, None], values["locs"]):
        state = logsumexp(state[:, None] + np.log(values["move"]), axis=0) + row
    p = np.exp(state - logsumexp(state))[1]
    assert abs(drawn[:, -1].mean() - p) < 4.5 * np.sqrt(p * (1 - p) / 2000)


def test_observations_in_a_scan_are_drawn_anew():
    y = np.array([0.3, 2.5, -1.0, 0.1, 1.0, 2.0])
    density = read_density(hmm_scan, {"y": y})
    z, values = at_random_point(density)
    n = 4000
    values = {name: np.repeat(np.asarray(value)[None], n, 0) for name, value in values.items()}
    values |= density.infer_discrete(0, np.repeat(z[None], n, 0))
    drawn = density.simulate(1, values)["y"]
    assert drawn.shape == (n, 6)
    noise = drawn - values["locs"][np.arange(n)[:, None], values["z"]] - values["x"]
    assert abs(noise.mean(0)).max() < 4.5 / np.sqrt(n)
    np.testing.assert_allclose(np.cov(noise.T), np.eye(6), atol=0.1)


def test_a_series_that_is_drawn_anew_goes_on_from_what_was_drawn():
    def walk(y):
        phi = numpyro.sample("phi", jdist.Uniform(-1.0, 1.0))

        def step(before, y):
            now = numpyro.sample("y", jdist.Normal(phi * before, 0.5), obs=y)
            return now, None

        scan(step, 10.0, y)

    drawn = read_density(walk, {"y": np.zeros(3)}).simulate(0, {"phi": np.full(4000, 0.9)})["y"]
    np.testing.assert_allclose(drawn.mean(0), [9.0, 8.1, 7.29], atol=0.06)
    np.testing.assert_allclose((drawn[:, 1:] - 0.9 * drawn[:, :-1]).std(0), 0.5, rtol=0.1)


def test_chains_in_a_plate():
    """Sequences side by side: each has a marginal likelihood of its own."""

    def program(y):
        move = numpyro.sample("move", jdist.Dirichlet(jnp.ones(2)).expand([2]).to_event(1))
        locs = numpyro.sample("locs", jdist.Normal(0.0, 3.0).expand([2]).to_event(1))
        z = 0
        with numpyro.plate("sequence", y.shape[1]):
            for t in range(len(y)):
                z = numpyro.sample(f"z_{t}", jdist.Categorical(move[z]))
                numpyro.sample(f"y_{t}", jdist.Normal(locs[z], 1.0), obs=y[t])

    y = np.random.default_rng(1).normal(size=(4, 3))
    density = read_density(program, {"y": y})
    z, values = at_random_point(density)
    (marginal,) = evaluate(density, z).log_likelihood.values()
    expected = [
        forward_algorithm(values["move"], log_normal(column[:, None], values["locs"])) for column in y.T
    ]
    np.testing.assert_allclose(marginal, expected, rtol=1e-12)


# -- what the parts mean ---------------------------------------------------------------------------------


def test_log_joint_is_that_of_pyros_own_enumeration():
    """Against TraceEnum_ELBO with the continuous sites held fixed; scales count as they do there."""

    def scaled(y):
        with poutine.scale(scale=2.5):
            mixture_pyro(y)

    for program in (mixture_pyro, scaled):
        density = read_density(program, {"y": ROWS}, engine="pyro")
        z, values = at_random_point(density)
        point = evaluate(density, z)
        fixed = poutine.condition(program, data={k: torch.tensor(v) for k, v in values.items()})
        elbo = TraceEnum_ELBO(max_plate_nesting=1)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            expected = -elbo.loss(config_enumerate(fixed), lambda y: None, torch.tensor(ROWS))
        finally:
            torch.set_default_dtype(default)
        assert np.isclose(float(point.log_joint) - log_jacobian(point), expected, rtol=1e-9)


def test_pointwise_parts_of_a_mixture():
    """The same as MixtureSameFamily in every part."""

    def summed_by_hand(y):
        w = numpyro.sample("w", jdist.Dirichlet(jnp.ones(3)))
        locs = numpyro.sample("locs", jdist.Normal(0.0, 3.0).expand([3]).to_event(1))
        with numpyro.plate("row", len(y)):
            mixture = jdist.MixtureSameFamily(jdist.Categorical(w), jdist.Normal(locs, 0.7))
            numpyro.sample("y", mixture, obs=y)

    ours, other = density_of("mixture", "numpyro"), read_density(summed_by_hand, {"y": ROWS})
    z, _ = at_random_point(ours)
    first, second = evaluate(ours, z), evaluate(other, z)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), first, second)


def test_prior_and_likelihood_where_a_prior_depends_on_a_discrete_site():
    point = evaluate(density_of("spike", "numpyro"), np.array([0.5, -1.0, 2.0]))
    mu = np.array([0.5, -1.0, 2.0])
    normal = np.stack([log_normal(mu / sd, 0.0) - np.log(sd) for sd in (0.1, 2.0)])
    log_p = np.log([[0.7], [0.3]]) + normal
    prior = logsumexp(log_p, axis=0)
    joint = logsumexp(log_p + np.array([[0.0], [-0.2]]) * mu**2, axis=0) + log_normal(ROWS, mu)
    np.testing.assert_allclose(point.log_prior["mu"], prior, rtol=1e-12)
    np.testing.assert_allclose(float(point.log_base), prior.sum(), rtol=1e-12)
    np.testing.assert_allclose(float(point.log_joint), joint.sum(), rtol=1e-12)


@pytest.mark.parametrize("engine", ["numpyro", "pyro"])
def test_prior_draws_have_the_marginal_prior(engine):
    draws = density_of("spike", engine).draw_prior(0, 2000)
    variance = 0.7 * 0.1**2 + 0.3 * 2.0**2
    fourth = 3 * (0.7 * 0.1**4 + 0.3 * 2.0**4)
    error = np.sqrt((fourth - variance**2) / draws.size)
    assert abs((draws**2).mean() - variance) < 4 * error


def test_a_deterministic_of_a_discrete_site_is_left_out():
    def program(y):
        a = numpyro.sample("a", jdist.Normal(0.0, 1.0))
        z = numpyro.sample("z", jdist.Bernoulli(0.5))
        numpyro.deterministic("b", 2 * a)
        numpyro.deterministic("az", a * z)
        numpyro.sample("y", jdist.Normal(a * z, 1.0), obs=y)

    assert set(evaluate(read_density(program, {"y": 0.3}), [0.1]).deterministics) == {"b"}


@pytest.mark.parametrize("engine", ["numpyro", "pyro"])
def test_discrete_draws_and_predictions_of_a_posterior(engine):
    """Two well separated groups: each row's own group is drawn, and its prediction comes from there."""
    program, other, _ = PROGRAMS["mixture"]
    y = np.repeat([-8.0, 0.0, 8.0], 10)
    program = program if engine == "numpyro" else other
    options = {"draws": 50, "tune": 200, "chains": 2, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short chains
        post = ppgen.infer(program, {"y": y}, **options, engine=engine)
    drawn = post.infer_discrete(seed=1)["z"]
    assert drawn.shape == (2, 50, 30)
    assert "z" not in post.draws
    groups = np.take_along_axis(post.draws["locs"], drawn.astype(int), -1)
    assert np.mean(np.abs(groups - y) < 3) > 0.99
    assert np.mean(np.abs(post.predictive(seed=2)["y"] - y) < 5) > 0.99


# -- what cannot be summed -------------------------------------------------------------------------------


def _infinite(y):
    a = numpyro.sample("a", jdist.HalfNormal(1.0))
    numpyro.sample("k", jdist.Poisson(a))


def _infinite_pyro(y):
    a = pyro.sample("a", tdist.HalfNormal(1.0))
    pyro.sample("k", tdist.Geometric(a / (1 + a)))


def _boltzmann(y):
    """Two plates of binary sites, each of one tied to each of the other."""
    w = numpyro.sample("w", jdist.Normal(0.0, 1.0))
    with numpyro.plate("hidden", 30, dim=-1):
        h = numpyro.sample("h", jdist.Bernoulli(0.5))
    with numpyro.plate("visible", 30, dim=-2):
        v = numpyro.sample("v", jdist.Bernoulli(0.5))
    with numpyro.plate("hidden", 30, dim=-1), numpyro.plate("visible", 30, dim=-2):
        numpyro.factor("tie", w * h * v)


def _sum_of_many(y):
    a = numpyro.sample("a", jdist.Normal(0.0, 1.0))
    with numpyro.plate("row", 40):
        z = numpyro.sample("z", jdist.Bernoulli(0.5))
    numpyro.sample("y", jdist.Normal(a * z.sum(), 1.0), obs=y)


def _many_in_one(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    total = sum(pyro.sample(f"z_{i}", tdist.Bernoulli(0.5)) for i in range(40))
    pyro.sample("y", tdist.Normal(a * total, 1.0), obs=y)


def _support_depends(y):
    z = numpyro.sample("z", jdist.Bernoulli(0.5))
    x = numpyro.sample("x", jdist.Uniform(0.0, 1.0 + z))
    numpyro.sample("y", jdist.Normal(x, 1.0), obs=y)


def _different_scales(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    z = pyro.sample("z", tdist.Bernoulli(0.5))
    with poutine.scale(scale=2.0):
        pyro.sample("y", tdist.Normal(a * z, 1.0), obs=y)


def _only_discrete(y):
    z = numpyro.sample("z", jdist.Bernoulli(0.5))
    numpyro.sample("y", jdist.Normal(z, 1.0), obs=y)


def _broadcasts(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    with pyro.plate("row", 5):
        z = pyro.sample("z", tdist.Bernoulli(0.5))
    pyro.sample("y", tdist.Normal(a * z, 1.0), obs=torch.zeros(5, 1))


def _python_branch(y):
    a = pyro.sample("a", tdist.Normal(0.0, 1.0))
    z = pyro.sample("z", tdist.Bernoulli(0.5))
    pyro.sample("y", tdist.Normal(a if z == 1 else 0.0, 1.0), obs=y)


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (_infinite, UnsupportedProgram, "site 'k'.*Poisson.*Categorical over 0"),
        (_infinite_pyro, UnsupportedProgram, "site 'k'.*Geometric"),
        (_boltzmann, UnsupportedProgram, "sites 'h', 'v'.*in different plates"),
        (_sum_of_many, UnsupportedProgram, "site 'y'.*ties elements of 'z'"),
        (_many_in_one, UnsupportedProgram, "site 'y'.*and 36 more.*entries"),
        (_support_depends, UnsupportedProgram, "site 'x'.*support that depends on a discrete"),
        (_different_scales, UnsupportedProgram, "'y'.*different scales"),
        (_only_discrete, UnsupportedProgram, "discrete latents alone"),
        (_broadcasts, ProgramError, "site 'y'.*25 log densities"),
        (_python_branch, UnsupportedProgram, "torch.where"),
    ],
)
def test_bad_programs(program, error, words):
    with pytest.raises(error, match=words):
        read_density(program, {"y": 0.5})
