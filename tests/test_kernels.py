"""The laws of the kernels: constants by enumeration, stationary distributions, resampling without bias."""

import itertools
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import chi2, kstest, norm

import ppgen.kernels
from ppgen.kernels import annealed_importance, langevin, mala, tempered_hmc
from ppgen.kernels.gibbs import gibbs_sweep
from ppgen.kernels.pseudo_likelihood import pseudo_log_prob
from ppgen.kernels.resampling import systematic_resampling
from ppgen.kernels.weights import log_effective_size, log_mean_weight

LEVELS, DIMS = 3, 4
STATES = np.array(list(itertools.product(range(LEVELS), repeat=DIMS)))
COUPLINGS = jnp.asarray(np.random.default_rng(0).normal(size=(DIMS, DIMS, LEVELS, LEVELS)), jnp.float32)


def potts(beta, x):
    """The log density of rows of a Potts model, but for its constant."""
    entry = jnp.arange(DIMS)
    pairs = COUPLINGS[entry[:, None], entry[None, :], x[:, :, None], x[:, None, :]]  # (n, dims, dims)
    return beta * pairs.sum((1, 2))


def probabilities():
    log_p = np.asarray(potts(1.0, jnp.asarray(STATES)), np.float64)
    return np.exp(log_p - logsumexp(log_p)), logsumexp(log_p)


def numbers(rows):
    """The place of each row in STATES."""
    return np.asarray(rows) @ LEVELS ** np.arange(DIMS)[::-1]


# -- weights and resampling ------------------------------------------------------------------------------


def test_a_mean_weight_has_the_error_that_it_states():
    z = np.random.default_rng(0).normal(size=(2000, 200))  # q = N(0, 1), π = N(0.5, 1)
    value, stderr = log_mean_weight(0.5 * z - 0.125)
    assert 0.92 < (np.abs(value) < 1.96 * stderr).mean() < 0.97
    assert stderr.mean() == pytest.approx(value.std(), rel=0.1)


def test_weights_of_zero_count():
    value, stderr = log_mean_weight(np.array([[0.0, -np.inf, np.nan, 0.0], [-np.inf] * 4]))
    np.testing.assert_allclose(value, [np.log(0.5), -np.inf])
    np.testing.assert_allclose(stderr, [np.sqrt(1 / 3), 0.0])


def test_the_effective_size_of_equal_weights_is_their_number():
    assert np.exp(log_effective_size(np.full(7, -1000.0))) == pytest.approx(7)
    assert np.exp(log_effective_size(np.array([0.0, -800.0]))) == pytest.approx(1)


def test_systematic_resampling_is_unbiased_with_the_fewest_counts():
    weights, n = np.array([0.05, 0.0, 1.3, 0.65, 0.1]), 7
    rng = np.random.default_rng(0)
    counts = [
        np.bincount(systematic_resampling(weights, n, rng), minlength=len(weights)) for _ in range(4000)
    ]
    expected = n * weights / weights.sum()
    assert (np.abs(counts - expected) < 1).all()
    np.testing.assert_allclose(np.mean(counts, 0), expected, atol=0.03)


# -- annealed importance sampling ------------------------------------------------------------------------


def sweep(beta, key, x):
    return gibbs_sweep(partial(potts, beta), key, x, LEVELS)


@pytest.mark.parametrize("backwards", [False, True])
def test_annealing_finds_the_constant_of_a_potts_model(backwards):
    p, log_z = probabilities()
    rng = np.random.default_rng(1)
    path = jnp.linspace(0.0, 1.0, 21)
    chosen = rng.choice(len(p), size=2000, p=p) if backwards else rng.integers(len(p), size=2000)
    ends = annealed_importance.anneal(
        lambda beta, x: -potts(beta, x),
        sweep,
        path[::-1] if backwards else path,
        jnp.asarray(STATES[chosen]),
        jax.random.split(jax.random.key(0), 20),
    )
    value, stderr = log_mean_weight(np.asarray(ends.log_weights))
    expected = log_z - np.log(len(STATES))
    assert stderr < 0.1
    assert abs(value - (-expected if backwards else expected)) < 3 * stderr


def test_a_path_in_parts_is_the_path():
    path, keys = jnp.linspace(0.0, 1.0, 7), jax.random.split(jax.random.key(0), 6)
    go = partial(annealed_importance.anneal, lambda beta, x: -potts(beta, x), sweep)
    x = jnp.asarray(STATES)
    whole = go(path, x, keys)
    half = go(path[:4], x, keys[:3])
    rest = go(path[3:], half.position, keys[3:])
    np.testing.assert_array_equal(rest.position, whole.position)
    np.testing.assert_allclose(half.log_weights + rest.log_weights, whole.log_weights, rtol=1e-5)


def gaussians(z):
    """From N(0, 1) to 3 N(1, 0.5)."""
    logpdf = jax.scipy.stats.norm.logpdf
    return logpdf(z).sum(), logpdf(z, 1.0, 0.5).sum() + jnp.log(3.0)


@partial(jax.jit, static_argnums=3)
def move(key, z, beta, ends=gaussians):
    def one(key, z):
        return tempered_hmc.step(key, z, ends, beta, 0.4, jnp.ones(1), 4, (0.8, 1.2))

    return jax.vmap(one)(jax.random.split(key, len(z)), z)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_hamiltonian_moves_leave_the_tempered_density_as_it_is(beta):
    precision = (1 - beta) + beta * 4.0
    law = norm(beta * 4.0 / precision, precision**-0.5)
    z = jnp.asarray(law.rvs(size=(4000, 1), random_state=0), jnp.float32)
    for k in range(3):
        z, info = move(jax.random.key(k), z, beta)
    assert kstest(np.asarray(z)[:, 0], law.cdf).pvalue > 0.01
    assert 0.8 < info.acceptance_rate.mean() <= 1


def test_the_log_ratio_of_hamiltonian_moves_is_the_gain_of_a_weight():
    z, log_weights = jax.random.normal(jax.random.key(0), (2000, 1)), np.zeros(2000)
    beta = np.asarray(annealed_importance.sigmoid_schedule(jnp.arange(31), 30))
    for k in range(30):
        z, info = move(jax.random.key(k + 1), z, beta[k + 1])
        log_weights += (beta[k + 1] - beta[k]) * np.asarray(info.log_ratio)
    value, stderr = log_mean_weight(log_weights)
    assert stderr < 0.02
    assert abs(value - np.log(3.0)) < 3 * stderr


def test_a_density_that_ends_holds_its_chains():
    def half(z):
        return jax.scipy.stats.norm.logpdf(z).sum(), jnp.where(z > 0, -(z**2) / 2, jnp.nan).sum()

    z = jnp.abs(jax.random.normal(jax.random.key(0), (500, 1)))
    for k in range(10):
        z, info = move(jax.random.key(k + 1), z, 1.0, half)
    assert (z > 0).all()
    assert jnp.isfinite(info.log_ratio).all()


# -- Langevin --------------------------------------------------------------------------------------------

SCALES = jnp.array([1.0, 0.3])


def log_normal(z):
    return -0.5 * ((z / SCALES) ** 2).sum(1)


@pytest.mark.parametrize("step_size", [0.01, 0.1])
def test_adjusted_langevin_steps_leave_a_gaussian_as_it_is(step_size):
    z = SCALES * jax.random.normal(jax.random.key(0), (4000, 2))
    state = mala.init(z, log_normal)
    for k in range(5):
        state, info = mala.step(jax.random.key(k + 1), state, log_normal, jnp.asarray(step_size))
    for column, scale in zip(np.asarray(state.position).T, SCALES, strict=True):
        assert kstest(column, norm(0, float(scale)).cdf).pvalue > 0.01
    np.testing.assert_allclose(state.log_density, log_normal(state.position), rtol=1e-5)
    assert 0.2 < info.acceptance_rate.mean() < 1


def test_the_step_size_comes_to_the_rate_that_is_wanted():
    z, log_step = mala.run(jax.random.key(0), jnp.zeros((500, 2)), log_normal, -6.0, 400)
    _, info = mala.step(jax.random.key(1), mala.init(z, log_normal), log_normal, jnp.exp(log_step))
    assert abs(info.acceptance_rate.mean() - 0.574) < 0.06


def test_the_corrector_holds_a_gaussian_when_its_steps_are_small():
    z = jax.random.normal(jax.random.key(0), (4000, 3))
    for k in range(20):
        z = langevin.corrected(lambda z: -z, z, jax.random.key(k + 1), 0.05)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=0.1)


# -- Gibbs -----------------------------------------------------------------------------------------------


def test_a_gibbs_sweep_leaves_an_enumerated_distribution_as_it_is():
    p, _ = probabilities()
    start = STATES[np.random.default_rng(0).choice(len(p), size=20_000, p=p)]
    after = numbers(sweep(1.0, jax.random.key(0), jnp.asarray(start)))
    assert (after != numbers(start)).mean() > 0.3
    large = len(start) * p > 5
    counts = np.bincount(after, minlength=len(p))
    observed, expected = np.append(counts[large], counts[~large].sum()), len(start) * p
    expected = np.append(expected[large], expected[~large].sum())
    assert ((observed - expected) ** 2 / expected).sum() < chi2(len(expected) - 1).ppf(0.999)


def test_the_pseudo_likelihood_by_enumeration():
    p, _ = probabilities()
    table = p.reshape((LEVELS,) * DIMS)
    exact = sum(np.log(table / table.sum(i, keepdims=True)) for i in range(DIMS)).ravel()
    found = pseudo_log_prob(partial(potts, 1.0), jax.random.key(0), jnp.asarray(STATES), LEVELS)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


# -- the floor -------------------------------------------------------------------------------------------


def test_kernels_need_nothing_of_the_rooms_above():
    for path in Path(ppgen.kernels.__file__).parent.glob("*.py"):
        for used in re.findall(r"^(?:from|import) (ppgen[\w.]*)", path.read_text(), re.MULTILINE):
            assert used.startswith("ppgen.kernels"), (path.name, used)
