"""The laws of long-run likelihoods: bounds on both sides of the closed form, and paired comparison."""

import itertools
import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as ndist
import pyro
import pyro.distributions as pdist
import pytest
import torch
from pyro import poutine
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from ppgen.errors import DataError, InvalidArgument, ProgramError, UnknownName, UnsupportedProgram
from ppgen.evaluation.likelihood import annealed_likelihood, bdmc, compare_likelihoods
from ppgen.evaluation.likelihood.latent_rows import LatentRows
from ppgen.evaluation.likelihood.subject import read_subject
from ppgen.models import DBN, RBM, VAE, VQVAE, FlowMatching, HierarchicalVAE, SemiSupervisedVAE
from ppgen.program.density import float64
from ppgen.program.likelihood import Likelihood

NOISE = 0.6
QUIET = {"progress": False}


def shaken(family, seed=0):
    """A family away from its initial weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter.shape[-1])
    return family


def linear(**settings):
    """A VAE with an affine decoder, and the covariance and mean of its rows."""
    vae = shaken(VAE((3,), hidden=(), latent_dim=2, noise_scale=NOISE, **settings))
    weights, bias = (parameter.detach().double().numpy() for parameter in vae.decoder.parameters())
    return vae, weights, bias


def density(weights, bias):
    return multivariate_normal(bias, weights @ weights.T + NOISE**2 * np.eye(len(bias)))


@pytest.fixture(scope="module")
def gaussian():
    """A linear-Gaussian VAE whose guide is the exact posterior but for being wider, and its density."""
    vae, weights, bias = linear(posterior="full")
    precision = np.eye(2) + weights.T @ weights / NOISE**2
    factor = 1.2 * np.linalg.cholesky(np.linalg.inv(precision))
    gain = np.linalg.solve(precision, weights.T) / NOISE**2
    (layer,) = [module for module in vae.encoder.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        square = factor.copy()
        square[np.diag_indices(2)] = np.log(np.diag(factor))
        layer.weight[:] = torch.tensor(np.vstack([gain, np.zeros((4, 3))]))
        layer.bias[:] = torch.tensor(np.concatenate([-gain @ bias, square.ravel()]))
    return vae, density(weights, bias)


# -- annealing against closed forms -----------------------------------------------------------------------


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_annealing_finds_the_evidence_of_a_linear_vae(gaussian, start):
    vae, exact = gaussian
    rows = vae.sample(48, seed=1)
    found = annealed_likelihood(vae, rows, start=start, steps=300, **QUIET)
    error = found.values - exact.logpdf(rows)
    assert found.kind == "lower_bound"
    assert (np.abs(error) < 4 * found.stderr + 0.02).mean() > 0.95
    assert abs(error.mean()) < 3 * np.sqrt(np.square(found.stderr).sum()) / len(rows) + 0.01
    assert found.stderr.mean() < 0.15


def test_a_short_path_is_below_the_evidence_and_the_way_back_above(gaussian):
    vae, exact = gaussian
    short = bdmc(vae, 144, start="prior", steps=3, **QUIET)
    truth = exact.logpdf(short.rows)
    below, above = short.lower.values - truth, short.upper.values - truth
    assert below.mean() + 3 * below.std() / 12 < 0
    assert above.mean() - 3 * above.std() / 12 > 0
    assert short.gap > 0.2
    assert short.upper.kind == "upper_bound"


def test_a_long_path_closes_the_gap(gaussian):
    vae, exact = gaussian
    long = bdmc(vae, 32, start="prior", steps=400, **QUIET)
    truth = exact.logpdf(long.rows).mean()
    noise = np.sqrt(np.square(long.lower.stderr).sum()) / 32
    assert long.lower.mean() - 4 * noise < truth < long.upper.mean() + 4 * noise
    assert abs(long.gap) < 0.1
    assert long.interval()[0] < long.gap < long.interval()[1]
    assert "simulated from the model" in str(long)
    assert long.to_json()["gap"] == long.gap


def test_simulated_latent_vectors_are_draws_of_the_posterior(gaussian):
    vae, _ = gaussian
    subject = read_subject(vae, None, np.zeros((1, 3)))
    made = LatentRows(subject, np.zeros(3, np.float32), None).simulate(4000, 0)
    weights, bias = (parameter.detach().double().numpy() for parameter in vae.decoder.parameters())
    residual = made.x - made.latent @ weights.T - bias
    np.testing.assert_allclose(np.cov(made.latent.T), np.eye(2), atol=0.08)
    np.testing.assert_allclose(residual.std(0), NOISE, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(residual.T, made.latent.T)[:3, 3:], 0, atol=0.06)


def test_from_the_posterior_itself_every_weight_is_the_evidence():
    def program(x):
        with numpyro.plate("rows", len(x)):
            size = numpyro.sample("size", ndist.LogNormal(0.0, 1.0))
            numpyro.sample("x", ndist.Normal(jnp.log(size)[:, None], 1.0).to_event(1), obs=x)

    def guide(x):
        with numpyro.plate("rows", len(x)):
            numpyro.sample("size", ndist.LogNormal(x[:, 0] / 2, math.sqrt(0.5)))

    x = np.array([[0.0], [1.0], [4.0]])
    found = annealed_likelihood(program, x, guide=guide, steps=10, chains=4, leapfrog=2, **QUIET)
    assert found.space == "continuous"
    np.testing.assert_allclose(found.values, norm(0, math.sqrt(2)).logpdf(x[:, 0]), atol=1e-6)
    np.testing.assert_allclose(found.stderr, 0, atol=1e-6)


def two_sides(x):
    with numpyro.plate("rows", len(x)):
        side = numpyro.sample("side", ndist.Bernoulli(0.3))
        z = numpyro.sample("z", ndist.Normal(0.0, 1.0))
        loc = jnp.where(side == 1, 2.0, -2.0) + z
        numpyro.sample("x", ndist.Normal(loc[:, None], 0.5).to_event(1), obs=x)


def two_sides_in_pyro(x):
    with pyro.plate("rows", len(x)):
        side = pyro.sample("side", pdist.Bernoulli(0.3))
        z = pyro.sample("z", pdist.Normal(0.0, 1.0))
        loc = torch.where(side == 1, 2.0, -2.0) + z
        pyro.sample("x", pdist.Normal(loc[:, None], 0.5).to_event(1), obs=x)


@pytest.mark.parametrize("program", [two_sides, two_sides_in_pyro])
def test_finite_latents_are_summed_out(program):
    x = np.array([[-2.5], [0.1], [3.0]])
    exact = np.logaddexp(
        np.log(0.3) + norm(2, np.sqrt(1.25)).logpdf(x), np.log(0.7) + norm(-2, np.sqrt(1.25)).logpdf(x)
    )
    found = annealed_likelihood(program, x, steps=300, chains=32, **QUIET)
    assert (np.abs(found.values - exact[:, 0]) < 4 * found.stderr + 0.01).all()


def test_a_users_pyro_program_keeps_what_it_learnt():
    def program(x):
        shift = pyro.param("shift", torch.tensor(0.0))
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", pdist.LogNormal(0.0, 0.5))
            pyro.sample("x", pdist.Normal((z.log() + shift)[:, None], 1.0).to_event(1), obs=x)

    x = np.array([[0.5], [3.0]])
    with pyro.get_param_store().scope():
        pyro.param("shift", torch.tensor(1.5))
        found = annealed_likelihood(program, x, steps=200, chains=32, **QUIET)
        assert pyro.param("shift").item() == 1.5
    exact = norm(1.5, math.sqrt(1.25)).logpdf(x[:, 0])
    assert (np.abs(found.values - exact) < 4 * found.stderr + 0.01).all()


KINDS = {
    "mixture": lambda: VAE((2,), 4, latent_dim=2, hidden=(6,), prior="mixture", components=3),
    "vamp": lambda: VAE((2,), 3, latent_dim=2, hidden=(6,), prior="vamp", components=3, posterior="full"),
    "flow": lambda: VAE((2,), 2, latent_dim=2, hidden=(6,), prior="flow"),
    "iaf": lambda: VAE((2,), 2, latent_dim=2, hidden=(6,), posterior="flow"),
    "logistic": lambda: VAE((2,), 5, latent_dim=2, hidden=(6,), likelihood="discretized_logistic"),
    "image": lambda: VAE((8, 8), 2, latent_dim=2, hidden=(2, 3), networks="conv"),
    "ladder": lambda: HierarchicalVAE((2,), 2, latent_dims=(2, 1), width=6),
    "labelled": lambda: SemiSupervisedVAE((2,), 2, classes=2, latent_dim=1, hidden=(4,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_of_the_path_are_the_programs_own_densities(kind):
    vae = shaken(KINDS[kind]())
    label = 1 if kind == "labelled" else None
    row = np.asarray(vae.rows(vae.sample(1, seed=1)))[0]
    latent = LatentRows(read_subject(vae, None, row[None]), row, label)
    u = latent.draw("guide", row, 2, 0)
    context = {} if label is None else {"label": torch.full((2,), label)}
    x = torch.tensor(row).repeat(2, *(1,) * row.ndim)
    with torch.no_grad(), pyro.get_param_store().scope():
        parts = iter(torch.tensor(u, dtype=torch.float32).split(1, 1))  # all supports are real here
        drawn = poutine.trace(vae.guide).get_trace(x, **context)
        names = [
            name
            for name, site in poutine.trace(vae.model).get_trace(x, **context).nodes.items()
            if site["type"] == "sample" and name in drawn.nodes and name != "rows"
        ]
        for name in names:
            size = drawn.nodes[name]["value"].shape[-1]
            drawn.nodes[name]["value"] = torch.cat([next(parts) for _ in range(size)], 1)
        guided = poutine.trace(poutine.replay(vae.guide, trace=drawn)).get_trace(x, **context)
        scored = poutine.trace(poutine.replay(vae.model, trace=drawn)).get_trace(x, **context)
        for trace in (guided, scored):
            trace.compute_log_prob()
        joint = sum(scored.nodes[name]["log_prob"] for name in [*names, "x"])
        prior = joint - scored.nodes["x"]["log_prob"]
        approximate = sum(guided.nodes[name]["log_prob"] for name in names)
    for start, base in (("prior", prior), ("guide", approximate)):
        pair = latent.pair(start)
        with float64():
            found = np.array([pair.graph(pair.inputs, one, row) for one in u])
        np.testing.assert_allclose(found[:, 0], base, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[:, 1], joint, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["mixture", "ladder", "labelled"])
def test_the_probabilities_of_all_rows_sum_to_one(kind):
    vae = shaken(KINDS[kind]())
    rows = np.array(list(itertools.product(range(vae.levels), repeat=2)))
    found = annealed_likelihood(vae, rows, start="prior", steps=100, leapfrog=5, **QUIET)
    probability = np.exp(found.values)
    noise = np.sqrt(np.square(probability * found.stderr).sum())
    assert abs(probability.sum() - 1) < 4 * noise + 0.005
    assert noise < 0.1


# -- classes ----------------------------------------------------------------------------------------------


def test_classes_are_summed_out_or_given():
    vae = shaken(VAE((3,), hidden=(), latent_dim=1, classes=2, noise_scale=NOISE))
    vae.class_weights.copy_(torch.tensor([0.2, 0.8]))
    weights, bias = (parameter.detach().double().numpy() for parameter in vae.decoder.parameters())
    by_class = [density(weights[:, :1], bias + weights[:, 1 + y]) for y in range(2)]
    rows = vae.sample(6, seed=2)
    each = np.stack([one.logpdf(rows) for one in by_class])
    settings = {"steps": 200, "start": "prior", **QUIET}
    label = np.array([0, 1, 1, 0, 1, 0])
    given = annealed_likelihood(vae, rows, label=label, **settings)
    summed = annealed_likelihood(vae, rows, **settings)
    exact = logsumexp(each + np.log([[0.2], [0.8]]), axis=0)
    assert (np.abs(given.values - each[label, np.arange(6)]) < 4 * given.stderr + 0.02).all()
    assert (np.abs(summed.values - exact) < 4 * summed.stderr + 0.02).all()
    both = bdmc(vae, 8, **settings)
    truth = np.stack([one.logpdf(both.rows) for one in by_class])[both.label, np.arange(8)]
    assert abs(both.lower.values - truth).mean() < 0.3


# -- reproducibility --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_numbers_whatever_rows_come_with_them(gaussian):
    vae, _ = gaussian
    rows = vae.sample(20, seed=3)
    settings = {"steps": 40, "start": "prior", **QUIET}
    whole = annealed_likelihood(vae, rows, **settings)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(annealed_likelihood(vae, rows, **settings).values, whole.values)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(annealed_likelihood(vae, rows[:3], **settings).values, whole.values[:3])
    np.testing.assert_array_equal(annealed_likelihood(vae, rows[::-1], **settings).values[::-1], whole.values)
    assert (annealed_likelihood(vae, rows, seed=1, **settings).values != whole.values).all()


def test_training_mode_and_the_users_store_are_left_alone(gaussian):
    vae, _ = gaussian
    vae.train()
    with pyro.get_param_store().scope():
        annealed_likelihood(vae, vae.sample(2), steps=2, start="prior", **QUIET)
        assert not list(pyro.get_param_store())
    assert vae.training
    vae.eval()


# -- energies ---------------------------------------------------------------------------------------------


def strong(family, seed=0):
    arrays, static = eqx.partition(family.network, eqx.is_inexact_array)
    rng = np.random.default_rng(seed)
    drawn = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), arrays)
    family.network = eqx.combine(drawn, static)
    return family


@pytest.mark.parametrize("deep", [False, True])
def test_both_sides_bracket_the_constant(deep):
    machine = strong(DBN((4,), 2, hidden=(5, 4))) if deep else strong(RBM((5,), 2, hidden=4))
    top = machine.unnormalised
    h, v = (np.array(list(itertools.product((0, 1), repeat=size))) for size in (4, 5))
    couplings = top.network.couplings
    fields = np.asarray(couplings.lower) + h @ np.asarray(couplings.weights).T
    states = (h @ np.asarray(couplings.upper))[:, None] + fields @ v.T  # -E(v, h) of all of them
    exact = logsumexp(states)
    # The RBM's way back begins with exact draws, the DBN's with the ends of long chains.
    share = np.exp(logsumexp(states, axis=0) - exact)
    draws = (
        {} if deep else {"rows": v[np.random.default_rng(0).choice(len(v), size=200, p=share / share.sum())]}
    )
    bracket = machine.bracket_log_partition(temperatures=200, chains=200, **draws)
    assert machine.log_partition("exact").value == pytest.approx(exact, abs=1e-4)
    low, high = bracket.interval
    assert low < exact < high
    assert abs(bracket.gap) < 0.3
    assert bracket.to_json()["gap"] == bracket.gap
    assert "agree within" in str(bracket)
    contradicted = replace(bracket, upper=replace(bracket.upper, value=bracket.lower.value - 5))
    assert "contradict" in str(contradicted)


# -- probability flows ------------------------------------------------------------------------------------


def test_a_flow_says_what_its_solver_and_its_trace_add():
    flow = FlowMatching((2,), width=8, depth=1)
    rows = np.array([[0.0, 0.5], [1.0, -1.0]])
    found = flow.log_prob(rows, trace="hutchinson", samples=4, tolerance=1e-4, looser=True)
    assert "solver tolerance 0.0001" in found.how
    assert "with 10 times the tolerance the mean moves by" in found.how
    assert found.stderr.shape == (2,)
    again = flow.log_prob(rows, trace="hutchinson", samples=4, tolerance=1e-3)
    moved = float(found.how.split("moves by ")[1].split(" nats")[0])
    assert moved == pytest.approx(again.mean() - found.mean(), rel=0.1, abs=1e-6)
    assert abs(moved) < 0.05


# -- paired comparison ------------------------------------------------------------------------------------


def made(values, kind="exact", stderr=None):
    return Likelihood(np.asarray(values, float), kind, "discrete", 4, "", stderr)


def test_pairs_tell_apart_what_intervals_of_their_own_do_not():
    rng = np.random.default_rng(0)
    hard = rng.normal(-50, 10, size=200)
    a, b = made(hard + 0.3 + 0.5 * rng.normal(size=200)), made(hard)
    found = compare_likelihoods(a, b)
    assert found.winner == "a"
    assert a.mean_stderr() > 10 * found.stderr
    assert found.interval[0] < 0.3 < found.interval[1]
    swapped = compare_likelihoods(b, a)
    assert (swapped.difference, swapped.winner) == (-found.difference, "b")


def test_the_interval_of_a_difference_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        noise = rng.normal(0.2, 1.0, size=50)
        interval = compare_likelihoods(made(noise), made(np.zeros(50)), level=0.9).interval
        covered.append(interval[0] < 0.2 < interval[1])
    assert 0.84 < np.mean(covered) < 0.95


@pytest.mark.parametrize(
    ("ahead", "behind", "winner"),
    [
        ("exact", "exact", "a"),
        ("lower_bound", "exact", "a"),
        ("exact", "upper_bound", "a"),
        ("lower_bound", "upper_bound", "a"),
        ("exact", "lower_bound", None),
        ("upper_bound", "exact", None),
        ("lower_bound", "lower_bound", None),
        ("upper_bound", "upper_bound", None),
        ("upper_bound", "lower_bound", None),
        ("estimate", "exact", "a"),
        ("estimate", "lower_bound", None),
    ],
)
def test_kinds_decide_what_a_difference_means(ahead, behind, winner):
    values = np.linspace(-5, -4, 20)
    better = values + 1 + 0.01 * np.arange(20) % 3
    found = compare_likelihoods(made(better, ahead), made(values, behind))
    assert found.winner == winner
    assert (compare_likelihoods(made(values, behind), made(better, ahead)).winner is not None) == bool(winner)
    assert found.to_json()["reading"] == str(found)


def test_models_are_compared_on_rows_of_their_own_scoring():
    a, b = shaken(VAE((2,), 2, latent_dim=1, hidden=()), 0), shaken(VAE((2,), 2, latent_dim=1, hidden=()), 1)
    rows = a.sample(20, seed=0)
    found = compare_likelihoods(a, b, rows, names=("one", "two"))
    expected = (a.log_prob(rows).values - b.log_prob(rows).values).mean()
    assert found.difference == pytest.approx(expected)
    assert found.noise > 0


# -- bad input --------------------------------------------------------------------------------------------


def shared(x):
    z = numpyro.sample("z", ndist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("x", ndist.Normal(z, 1.0).expand([1]).to_event(1), obs=x)


def nothing_latent(x):
    with numpyro.plate("rows", len(x)):
        numpyro.sample("x", ndist.Normal(0.0, 1.0).expand([1]).to_event(1), obs=x)


def discrete(x):
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", pdist.Bernoulli(0.5))
        pyro.sample("x", pdist.Normal(z[:, None], 1.0).to_event(1), obs=x)


def two_observed(x):
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", ndist.Normal(0.0, 1.0))
        numpyro.sample("first", ndist.Normal(z, 1.0), obs=x[:, 0])


def vae():
    return VAE((2,), 2, latent_dim=1, hidden=(2,))


ROWS = np.zeros((2, 2), int)
BAD = {
    "no chains": (lambda: annealed_likelihood(vae(), ROWS, chains=1), InvalidArgument, "chains"),
    "no steps": (lambda: annealed_likelihood(vae(), ROWS, steps=0), InvalidArgument, "steps"),
    "start": (lambda: annealed_likelihood(vae(), ROWS, start="posterior"), UnknownName, "posterior"),
    "no guide": (
        lambda: annealed_likelihood(shared, np.zeros((2, 1)), start="guide"),
        InvalidArgument,
        "without one",
    ),
    "rows": (lambda: annealed_likelihood(vae(), np.zeros((2, 3), int)), DataError, r"\(n, 2\)"),
    "levels": (lambda: annealed_likelihood(vae(), ROWS + 2), DataError, "x"),
    "label": (lambda: annealed_likelihood(vae(), ROWS, label=1), InvalidArgument, "without classes"),
    "class": (lambda: annealed_likelihood(VAE((2,), 2, classes=2), ROWS, label=2), DataError, "0 … 1"),
    "not a model": (lambda: annealed_likelihood(3, ROWS), InvalidArgument, "family"),
    "a class": (lambda: annealed_likelihood(VAE, ROWS), InvalidArgument, "the class VAE"),
    "shared latent": (lambda: annealed_likelihood(shared, np.zeros((2, 1))), ProgramError, "'z'"),
    "exact": (lambda: annealed_likelihood(nothing_latent, np.zeros((2, 1))), ProgramError, "no latent"),
    "discrete": (lambda: annealed_likelihood(discrete, np.zeros((2, 1))), UnsupportedProgram, "'z'"),
    "codes": (
        lambda: annealed_likelihood(VQVAE((2,), 2, codes=3, positions=1, code_dim=1), ROWS),
        UnsupportedProgram,
        "'codes'",
    ),
    "not the rows": (lambda: bdmc(two_observed, like=np.zeros((1, 2))), UnsupportedProgram, "'first'"),
    "like": (lambda: bdmc(shared), InvalidArgument, "like"),
    "one row": (lambda: bdmc(vae(), 1), InvalidArgument, "n"),
    "lengths": (lambda: compare_likelihoods(made([1, 2]), made([1, 2, 3])), InvalidArgument, "same test"),
    "infinite": (lambda: compare_likelihoods(made([1, -np.inf]), made([1, 2])), InvalidArgument, "finite"),
    "no rows": (lambda: compare_likelihoods(vae(), vae()), InvalidArgument, "with x"),
    "level": (lambda: compare_likelihoods(made([1, 2]), made([1, 2]), level=95.0), InvalidArgument, "0.95"),
    "names": (
        lambda: compare_likelihoods(made([1, 2]), made([1, 2]), names=("a", "a")),
        InvalidArgument,
        "two names",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_what_to_do(case, wrong_types):
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
