"""The diffusion models' own laws: exact scores give exact densities, bounds are the program's."""

import itertools
import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer import Predictive, Trace_ELBO
from scipy.stats import chisquare, multivariate_normal, norm

from ppgen.errors import DataError, InvalidArgument, UnknownName
from ppgen.inference.training import train
from ppgen.inference.training.objectives.denoising import MultilevelDenoising, NoisePrediction
from ppgen.inference.training.objectives.flow_matching import FlowMatching as FlowMatchingObjective
from ppgen.inference.training.objectives.flow_matching import optimal_pairs
from ppgen.kernels.langevin import annealed_langevin
from ppgen.models import DDPM, NCSN, FlowMatching, MaskedDiffusion, ScoreSDE
from ppgen.models.diffusion.any_order import AnyOrder
from ppgen.models.diffusion.family import _without_class
from ppgen.models.diffusion.flow_matching import StraightPaths
from ppgen.models.diffusion.gaussian_chain import GaussianChain
from ppgen.models.diffusion.levels import cell_logits, level_mean
from ppgen.models.diffusion.probability_flow import flow_log_density, follow
from ppgen.models.diffusion.schedules import CosineSchedule, VarianceExploding, VariancePreserving
from ppgen.models.diffusion.score_sde import ScoreFlow, predictor_corrector, probability_flow_velocity
from ppgen.models.networks.denoiser import denoiser
from ppgen.models.networks.winograd import _by_winograd
from ppgen.program.bounds import log_joints
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch


def log_weights(family, key, rows, samples):
    batch = Batch(rows, key=key)
    return log_joints(find_language("numpyro").rows, family.model, family.guide, batch, samples).log_weights


TINY = {"width": 16, "depth": 1, "dropout": 0.0}

MEAN = np.array([1.0, -0.5])
COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.8]])
GAUSSIAN = multivariate_normal(MEAN, COVARIANCE)


def awake(family, scale=0.3):
    """The family with a last layer that says something."""
    weight = family.network.body.last.weight
    drawn = scale * jax.random.normal(jax.random.key(1), weight.shape)
    family.network = eqx.tree_at(lambda network: network.body.last.weight, family.network, drawn)
    return family


def awake_unet(network):
    last = 0.3 * jax.random.normal(jax.random.key(1), network.body.last.weight.shape)
    return eqx.tree_at(lambda network: network.body.last.weight, network, last)


# -- the exact score of a Gaussian -------------------------------------------------------------------------


def exact_score(schedule):
    def score(z, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        covariance = alpha**2 * jnp.asarray(COVARIANCE) + sigma**2 * jnp.eye(2)
        return -jnp.linalg.solve(covariance, (z - alpha * jnp.asarray(MEAN)).T).T

    return score


def exact_velocity(z, t):
    """Of straight paths from N(0, I) to the Gaussian: the mean of x - e where they pass z."""
    covariance = (1 - t) ** 2 * jnp.eye(2) + t**2 * jnp.asarray(COVARIANCE)
    gain = (t * jnp.asarray(COVARIANCE) - (1 - t) * jnp.eye(2)) @ jnp.linalg.inv(covariance)
    return jnp.asarray(MEAN) + gain @ (z - t * jnp.asarray(MEAN))


def flow_of(schedule):
    score = exact_score(schedule)
    return lambda z, t: probability_flow_velocity(schedule, score(z[None], t)[0], z, t)


def ends(schedule):
    """Mean and covariance of the Gaussian at time 1."""
    alpha, sigma = schedule.alpha(jnp.ones(())), schedule.sigma(jnp.ones(()))
    return alpha * jnp.asarray(MEAN), alpha**2 * jnp.asarray(COVARIANCE) + sigma**2 * jnp.eye(2)


VP, VE = VariancePreserving(), VarianceExploding(0.01, 50.0)
FLOWS = {
    "vp": (flow_of(VP), 1e-3, 1.0, ends(VP)),
    "ve": (flow_of(VE), 0.0, 1.0, ends(VE)),
    "matching": (exact_velocity, 1.0, 0.0, (jnp.zeros(2), jnp.eye(2))),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_the_probability_flow_of_the_exact_score_has_the_exact_density(flow):
    velocity, begin, end, (mean, covariance) = FLOWS[flow]
    base = numpyro.distributions.MultivariateNormal(mean, covariance).log_prob
    rows = GAUSSIAN.rvs(20, random_state=0)
    signs = jax.random.rademacher(jax.random.key(0), (20, 64, 2), float)

    def densities(row, signs):
        exact = flow_log_density(velocity, row, base, begin, end)
        return exact, flow_log_density(velocity, row, base, begin, end, directions=signs)

    exact, estimates = jax.jit(jax.vmap(densities))(jnp.asarray(rows), signs)
    assert np.abs(exact - GAUSSIAN.logpdf(rows)).max() < 1e-2
    error = np.asarray(estimates.mean(1) - exact)
    assert np.all(np.abs(error) < 4 * np.asarray(estimates.std(1)) / 8 + 1e-3)


class ExactScore(ScoreFlow):
    """For normal data of any units: standardised, they are N(0, I) at all times of this process."""

    def score(self, z, t, label=None, guidance=1.0, key=None):
        variance = self.schedule.alpha(t) ** 2 + self.schedule.sigma(t) ** 2
        return -z / self.expanded(variance)


class ExactPaths(StraightPaths):
    def velocity(self, z, t, label=None, guidance=1.0, key=None):
        t = self.expanded(t)
        return (2 * t - 1) * z / (t**2 + (1 - t) ** 2)


LOC, SCALE = np.float32([5.0, -3.0]), np.float32([0.1, 20.0])


def exact(family, program):
    """The family with a program of one's own, in units of the data."""
    family.program = program(**vars(family.program) | {"loc": jnp.array(LOC), "scale": jnp.array(SCALE)})
    return family


@pytest.mark.parametrize(
    "family",
    [
        exact(ScoreSDE((2,)), ExactScore),
        exact(ScoreSDE((2,), process="ve"), ExactScore),
        exact(FlowMatching((2,)), ExactPaths),
    ],
    ids=["vp", "ve", "matching"],
)
def test_a_family_with_the_exact_score_has_the_exact_density_in_the_datas_units(family):
    rows = LOC + SCALE * np.random.default_rng(0).normal(size=(20, 2))
    density = norm.logpdf(rows, LOC, SCALE).sum(1)
    assert np.abs(family.log_prob(rows).values - density).max() < 1e-2
    assert np.abs(family.log_prob(rows, trace="hutchinson", samples=2).values - density).max() < 1e-2


@pytest.mark.parametrize("sampler", ["ode", "predictor_corrector"])
def test_an_exact_family_draws_the_data(sampler):
    family = exact(ScoreSDE((2,)), ExactScore)
    rows = (family.sample(4000, sampler=sampler) - LOC) / SCALE
    np.testing.assert_allclose(rows.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(rows.T), np.eye(2), atol=0.1)


LEVELLED = {
    "vp": lambda **options: ScoreSDE((2,), 3, **TINY, **options),
    "ve": lambda **options: ScoreSDE((2,), 3, process="ve", **TINY, **options),
    "matching": lambda **options: FlowMatching((2,), 3, **TINY, **options),
}


@pytest.mark.parametrize("build", LEVELLED.values(), ids=LEVELLED)
def test_a_flow_that_knows_independent_levels_has_their_probabilities(build):
    """A network that tells each entry's distribution, and nothing of the others, is right where they are
    independent."""
    shares = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    family = build()
    bias = jnp.log(jnp.float32(shares)).reshape(family.network.body.last.bias.shape)
    family.network = eqx.tree_at(lambda network: network.body.last.bias, family.network, bias)
    rows = every_row(2, 3)
    found = family.log_prob(rows, samples=32)
    exact = np.log(shares[0, rows[:, 0]] * shares[1, rows[:, 1]])
    assert found.kind == "lower_bound"
    assert np.all(np.abs(found.values - exact) < 1e-2)  # noise keeps 1 % of the data
    drawn = family.sample(3000, seed=0)
    counts = np.array([(drawn == row).all(1).sum() for row in rows])
    assert chisquare(counts, 3000 * np.exp(exact)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "prediction"),
    [("vp", "levels"), ("ve", "noise"), ("matching", "levels"), ("matching", "velocity")],
)
def test_log_prob_of_levels_is_the_programs_elbo_and_a_bound(name, prediction):
    family = awake(LEVELLED[name](prediction=prediction))
    rows, n = jnp.asarray(every_row(2, 3)), 300
    found = family.log_prob(rows, samples=64)
    weights = jax.jit(lambda key: log_weights(family, key, rows, n))(jax.random.key(0))
    error = np.sqrt(np.asarray(weights.var(0)) / n + found.stderr**2)
    assert np.all(np.abs(weights.mean(0) - found.values) < 4 * error + 1e-3)
    assert np.exp(found.values).sum() < 1 + 1e-2


def test_noise_that_follows_the_flow_is_data():
    velocity, begin, end, _ = FLOWS["matching"]
    noise = jax.random.normal(jax.random.key(0), (4000, 2))
    rows = jax.jit(jax.vmap(lambda z: follow(velocity, z, end, begin)))(noise)
    np.testing.assert_allclose(rows.mean(0), MEAN, atol=4 / math.sqrt(4000))
    np.testing.assert_allclose(np.cov(rows.T), COVARIANCE, atol=0.1)


@pytest.mark.parametrize("schedule", [VariancePreserving(), VarianceExploding(0.01, 20.0)])
def test_predictor_and_corrector_with_the_exact_score_draw_the_gaussian(schedule):
    spread = float(schedule.sigma(jnp.ones(())))
    start = spread * jax.random.normal(jax.random.key(0), (4000, 2))
    rows = jax.jit(
        lambda z, key: predictor_corrector(
            exact_score(schedule), schedule, z, key, first=1e-3, steps=400, ratio=0.1
        )
    )(start, jax.random.key(1))
    np.testing.assert_allclose(rows.mean(0), MEAN, atol=0.08)
    np.testing.assert_allclose(np.cov(rows.T), COVARIANCE, atol=0.12)


def test_annealed_langevin_with_the_exact_score_draws_the_gaussian():
    sigmas = jnp.geomspace(10.0, 0.1, 40)

    def at_place(z, place):
        covariance = jnp.asarray(COVARIANCE) + sigmas[place] ** 2 * jnp.eye(2)
        return -jnp.linalg.solve(covariance, (z - jnp.asarray(MEAN)).T).T

    start = 10 * jax.random.normal(jax.random.key(0), (4000, 2))
    rows = annealed_langevin(at_place, start, jax.random.key(1), sigmas, 60, 0.2)
    np.testing.assert_allclose(rows.mean(0), MEAN, atol=0.1)
    np.testing.assert_allclose(np.cov(rows.T), COVARIANCE + 0.01 * np.eye(2), atol=0.12)


@pytest.mark.parametrize("schedule", [VariancePreserving(), VarianceExploding(0.01, 20.0)])
def test_a_schedule_is_its_differential_equation(schedule):
    t = jnp.linspace(0.05, 0.95, 7)
    shrinking = jax.vmap(jax.grad(lambda t: jnp.log(schedule.alpha(t))))(t)
    np.testing.assert_allclose(shrinking, schedule.drift(t), rtol=1e-4, atol=1e-6)
    growing = jax.vmap(jax.grad(lambda t: schedule.sigma(t) ** 2))(t)
    expected = 2 * schedule.drift(t) * schedule.sigma(t) ** 2 + schedule.diffusion(t) ** 2
    np.testing.assert_allclose(growing, expected, rtol=1e-3)


def test_the_cosine_leaves_little_of_the_data():
    alpha = CosineSchedule().alpha(jnp.linspace(0, 1, 50))
    assert np.all(np.diff(alpha) < 0)
    assert 0 < alpha[-1] < 0.02


# -- the bound is the program's ----------------------------------------------------------------------------

CHAINS = {
    "ddpm": (lambda: DDPM((2,), steps=3, **TINY), 0.02),
    "ddpm-levels": (lambda: DDPM((2,), 3, steps=3, **TINY), 0.3),
    "ddpm-noise": (lambda: DDPM((2,), 3, steps=3, prediction="noise", schedule="cosine", **TINY), 0.3),
    "ncsn": (lambda: NCSN((2,), steps=3, smallest=0.3, largest=3.0, **TINY), 0.02),
    "masked": (lambda: MaskedDiffusion((2,), 3, **TINY), 0.3),
}


@pytest.fixture(params=CHAINS, scope="module")
def chain(request):
    build, scale = CHAINS[request.param]
    return awake(build(), scale)


def rows_of(family):
    return jnp.array([[0, 2], [1, 1]]) if family.levels else jnp.array([[0.3, -1.0], [1.0, 2.0]])


def test_the_programs_elbo_is_the_bound_in_expectation(chain):
    rows, n = rows_of(chain), 20_000
    weights = jax.jit(lambda key: log_weights(chain, key, rows, n))(jax.random.key(0))
    each_row = [jnp.broadcast_to(row, (n, 2)) for row in rows]
    drawn = jnp.stack([chain.program.bound(x, jax.random.key(i)) for i, x in enumerate(each_row)], 1)
    error = jnp.sqrt((weights.var(0) + drawn.var(0)) / n)
    assert np.all(np.abs(weights.mean(0) - drawn.mean(0)) < 4 * error + 1e-5)
    # NumPyro's own ELBO sums over the rows.
    elbo = Trace_ELBO(num_particles=2000)
    loss = elbo.loss(jax.random.key(1), {}, chain.model, chain.guide, rows)
    assert abs(-loss - weights.mean(0).sum()) < 4 * float(jnp.sqrt(weights.var(0).sum() / 2000)) + 1e-4


def test_log_prob_is_the_programs_elbo(chain):
    if isinstance(chain, MaskedDiffusion):
        pytest.skip("averaged inside the logarithm; see the test of the sum over orders")
    rows = rows_of(chain)
    found = chain.log_prob(rows, samples=400)
    assert found.kind == "lower_bound"
    expected = log_weights(chain, jax.random.key(0), rows, 20_000)
    error = np.asarray(expected.std(0)) / math.sqrt(20_000)
    # The error of eight draws is itself uncertain: Student's t.
    assert np.all(np.abs(found.values - expected.mean(0)) < 7 * (found.stderr + error) + 1e-4)


# -- chains ------------------------------------------------------------------------------------------------


def test_all_samplers_of_the_chain_have_the_programs_marginals():
    ddpm = awake(DDPM((2,), steps=4, **TINY), 0.02)
    n = 8000
    program = Predictive(lambda: ddpm.model(n=n), num_samples=1)(jax.random.key(0))["x"][0]
    sampled = ddpm.sample(n, seed=1, sampler="ddim", eta=1.0)
    np.testing.assert_array_equal(ddpm.sample(n, seed=1), sampled)
    np.testing.assert_allclose(sampled.mean(0), program.mean(0), atol=5 * float(program.std()) / math.sqrt(n))
    np.testing.assert_allclose(np.cov(sampled.T), np.cov(program.T), rtol=0.1, atol=0.05)


def test_ddim_is_a_function_of_its_start_and_takes_few_steps():
    ddpm = awake(DDPM((3,), 5, steps=50, **TINY))
    rows = ddpm.sample(30, sampler="ddim", steps=5)
    assert rows.dtype == np.int64
    assert 0 <= rows.min() <= rows.max() <= 4
    assert ddpm.sample(3, sampler="ddim", steps=1).shape == (3, 3)


def test_a_chain_that_knows_the_data_has_its_density():
    """With the exact posterior mean in place of the network the bound is nearly the density."""

    class Exact(GaussianChain):
        def outputs(self, z, t, label=None, key=None):
            alpha, sigma = self.strength(t)
            return sigma * z / (alpha**2 + sigma**2)  # the noise in z where data are N(0, I)

    ddpm = DDPM((2,), steps=1000, **TINY)
    ddpm.program = Exact(**vars(ddpm.program))
    rows = np.array([[0.0, 0.0], [1.0, -1.0]])
    found = ddpm.log_prob(rows, samples=1000)
    exact = norm.logpdf(rows).sum(1)
    assert np.all(found.values < exact + 5 * found.stderr)
    assert np.all(np.abs(found.values - exact) < 0.1)


def test_gaussians_in_cells_are_differences_of_the_normal_distribution():
    grid = np.linspace(-1, 1, 17)
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    for mean in (-1.0, 0.31, 0.9):
        found = np.exp(cell_logits(jnp.array(mean), 0.05, 17))
        np.testing.assert_allclose(found, np.diff(norm.cdf(edges, mean, 0.05)), atol=1e-6)
    assert np.isfinite(cell_logits(jnp.array([-1.0, 1.0]), 1e-3, 256)).all()
    np.testing.assert_allclose(level_mean(jnp.zeros((4, 5))), 0, atol=1e-6)


# -- masked diffusion --------------------------------------------------------------------------------------


def every_row(d, levels):
    return np.array(list(itertools.product(range(levels), repeat=d)))


def probabilities_in_each_order(family, rows):
    """``(orders, n)``, by enumeration."""
    logits, found = family.program.logits_of(), []
    for order in itertools.permutations(range(rows.shape[1])):
        rank = jnp.broadcast_to(jnp.array(order), rows.shape)
        found.append(AnyOrder(logits, rank, family.shape).log_prob(jnp.asarray(rows)))
    return np.exp(np.asarray(found, np.float64))


@pytest.fixture(scope="module")
def masked():
    return awake(MaskedDiffusion((3,), 3, **TINY), 1.0)


def test_masked_diffusion_sums_to_one_and_its_bound_to_less(masked):
    rows = every_row(3, 3)
    in_order = probabilities_in_each_order(masked, rows)
    exact = in_order.mean(0)
    np.testing.assert_allclose(in_order.sum(1), 1, rtol=1e-5)
    assert np.exp(np.log(in_order).mean(0)).sum() < 1 - 1e-4
    one, many = masked.log_prob(rows, samples=1), masked.log_prob(rows, samples=256)
    assert one.how == "ELBO, 1 order"
    assert np.all(np.abs(many.values - np.log(exact)) < 6 * many.stderr + 1e-4)
    assert one.mean() < many.mean() + 0.02


def test_masked_diffusion_is_exact_where_entries_are_independent():
    fair = MaskedDiffusion((2, 2), 3, **TINY)  # a silent network: all levels alike
    rows = every_row(4, 3).reshape(-1, 2, 2)
    found = fair.log_prob(rows, samples=2)
    np.testing.assert_allclose(np.exp(found.values).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(found.stderr, 0, atol=1e-6)


def test_masked_samples_have_the_programs_probabilities(masked):
    expected = probabilities_in_each_order(masked, every_row(3, 3)).mean(0)
    n = 20_000
    counts = np.bincount(masked.sample(n, seed=1) @ [9, 3, 1], minlength=27)
    assert chisquare(counts, n * expected / expected.sum()).pvalue > 1e-3
    assert masked.sample(7, steps=1).shape == (7, 3)


# -- classes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_classes():
    """Four equal bits, which the class tells but for a tenth."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    rows = np.repeat(np.where(rng.random(2000) < 0.1, 1 - labels, labels)[:, None], 4, 1)
    family = MaskedDiffusion((4,), 2, classes=2, label_dropout=0.3, **TINY)
    train(family, rows, labels=labels, epochs=20, learning_rate=3e-3, progress=False, average=0.99)
    return family


def test_classes_steer_samples_and_guidance_oversteers(with_classes):
    shares = [with_classes.sample(1500, seed=1, label=1, guidance=g).mean() for g in (0.0, 1.0, 3.0)]
    assert abs(shares[0] - 0.5) < 0.1
    assert abs(shares[1] - 0.9) < 0.06
    assert shares[2] > shares[1] + 0.03
    assert abs(with_classes.sample(1500, seed=1).mean() - 0.5) < 0.08
    each = with_classes.sample(200, label=np.repeat([0, 1], 100))
    assert each[:100].mean() < 0.3 < 0.7 < each[100:].mean()


def test_without_a_label_the_classes_are_summed_out(with_classes):
    rows = np.array([[1, 1, 1, 1], [0, 1, 0, 1]])
    alone = with_classes.log_prob(rows, samples=4)
    given = np.stack([with_classes.log_prob(rows, samples=4, label=y).values for y in (0, 1)])
    summed = np.logaddexp.reduce(given + np.log(with_classes.class_weights)[:, None], axis=0)
    np.testing.assert_allclose(alone.values, summed, atol=0.02)
    assert alone.kind == "lower_bound"


def test_the_mean_of_noisy_bounds_without_class_stays_a_bound():
    rng = np.random.default_rng(0)
    truth = np.array([-1.0, -1.5, -1.2])
    draws = truth[:, None, None] + rng.normal(size=(3, 50_000, 8))  # (classes, n, draws)
    log_weights = np.full((3, 1, 1), -math.log(3))
    exact = np.logaddexp.reduce(truth - math.log(3))
    found = _without_class(draws, log_weights).mean()
    assert exact - 0.3 < found < exact
    naive = np.logaddexp.reduce(draws.mean(-1) + log_weights[..., 0], axis=0).mean()
    assert naive > exact  # what the halves are for


def test_a_class_conditional_flow_finds_its_clusters():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    rows = rng.normal(10 * labels[:, None], 1.0, (300, 2))
    flow = FlowMatching((2,), classes=2, **TINY)
    train(flow, rows, labels=labels, pairing="optimal", epochs=60, learning_rate=1e-2, progress=False)
    for label in (0, 1):
        drawn = flow.sample(300, label=label)
        assert np.abs(drawn.mean(0) - 10 * label).max() < 1
    given = [flow.log_prob(rows[:4], label=y).values for y in (0, 1)]
    weights = np.log(flow.class_weights)[:, None]
    summed = np.logaddexp.reduce(np.stack(given) + weights, axis=0)
    found = flow.log_prob(rows[:4])
    np.testing.assert_allclose(found.values, summed, rtol=1e-4)
    hidden = flow.program.some_labels(jnp.asarray(labels), jax.random.key(0))
    assert set(np.unique(hidden)) == {0, 1, 2}


# -- objectives --------------------------------------------------------------------------------------------


def test_optimal_pairs_are_the_best_permutation_within_each_class():
    rng = np.random.default_rng(0)
    rows, noise = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    cost = ((rows[:, None] - noise[None]) ** 2).sum(-1)
    best = min(itertools.permutations(range(6)), key=lambda p: cost[range(6), p].sum())
    assert tuple(np.asarray(optimal_pairs(jnp.asarray(rows), jnp.asarray(noise)))) == best
    label = np.array([0, 0, 1, 1, 0, 1])
    pairs = np.asarray(optimal_pairs(jnp.asarray(rows), jnp.asarray(noise), jnp.asarray(label)))
    assert sorted(pairs) == list(range(6))
    assert np.array_equal(label[pairs], label)


def test_flow_matching_learns_a_density_and_takes_another_network():
    data = multivariate_normal([5.0, -3.0], [[4.0, 2.4], [2.4, 4.0]])
    rows = data.rvs(2000, random_state=0)

    class Affine(eqx.Module):
        """Enough for Gaussians: affine in the row, with coefficients that depend on the time."""

        body: eqx.nn.MLP

        def __call__(self, z, t, label=None, key=None):
            numbers = self.body(t[None])
            return (numbers[:4].reshape(2, 2) @ z[:, 0] + numbers[4:])[:, None]

    flow = FlowMatching((2,), **TINY)
    flow.network = Affine(eqx.nn.MLP(1, 6, 32, 2, key=jax.random.key(0)))
    train(flow, rows, epochs=30, batch_size=100, learning_rate=1e-2, progress=False)
    test = data.rvs(500, random_state=1)
    found = flow.log_prob(test)
    assert found.kind == "estimate"
    assert "tolerance 1e-05" in found.how
    assert found.stderr is None
    assert abs(found.mean() - data.logpdf(test).mean()) < 0.05
    noisy = flow.log_prob(test[:50], trace="hutchinson", samples=64)
    assert np.all(np.abs(noisy.values - found.values[:50]) < 6 * noisy.stderr + 1e-3)


def test_noise_prediction_and_score_matching_differ_by_their_weights():
    sde = awake(ScoreSDE((2,), **TINY))

    class Subject:
        family = sde.program

    batch = Batch(jnp.ones((4, 2)), None, jax.random.key(0))
    noise = NoisePrediction().monitor(Subject, batch)
    np.testing.assert_array_equal(MultilevelDenoising().monitor(Subject, batch), noise)
    weighted = MultilevelDenoising("likelihood").monitor(Subject, batch)
    time_key = jax.random.split(batch.key, 3)[0]
    t = sde.program.random_times(time_key, 4)
    expected = 0.5 * (sde.program.diffusion(t) / sde.program.spread(t)) ** 2 * noise
    np.testing.assert_allclose(weighted, expected, rtol=1e-5)


# -- networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "depth"), [((8, 8), 2), ((28, 28), 3), ((9, 7), 1), ((8, 8, 3), 1)])
def test_the_unet_takes_images_of_many_sizes(shape, depth):
    network = denoiser("unet", shape, outputs=5, width=8, depth=depth, dropout=0.1, classes=10, seed=0)
    out = jax.eval_shape(network, jnp.ones((*shape, 1)), jnp.array(0.5), jnp.array(10))
    assert out.shape == (*shape, 5)


@pytest.mark.parametrize("shape", [(7, 5), (8, 1)])
def test_winograds_products_are_the_convolution(shape):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        h, weight = jnp.asarray(rng.normal(size=(2, *shape, 3))), jnp.asarray(rng.normal(size=(27, 4)))
        weigh = jnp.asarray(rng.normal(size=(2, *shape, 4)))

        def by_xla(h, weight):
            layout = ("NHWC", "HWIO", "NHWC")
            square = weight.reshape(3, 3, 3, 4)
            return jax.lax.conv_general_dilated(h, square, (1, 1), "SAME", dimension_numbers=layout)

        def all_of(convolve):
            """The value, its gradient, and how that changes along itself, forward and backward."""

            def gradient(both):
                return jax.grad(lambda both: (weigh * jnp.tanh(convolve(*both))).sum())(both)

            def length(both):
                return sum((leaf**2).sum() for leaf in gradient(both))

            both = (h, weight)
            along = jax.jvp(gradient, (both,), (both,))[1]
            return convolve(h, weight), gradient(both), along, jax.grad(length)(both)

        pair = [jax.jit(all_of, static_argnums=0)(one) for one in (_by_winograd, by_xla)]
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-10), *pair)


def test_a_unet_sees_each_row_alone():
    network = denoiser("unet", (8, 8), outputs=3, width=8, depth=1, dropout=0.5, classes=2, seed=0)
    network = awake_unet(network)
    x = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    t, label, keys = jnp.array([0.1, 0.5, 0.9]), jnp.array([0, 1, 2]), jax.random.split(jax.random.key(1), 3)
    each = jax.jit(jax.vmap(lambda *inputs: network(*inputs)))
    rows = jax.jit(lambda *inputs: network.rows(*inputs))
    dropped = rows(x, t, label, keys)
    np.testing.assert_allclose(dropped, each(x, t, label, keys), rtol=1e-4, atol=1e-5)
    same_time = rows(x, t[1], label)
    np.testing.assert_allclose(same_time, each(x, jnp.full(3, 0.5), label), rtol=1e-4, atol=1e-5)
    assert np.abs(dropped[1] - same_time[1]).max() > 1e-3


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda: MaskedDiffusion((3,)), "levels"),
        (lambda: MaskedDiffusion((3,), 1), "levels"),
        (lambda: DDPM((3,), prediction="levels"), "prediction"),
        (lambda: ScoreSDE((3,), prediction="levels"), "prediction"),
        (lambda: FlowMatching((3,), 1), "levels"),
        (lambda: DDPM((3,), steps=0), "steps"),
        (lambda: DDPM((3,), network="unet"), "network"),
        (lambda: DDPM((4, 4), network="unet", depth=2), "depth"),
        (lambda: DDPM((8, 8), network="unet", width=12), "width"),
        (lambda: DDPM((3,), classes=1), "classes"),
        (lambda: DDPM((3,), label_dropout=1.0), "label_dropout"),
        (lambda: NCSN((3,), smallest=2.0, largest=1.0), "smallest"),
        (lambda: NCSN((3,), steps=1), "steps"),
        (lambda: FlowMatching((2,), width=0), "width"),
        (lambda: ScoreSDE((2,), dropout=-0.1), "dropout"),
    ],
)
def test_settings_out_of_range_are_refused(build, argument, wrong_types):
    with pytest.raises(InvalidArgument) as error:
        build()
    assert argument in str(error.value)


def test_unknown_names_are_refused(wrong_types):
    for build in (
        lambda: DDPM((3,), schedule="quadratic"),
        lambda: DDPM((3,), network="transformer"),
        lambda: ScoreSDE((3,), process="sub-vp"),
        lambda: FlowMatching((3,), 4, prediction="noise"),
        lambda: FlowMatchingObjective("greedy"),
        lambda: MultilevelDenoising("equal"),
        lambda: DDPM((3,), steps=2, **TINY).sample(2, sampler="euler"),
        lambda: NCSN((3,), steps=2, **TINY).sample(2, sampler="euler"),
        lambda: ScoreSDE((3,), **TINY).log_prob(np.ones((2, 3)), trace="full"),
    ):
        with pytest.raises(UnknownName):
            build()


def test_bad_rows_labels_and_sampling_options_are_refused(wrong_types):
    masked = MaskedDiffusion((3,), 3, classes=2, **TINY)
    with pytest.raises(DataError):
        masked.log_prob(np.full((2, 3), 3))
    with pytest.raises(DataError):
        masked.log_prob(np.full((2, 3), 0.5))
    with pytest.raises(DataError):
        masked.log_prob(np.zeros((2, 4), int))
    with pytest.raises(DataError):
        masked.sample(3, label=2)
    with pytest.raises(DataError):
        train(masked, np.zeros((20, 3), int), epochs=1, progress=False)
    ddpm = DDPM((3,), steps=4, **TINY)
    with pytest.raises(InvalidArgument, match="label"):
        ddpm.sample(3, label=1)
    for wrong in ({"eta": 0.5}, {"sampler": "ddim", "eta": 2.0}, {"steps": 0}, {"guidance": -1.0}):
        with pytest.raises(InvalidArgument):
            ddpm.sample(3, **wrong)
    with pytest.raises(InvalidArgument, match="samples"):
        ddpm.log_prob(np.zeros((2, 3)), samples=0)
    with pytest.raises(InvalidArgument, match="samples"):
        FlowMatching((3,), 4, **TINY).log_prob(np.zeros((2, 3), int), samples=1)


def test_rows_follow_the_flow_with_progress(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # the bar is drawn in a terminal alone
    flow, rows = FlowMatching((2,), width=8, depth=1), np.random.default_rng(0).normal(size=(70, 2))
    quiet = flow.log_prob(rows)
    assert not capsys.readouterr().err
    np.testing.assert_array_equal(flow.log_prob(rows, progress=True).values, quiet.values)
    assert "Scoring rows" in capsys.readouterr().err
