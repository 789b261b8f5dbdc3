"""The flows' own laws: inverses, Jacobians, quadrature, cells of levels, classes, and Glow's beginnings."""

import itertools
import math

import numpy as np
import pytest
import torch

from ppgen.errors import DataError, InvalidArgument
from ppgen.inference.training import train
from ppgen.models import IAF, MAF, NICE, ContinuousFlow, Glow, NeuralSplineFlow, RealNVP, load, save
from ppgen.models.distributions.cell import CellFlow
from ppgen.models.networks.glow import ActNorm, squeeze, unsqueeze
from ppgen.models.networks.spline import BOUND
from ppgen.models.networks.velocity import VelocityMap
from ppgen.program import bounds
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch

PYRO = find_language("pyro").rows


def joints(model, guide, x, samples=1, *, label=None, **settings):
    return bounds.log_joints(PYRO, model, guide, Batch(x, label), samples, **settings)


def elbo(model, guide, x, samples=1, *, label=None):
    return bounds.elbo(joints(model, guide, x, samples, label=label))


VECTORS = {
    "nice": (NICE, {"hidden": (16,)}),
    "realnvp": (RealNVP, {"hidden": (16,)}),
    "maf": (MAF, {"hidden": (16,)}),
    "iaf": (IAF, {"hidden": (16,)}),
    "spline": (NeuralSplineFlow, {"hidden": (16,)}),
    "spline-coupling": (NeuralSplineFlow, {"hidden": (16,), "coupling": True}),
    "continuous": (ContinuousFlow, {"hidden": (16,), "steps": 4}),
}
IMAGES = {
    "glow": (Glow, (8, 8), {"steps": 2, "channels": 8}),
    "glow-colour": (Glow, (3, 4, 8), {"steps": 2, "channels": 8}),
    "glow-one-scale": (Glow, (2, 2), {"scales": 1, "steps": 2, "channels": 8}),
}
ALL = {name: (build, (5,), settings) for name, (build, settings) in VECTORS.items()} | IMAGES


def shaken(flow, size=0.2):
    """The flow with weights away from where they start: some start as the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return flow


def one_hot(labels, classes):
    return torch.nn.functional.one_hot(torch.as_tensor(labels), classes).float()


# -- maps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("name", ALL)
def test_inverse_of_forward_is_the_row_and_the_log_determinant_is_autograds(name, classes):
    build, shape, settings = ALL[name]
    flow = shaken(build(shape, classes=classes, **settings), 0.05)
    n = 4
    context = one_hot([0, 1, 2, 1], 3) if classes else None
    transform = flow.map(context)
    u = 1.5 * torch.randn(n, flow.dims, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z, log_det = transform.call_and_ladj(u)
        torch.testing.assert_close(transform.inv(z), u, atol=1e-4, rtol=0)
        torch.testing.assert_close(transform(u), z)
        torch.testing.assert_close(transform(transform.inv(u)), u, atol=1e-4, rtol=0)
    for i in range(n):
        one = flow.map(None if context is None else context[i])
        jacobian = torch.autograd.functional.jacobian(lambda v, one=one: one(v), u[i])
        torch.testing.assert_close(jacobian.slogdet().logabsdet, log_det[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["spline", "nice", "realnvp", "maf", "iaf", "continuous", "glow"])
def test_a_context_changes_the_map(name):
    build, shape, settings = ALL[name]
    flow = shaken(build(shape, classes=2, **settings))
    u = torch.randn(1, flow.dims, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (flow.map(one_hot([y], 2))(u) for y in (0, 1))
    assert not torch.allclose(first, second)


def test_nice_keeps_volumes_up_to_its_scales():
    flow = shaken(NICE((4,), hidden=(16,)))
    _, log_det = flow.map().call_and_ladj(torch.randn(6, 4))
    torch.testing.assert_close(log_det, flow.map.transforms[-1].log_scale.sum().expand(6))


def test_iaf_is_the_map_of_maf_turned_around():
    maf, iaf = MAF((3,), hidden=(8,), transforms=2), IAF((3,), hidden=(8,), transforms=2)
    u = torch.randn(5, 3)
    torch.testing.assert_close(iaf.map().inv(u), maf.map()(u))


# -- densities of continuous rows ------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS)
def test_density_of_two_numbers_integrates_to_one(name):
    build, settings = VECTORS[name]
    flow = shaken(build((2,), **settings), 0.15)
    x, y = np.linspace(-12, 12, 300), np.linspace(-12, 12, 300)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(flow.log_prob(grid).values)
    assert abs(density.sum() * (x[1] - x[0]) * (y[1] - y[0]) - 1) < 0.01


@pytest.mark.parametrize("name", VECTORS)
def test_density_of_one_number_integrates_to_one(name):
    build, settings = VECTORS[name]
    flow = shaken(build((1,), classes=2, **settings), 0.1)
    x = np.linspace(-40, 40, 20_001)
    for label in (0, 1, None):
        density = np.exp(flow.log_prob(x[:, None], label=label).values)
        assert abs(density.sum() * (x[1] - x[0]) - 1) < 1e-3


@pytest.mark.parametrize("name", ["spline", "realnvp", "glow-one-scale"])
def test_without_a_label_the_classes_are_summed_out(name):
    build, shape, settings = ALL[name]
    flow = shaken(build(shape, classes=3, **settings))
    rows = np.random.default_rng(0).normal(size=(40, *shape))
    labels = np.array([0] * 20 + [1] * 15 + [2] * 5)
    flow.standardise(rows, labels)
    weights = np.log([0.5, 0.375, 0.125])
    each = np.stack([flow.log_prob(rows[:6], label=y).values + weights[y] for y in range(3)])
    summed = flow.log_prob(rows[:6])
    np.testing.assert_allclose(summed.values, np.logaddexp.reduce(each, axis=0), rtol=1e-5)
    assert summed.kind == "exact"
    mixed = flow.log_prob(rows[:3], label=[2, 0, 1]).values
    np.testing.assert_allclose(
        mixed, [flow.log_prob(rows[i : i + 1], label=y).values[0] for i, y in enumerate((2, 0, 1))], rtol=1e-5
    )


def test_a_conditional_flow_learns_its_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    rows = rng.normal(np.where(labels == 0, -3.0, 2.0)[:, None], 0.5, size=(400, 2))
    flow = RealNVP((2,), hidden=(16,), transforms=2, classes=2)
    train(flow, rows, labels=labels, epochs=15, learning_rate=0.02, progress=False)
    for label, centre in ((0, -3.0), (1, 2.0)):
        assert abs(np.median(flow.sample(500, label=label)) - centre) < 0.3
    both = flow.sample(500, label=[0] * 250 + [1] * 250).mean(1)
    assert (both[:250] < 0).mean() > 0.95 < (both[250:] > 0).mean()
    right = flow.log_prob(rows, label=labels).values
    wrong = flow.log_prob(rows, label=1 - labels).values
    assert (right > wrong).mean() > 0.98


# -- cells of levels -------------------------------------------------------------------------------------


def every_row(d, levels):
    return np.array(list(itertools.product(range(levels), repeat=d)))


DISCRETE = ["nice", "realnvp", "maf", "iaf", "spline", "spline-coupling", "continuous"]


@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
@pytest.mark.parametrize("name", DISCRETE)
def test_bounds_on_all_rows_sum_to_at_most_one_and_grow_with_samples(name, dequantization):
    build, settings = VECTORS[name]
    flow = shaken(build((2,), levels=3, dequantization=dequantization, **settings))
    rows = every_row(2, 3)
    exact = np.log([cell_integral(flow, row) for row in rows])
    assert np.exp(exact).sum() < 1 + 1e-3
    weights = many_log_weights(flow, rows, 1000)
    # The mean of S weights, whose expected logarithm is the bound, from the same draws for every S.
    bounds = [weights.reshape(s, 1000 // s, -1).logsumexp(0).mean(0) - math.log(s) for s in (1, 10, 100)]
    means = [bound.mean().item() for bound in bounds]
    assert means[0] < means[1] < means[2] < exact.mean() + 0.01
    for bound in bounds:
        assert bound.exp().sum() < 1 + 0.02  # Monte Carlo error
    tight = flow.log_prob(rows, samples=1000)
    assert tight.kind == "lower_bound"
    assert (np.abs(tight.values - exact) < 5 * tight.stderr + 2e-3).all()


def many_log_weights(flow, rows, samples):
    torch.manual_seed(0)
    with torch.no_grad():
        return joints(flow.model, flow.guide, flow.rows(rows), samples).log_weights


def cell_integral(flow, corner, points=60):
    middles = (np.arange(points) + 0.5) / points
    y = corner + np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
    with torch.no_grad():
        return flow.density().log_prob(torch.as_tensor(y)).exp().mean().item()


def test_splines_on_levels_fill_their_box_exactly():
    flow = NeuralSplineFlow((2,), levels=3, hidden=(16,))
    train(flow, every_row(2, 3)[:4].repeat(10, 0), epochs=5, learning_rate=0.01, progress=False)
    assert abs(sum(cell_integral(flow, row) for row in every_row(2, 3)) - 1) < 1e-3


def test_a_learned_guide_tightens_the_bound():
    """Of a density that is far from flat within the cells, and stays as it is."""
    flow = shaken(RealNVP((2,), levels=3, hidden=(16,), dequantization="variational"), 0.3)
    rows = every_row(2, 3)
    exact = np.log([cell_integral(flow, row) for row in rows])

    def gap():
        return exact.mean() - many_log_weights(flow, rows, 500).mean().item()

    before = gap()
    adam = torch.optim.Adam(flow.cell_map.parameters(), lr=0.01)
    torch.manual_seed(0)
    for _ in range(100):
        adam.zero_grad()
        (-elbo(flow.model, flow.guide, flow.rows(rows), samples=20).mean()).backward()
        adam.step()
    assert 0 < gap() < 0.5 * before


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_places_in_a_cell_have_the_density_that_they_say(shape):
    flow = NeuralSplineFlow(shape, levels=3, hidden=(16,), dequantization="variational")
    with torch.no_grad():
        for parameter in flow.cell_map.parameters():
            parameter *= 1.5
    x = torch.ones(5, *shape, dtype=torch.int64)
    told = flow.as_input(x).flatten(1)
    cell = CellFlow(flow.cell_map(told), x, BOUND, len(shape))
    torch.manual_seed(0)
    with torch.no_grad():
        y = cell.rsample()
        assert (y.floor() == 1).all()
        at_once = cell.log_prob(y)
        torch.testing.assert_close(cell.log_prob(y.clone()), at_once, atol=1e-3, rtol=1e-3)
        assert (cell.log_prob(y + 1) == -torch.inf).all()
        assert cell.support.check(y).all()
        place = torch.rand(20_000, *shape) + 1  # a density on the unit cell has mean 1 under uniform noise
        wide = CellFlow(flow.cell_map(told[:1]), x[:1].expand(20_000, *shape), BOUND, len(shape))
        density = wide.log_prob(place).exp()
        assert abs(density.mean() - 1) < 5 * density.std() / 20_000**0.5


# -- Glow ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 5])
def test_glow_starts_with_channels_of_mean_zero_and_variance_one(levels):
    glow = Glow((4, 4), levels, steps=3, channels=8)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, (200, 4, 4)) if levels else rng.normal(3.0, [1.0, 2.0, 3.0, 4.0], (200, 4, 4))
    seen = []
    norms = [module for module in glow.map.modules() if isinstance(module, ActNorm)]
    glow.standardise(rows)
    hooks = [norm.register_forward_hook(lambda m, inputs, out: seen.append(out[0])) for norm in norms]
    with torch.no_grad():
        y = torch.as_tensor(rows).float()
        if levels:  # the noise that it was fitted with
            torch.manual_seed(0)
            y = y + torch.rand_like(y)
        glow.map()(((y - glow.loc) / glow.scale).flatten(1))
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(norms) == 6
    for h in seen:
        torch.testing.assert_close(h.mean((0, 2, 3)), torch.zeros(h.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(h.std((0, 2, 3), correction=0), torch.ones(h.shape[1]), atol=1e-3, rtol=0)


def test_squeezing_keeps_every_pixel():
    x = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    assert squeeze(x).shape == (2, 12, 2, 3)
    assert torch.equal(squeeze(x)[0, :4, 0, 0], x[0, 0, :2, :2].flatten())
    assert torch.equal(unsqueeze(squeeze(x)), x)


def test_glow_takes_mnist_sized_images():
    glow = Glow((28, 28), 256, steps=1, channels=8)
    rows = np.random.default_rng(0).integers(0, 256, (8, 28, 28))
    glow.standardise(rows)
    assert glow.sample(2, seed=0).shape == (2, 28, 28)
    assert np.isfinite(glow.log_prob(rows[:2], samples=2).values).all()


# -- the inverse autoregressive flow ----------------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, 3])
def test_gradients_of_a_turned_map_are_those_through_all_its_passes(classes):
    torch.manual_seed(0)
    flow = shaken(IAF((5,), transforms=2, hidden=(12,), classes=classes), 0.3)
    context = None if classes is None else torch.eye(3)[[0, 1, 2, 1]]
    x = torch.randn(2, 4, 5, requires_grad=True)
    turned, slow = flow.map(context), flow.map.turned(context).inv
    found = [(z, ladj) for z, ladj in (turned.call_and_ladj(x), slow.call_and_ladj(x))]
    for fast, unrolled in zip(*found, strict=True):
        torch.testing.assert_close(fast, unrolled, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad((z**3).sum() + (ladj**2).sum(), [x, *flow.map.parameters()]) for z, ladj in found
    ]
    for fast, unrolled in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, unrolled, rtol=1e-3, atol=1e-4)


def test_a_turned_map_can_be_recorded():
    """Long trainings run on JAX: there gradients go through the passes."""
    flow = IAF((3,), transforms=2, hidden=(8,))
    rows = np.random.default_rng(0).normal(size=(40, 3))
    run = train(flow, rows, epochs=2, progress=False, compile="always")
    assert run.history[1].train < run.history[0].train


def test_a_turned_map_has_second_derivatives_too():
    flow = shaken(IAF((3,), transforms=2, hidden=(8,)), 0.3).double()
    x = torch.linspace(-1, 1, 3, dtype=torch.float64)
    turned, slow = flow.map(), flow.map.turned().inv
    density = lambda how: lambda x: (lambda z, ladj: ladj - 0.5 * (z**2).sum())(*how.call_and_ladj(x))  # noqa: E731
    fast, unrolled = (torch.autograd.functional.hessian(density(how), x) for how in (turned, slow))
    torch.testing.assert_close(fast, unrolled)


# -- the continuous flow ---------------------------------------------------------------------------------


def test_a_linear_velocity_has_its_closed_form():
    """dh/dt = a h, so that u = exp(a) y, and y is Gaussian with standard deviation exp(-a)."""
    flow = ContinuousFlow((2,), hidden=())
    a = torch.tensor([0.5, -1.0])
    with torch.no_grad():
        weight = flow.map.layers[0].weight
        weight.zero_()
        weight[:, :2] = a.diag()
        flow.map.layers[0].bias.zero_()
    rows = np.random.default_rng(0).normal(size=(6, 2))
    exact = torch.distributions.Normal(0.0, (-a).exp()).log_prob(torch.as_tensor(rows)).sum(1)
    np.testing.assert_allclose(flow.log_prob(rows).values, exact.numpy(), rtol=1e-5)


def test_more_solver_steps_change_little():
    few, many = (shaken(ContinuousFlow((3,), hidden=(16, 16), steps=steps), 0.1) for steps in (8, 40))
    rows = np.random.default_rng(0).normal(size=(10, 3))
    np.testing.assert_allclose(few.log_prob(rows).values, many.log_prob(rows).values, atol=1e-4)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5), (7, 5, 6)])
def test_the_exact_trace_is_that_of_the_jacobian(hidden):
    """For the few layers for which it is written out too; on rows of a batch, with a context each."""
    torch.manual_seed(0)
    field = VelocityMap(20, 3, hidden=hidden, steps=2, exact=True)
    rows, context, t = torch.randn(4, 20), torch.randn(4, 3), torch.tensor(0.3)
    _, slopes = field._velocity(rows, t, context)
    for row, told, trace in zip(rows, context, field._trace(rows)(slopes), strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda h, told=told: field._velocity(h, t, told)[0], row
        )
        torch.testing.assert_close(trace, jacobian.trace(), rtol=1e-4, atol=1e-5)


def test_the_trace_is_exact_by_default_where_it_is_cheap():
    assert ContinuousFlow((20,), hidden=(8, 8)).map.exact
    assert ContinuousFlow((16,), hidden=(8, 8, 8)).map.exact
    assert not ContinuousFlow((20,), hidden=(8, 8, 8)).map.exact
    assert not ContinuousFlow((20,), hidden=(8,), trace="hutchinson").map.exact


def test_hutchinsons_trace_is_an_unbiased_estimate_and_says_so():
    flow = shaken(ContinuousFlow((4,), hidden=(16,), trace="hutchinson"), 0.3)
    rows = np.random.default_rng(0).normal(size=(30, 4))
    guess, exact = flow.log_prob(rows, samples=400), flow.log_prob(rows, trace="exact")
    assert (guess.kind, exact.kind) == ("estimate", "exact")
    assert "400 directions" in guess.how
    z = (guess.values - exact.values) / guess.stderr
    assert abs(z.mean()) < 4 / math.sqrt(30)
    assert 0.5 < z.std() < 1.6
    again = flow.log_prob(rows[::-1], samples=400).values[::-1]
    np.testing.assert_allclose(again, guess.values, rtol=1e-5)
    assert np.isnan(flow.log_prob(rows[:1], samples=1).stderr).all()


def test_hutchinsons_trace_with_classes_and_with_levels():
    flow = shaken(ContinuousFlow((2,), hidden=(16,), trace="hutchinson", classes=2))
    rows = np.random.default_rng(0).normal(size=(4, 2))
    for label in (None, 1, [0, 1, 1, 0]):
        guess = flow.log_prob(rows, label=label, samples=300)
        exact = flow.log_prob(rows, label=label, trace="exact").values
        assert (np.abs(guess.values - exact) < 5 * guess.stderr + 0.01).all()
    discrete = ContinuousFlow((2,), levels=3, hidden=(16,), trace="hutchinson")
    assert discrete.log_prob([[0, 1]], samples=4).kind == "estimate"
    assert discrete.log_prob([[0, 1]], samples=4, trace="exact").kind == "lower_bound"
    wide = ContinuousFlow((20,), hidden=(8, 8, 8))
    assert not wide.map.exact
    train(wide, np.random.default_rng(0).normal(size=(40, 20)), epochs=1, progress=False)


# -- files and bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spline", "nice", "realnvp", "maf", "iaf", "continuous", "glow-one-scale"])
def test_saved_with_classes_and_a_learned_guide_it_is_the_same_bit_for_bit(name, tmp_path):
    build, shape, settings = ALL[name]
    flow = build(shape, 3, classes=2, dequantization="variational", **settings)
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 3, (24, *shape)), rng.integers(0, 2, 24)
    train(flow, rows, labels=labels, epochs=1, batch_size=8, progress=False)
    twin = load(save(flow, tmp_path / "flow.ppgen"))
    np.testing.assert_array_equal(twin.sample(9, seed=1), flow.sample(9, seed=1))
    np.testing.assert_array_equal(twin.log_prob(rows[:3]).values, flow.log_prob(rows[:3]).values)
    assert twin.config == flow.config


BAD = [
    (lambda: Glow((8,)), InvalidArgument, "shape", "not images"),
    (lambda: Glow((6, 8), scales=2), InvalidArgument, "scales", "scales=1"),
    (lambda: Glow((28, 28), scales=3), InvalidArgument, "scales", "at most 2"),
    (lambda: Glow((7, 7)), InvalidArgument, "scales", "Pad the images"),
    (lambda: Glow((8, 8), steps=0), InvalidArgument, "steps", "at least 1"),
    (lambda: NICE((2,), transforms=0), InvalidArgument, "transforms", "at least 1"),
    (lambda: RealNVP((2,), hidden=(0,)), InvalidArgument, "hidden", "integers"),
    (lambda: MAF((2,), dropout=1.0), InvalidArgument, "dropout", "below 1"),
    (lambda: IAF((2,), dequantization="variational"), InvalidArgument, "dequantization", "not dequantized"),
    (lambda: IAF((2,), 3, dequantization="gaussian"), InvalidArgument, "dequantization", "'variational'"),
    (lambda: MAF((2,), classes=1), InvalidArgument, "classes", "at least 2"),
    (lambda: ContinuousFlow((2,), trace="euler"), InvalidArgument, "trace", "'hutchinson'"),
    (lambda: ContinuousFlow((2,)).log_prob([[0.0, 0.0]], trace="euler"), InvalidArgument, "trace", "'exact'"),
    (lambda: MAF((2,)).log_prob([[0.0, 0.0]], label=1), InvalidArgument, "label", "without classes"),
    (lambda: MAF((2,), classes=2).log_prob([[0.0, 0.0]], label=2), DataError, "label", "0 … 1"),
    (lambda: MAF((2,), classes=2).density(), InvalidArgument, "label", "Write label="),
    (lambda: MAF((2,)).density(torch.zeros(1, dtype=torch.int64)), InvalidArgument, "label", "Leave label"),
]


@pytest.mark.parametrize(("call", "error", "argument", "message"), BAD)
def test_bad_input_is_named(call, error, argument, message, wrong_types):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument
