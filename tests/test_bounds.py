"""Bounds of any Pyro program and guide: against Pyro's own objectives, and against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as ndist
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO

from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.program import bounds, pairing
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch

ROWS = torch.tensor([[0.5, -0.3], [1.2, 0.1], [-2.0, 0.7], [0.0, 0.0]])


PYRO = find_language("pyro").rows


def joints(model, guide, x, samples=1, **settings):
    return bounds.log_joints(PYRO, model, guide, Batch(x), samples, **settings)


def elbo(model, guide, x, samples=1):
    return bounds.elbo(joints(model, guide, x, samples))


def importance_weighted(model, guide, x, samples):
    return bounds.importance_weighted(joints(model, guide, x, samples))


def row_bounds(model, guide, x, **settings):
    return bounds.row_bounds(PYRO, model, guide, x, **settings)


def log_density(model, x):
    return bounds.log_density(PYRO, model, Batch(x))


def check_pair(model, guide, x):
    pairing.check_pair(PYRO, model, guide, Batch(x))


def model(x):
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.deterministic("doubled", 2 * z)
        pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def guide(x):  # too wide on purpose
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Normal(0.6 * x, 0.8).to_event(1))


def exact(x):
    return dist.Normal(0.0, math.sqrt(1.25)).log_prob(x).sum(-1)


def average(estimate, times):
    torch.manual_seed(0)
    draws = torch.tensor([float(estimate()) for _ in range(times)], dtype=torch.float64)
    return draws.mean().item(), (draws.std() / math.sqrt(times)).item()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: elbo(model, guide, ROWS).sum(), Trace_ELBO()),
        (lambda: elbo(model, guide, ROWS, samples=5).sum(), Trace_ELBO(num_particles=5)),
        (lambda: importance_weighted(model, guide, ROWS, 5).sum(), RenyiELBO(alpha=0, num_particles=5)),
    ],
)
def test_agrees_with_pyro_in_expectation(ours, theirs):
    # Pyro's Rényi bound weights the rows of a batch together, so it is asked row by row.
    if isinstance(theirs, RenyiELBO):
        their_rows = [lambda row=row: -theirs.loss(model, guide, row) for row in ROWS.split(1)]
        results = [average(row, 100) for row in their_rows]
        mean, error = sum(m for m, _ in results), math.sqrt(sum(e**2 for _, e in results))
    else:
        mean, error = average(lambda: -theirs.loss(model, guide, ROWS), 200)
    our_mean, our_error = average(ours, 200)
    assert abs(our_mean - mean) < 4 * math.hypot(error, our_error)


def test_gradient_is_that_of_pyro():
    def guide_of(x):
        loc = pyro.param("loc", torch.zeros(2))
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.8).to_event(1))

    with pyro.get_param_store().scope():
        guide_of(ROWS)
        loc = pyro.param("loc")
        torch.manual_seed(1)
        (ours,) = torch.autograd.grad(-elbo(model, guide_of, ROWS).sum(), loc)
        torch.manual_seed(1)
        (theirs,) = torch.autograd.grad(Trace_ELBO().differentiable_loss(model, guide_of, ROWS), loc)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.quick
def test_bounds_are_ordered_and_reach_the_exact_value():
    truth = exact(ROWS).numpy()
    torch.manual_seed(0)
    many = ROWS.repeat(2000, 1)
    means = [importance_weighted(model, guide, many, samples).mean().item() for samples in (1, 4, 16)]
    assert means[0] < means[1] < means[2] < truth.mean()
    tight = row_bounds(model, guide, ROWS, samples=5000, seed=0)
    assert (np.abs(tight.values - truth) < 4 * tight.stderr + 1e-3).all()
    assert np.isnan(row_bounds(model, guide, ROWS, samples=1, seed=0).stderr).all()


def test_standard_error_is_the_spread_over_seeds():
    found = [row_bounds(model, guide, ROWS, samples=400, seed=seed) for seed in range(60)]
    spread = np.std([bound.values for bound in found], axis=0)
    claimed = np.mean([bound.stderr for bound in found], axis=0)
    np.testing.assert_allclose(claimed, spread, rtol=0.35)


def test_a_row_does_not_depend_on_the_rows_next_to_it():
    state = torch.get_rng_state()
    whole = row_bounds(model, guide, ROWS, samples=8, seed=3).values
    np.testing.assert_array_equal(row_bounds(model, guide, ROWS[[2]], samples=8, seed=3).values, whole[[2]])
    np.testing.assert_array_equal(
        row_bounds(model, guide, ROWS.flip(0), samples=8, seed=3).values, whole[::-1]
    )
    assert not np.isclose(row_bounds(model, guide, ROWS, samples=8, seed=4).values, whole).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_log_density_of_a_program_without_latent_sites():
    def program(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(0.0, math.sqrt(1.25)).expand([2]).to_event(1), obs=x)

    torch.testing.assert_close(log_density(program, ROWS), exact(ROWS))


def test_masked_sites_count_as_pyro_counts_them():
    observed = torch.tensor([True, False, True, False])

    def masked(x):
        with pyro.plate("rows", len(x)), pyro.poutine.mask(mask=observed):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=x)

    np.testing.assert_array_equal(log_density(masked, ROWS)[~observed].numpy(), 0)


def global_site(x):
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(w, 1.0).expand([2]).to_event(1), obs=x)


def no_event(x):
    pyro.sample("x", dist.Normal(0.0, 1.0).expand(x.shape), obs=x)


def broadcasts(x):
    pyro.sample("x", dist.Normal(torch.zeros(4, 1), 1.0), obs=x[:, 0])


@pytest.mark.parametrize(
    ("program", "site", "fix"),
    [
        (global_site, "'w'", "ppgen.infer"),
        (no_event, "'x'", r"\.to_event\(1\)"),
        (broadcasts, "'x'", "broadcasts against the rows"),
    ],
)
def test_refuses_sites_that_are_not_one_number_a_row(program, site, fix):
    with pytest.raises(ProgramError, match=fix) as caught:
        joints(program, lambda x: program(x) if program is global_site else None, ROWS[:, :2])
    assert site in caught.value.argument


def renamed(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("latent", dist.Normal(0.6 * x, 0.8).to_event(1))


def extra(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Normal(0.6 * x, 0.8).to_event(1))
        pyro.sample("u", dist.Normal(0.0, 0.8))


def narrower(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Normal(x[:, :1], 0.8).to_event(1))


def discrete(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Poisson(torch.ones(2)).to_event(1))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (renamed, ProgramError, "got no site 'z'"),
        (extra, ProgramError, "a site 'u' that is no latent site"),
        (narrower, ProgramError, r"\(4, 1\) in the guide, expected \(4, 2\)"),
        (discrete, UnsupportedProgram, "Poisson"),
    ],
)
def test_refuses_guides_that_do_not_match(wrong, error, message):
    with pytest.raises(error, match=message):
        check_pair(model, wrong, ROWS)


def test_checking_a_pair_leaves_nothing_behind():
    def with_param(x):
        scale = pyro.param("scale", torch.tensor(0.8))
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(0.6 * x, scale).to_event(1))

    state = torch.get_rng_state()
    check_pair(model, with_param, ROWS)
    assert "scale" not in pyro.get_param_store()
    assert torch.equal(torch.get_rng_state(), state)


def test_wake_sleep_has_the_gradients_of_its_definition():
    """Against the definition written out: weights and draws held, log p and log q differentiated."""
    x = torch.tensor([0.5, -1.0, 2.0])
    slope, loc = torch.tensor(0.3, requires_grad=True), torch.tensor(0.2, requires_grad=True)

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(loc, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(slope * x, 0.7))

    with torch.random.fork_rng():
        torch.manual_seed(3)
        bound = bounds.wake_sleep(joints(model, guide, x, 5, fixed_draws=True))
    gradients = torch.autograd.grad(bound.sum(), (loc, slope))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        z = torch.normal((slope * x).detach().repeat(5), 0.7).reshape(5, 3)
    log_p = dist.Normal(loc, 1.0).log_prob(z) + dist.Normal(z, 0.5).log_prob(x)
    log_q = dist.Normal(slope * x, 0.7).log_prob(z)
    weights = (log_p - log_q).detach().softmax(0)
    expected = torch.autograd.grad((weights * (log_p + log_q)).sum(), (loc, slope))
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(bound, (log_p - log_q).logsumexp(0) - math.log(5))


def numpyro_model(x):
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", ndist.Normal(jnp.zeros(2), 1.0).to_event(1))
        numpyro.sample("x", ndist.Normal(z, 0.5).to_event(1), obs=x)


def numpyro_guide(x):  # the posterior
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", ndist.Normal(0.8 * x, math.sqrt(0.2)).to_event(1))


def test_the_same_bounds_hold_in_another_language():
    rows, x = find_language("numpyro").rows, jnp.asarray(ROWS.numpy())
    truth = exact(ROWS).numpy()
    batch = Batch(x, key=jax.random.key(0))
    for fixed_draws in (False, True):
        found = bounds.log_joints(rows, numpyro_model, numpyro_guide, batch, 3, fixed_draws=fixed_draws)
        for bound in (bounds.elbo, bounds.importance_weighted, bounds.wake_sleep):
            np.testing.assert_allclose(bound(found), truth, rtol=1e-4)
        np.testing.assert_allclose(bounds.renyi(found, 0.5), truth, rtol=1e-4)
    by_row = bounds.row_bounds(rows, numpyro_model, numpyro_guide, x, samples=4, seed=0)
    np.testing.assert_allclose(by_row.values, truth, rtol=1e-4)


def test_a_guide_of_another_language_is_checked_as_well():
    def discrete(x):
        with numpyro.plate("rows", len(x)):
            numpyro.sample("z", ndist.Poisson(jnp.ones(2)).to_event(1))

    batch = Batch(jnp.asarray(ROWS.numpy()), key=jax.random.key(0))
    rows = find_language("numpyro").rows
    with pytest.raises(UnsupportedProgram, match="Poisson"):
        pairing.check_pair(rows, numpyro_model, discrete, batch)
    with pytest.raises(ProgramError, match=r"numpyro\.sample\('z'"):
        pairing.check_pair(rows, numpyro_model, lambda x: None, batch)
