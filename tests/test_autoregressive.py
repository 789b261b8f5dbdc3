"""The laws of the autoregressive families: exact sums, strict order, and draws that recompute nothing."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro
import pyro.poutine as poutine
import pytest
import torch
from scipy.stats import chi2

import ppgen.data
from ppgen.data import text
from ppgen.errors import DataError, InvalidArgument
from ppgen.models import FVSBN, MADE, NADE, PixelCNN, Transformer
from ppgen.models.autoregressive.conditionals import Levels, Numbers, Sharpening
from ppgen.models.distributions.autoregressive import Autoregressive, Conditionals

TINY = {"width": 8, "layers": 2}


@dataclass(frozen=True)
class Member:
    build: Any
    shape: tuple[int, ...]
    levels: int | None
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, classes=None):
        """A member with weights far from their start, so that every entry matters to those after it."""
        family = self.build(self.shape, self.levels, classes=classes, **self.settings)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in family.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        return family


MEMBERS = {
    "fvsbn-binary": Member(FVSBN, (2, 4), 2),
    "fvsbn-levels": Member(FVSBN, (5,), 3),
    "nade-binary": Member(NADE, (10,), 2, {"hidden": 7}),
    "nade-levels": Member(NADE, (2, 3), 3, {"hidden": 5}),
    "nade-continuous": Member(NADE, (4,), None, {"hidden": 6, "components": 2}),
    "made-binary": Member(MADE, (12,), 2, {"hidden": (36, 48)}),
    "made-levels": Member(MADE, (5,), 3, {"hidden": (16,)}),
    "made-narrow": Member(MADE, (6,), 2, {"hidden": (3, 3)}),
    "made-orders": Member(MADE, (2, 4), 2, {"hidden": (60, 50), "orders": 3}),
    "made-continuous": Member(MADE, (3,), None, {"hidden": (12,), "orders": 2, "components": 2}),
    "made-scalar": Member(MADE, (1,), 3, {"hidden": (4,)}),
    "pixelcnn-binary": Member(PixelCNN, (3, 4), 2, TINY),
    "pixelcnn-levels": Member(PixelCNN, (2, 3), 3, {**TINY, "kernel": 3, "layers": 3}),
    "pixelcnn-colour": Member(PixelCNN, (3, 2, 2), 2, TINY),
    "pixelcnn-pixel": Member(PixelCNN, (1, 1), 4, {**TINY, "kernel": 1}),
    "pixelcnn-continuous": Member(PixelCNN, (2, 2), None, {**TINY, "components": 2}),
    "transformer-binary": Member(Transformer, (3, 3), 2, {**TINY, "heads": 2}),
    "transformer-levels": Member(Transformer, (6,), 3, {**TINY, "heads": 2}),
    "transformer-continuous": Member(Transformer, (4,), None, {**TINY, "heads": 2, "components": 2}),
}
DISCRETE = [name for name, member in MEMBERS.items() if member.levels]
CLASSES = 3


@pytest.fixture(params=[None, CLASSES], ids=["plain", "classes"])
def classes(request):
    return request.param


def every_row(shape, levels):
    entries = itertools.product(range(levels), repeat=math.prod(shape))
    return np.array(list(entries)).reshape(-1, *shape)


def some_values(member, n, seed=0):
    """Flat values ``(n, d)`` as networks read them."""
    generator = torch.Generator().manual_seed(seed)
    if member.levels is None:
        return torch.randn(n, math.prod(member.shape), generator=generator)
    return torch.randint(member.levels, (n, math.prod(member.shape)), generator=generator)


def some_labels(classes, n):
    return None if classes is None else torch.arange(n) % classes


def networks(family):
    """The conditionals of a member, in each of its orders."""
    if isinstance(family, MADE):
        return [family.network.in_order(k) for k in range(family.orders)]
    return [family.network]


# -- exact densities -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_sum_to_one(name, classes):
    member = MEMBERS[name]
    family, rows = member(classes), every_row(member.shape, member.levels)
    assert abs(np.exp(family.log_prob(rows).values).sum() - 1) < 1e-5
    for label in range(classes or 0):
        assert abs(np.exp(family.log_prob(rows, label=label).values).sum() - 1) < 1e-5


@pytest.mark.parametrize("name", ["nade", "made", "transformer"])
def test_continuous_densities_integrate_to_one(name):
    settings = {**MEMBERS[f"{name}-continuous"].settings}
    family = Member({"nade": NADE, "made": MADE, "transformer": Transformer}[name], (2,), None, settings)()
    line, step = np.linspace(-15, 15, 300, retstep=True)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    assert abs(np.exp(family.log_prob(grid).values).sum() * step**2 - 1) < 5e-3


def test_a_sigmoid_belief_network_is_a_logistic_regression_an_entry():
    family = MEMBERS["fvsbn-binary"]()
    weight, bias = family.network.weight.detach()[:, 0, :, 0].double(), family.network.bias.detach()[0, :, 0]
    rows = every_row((2, 4), 2)
    expected = np.zeros(len(rows))
    for t in range(8):
        flat = rows.reshape(-1, 8)
        p = 1 / (1 + np.exp(-(bias[t].item() + flat[:, :t] @ weight[:t, t].numpy())))
        expected += np.log(np.where(flat[:, t] == 1, p, 1 - p))
    np.testing.assert_allclose(family.log_prob(rows).values, expected, atol=1e-5)


def test_nade_is_the_papers_recursion():
    family = MEMBERS["nade-binary"]()
    network = family.network
    w, c, v, b = (
        p.detach().double().numpy() for p in (network.read, network.read_bias, network.say, network.say_bias)
    )
    rows = every_row((10,), 2)[::37]
    expected = np.zeros(len(rows))
    for i, x in enumerate(rows):
        a = c[0].copy()
        for t in range(10):
            p = 1 / (1 + np.exp(-(b[t, 0] + v[t, 0] @ (1 / (1 + np.exp(-a))))))
            expected[i] += math.log(p if x[t] else 1 - p)
            a += w[t, 0] * x[t]
    np.testing.assert_allclose(family.log_prob(rows).values, expected, atol=1e-5)


def test_nade_reads_long_rows_in_blocks(monkeypatch):
    family = MEMBERS["nade-binary"]()
    rows = every_row((10,), 2)[::37]
    whole = family.log_prob(rows).values
    monkeypatch.setattr("ppgen.models.networks.nade.BLOCK", 3)
    np.testing.assert_allclose(family.log_prob(rows).values, whole, rtol=1e-5)


def test_several_orders_are_a_mixture_of_them():
    member = MEMBERS["made-orders"]
    family, rows = member(), every_row(member.shape, 2)
    with torch.no_grad():
        each = [
            Autoregressive(network, Levels(Sharpening()), member.shape).log_prob(torch.as_tensor(rows)).exp()
            for network in networks(family)
        ]
    orders = family.network.orders
    assert [sorted(order) for order in orders.tolist()] == [list(range(8))] * 3
    assert len({tuple(order) for order in orders.tolist()}) == 3
    np.testing.assert_allclose(np.exp(family.log_prob(rows).values), sum(each) / 3, rtol=1e-5)
    assert all(abs(p.sum() - 1) < 1e-5 for p in each)
    assert not torch.allclose(each[0], each[1])


def test_training_takes_one_order_a_step_and_all_in_turn():
    member = MEMBERS["made-orders"]
    family = member()
    rows = torch.as_tensor(every_row(member.shape, 2)[:5])
    with torch.no_grad():
        conditional = Levels(Sharpening())
        each = [Autoregressive(net, conditional, member.shape).log_prob(rows) for net in networks(family)]
        family.train()
        family.network.dropout.eval()
        torch.manual_seed(0)
        steps = [family.density().log_prob(rows) for _ in range(30)]
    seen = [next(k for k in range(3) if torch.equal(step, each[k])) for step in steps]
    assert set(seen) == {0, 1, 2}


def test_classes_are_summed_out_with_their_weights():
    for name in DISCRETE:
        family = MEMBERS[name](CLASSES)
        family.class_weights.copy_(torch.tensor([0.5, 0.3, 0.2]))
        rows = every_row(family.shape, family.levels)[:20]
        each = [np.exp(family.log_prob(rows, label=label).values) for label in range(CLASSES)]
        expected = 0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2]
        np.testing.assert_allclose(np.exp(family.log_prob(rows).values), expected, rtol=1e-5)
        assert name == "made-narrow" or not np.allclose(each[0], each[1], rtol=1e-3)  # the class matters
        mixed = family.log_prob(rows, label=np.arange(len(rows)) % CLASSES).values
        np.testing.assert_allclose(np.exp(mixed), np.choose(np.arange(len(rows)) % CLASSES, each), rtol=1e-5)


# -- strictly in order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEMBERS)
def test_an_output_depends_on_all_entries_before_it_and_on_no_other(name, classes):
    """Exactly zero at and after the output's own entry: by gradients, or by changing each level."""
    member = MEMBERS[name]
    family = member(classes)
    for network in networks(family):
        assert isinstance(network, Conditionals)
        place = network.order.argsort()
        read = dependence(network, member, some_labels(classes, 12))  # (d outputs, d entries)
        before = place[None, :] < place[:, None]
        assert (read[~before] == 0).all()
        if name != "made-narrow":  # its few hidden units cannot carry every entry to every output
            assert (read[before] > 0).all()


def dependence(network, member, label):
    """The largest absolute gradient of each output with respect to each entry.

    A discrete entry is changed to each of its other values instead, at every place.
    """
    values = some_values(member, 12)
    d = values.shape[1]
    if member.levels is None:
        values.requires_grad_()
        rows = []
        for t in range(d):
            (gradient,) = torch.autograd.grad(network(values, label)[:, t].sum(), values)
            rows.append(gradient.abs().amax(0))
        return torch.stack(rows)
    moved = torch.zeros(d, d)
    with torch.no_grad():
        start = network(values, label)
        for s, shift in itertools.product(range(d), range(1, member.levels)):
            changed = values.clone()
            changed[:, s] = (changed[:, s] + shift) % member.levels
            difference = (network(changed, label) - start).abs().amax((0, 2))
            moved[:, s] = torch.maximum(moved[:, s], difference)
    return moved


@pytest.mark.parametrize("shape", [(6, 7), (2, 4, 3)])
def test_a_deep_pixelcnn_has_no_blind_spot(shape):
    member = Member(PixelCNN, shape, None, {"width": 4, "layers": 6, "kernel": 3, "components": 1})
    family = member()
    place = family.network.order.argsort()
    read = dependence(family.network, member, None)
    height, width = shape[-2:]
    row, column = (index.flatten() for index in np.indices((height, width)))
    row, column = (np.tile(index, math.prod(shape) // (height * width)) for index in (row, column))
    before = (place[None, :] < place[:, None]).numpy()
    assert (read.numpy()[~before] == 0).all()
    # Each of six layers sees one column further; the rows above are wide enough for these images.
    assert (read.numpy()[before] > 0).all()


# -- draws -----------------------------------------------------------------------------------------------


def recomputing(network, conditional, n, label):
    """Draw as a plain loop does, which reads all of the entries so far again at each step."""
    values = torch.zeros(n, len(network.order), dtype=torch.int64)
    if isinstance(conditional, Numbers):
        values = values.float()
    for t in network.order:
        values[:, t] = conditional(network(values, label)[:, t]).sample()
    return values


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_draw_is_that_of_the_loop_that_recomputes_every_prefix(name, classes, temperature):
    member = MEMBERS[name]
    family, label = member(classes), some_labels(classes, 30)
    conditional = Sharpening(temperature).conditional(member.levels)
    for network in networks(family):
        with torch.no_grad():
            torch.manual_seed(1)
            plain = recomputing(network, conditional, 30, label)
            torch.manual_seed(1)
            batch = (30,) if label is None else ()
            chain = Autoregressive(network, conditional, member.shape, () if batch else (30,), label)
            drawn = chain.sample(batch)
        torch.testing.assert_close(drawn.reshape(30, -1), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MEMBERS)
def test_step_by_step_the_log_density_of_a_draw_is_that_of_one_pass(name, classes):
    member = MEMBERS[name]
    family, label = member(classes), some_labels(classes, 25)
    values = torch.as_tensor(family.sample(25, seed=2, label=None if label is None else label.numpy()))
    values = values.reshape(25, -1).to(torch.int64 if member.levels else torch.float32)
    conditional = Sharpening().conditional(member.levels)
    for network in networks(family):
        with torch.no_grad():
            outputs, memory = network.first(25, label)
            total = conditional(outputs).log_prob(values[:, network.order[0]])
            for t in range(1, family.dims):
                outputs, memory = network.next(t, values[:, network.order[t - 1]], memory)
                total += conditional(outputs).log_prob(values[:, network.order[t]])
            batch = () if label is None else (25,)
            chain = Autoregressive(network, conditional, (family.dims,), batch, label)
            torch.testing.assert_close(total.double(), chain.log_prob(values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["fvsbn-levels", "nade-levels", "made-orders", "pixelcnn-levels"])
@pytest.mark.parametrize("choice", [{}, {"temperature": 0.7}, {"top_k": 1}, {"top_p": 0.8}])
def test_draws_have_the_probabilities_that_the_density_says(name, choice):
    member = MEMBERS[name]
    family, rows = member(), every_row(member.shape, member.levels)
    with torch.no_grad():
        p = family.density(**choice).log_prob(torch.as_tensor(rows)).exp().numpy()
    assert abs(p.sum() - 1) < 1e-5
    n = 5000
    base = member.levels ** np.arange(family.dims)[::-1]
    counts = np.bincount(family.sample(n, seed=1, **choice).reshape(n, -1) @ base, minlength=len(rows))
    assert (counts[p == 0] == 0).all()
    seen = p > 5 / n  # the usual rule for a chi-square test
    observed, expected = np.append(counts[seen], counts[~seen].sum()), n * np.append(p[seen], p[~seen].sum())
    keep = expected > 1
    statistic = ((observed[keep] - expected[keep]) ** 2 / expected[keep]).sum()
    assert keep.sum() == 1 or chi2.sf(statistic, keep.sum() - 1) > 1e-3


@pytest.mark.parametrize("name", ["fvsbn-levels", "nade-levels", "made-orders", "pixelcnn-colour"])
def test_draws_of_a_class_are_of_that_class(name):
    family = MEMBERS[name](CLASSES)
    rows = every_row(family.shape, family.levels)
    for label in range(CLASSES):
        p = np.exp(family.log_prob(rows, label=label).values)
        mean = (p[:, None] * rows.reshape(len(rows), -1)).sum(0)
        drawn = family.sample(4000, seed=label, label=label).reshape(4000, -1)
        error = drawn.std(0) / 4000**0.5
        assert (np.abs(drawn.mean(0) - mean) < 4.5 * error + 1e-3).all()
    family.class_weights.copy_(torch.tensor([0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(family.sample(20, seed=3).shape, (20, *family.shape))
    own = family.sample(4000, seed=1).reshape(4000, -1).mean(0)
    assert (np.abs(own - mean) < 4.5 * error + 1e-3).all()


@pytest.mark.parametrize("name", ["made-orders", "nade-continuous", "pixelcnn-colour"])
def test_a_density_has_the_shapes_of_a_distribution(name):
    family = MEMBERS[name](CLASSES)
    density = family.density(torch.tensor([0, 2]))
    with torch.no_grad():
        assert density.batch_shape == (2,)
        assert density.event_shape == family.shape
        values = density.sample((5,))
        assert values.shape == (5, 2, *family.shape)
        assert density.log_prob(values).shape == (5, 2)
        one = family.density(torch.tensor([2])).log_prob(values[:, 1:])
        torch.testing.assert_close(one, density.log_prob(values)[:, 1:])
        assert density.support.check(values).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_the_program_has_one_site_whose_density_is_log_prob(name, classes):
    member = MEMBERS[name]
    family, label = member(classes), some_labels(classes, 6)
    rows = family.rows(family.sample(6, seed=0, label=None if label is None else label.numpy()))
    context = {} if label is None else {"label": label}
    with pyro.get_param_store().scope(), torch.no_grad():
        trace = poutine.trace(family.model).get_trace(rows, **context)
        trace.compute_log_prob()
        sampled = family.model(n=6, **context)
    assert sampled.shape == rows.shape
    values = family.log_prob(rows, **context).values
    np.testing.assert_allclose(trace.nodes["x"]["log_prob"].double().numpy(), values, rtol=1e-5)


# -- text ------------------------------------------------------------------------------------------------


def test_the_english_dataset_is_text_of_a_fixed_alphabet():
    data = ppgen.data.load("text")
    assert (data.shape, data.levels, data.kind) == ((64,), 96, "discrete")
    train, test = text.decode(data.train), text.decode(data.test)
    assert "".join(train + text.decode(data.valid) + test) in text.english()
    assert set("".join(train)) <= set(text.ALPHABET)
    np.testing.assert_array_equal(text.encode("".join(test)), data.test)
    seen, paragraphs = "".join(train), "".join(test).split("\n\n")[1:-1]
    long = [paragraph for paragraph in paragraphs if len(paragraph) > 80]
    assert len(long) > 50
    assert not any(paragraph in seen for paragraph in long)


def test_encoding_plain_text_loses_nothing():
    assert text.decode(text.encode(text.ALPHABET, window=96)) == [text.ALPHABET]
    assert text.decode(text.encode("a\tb “c”—d… é ß", window=12)) == ['a b "c"-d...']


@pytest.mark.parametrize(
    ("call", "error", "argument", "message"),
    [
        (lambda: text.encode("short"), DataError, "text", "window=5"),
        (lambda: text.encode("text", window=0), InvalidArgument, "window", "at least 1"),
        (lambda: text.decode([1, 2]), DataError, "rows", r"rows\[None\]"),
        (lambda: text.decode([[1, 96]]), DataError, "rows", "levels 0 … 95"),
        (lambda: FVSBN((3,), levels=None), InvalidArgument, "levels", "NADE and MADE"),
        (lambda: MADE((3,), 2, hidden=()), InvalidArgument, "hidden", "one or more"),
        (lambda: MADE((3,), 2, orders=0), InvalidArgument, "orders", "at least 1"),
        (lambda: NADE((3,), 2, hidden=0), InvalidArgument, "hidden", "at least 1"),
        (lambda: PixelCNN((3,), 2), InvalidArgument, "shape", "reshape"),
        (lambda: PixelCNN((3, 3), 2, kernel=4), InvalidArgument, "kernel", "kernel=5"),
        (lambda: MEMBERS["made-levels"]().sample(3, label=1), InvalidArgument, "label", "without classes"),
        (lambda: MEMBERS["made-levels"](3).sample(3, label=3), DataError, "label", "0 … 2"),
        (lambda: MEMBERS["made-levels"](3).density(), InvalidArgument, "label", "with classes"),
        (lambda: MEMBERS["nade-continuous"]().sample(3, top_k=2), InvalidArgument, "top_k", "with levels"),
        (lambda: MEMBERS["nade-binary"]().sample(3, top_p=0.0), InvalidArgument, "top_p", "at most 1"),
    ],
)
def test_bad_input_is_named(call, error, argument, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument
