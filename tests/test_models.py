"""The laws of the families: one table of constructors, and what each entry must obey."""

import copy
import itertools
import math
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from scipy.stats import chi2, multivariate_normal

import ppgen.data
from ppgen.errors import DataError, InvalidArgument, StorageError, UnknownName
from ppgen.inference.training import train
from ppgen.models import (
    FVSBN,
    IAF,
    MADE,
    MAF,
    NADE,
    NICE,
    VAE,
    VQVAE,
    ContinuousFlow,
    Glow,
    HierarchicalVAE,
    NeuralSplineFlow,
    PixelCNN,
    RealNVP,
    Transformer,
    describe,
    load,
    make,
    save,
)
from ppgen.models.registry import FAMILIES, sampling_options
from ppgen.program import bounds
from ppgen.program.family import TrainableFamily
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch

PYRO = find_language("pyro").rows


def joints(model, guide, x, samples=1, *, label=None, **settings):
    return bounds.log_joints(PYRO, model, guide, Batch(x, label), samples, **settings)


def elbo(model, guide, x, samples=1, *, label=None):
    return bounds.elbo(joints(model, guide, x, samples, label=label))


SMALL = {"width": 16, "layers": 2, "heads": 2}


@dataclass(frozen=True)
class Case:
    build: Any
    shape: tuple[int, ...]
    levels: int | None
    settings: dict[str, Any]

    def __call__(self):
        return self.build(self.shape, levels=self.levels, **self.settings)

    def rows(self, n=24, seed=0):
        rng = np.random.default_rng(seed)
        if self.levels is None:
            return rng.normal(3.0, 2.0, size=(n, *self.shape))
        return rng.integers(0, self.levels, size=(n, *self.shape))


TABLE = {
    "fvsbn": Case(FVSBN, (3, 3), 2, {}),
    "fvsbn-levels": Case(FVSBN, (3,), 4, {}),
    "nade": Case(NADE, (2, 2), 3, {"hidden": 16}),
    "nade-continuous": Case(NADE, (3,), None, {"hidden": 16}),
    "made": Case(MADE, (3, 2), 2, {"hidden": (16, 16)}),
    "made-orders": Case(MADE, (4,), 3, {"hidden": (16,), "orders": 3}),
    "made-continuous": Case(MADE, (2,), None, {"hidden": (16,), "orders": 2}),
    "pixelcnn": Case(PixelCNN, (3, 3), 3, {"width": 8, "layers": 2}),
    "pixelcnn-colour": Case(PixelCNN, (2, 2, 2), 2, {"width": 8, "layers": 2}),
    "pixelcnn-continuous": Case(PixelCNN, (2, 2), None, {"width": 8, "layers": 2}),
    "transformer-image": Case(Transformer, (3, 3), 2, SMALL),
    "transformer-vector": Case(Transformer, (3,), 3, SMALL),
    "transformer-continuous": Case(Transformer, (2,), None, SMALL),
    "transformer-scalar": Case(Transformer, (1,), None, SMALL),
    "vae-categorical": Case(VAE, (2, 3), 4, {"hidden": (16,), "latent_dim": 3}),
    "vae-bernoulli": Case(VAE, (3,), 2, {"hidden": (16,), "latent_dim": 2}),
    "vae-logistic": Case(
        VAE, (3,), 5, {"hidden": (8,), "latent_dim": 2, "likelihood": "discretized_logistic"}
    ),
    "vae-vamp": Case(VAE, (3,), 4, {"hidden": (16,), "latent_dim": 2, "prior": "vamp", "components": 5}),
    "vae-flows": Case(
        VAE, (3,), None, {"hidden": (16,), "latent_dim": 2, "prior": "flow", "posterior": "flow"}
    ),
    "vae-conv": Case(VAE, (4, 5), 3, {"hidden": (4, 8), "networks": "conv", "prior": "mixture", "beta": 2.0}),
    "vae-ladder": Case(HierarchicalVAE, (2, 3), 4, {"latent_dims": (3, 2), "width": 16}),
    "vae-ladder-continuous": Case(HierarchicalVAE, (3,), None, {"latent_dims": (2,), "width": 16}),
    "vae-codes": Case(VQVAE, (2, 3), 4, {"codes": 5, "positions": 3, "hidden": (16,), "prior_width": 8}),
    "vae-codes-continuous": Case(VQVAE, (3,), None, {"positions": 2, "hidden": (16,), "prior_width": 8}),
    "vae-gaussian": Case(VAE, (2, 2), None, {"hidden": (16,), "latent_dim": 2, "posterior": "full"}),
    "flow-discrete": Case(NeuralSplineFlow, (2, 2), 3, {"hidden": (16,), "transforms": 2}),
    "flow-continuous": Case(NeuralSplineFlow, (2,), None, {"hidden": (16,), "transforms": 2}),
    "flow-coupling": Case(NeuralSplineFlow, (4,), None, {"hidden": (16,), "coupling": True}),
    "flow-scalar": Case(NeuralSplineFlow, (1,), None, {"hidden": (16,), "transforms": 2}),
    "flow-variational": Case(NeuralSplineFlow, (2,), 3, {"hidden": (16,), "dequantization": "variational"}),
    "flow-nice": Case(NICE, (3,), None, {"hidden": (16,)}),
    "flow-nice-discrete": Case(NICE, (2, 2), 3, {"hidden": (16,)}),
    "flow-realnvp": Case(RealNVP, (3,), None, {"hidden": (16,)}),
    "flow-realnvp-discrete": Case(RealNVP, (3,), 4, {"hidden": (16,), "dequantization": "variational"}),
    "flow-maf": Case(MAF, (2, 2), None, {"hidden": (16,), "dropout": 0.1}),
    "flow-maf-scalar": Case(MAF, (1,), 4, {"hidden": (16,)}),
    "flow-iaf": Case(IAF, (3,), None, {"hidden": (16,)}),
    "flow-iaf-discrete": Case(IAF, (3,), 4, {"hidden": (16,)}),
    "flow-glow": Case(Glow, (4, 4), None, {"steps": 2, "channels": 8}),
    "flow-glow-colour": Case(Glow, (3, 4, 2), 5, {"scales": 1, "steps": 2, "channels": 8}),
    "flow-continuous-time": Case(ContinuousFlow, (2,), None, {"hidden": (16,), "steps": 4}),
    "flow-continuous-time-discrete": Case(ContinuousFlow, (3,), 3, {"hidden": (16,), "steps": 4}),
}


QUICK = ("made", "vae-bernoulli", "flow-realnvp")  # one of each kind, for make quick


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.quick] * (name in QUICK)) for name in TABLE], scope="module"
)
def case(request):
    return TABLE[request.param]


@pytest.fixture(scope="module")
def trained(case):
    family = case()
    train(family, case.rows(), epochs=2, batch_size=8, progress=False)
    return family


# -- laws of every family --------------------------------------------------------------------------------


def test_is_a_family_at_rest(case):
    family = case()
    assert isinstance(family, TrainableFamily)
    assert not family.training
    assert family.shape == case.shape
    assert family.levels == case.levels


def test_same_seed_gives_the_same_weights_and_leaves_the_random_state(case):
    state = torch.get_rng_state()
    first, second = case().state_dict(), case().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)
    other = case.build(case.shape, levels=case.levels, **case.settings, seed=1).state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_samples_are_rows_of_the_data(case, trained):
    state = torch.get_rng_state()
    rows = trained.sample(40, seed=3)
    assert rows.shape == (40, *case.shape)
    if case.levels is None:
        assert rows.dtype == np.float64
        assert np.isfinite(rows).all()
    else:
        assert rows.dtype == np.int64
        assert 0 <= rows.min() <= rows.max() < case.levels
    np.testing.assert_array_equal(trained.sample(40, seed=3), rows)
    assert not np.array_equal(trained.sample(40, seed=4), rows)
    assert torch.equal(torch.get_rng_state(), state)


def test_log_prob_of_a_batch_is_the_batch_of_log_probs(case, trained):
    rows = case.rows(6, seed=1)
    whole = trained.log_prob(rows)
    assert whole.values.dtype == np.float64
    assert whole.dims == math.prod(case.shape)
    assert whole.space == ("continuous" if case.levels is None else "discrete")
    single = np.concatenate([trained.log_prob(row[None]).values for row in rows])
    np.testing.assert_allclose(single, whole.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trained.log_prob(rows[::-1]).values, whole.values[::-1], rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_it_is_the_same_bit_for_bit(case, trained, tmp_path):
    copy_ = load(save(trained, tmp_path / "family.ppgen"))
    np.testing.assert_array_equal(copy_.sample(20, seed=1), trained.sample(20, seed=1))
    rows = case.rows(5, seed=2)
    np.testing.assert_array_equal(copy_.log_prob(rows).values, trained.log_prob(rows).values)
    assert copy_.config == trained.config
    assert copy_.trained == trained.trained
    assert trained.trained.seconds > 0


def test_neither_reads_nor_changes_the_global_parameter_store(case, trained):
    rows, store = case.rows(5), pyro.get_param_store()
    samples, values = trained.sample(5), trained.log_prob(rows).values
    with store.scope():
        with poutine.trace() as tape:
            trained.model(trained.rows(rows))
        names = [name for name, site in tape.trace.nodes.items() if site["type"] == "param"]
        assert len(names) == len(list(trained.parameters()))
        for name in names:
            store[name] = torch.full_like(store[name], math.pi)
        before = {name: store[name].clone() for name in names}
        np.testing.assert_array_equal(trained.sample(5), samples)
        np.testing.assert_array_equal(trained.log_prob(rows).values, values)
        assert all(torch.equal(store[name], before[name]) for name in names)
    assert not set(names) & set(store.keys())


def test_pyros_own_svi_trains_it(case):
    family, twin = case(), case()
    rows = family.rows(case.rows())
    guide = getattr(family, "guide", lambda x: None)
    before = copy.deepcopy(family.state_dict())
    with pyro.get_param_store().scope():
        loss = SVI(family.model, guide, Adam({"lr": 0.01}), Trace_ELBO()).step(rows)
    assert math.isfinite(loss)
    after = family.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(twin.state_dict()[name], before[name]) for name in before)


def test_a_copy_has_parameters_of_its_own(case):
    family = case()
    twin = copy.deepcopy(family)
    with pyro.get_param_store().scope():
        family.register()
        first = set(pyro.get_param_store().keys())
        twin.register()
        assert len(pyro.get_param_store()) == 2 * len(first)


def test_log_prob_is_the_density_of_the_program(case, trained):
    if trained.objectives[0] != "likelihood":
        pytest.skip("a bound, checked in its own tests")
    rows = case.rows(5)
    with pyro.get_param_store().scope(), torch.no_grad():
        program = bounds.log_density(PYRO, trained.model, Batch(trained.rows(rows)))
    assert trained.log_prob(rows).kind == "exact"
    np.testing.assert_allclose(trained.log_prob(rows).values, program.double().numpy(), rtol=1e-6)


# -- exact discrete densities sum to 1 -------------------------------------------------------------------


def every_row(shape, levels):
    entries = itertools.product(range(levels), repeat=math.prod(shape))
    return np.array(list(entries)).reshape(-1, *shape)


@pytest.mark.parametrize(("shape", "levels"), [((3, 3), 2), ((3,), 3), ((2, 1, 2), 4)])
@pytest.mark.parametrize("epochs", [0, 3])
def test_transformers_probabilities_sum_to_one(shape, levels, epochs):
    transformer = Transformer(shape, levels=levels, **SMALL)
    rows = every_row(shape, levels)
    if epochs:
        train(transformer, rows[: len(rows) // 2], epochs=epochs, progress=False)
    total = np.exp(transformer.log_prob(rows).values).sum()
    assert abs(total - 1) < 1e-5


@pytest.fixture(scope="module")
def skewed():
    """A transformer of three entries with three levels, away from the uniform distribution."""
    transformer = Transformer((3,), levels=3, **SMALL)
    rng = np.random.default_rng(0)
    first = rng.choice(3, size=(300, 1), p=[0.6, 0.3, 0.1])
    rows = np.concatenate([first, (first + rng.integers(0, 2, (300, 1))) % 3, 2 - first], axis=1)
    train(transformer, rows, epochs=10, learning_rate=3e-3, progress=False)
    return transformer


@pytest.mark.parametrize("choice", [{}, {"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.9}])
def test_samples_have_the_probabilities_that_the_density_says(skewed, choice):
    rows = every_row((3,), 3)
    with torch.no_grad():
        p = skewed.density(**choice).log_prob(torch.as_tensor(rows)).exp().numpy()
    assert abs(p.sum() - 1) < 1e-5
    n = 20_000
    counts = np.bincount(skewed.sample(n, seed=1, **choice) @ [9, 3, 1], minlength=27)
    assert (counts[p == 0] == 0).all()
    seen = p > 5 / n  # the usual rule for a chi-square test
    observed = np.append(counts[seen], counts[~seen].sum())
    expected = n * np.append(p[seen], p[~seen].sum())
    keep = expected > 0
    statistic = ((observed[keep] - expected[keep]) ** 2 / expected[keep]).sum()
    assert chi2.sf(statistic, keep.sum() - 1) > 1e-3


def test_all_ways_to_sharpen_end_at_the_likeliest_value(skewed):
    greedy = skewed.sample(50, top_k=1)
    assert (greedy == greedy[0]).all()
    np.testing.assert_array_equal(skewed.sample(50, temperature=1e-4), greedy)
    np.testing.assert_array_equal(skewed.sample(50, top_p=1e-6), greedy)
    np.testing.assert_array_equal(skewed.sample(50, top_k=3, top_p=1.0), skewed.sample(50))
    hot = skewed.sample(20_000, temperature=1e4)
    np.testing.assert_allclose(np.bincount(hot.ravel(), minlength=3) / hot.size, 1 / 3, atol=0.02)


@pytest.mark.parametrize("name", ["transformer-image", "transformer-continuous"])
def test_step_by_step_the_network_says_what_it_says_in_parallel(name):
    case = TABLE[name]
    network = case().network
    values = torch.as_tensor(case.rows(4)).reshape(4, -1)
    values = values if case.levels else values.float()
    with torch.no_grad():
        parallel = network(values)
        step, memory = network.first(4)
        torch.testing.assert_close(step, parallel[:, 0])
        for t in range(1, values.shape[1]):
            step, memory = network.next(t, values[:, t - 1], memory)
            torch.testing.assert_close(step, parallel[:, t])


def test_each_output_reads_only_what_lies_before_it():
    network = TABLE["transformer-image"]().network
    values = torch.zeros(1, 9, dtype=torch.int64)
    for t in range(9):
        changed = values.clone()
        changed[0, t] = 1
        moved = (network(changed) != network(values)).any(-1)[0]
        assert not moved[: t + 1].any()
        assert moved[t + 1 :].all()


@pytest.mark.quick
def test_discretized_logistic_sums_to_one():
    vae = TABLE["vae-logistic"]()
    outputs = torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(0)) * 3
    distribution = vae.observation(outputs).base_dist
    total = sum(distribution.log_prob(torch.full((20, 3), float(k))).exp() for k in range(5))
    torch.testing.assert_close(total, torch.ones(20, 3))


# -- continuous densities integrate to 1 -----------------------------------------------------------------


@pytest.fixture(scope="module", params=[Transformer, NeuralSplineFlow])
def moons_model(request):
    settings = SMALL if request.param is Transformer else {"hidden": (32,), "transforms": 2}
    model = request.param((2,), **settings)
    train(model, ppgen.data.load("two_moons").train[:1000], epochs=5, progress=False)
    return model


def test_continuous_densities_integrate_to_one(moons_model):
    x, y = np.linspace(-4, 5, 500), np.linspace(-3, 4, 500)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(moons_model.log_prob(grid).values)
    assert abs(density.sum() * (x[1] - x[0]) * (y[1] - y[0]) - 1) < 5e-3


def test_samples_have_the_entropy_of_the_density(moons_model):
    samples = moons_model.sample(4000, seed=0)
    values = moons_model.log_prob(samples).values
    x, y = np.linspace(-4, 5, 300), np.linspace(-3, 4, 300)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    log_p = moons_model.log_prob(grid).values
    entropy = -(np.exp(log_p) * log_p).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert abs(-values.mean() - entropy) < 4 * values.std() / math.sqrt(len(values)) + 5e-3


# -- flows -----------------------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize("name", [name for name in TABLE if name.startswith("flow")])
def test_flow_inverts_and_its_log_determinant_is_autograds(name):
    flow = TABLE[name]()
    transform = flow.map()
    u = 1.5 * torch.randn(6, flow.dims, generator=torch.Generator().manual_seed(0))
    z, log_det = transform.call_and_ladj(u)
    # A flow in time is inverted by solving backwards: its steps add up their rounding in single precision.
    atol = 5e-4 if "continuous-time" in name else 1e-4
    torch.testing.assert_close(transform.inv(z), u, atol=atol, rtol=0)
    for row, claimed in zip(u, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: transform(v), row)
        torch.testing.assert_close(jacobian.slogdet().logabsdet, claimed, atol=1e-4, rtol=1e-4)


def test_importing_zuko_leaves_validation_on():
    assert torch.distributions.Distribution._validate_args


def test_dequantization_is_a_bound_on_the_integral_over_the_cell():
    flow = NeuralSplineFlow((2,), levels=3, hidden=(16,), transforms=2)
    skew = np.array([[0, 0]] * 30 + [[1, 2]] * 20 + [[2, 1]] * 10)
    train(flow, skew, epochs=15, learning_rate=0.01, progress=False)
    rows = every_row((2,), 3)
    exact = np.log([_cell_integral(flow, row) for row in rows])
    assert abs(np.exp(exact).sum() - 1) < 1e-3
    torch.manual_seed(0)
    with torch.no_grad():
        lower = elbo(flow.model, flow.guide, flow.rows(rows), samples=500).numpy()
    bound = flow.log_prob(rows, samples=500)
    assert bound.kind == "lower_bound"
    assert (lower < exact).all()
    assert (lower < bound.values).all()
    assert (np.abs(bound.values - exact) < 5 * bound.stderr + 1e-3).all()


def _cell_integral(flow, corner, points=60):
    middles = (np.arange(points) + 0.5) / points
    y = corner + np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
    with torch.no_grad():
        return flow.density().log_prob(torch.as_tensor(y)).exp().mean().item()


# -- the linear-Gaussian VAE -----------------------------------------------------------------------------

NOISE = 0.6


@pytest.fixture(scope="module")
def linear():
    """x = W z + b + noise, so that log p(x) is a Gaussian's in closed form; the guide is the posterior."""
    vae = VAE((4,), hidden=(), latent_dim=2, posterior="full", noise_scale=NOISE)
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(4, 2)), rng.normal(size=4)
    covariance = np.linalg.inv(np.eye(2) + w.T @ w / NOISE**2)
    gain = covariance @ w.T / NOISE**2
    root = np.linalg.cholesky(covariance)
    np.fill_diagonal(root, np.log(np.diag(root)))
    with torch.no_grad():
        _fill(vae.decoder[0], w, b)
        _fill(vae.encoder[0], np.vstack([gain, np.zeros((4, 4))]), np.append(-gain @ b, root))
    x = rng.normal(size=(50, 2)) @ w.T + b + NOISE * rng.normal(size=(50, 4))
    return vae, x, multivariate_normal(b, w @ w.T + NOISE**2 * np.eye(4)).logpdf(x)


def _fill(layer, weight, bias):
    layer.weight.copy_(torch.as_tensor(weight))
    layer.bias.copy_(torch.as_tensor(bias))


@pytest.mark.quick
def test_with_the_posterior_as_guide_every_bound_is_exact(linear):
    vae, x, exact = linear
    for samples in (1, 20):
        np.testing.assert_allclose(vae.log_prob(x, samples=samples).values, exact, atol=1e-4)


def test_with_another_guide_the_elbo_stays_below_and_more_samples_reach_the_exact_value(linear):
    vae, x, exact = copy.deepcopy(linear[0]), linear[1], linear[2]
    with torch.no_grad():
        vae.encoder[0].bias += 0.5  # moves the mean and widens the covariance
    means = [vae.log_prob(x, samples=s).mean() for s in (1, 10, 100)]
    assert means[0] < means[1] < means[2] < exact.mean() + 0.01
    tight = vae.log_prob(x[:10], samples=3000)
    exact = exact[:10]
    assert (np.abs(tight.values - exact) < 5 * tight.stderr + 1e-3).all()
    assert (tight.stderr > 0).all()


def test_training_a_linear_vae_reaches_the_closed_form_of_its_own_density():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 1)) * [1.0, -1.0, 0.5] + 0.3 * rng.normal(size=(400, 3)) + [5.0, 0.0, -5.0]
    vae = VAE((3,), hidden=(), latent_dim=1, noise_scale=0.3, dropout=0.0)
    train(vae, x, epochs=40, learning_rate=0.02, progress=False)
    w, b = vae.decoder[0].weight.detach().numpy(), vae.decoder[0].bias.detach().numpy()
    loc, scale = vae.loc.numpy(), vae.scale.numpy()
    covariance = (w @ w.T + 0.3**2 * np.eye(3)) * np.outer(scale, scale)
    exact = multivariate_normal(loc + scale * b, covariance).logpdf(x)
    elbo, bound = vae.log_prob(x, samples=1), vae.log_prob(x, samples=200)
    below = elbo.values - exact
    assert below.mean() < 4 * below.std() / math.sqrt(len(x))
    assert abs(bound.mean() - exact.mean()) < 0.01


# -- names, settings and bad input -----------------------------------------------------------------------


def test_every_family_has_a_recipe_on_the_digits():
    path = Path(__file__).parents[1] / "benchmarks" / "digits.py"
    recipes = runpy.run_path(str(path))["RECIPES"].values()
    assert {recipe.family for recipe in recipes} == set(FAMILIES)
    for recipe in recipes:
        data = ppgen.data.load(recipe.data)
        make(recipe.family, data.shape, data.levels, **recipe.settings)


def test_make_reads_settings_as_values_and_as_text():
    assert {"transformer", "vae", "flow"} <= set(describe())
    vae = make("vae", (3,), 2, latent_dim="4", hidden="8", dropout="0.2", noise_scale="none")
    assert (vae.config["latent_dim"], vae.config["hidden"], vae.config["dropout"]) == (4, (8,), 0.2)
    flow = make("flow", (2,), None, coupling="true", hidden=[8, 8], bins=4)
    assert (flow.config["coupling"], flow.config["hidden"], flow.config["bins"]) == (True, (8, 8), 4)
    assert sampling_options(tiny(), {"top_p": "0.5", "top_k": 3}) == {"top_p": 0.5, "top_k": 3}
    with pytest.raises(UnknownName, match="Did you mean 'temperature'"):
        sampling_options(tiny(), {"temprature": 1})
    with pytest.raises(UnknownName, match="one of 'label'"):
        sampling_options(vae, {"temperature": 1.0})


BAD_CALLS = [
    (lambda: make("vea", (2,), 2), UnknownName, "family", "Did you mean 'vae'"),
    (lambda: make("vae", (2,), 2, latnt_dim=3), UnknownName, "setting", "Did you mean 'latent_dim'"),
    (lambda: make("vae", (2,), 2, latent_dim="three"), InvalidArgument, "latent_dim", "an integer"),
    (lambda: make("vae", (2,), 2, hidden="a,b"), InvalidArgument, "hidden", "integers"),
    (lambda: make("flow", (2,), 2, coupling="perhaps"), InvalidArgument, "coupling", "True or False"),
    (lambda: make("vae", (2,), 2, likelihood="poisson"), InvalidArgument, "likelihood", "'categorical'"),
    (lambda: VAE((2,), levels=1), InvalidArgument, "levels", "at least 2"),
    (lambda: VAE((0,), levels=2), InvalidArgument, "shape", "shape of one row"),
    (lambda: VAE((), levels=2), InvalidArgument, "shape", "shape of one row"),
    (lambda: VAE((2,), levels=3, likelihood="bernoulli"), InvalidArgument, "likelihood", "levels=3"),
    (lambda: VAE((2,), likelihood="categorical"), InvalidArgument, "likelihood", "'gaussian'"),
    (lambda: VAE((2,), levels=2, noise_scale=0.1), InvalidArgument, "noise_scale", "Leave it out"),
    (lambda: VAE((2,), levels=2, latent_dim=0), InvalidArgument, "latent_dim", "at least 1"),
    (lambda: VAE((2,), levels=2, dropout=1.0), InvalidArgument, "dropout", "below 1"),
    (lambda: VAE((2,), levels=2, hidden=(8, 0)), InvalidArgument, "hidden", "integers"),
    (lambda: Transformer((2,), levels=2, width=10, heads=4), InvalidArgument, "width", "multiple of heads"),
    (lambda: NeuralSplineFlow((2,), bins=1), InvalidArgument, "bins", "at least 2"),
    (lambda: NeuralSplineFlow((2,), seed=-1), InvalidArgument, "seed", "at least 0"),
    (lambda: tiny().sample(0), InvalidArgument, "n", "at least 1"),
    (lambda: tiny().sample(2, temperature=0.0), InvalidArgument, "temperature", "above 0"),
    (lambda: tiny().sample(2, top_k=0), InvalidArgument, "top_k", "at least 1"),
    (lambda: tiny().sample(2, top_p=1.5), InvalidArgument, "top_p", "at most 1"),
    (lambda: Transformer((2,), **SMALL).sample(2, top_k=2), InvalidArgument, "top_k", "with levels"),
    (lambda: Transformer((2,), **SMALL).sample(2, top_p=0.9), InvalidArgument, "top_p", "with levels"),
    (lambda: tiny().log_prob(np.zeros((4, 3), int)), DataError, "x", r"\(n, 2\)"),
    (lambda: tiny().log_prob(np.zeros(2, int)), DataError, "x", "one row per data point"),
    (lambda: tiny().log_prob(np.zeros((0, 2), int)), DataError, "x", "at least one row"),
    (lambda: tiny().log_prob(np.full((4, 2), 2)), DataError, "x", "integers 0 … 1"),
    (lambda: tiny().log_prob(np.full((4, 2), 0.5)), DataError, "x", "whole numbers"),
    (lambda: VAE((2,), hidden=()).log_prob(np.full((1, 2), np.nan)), DataError, "x", "finite"),
    (
        lambda: VAE((2,), hidden=()).log_prob(np.zeros((1, 2)), samples=0),
        InvalidArgument,
        "samples",
        "least 1",
    ),
]


def tiny():
    return Transformer((2,), levels=2, **SMALL)


@pytest.mark.parametrize(("call", "error", "argument", "message"), BAD_CALLS)
def test_bad_input_is_named(call, error, argument, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument


def test_load_refuses_a_file_whose_parts_do_not_fit(tmp_path):
    from ppgen import storage

    stored = storage.read(save(tiny(), tmp_path / "tiny.ppgen"))
    path = tmp_path / "wrong.ppgen"
    for document in (
        {**stored.document, "family": "oracle"},
        {**stored.document, "shape": [5]},
        {**stored.document, "config": {"depth": 3}},
        {"family": "vae"},
    ):
        storage.write(path, storage.Stored(stored.tensors, document))
        with pytest.raises(StorageError, match=r"wrong\.ppgen"):
            load(path)


def test_save_refuses_what_is_no_family(tmp_path):
    with pytest.raises(InvalidArgument, match=r"np\.savez"):
        save(torch.nn.Linear(2, 2), tmp_path / "linear.ppgen")
