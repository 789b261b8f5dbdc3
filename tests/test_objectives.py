"""Objectives for densities known up to a constant, on programs of a user's own and on small machines."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy.optimize import minimize

from ppgen.data import Dataset
from ppgen.errors import InvalidArgument, TrainingError
from ppgen.inference.training import train
from ppgen.inference.training.jax_learner import parameterised
from ppgen.inference.training.objectives import OBJECTIVES, Batch, StatefulObjective, make_objective
from ppgen.inference.training.subject import subject_of
from ppgen.kernels import mala
from ppgen.models import RBM, EnergyModel
from ppgen.program.languages.language import find_language

LOC, PRECISION = np.array([1.0, -0.5]), np.array([[2.0, 0.8], [0.8, 1.0]])
ROWS = np.random.default_rng(0).multivariate_normal(LOC, np.linalg.inv(PRECISION), size=2000)


# No rows are held out: a noisy validation loss would choose an early epoch.
ALL = Dataset("gaussian", ROWS, ROWS[:0], ROWS[:0], "continuous")


def gaussian(x):
    """A Gaussian whose constant nobody wrote down, but for a parameter that may learn it."""
    loc = numpyro.param("loc", jnp.zeros(2))
    factor = numpyro.param("factor", jnp.eye(2), constraint=constraints.lower_cholesky)
    log_z = numpyro.param("log_z", jnp.zeros(()))
    with numpyro.plate("rows", len(x)):
        away = (x - loc) @ factor
        numpyro.factor("density", -0.5 * (away**2).sum(-1) - log_z)


def fitted(params):
    return params["loc"], params["factor"] @ params["factor"].T


@pytest.mark.parametrize(
    ("objective", "options", "tolerance"),
    [
        ("score_matching", {}, 0.1),
        ("sliced_score_matching", {"projections": 2}, 0.1),
        ("denoising_score_matching", {"noise": 0.5}, 0.1),
        ("nce", {"noise_samples": 2}, 0.15),
        ("cd", {"steps": 3}, 0.15),
        ("pcd", {"steps": 5, "chains": 200}, 0.15),
    ],
)
def test_finds_the_mean_and_precision_of_an_unnormalised_gaussian(objective, options, tolerance):
    run = train(
        gaussian,
        ALL,
        objective=objective,
        epochs=25,
        batch_size=100,
        learning_rate=0.03,
        weight_decay=0.0,
        average=0.95,
        patience=None,
        progress=False,
        **options,
    )
    assert run.objective == objective
    loc, precision = fitted(run.params)
    inverse = np.linalg.inv(np.cov(ROWS.T))
    if objective == "denoising_score_matching":  # which learns the density of the noisy rows
        inverse = np.linalg.inv(np.cov(ROWS.T) + 0.25 * np.eye(2))
    np.testing.assert_allclose(loc, ROWS.mean(0), atol=tolerance)
    np.testing.assert_allclose(precision, inverse, atol=tolerance * 2)
    if objective == "nce":
        exact = np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1]
        assert abs(run.params["log_z"] - exact) < 0.1


def batch_of(rows, seed=0):
    return Batch(jnp.asarray(rows, jnp.float32), None, jax.random.key(seed))


def parameterised_program(program, rows, labels=None):
    return parameterised(subject_of(find_language("numpyro"), program, None, None), (rows, labels), 0)


@pytest.fixture(scope="module")
def subject():
    return parameterised_program(gaussian, ROWS[:3])


def test_score_matching_is_its_formula(subject):
    # With loc 0 and precision 1 the score is -x: half its square, less the dimension.
    rows = ROWS[:5]
    expected = 0.5 * (rows**2).sum(1) - 2
    for name in ("score_matching", "sliced_score_matching"):  # the Hessian is diagonal: no noise from ±1
        found = make_objective(name, (name,), {})(subject, batch_of(rows))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_denoising_of_hardly_any_noise_is_half_the_noise_squared(subject):
    name = "denoising_score_matching"
    rows = np.repeat(ROWS[:1], 5000, 0)
    losses = make_objective(name, (name,), {"noise": 1e-4})(subject, batch_of(rows))
    assert abs(float(losses.mean()) - 1.0) < 0.05  # two entries


def test_a_perfect_density_cannot_tell_rows_from_noise():
    def standard(x):
        log_z = numpyro.param("log_z", jnp.log(2 * jnp.pi))
        with numpyro.plate("rows", len(x)):
            numpyro.factor("density", -0.5 * (x**2).sum(-1) - log_z)

    rows = np.random.default_rng(0).normal(size=(20_000, 2))
    subject = parameterised_program(standard, rows[:3])
    losses = make_objective("nce", ("nce",), {"noise_samples": 3})(subject, batch_of(rows))
    chance = np.log(4) + 3 * np.log(4 / 3)
    assert abs(float(losses.mean()) - chance) < 0.01


def test_noise_is_fitted_to_all_rows_that_came_by(subject):
    objective = make_objective("nce", ("nce",), {})
    assert isinstance(objective, StatefulObjective)
    memory = objective.begin(subject, batch_of(ROWS[:100]))
    for start in range(100, 2000, 100):
        _, memory = objective.advance(subject, batch_of(ROWS[start : start + 100]), memory)
    np.testing.assert_allclose(memory.mean, ROWS.mean(0), atol=1e-4)
    np.testing.assert_allclose(memory.scatter / memory.number, np.cov(ROWS.T, ddof=0), atol=1e-4)


def test_nce_learns_a_discrete_density_with_its_constant():
    def coins(x):
        log_odds = numpyro.param("log_odds", jnp.zeros(2))
        together = numpyro.param("together", jnp.zeros(()))
        log_z = numpyro.param("log_z", jnp.zeros(()))
        with numpyro.plate("rows", len(x)):
            numpyro.factor("density", x @ log_odds + together * x[:, 0] * x[:, 1] - log_z)

    rng = np.random.default_rng(0)
    p = np.exp([0.0, -0.5, 0.3, 1.3])
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])[rng.choice(4, size=4000, p=p / p.sum())]
    data = Dataset("coins", rows, rows[:0], rows[:0], "discrete", 2)
    run = train(
        coins, data, objective="nce", levels=2, noise_samples=3, epochs=60, batch_size=200,
        learning_rate=0.03, weight_decay=0.0, patience=None, progress=False,
    )  # fmt: skip
    frequencies = np.bincount(rows @ [2, 1], minlength=4) / len(rows)
    b1, b0 = run.params["log_odds"]
    found = np.array([0, b0, b1, b0 + b1 + run.params["together"]]) - run.params["log_z"]
    np.testing.assert_allclose(np.exp(found), frequencies, atol=0.03)


def test_persistent_chains_reach_the_maximum_of_the_likelihood():
    states = np.array(list(itertools.product((0, 1), repeat=4)))
    rng = np.random.default_rng(0)
    rows = states[rng.choice(16, size=500, p=rng.dirichlet(3 * np.ones(16)))]
    data = Dataset("states", rows, rows[:0], rows[:0], "discrete", 2)
    rbm = RBM((4,), 2, hidden=4)
    train(
        rbm, data, objective="pcd", steps=5, chains=500, epochs=150, batch_size=50, learning_rate=0.03,
        weight_decay=0.0, average=0.99, patience=None, progress=False,
    )  # fmt: skip
    found = rbm.log_prob(rows).mean()
    template = rbm.network.couplings

    @jax.jit
    @jax.value_and_grad
    def loss(flat):
        w, b, c = flat[:16].reshape(4, 4), flat[16:20], flat[20:]

        def log_p(x):
            return x @ b + jax.nn.softplus(x @ w + c).sum(-1)

        return jax.nn.logsumexp(log_p(states * 1.0)) - log_p(rows * 1.0).mean()

    start = np.concatenate([np.ravel(template.weights), template.lower, template.upper])
    best = minimize(loss, start, jac=True, method="L-BFGS-B")
    assert found > -best.fun - 0.03
    entropy = -sum(q * np.log(q) for q in np.unique(rows, axis=0, return_counts=True)[1] / len(rows))
    assert found < -entropy + 0.03


@pytest.mark.parametrize("objective", ["nce", "sliced_score_matching", "pcd"])
def test_trains_an_energy_network(objective):
    options = {"pcd": {"steps": 10, "restart": 0.05}, "nce": {"noise_samples": 2}}.get(objective, {})
    rows = np.random.default_rng(0).normal(size=(1000, 1)) * 0.2 + np.where(
        np.arange(1000)[:, None] % 2, 1, -1
    )
    data = Dataset("two", rows, rows[:0], rows[:0], "continuous")
    model = EnergyModel((1,), hidden=(32,))
    before = model.log_prob(rows, temperatures=100).mean()
    train(
        model, data, objective=objective, epochs=80, batch_size=100, learning_rate=0.02, average=0.95,
        patience=None, progress=False, **options,
    )  # fmt: skip
    after = model.log_prob(rows, temperatures=300)
    assert before < -1.4  # a standard normal
    assert after.mean() > -0.95  # two Gaussians: -0.53; a single one: -1.43
    if objective == "nce":
        assert abs(model.log_partition(temperatures=300).value) < 0.1


def test_langevin_keeps_the_moments_and_adapts_its_steps():
    scales = jnp.array([0.1, 0.3])
    z, log_step = mala.run(
        jax.random.key(0), jnp.zeros((4000, 2)), lambda z: -0.5 * ((z / scales) ** 2).sum(1), 0.0, 200
    )
    np.testing.assert_allclose(z.std(0), scales, rtol=0.1)
    assert -8 < float(log_step) < -2


def test_all_of_them_are_in_the_catalog():
    mine = {"cd", "pcd", "greedy", "up_down", "nce"}
    mine |= {"score_matching", "sliced_score_matching", "denoising_score_matching"}
    assert mine <= set(OBJECTIVES)
    assert all(make_objective(name, (name,), {}).name == name for name in mine)


def potts(x):
    """Three coupled entries of three levels each; nobody wrote down the constant."""
    field = numpyro.param("field", jnp.zeros((3, 3)))
    coupling = numpyro.param("coupling", jnp.zeros(3))
    with numpyro.plate("rows", len(x)):
        alike = jnp.stack([x[:, 0] == x[:, 1], x[:, 1] == x[:, 2], x[:, 0] == x[:, 2]], 1)
        numpyro.factor("density", field[jnp.arange(3), x].sum(-1) + alike @ coupling)


@pytest.mark.parametrize(("objective", "options"), [("cd", {"steps": 2}), ("pcd", {"chains": 300})])
def test_discrete_rows_of_a_program_of_ones_own(objective, options):
    rng = np.random.default_rng(3)
    every = np.array(list(itertools.product(range(3), repeat=3)))
    p = rng.dirichlet(np.full(27, 1.5))
    rows = every[rng.choice(27, size=3000, p=p)]
    data = Dataset("potts", rows, rows[:0], rows[:0], "discrete", 3)
    run = train(
        potts, data, objective=objective, levels=3, epochs=40, batch_size=100, learning_rate=0.03,
        weight_decay=0.0, average=0.98, patience=None, progress=False, **options,
    )  # fmt: skip

    def features(x):
        pairs = np.stack([x[:, 0] == x[:, 1], x[:, 1] == x[:, 2], x[:, 0] == x[:, 2]], 1)
        return np.concatenate([np.eye(3)[x].reshape(len(x), -1), pairs], 1)

    # At the maximum of the likelihood the model's mean features are those of the rows.
    weights = np.concatenate([np.ravel(run.params["field"]), run.params["coupling"]])
    logits = features(every) @ weights
    model = np.exp(logits - logits.max())
    model /= model.sum()
    np.testing.assert_allclose(model @ features(every), features(rows).mean(0), atol=0.03)


# -- bad input -------------------------------------------------------------------------------------------

WHOLE = np.arange(20).reshape(10, 2) % 3


@pytest.mark.parametrize(
    ("run", "error", "says"),
    [
        (lambda: train(gaussian, WHOLE, objective="cd", progress=False), TrainingError, "whole numbers"),
        (
            lambda: train(gaussian, ROWS[:9], objective="pcd", levels=2, progress=False),
            TrainingError,
            "levels",
        ),
        (lambda: make_objective("cd", ("cd",), {"levels": 0}), InvalidArgument, "levels"),
        (lambda: train(gaussian, WHOLE, objective="score_matching", progress=False), TrainingError, "whole"),
        (lambda: train(gaussian, WHOLE, objective="nce", progress=False), TrainingError, "levels"),
        (
            lambda: train(gaussian, ROWS[:9], objective="nce", levels=2, progress=False),
            TrainingError,
            "levels",
        ),
        (lambda: make_objective("cd", ("cd",), {"steps": 0}), InvalidArgument, "steps"),
        (lambda: make_objective("pcd", ("pcd",), {"chains": 0}), InvalidArgument, "chains"),
        (lambda: make_objective("pcd", ("pcd",), {"restart": 1.0}), InvalidArgument, "restart"),
        (lambda: make_objective("pcd", ("pcd",), {"step_size": 0.0}), InvalidArgument, "step_size"),
        (lambda: make_objective("nce", ("nce",), {"noise_samples": 0}), InvalidArgument, "noise_samples"),
        (
            lambda: make_objective(
                "denoising_score_matching", ("denoising_score_matching",), {"noise": -1.0}
            ),
            InvalidArgument,
            "noise",
        ),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_refuses_with_a_reason(run, error, says):
    with pytest.raises(error, match=says):
        run()


@pytest.mark.usefixtures("wrong_types")
def test_persistent_chains_keep_no_labels():
    def conditional(x, label):
        loc = numpyro.param("loc", jnp.zeros((2, 2)))
        with numpyro.plate("rows", len(x)):
            numpyro.factor("density", -0.5 * ((x - loc[label]) ** 2).sum(-1))

    labels = np.arange(100) % 2
    rows = ROWS[:100] + 5 * labels[:, None]
    subject = parameterised_program(conditional, rows[:3], labels[:3])
    batch = batch_of(rows)._replace(label=jnp.asarray(labels))
    with pytest.raises(TrainingError, match="labels"):
        make_objective("pcd", ("pcd",), {}).begin(subject, batch)
    objective = make_objective("cd", ("cd",), {"steps": 3})

    def loss(loc):
        return objective(subject.with_parameters({"loc": loc}), batch).mean()

    # Chains leave the rows for where their own class is: the gradient pulls each class its own way.
    gradient = jax.grad(loss)(jnp.zeros((2, 2)))
    assert (gradient[1] < 0).all()
    assert (np.abs(gradient[1]) > 5 * np.abs(gradient[0])).all()


def test_a_program_of_ones_own_whose_labels_are_required():
    """Its language is found out with labels, too; each class learns its own mean."""

    def conditional(x, label):
        loc = numpyro.param("loc", jnp.zeros(2))
        with numpyro.plate("rows", len(x)):
            numpyro.sample("x", dist.Normal(loc[label][:, None], 1.0).to_event(1), obs=x)

    labels = np.arange(400) % 2
    rows = np.random.default_rng(0).normal(size=(400, 1)) * 0.1 + np.where(labels, 2.0, -1.0)[:, None]
    run = train(
        conditional, rows, labels=labels, epochs=60, learning_rate=0.1, batch_size=100, progress=False
    )
    np.testing.assert_allclose(run.params["loc"], [-1.0, 2.0], atol=0.1)
