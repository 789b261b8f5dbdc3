"""The laws of the energy-based families: constants by enumeration, chains that stay, bounds that hold."""

import itertools
import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy.special import logsumexp
from scipy.stats import chi2

from ppgen.errors import DataError, InvalidArgument, UnknownName
from ppgen.inference.training import train
from ppgen.models import DBN, RBM, BoltzmannMachine, EnergyModel, make
from ppgen.models.energy.enumeration import every_state


def every_row(shape, levels):
    entries = itertools.product(range(levels), repeat=math.prod(shape))
    return np.array(list(entries)).reshape(-1, *shape)


def strong(family, seed=0, scale=1.0):
    """The family with couplings and biases of that size, so that its units are far from independent."""
    arrays, static = eqx.partition(family.network, eqx.is_inexact_array)
    rng = np.random.default_rng(seed)
    drawn = jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype), arrays)
    family.network = eqx.combine(drawn, static)
    return family


MACHINES = {
    "boltzmann": lambda: strong(BoltzmannMachine((2, 3), 2)),
    "rbm": lambda: strong(RBM((2, 3), 2, hidden=4)),
    "rbm-few-visible": lambda: strong(RBM((3,), 2, hidden=22)),
    "rbm-categorical": lambda: strong(RBM((2, 2), 3, hidden=4)),
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.quick] * (name == "rbm")) for name in MACHINES],
    scope="module",
)
def machine(request):
    return MACHINES[request.param]()


@pytest.fixture(scope="module")
def probabilities(machine):
    """Every row and its probability, from the energies alone."""
    rows = every_row(machine.shape, machine.levels)
    values = machine.unnormalised_log_prob(rows)
    return rows, np.exp(values - logsumexp(values))


# -- the constant ----------------------------------------------------------------------------------------


def test_probabilities_sum_to_one(machine, probabilities):
    rows, p = probabilities
    likelihood = machine.log_prob(rows)
    assert likelihood.kind == "exact"
    assert likelihood.stderr is None
    np.testing.assert_allclose(np.exp(likelihood.values), p, rtol=1e-4)


def test_annealing_finds_the_constant_from_below_and_from_above(machine, probabilities):
    rows, p = probabilities
    exact = machine.log_partition("exact").value
    forward = machine.log_partition("ais", temperatures=300, chains=200, seed=1)
    draws = rows[np.random.default_rng(0).choice(len(rows), size=200, p=p)]
    backward = machine.log_partition("reverse_ais", temperatures=300, chains=200, rows=draws)
    assert 0 < forward.stderr < 0.1
    assert abs(forward.value - exact) < 3 * forward.stderr
    assert forward.value - 3 * forward.stderr < exact < backward.value + 3 * backward.stderr


def test_few_temperatures_bracket_the_constant():
    machine = strong(RBM((2, 3), 2, hidden=4), scale=3.0)
    rows = every_row((2, 3), 2)
    p = np.exp(machine.log_prob(rows).values)
    draws = rows[np.random.default_rng(0).choice(64, size=400, p=p / p.sum())]
    exact = machine.log_partition().value
    settings = {"temperatures": 3, "chains": 2}
    below = np.mean([machine.log_partition("ais", **settings, seed=s).value for s in range(40)])
    above = np.mean(
        [
            machine.log_partition("reverse_ais", **settings, rows=draws[2 * s : 2 * s + 2], seed=s).value
            for s in range(40)
        ]
    )
    assert below < exact < above


def test_the_path_may_begin_anywhere(machine):
    # The frequencies of the training rows are where the path begins; they do not change where it ends.
    exact = machine.log_partition("exact").value
    network = machine.network
    counts = np.random.default_rng(0).integers(1, 50, size=network.counts.shape)
    machine.network = eqx.tree_at(lambda net: net.counts, network, jnp.asarray(counts, jnp.int32))
    found = machine.log_partition("ais", temperatures=300, chains=200)
    machine.network = network
    assert abs(found.value - exact) < 3 * found.stderr


def test_gaussian_machine_integrates_to_one():
    machine = strong(RBM((1,), hidden=4))
    machine.program = replace(machine.program, loc=jnp.array([3.0]), scale=jnp.array([2.0]))
    grid = np.linspace(-60, 60, 20_001)
    p = np.exp(machine.log_prob(grid[:, None]).values)
    assert abs(np.trapezoid(p, grid) - 1) < 1e-4
    draws = machine.sample(2000, seed=0, steps=100)
    mean = np.trapezoid(grid * p, grid)
    sd = math.sqrt(np.trapezoid((grid - mean) ** 2 * p, grid))
    assert abs(draws.mean() - mean) < 4 * sd / math.sqrt(2000)
    found = machine.log_partition("ais", temperatures=500, chains=500)
    assert abs(found.value - machine.log_partition("exact").value) < 3 * found.stderr


def test_the_constant_is_kept_until_the_parameters_change():
    machine = strong(RBM((2, 2), 2, hidden=3))
    first = machine.log_partition("ais", temperatures=20)
    assert machine.log_partition("ais", temperatures=20) is first
    strong(machine, seed=1)
    assert machine.log_partition("ais", temperatures=20).value != first.value
    assert machine.log_partition("ais", temperatures=20) is machine.log_partition("ais", temperatures=20)


def test_a_large_machine_says_that_its_constant_is_an_estimate():
    machine = RBM((5, 5), 2, hidden=25)
    likelihood = machine.log_prob(np.ones((2, 5, 5), int), temperatures=50, chains=20)
    assert likelihood.kind == "estimate"
    assert "50 temperatures, 20 chains, standard error" in likelihood.how
    assert (likelihood.stderr > 0).all()
    with pytest.raises(InvalidArgument, match=r"2\^20"):
        machine.log_partition("exact")


def test_enumeration_in_blocks_is_enumeration():
    weights = np.linspace(-1, 1, 14).astype(np.float32)
    value = every_state(14, lambda h: h @ jnp.asarray(weights))
    np.testing.assert_allclose(value, np.logaddexp(0, weights).sum(), rtol=1e-5)


# -- the program, the conditionals, the chains -----------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 3, None])
def test_numpyros_log_density_is_minus_the_energy(levels):
    machine = strong(RBM((2, 2), levels, hidden=3))
    rng = np.random.default_rng(0)
    x = machine.rows(rng.integers(0, 2, size=(5, 2, 2)) if levels else rng.normal(size=(5, 2, 2)))
    h = jnp.asarray(rng.integers(0, 2, size=(5, 3)))
    found, _ = log_density(machine.model, (x,), {}, {"h": h})
    np.testing.assert_allclose(found, -machine.program.joint_energy(x, h).sum(), rtol=1e-5)


def test_numpyros_log_density_of_a_boltzmann_machine():
    machine = strong(BoltzmannMachine((2, 3), 2))
    x = jnp.asarray(every_row((2, 3), 2))
    found, _ = log_density(machine.model, (x,), {}, {})
    np.testing.assert_allclose(found, -machine.program.energy(x).sum(), rtol=1e-5)
    weights, bias = np.asarray(machine.network.couplings.weights), np.asarray(machine.network.couplings.bias)
    v = np.asarray(x).reshape(-1, 6)
    pairs = sum(weights[i, j] * v[:, i] * v[:, j] for i in range(6) for j in range(i))
    np.testing.assert_allclose(machine.program.energy(x), -(v @ bias + pairs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [2, 3])
def test_free_energy_and_conditionals_by_enumeration(levels):
    machine = strong(RBM((2,), levels, hidden=3))
    rows, states = jnp.asarray(every_row((2,), levels)), jnp.asarray(every_row((3,), 2), jnp.float32)
    joint = np.array([[-machine.program.joint_energy(x[None], h[None])[0] for h in states] for x in rows])
    np.testing.assert_allclose(machine.program.energy(rows), -logsumexp(joint, 1), rtol=1e-4)
    for i, x in enumerate(rows):
        found = machine.program.hidden_given(x[None]).log_prob(states)
        np.testing.assert_allclose(found, joint[i] - logsumexp(joint[i]), atol=1e-4)
    for j, h in enumerate(states):
        found = machine.program.visible_given(h[None]).log_prob(rows)
        np.testing.assert_allclose(found, joint[:, j] - logsumexp(joint[:, j]), atol=1e-4)


def test_a_gibbs_step_leaves_the_distribution_as_it_is(machine, probabilities):
    rows, p = probabilities
    n = 20_000
    start = rows[np.random.default_rng(0).choice(len(rows), size=n, p=p)]
    ends = np.asarray(eqx.filter_jit(machine.program.transition)(jax.random.key(1), jnp.asarray(start)))
    check_counts(ends, rows, p, machine.levels)
    assert (ends != start).any()


def test_chains_draw_from_the_distribution(machine, probabilities):
    check_counts(machine.sample(4000, seed=2, steps=200), *probabilities, machine.levels)


def check_counts(draws, rows, p, levels):
    """A chi-square test of draws against probabilities, at 1 in 10,000."""
    weights = levels ** np.arange(rows[0].size)[::-1]
    counts = np.bincount(draws.reshape(len(draws), -1) @ weights, minlength=len(rows))
    seen = p * len(draws) > 5
    observed = np.append(counts[seen], counts[~seen].sum())
    expected = len(draws) * np.append(p[seen], p[~seen].sum())
    kept = expected > 0
    statistic = ((observed - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic < chi2.ppf(0.9999, kept.sum() - 1)


def test_pseudo_likelihood_by_enumeration(machine, probabilities):
    rows, p = probabilities
    found = machine.program.pseudo_log_prob(jax.random.key(0), jnp.asarray(rows))
    flat, by_row = rows.reshape(len(rows), -1), {tuple(r.ravel()): q for r, q in zip(rows, p, strict=True)}
    for k in (0, len(rows) // 2, len(rows) - 1):
        expected = 0.0
        for i in range(flat.shape[1]):
            siblings = [by_row[(*flat[k, :i], a, *flat[k, i + 1 :])] for a in range(machine.levels)]
            expected += math.log(by_row[tuple(flat[k])] / sum(siblings))
        assert abs(float(found[k]) - expected) < 1e-3


# -- the deep belief network -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def belief():
    return strong(DBN((2, 2), 2, hidden=(3, 3, 2)))


def exact_dbn(dbn):
    """log p(x) of every row by a sum over all states of all layers."""
    rows, first = every_row((2, 2), 2), every_row((3,), 2)
    top = np.array(-dbn.program.machines()[-1].energy(jnp.asarray(first)))
    top -= logsumexp(top)
    middle = np.array(
        [dbn.program.below(1, jnp.asarray(h, jnp.float32)[None]).log_prob(first) for h in first]
    )
    lowest = np.array([dbn.program.below(0, jnp.asarray(h, jnp.float32)[None]).log_prob(rows) for h in first])
    log_h1 = logsumexp(top[:, None] + middle, 0)
    return rows, logsumexp(log_h1[:, None] + lowest, 0)


def test_the_bound_is_below_the_exact_density_and_comes_close(belief):
    rows, exact = exact_dbn(belief)
    assert abs(np.exp(exact).sum() - 1) < 1e-4
    single = belief.log_prob(rows, samples=1)
    assert single.kind == "lower_bound"
    by_seed = [belief.log_prob(rows, samples=1, seed=s).values for s in range(30)]
    by_seed_more = [belief.log_prob(rows, samples=20, seed=s).values for s in range(10)]
    assert (np.mean(by_seed, 0) < exact).all()
    assert np.mean(by_seed) < np.mean(by_seed_more) < exact.mean()
    np.testing.assert_allclose(belief.log_prob(rows, samples=5000).values, exact, atol=0.3)


def test_a_belief_network_draws_what_it_says(belief):
    rows, exact = exact_dbn(belief)
    check_counts(belief.sample(4000, seed=0, steps=200), rows, np.exp(exact), 2)


def test_greedy_training_keeps_both_ways_tied_and_up_down_unties_them():
    rows = np.random.default_rng(0).integers(0, 2, size=(400, 1)).repeat(4, axis=1)
    dbn = DBN((4,), 2, hidden=(4, 3))
    run = train(dbn, rows, epochs=40, learning_rate=0.03, weight_decay=0.0, patience=None, progress=False)
    assert run.objective == "greedy"
    layer = dbn.network.layers[0]
    np.testing.assert_allclose(layer.up_weights, layer.down_weights, atol=1e-5)
    train(dbn, rows, objective="up_down", epochs=40, learning_rate=0.03, patience=None, progress=False)
    layer = dbn.network.layers[0]
    assert np.abs(layer.up_weights - layer.down_weights).max() > 1e-3
    # Two rows are left, with probability 1/2 each: 0.25 bits an entry.
    assert dbn.log_prob(rows, samples=64).bits_per_dim() < 0.5


# -- the deep energy-based model -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shifted():
    """A model whose network is linear, f(z) = a z + c: another Gaussian, with a constant."""
    model = EnergyModel((2,), hidden=())
    loc, scale = jnp.array([1.0, -2.0]), jnp.array([2.0, 0.5])
    model.program = replace(model.program, loc=loc, scale=scale)
    layer = model.network.layers[0]
    model.network = eqx.tree_at(
        lambda net: (net.layers[0].weight, net.layers[0].bias),
        model.network,
        (jnp.array([[1.0, -0.5]]), jnp.array([0.3])),
    )
    assert layer.weight.shape == (1, 2)
    return model


def test_langevin_chains_of_a_gaussian_have_its_moments(shifted):
    draws = shifted.sample(4000, seed=0, steps=200)
    np.testing.assert_allclose(draws.mean(0), [1.0 - 2.0, -2.0 + 0.25], atol=0.15)
    np.testing.assert_allclose(draws.std(0), [2.0, 0.5], rtol=0.06)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.08


def test_annealing_finds_the_constant_of_a_gaussian(shifted):
    exact = (1.0**2 + 0.5**2) / 2 - 0.3  # log E[exp(-a z - c)]
    forward = shifted.log_partition(temperatures=200, chains=200)
    assert abs(forward.value - exact) < 3 * forward.stderr
    rng = np.random.default_rng(0)
    rows = rng.normal([-1.0, -1.75], [2.0, 0.5], size=(200, 2))
    backward = shifted.log_partition("reverse_ais", temperatures=200, chains=200, rows=rows)
    assert abs(backward.value - exact) < 3 * backward.stderr
    with pytest.raises(InvalidArgument, match="cannot be enumerated"):
        shifted.log_partition("exact")


def test_log_density_of_the_program_is_minus_the_energy(shifted):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)), jnp.float32)
    found, _ = log_density(shifted.model, (x,), {}, {})
    np.testing.assert_allclose(found, -shifted.program.energy(x).sum(), rtol=1e-5)


def test_levels_are_cells_of_the_density():
    model = EnergyModel((1,), 4, hidden=(8,))
    model.standardise(np.array([[0], [1], [2], [3]]))
    fine = np.linspace(-40, 40, 80_001)[:, None]
    log_p = np.asarray(-model.program.energy(jnp.asarray(fine, jnp.float32)), np.float64)
    log_z = np.log(np.trapezoid(np.exp(log_p), fine[:, 0]))
    cells = [
        np.trapezoid(np.exp(log_p - log_z)[(fine[:, 0] >= k) & (fine[:, 0] <= k + 1)], dx=1e-3)
        for k in range(4)
    ]
    found = model.log_prob(np.arange(4)[:, None], samples=2000)
    assert found.kind == "estimate"
    assert found.space == "discrete"
    np.testing.assert_allclose(np.exp(found.values), cells, rtol=0.05)


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: BoltzmannMachine((2,), 3), InvalidArgument, "levels"),
        (lambda: BoltzmannMachine((2,), None), InvalidArgument, "RBM"),
        (lambda: DBN((2,), 4), InvalidArgument, "levels"),
        (lambda: DBN((2,), 2, hidden=(4,)), InvalidArgument, "two layers"),
        (lambda: RBM((2,), 2, hidden=0), InvalidArgument, "hidden"),
        (lambda: RBM((2,), 2, seed=-1), InvalidArgument, "seed"),
        (lambda: EnergyModel((2,), networks="cnn"), UnknownName, "networks"),
        (lambda: EnergyModel((4,), networks="conv"), InvalidArgument, "images"),
        (lambda: EnergyModel((2, 2), networks="conv", hidden=(4, 4, 4)), InvalidArgument, "halved"),
        (lambda: RBM((2,), 2, hidden=3).log_prob([[0, 2]]), DataError, "levels"),
        (lambda: RBM((2,), 2, hidden=3).log_prob([[0.5, 1.0]]), DataError, "whole"),
        (lambda: RBM((2,), 2, hidden=3).log_partition("bridge"), UnknownName, "method"),
        (
            lambda: RBM((2,), 2, hidden=3).log_partition("ais", temperatures=0),
            InvalidArgument,
            "temperatures",
        ),
        (lambda: RBM((2,), 2, hidden=3).log_partition("ais", rows=[[0, 1]]), InvalidArgument, "reverse_ais"),
        (lambda: RBM((2,), 2, hidden=3).sample(2, steps=0), InvalidArgument, "steps"),
        (lambda: train(RBM((2,), 2), np.ones((9, 2)) / 2, progress=False), DataError, "whole"),
        (lambda: train(RBM((2,)), np.zeros((9, 2)), progress=False), DataError, "constant"),
        (
            lambda: train(RBM((2,), 2), np.eye(9, 2, dtype=int), objective="nce", progress=False),
            UnknownName,
            "objective",
        ),
        (
            lambda: train(DBN((2,), 2), np.ones((9, 2), int), layer=5, progress=False),
            InvalidArgument,
            "layer",
        ),
        (lambda: make("rbm", (2,), 2, width=3), UnknownName, "width"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_refuses_with_a_reason(build, error, says):
    with pytest.raises(error, match=says):
        build()


def test_progress_changes_no_number(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # the bar is drawn in a terminal alone
    family = RBM((6,), hidden=21, seed=0)  # too large to enumerate
    quiet = family.log_partition("ais", temperatures=250, chains=20)
    assert not capsys.readouterr().err
    shown = RBM((6,), hidden=21, seed=0).log_partition("ais", temperatures=250, chains=20, progress=True)
    assert shown == quiet
    assert "log Z by annealing" in capsys.readouterr().err
