"""The laws of the latent-variable families: bounds against closed forms, quadrature and enumeration."""

import copy
import itertools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO
from pyro.optim import Adam
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from torch.distributions import biject_to

from ppgen.errors import DataError, InvalidArgument, UnknownName
from ppgen.inference.training import train
from ppgen.models import VAE, VQVAE, HierarchicalVAE, SemiSupervisedVAE, load, save
from ppgen.models.distributions.inverse_flow import InverseFlow
from ppgen.models.distributions.mixture import Mixture
from ppgen.models.distributions.selected import OneHot, Selected, SelectedOfEach
from ppgen.models.networks.convolution import ImageDecoder, ImageEncoder, halvings
from ppgen.models.vae.posteriors import posterior
from ppgen.program import bounds
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch

PYRO = find_language("pyro").rows


def joints(model, guide, x, samples=1, *, label=None, **settings):
    return bounds.log_joints(PYRO, model, guide, Batch(x, label), samples, **settings)


def elbo(model, guide, x, samples=1, *, label=None):
    return bounds.elbo(joints(model, guide, x, samples, label=label))


NOISE = 0.6


def every_row(entries, levels):
    return np.array(list(itertools.product(range(levels), repeat=entries)))


def shaken(family, seed=0, by=1.0):
    """A family away from its initial weights, so that nothing is near zero or the same for all classes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in family.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += by * noise / math.sqrt(parameter.shape[-1])
    return family


# -- linear-Gaussian VAEs: the density of x in closed form -----------------------------------------------


def linear(prior, posterior="full", latent_dim=2):
    vae = VAE(
        (3,),
        hidden=(),
        latent_dim=latent_dim,
        prior=prior,
        components=4,
        posterior=posterior,
        noise_scale=NOISE,
    )
    shaken(vae)
    wide = {"diagonal": [2, 3], "full": [2, 5], "flow": [2, 3]}[posterior]  # outputs that are log scales
    with torch.no_grad():
        # A guide that is wide enough for every posterior, so that importance weights have a variance.
        vae.encoder[0].weight *= 0.2
        vae.encoder[0].bias.zero_()
        vae.encoder[0].bias[wide] = 0.5
    return vae, np.random.default_rng(1).normal(size=(8, 3))


def gaussian_mixture(vae, x, weights, means, covariances):
    w, b = (p.detach().double().numpy() for p in vae.decoder[0].parameters())
    terms = [
        np.log(weight) + multivariate_normal(w @ m + b, w @ s @ w.T + NOISE**2 * np.eye(3)).logpdf(x)
        for weight, m, s in zip(weights, means, covariances, strict=True)
    ]
    return logsumexp(terms, axis=0)


def exact(vae, x):
    with torch.no_grad():
        prior = vae.latent_prior(vae._posterior)
        if vae.config["prior"] == "normal":
            return gaussian_mixture(vae, x, [1.0], [np.zeros(2)], [np.eye(2)])
        if vae.config["prior"] == "flow":
            return by_quadrature(vae, x, prior)
        parts, weights = prior.component_distribution, prior.mixture_distribution.probs
        spread = getattr(parts, "covariance_matrix", None)
        spread = parts.variance.diag_embed() if spread is None else spread
        return gaussian_mixture(vae, x, *(t.double().numpy() for t in (weights, parts.mean, spread)))


def by_quadrature(vae, x, prior):
    line = torch.linspace(-12, 12, 400)
    z = torch.cartesian_prod(line, line)
    log_joint = prior.log_prob(z).double() + vae.rows_given(z).log_prob(vae.rows(x)[:, None]).double()
    return (log_joint.logsumexp(1) + 2 * math.log(line[1] - line[0])).numpy()


@pytest.mark.parametrize("posterior", ["diagonal", "full", "flow"])
@pytest.mark.parametrize("prior", ["normal", "mixture", "vamp", "flow"])
def test_bounds_lie_below_the_closed_form_and_reach_it(prior, posterior):
    if prior == "vamp" and posterior == "flow":
        pytest.skip("no closed form")
    vae, x = linear(prior, posterior)
    truth = exact(vae, x)
    rows = vae.rows(x)
    torch.manual_seed(0)
    with torch.no_grad():
        weights = joints(vae.model, vae.guide, rows, 4000).log_weights.double()
    means = [(weights.reshape(k, -1, 8).logsumexp(0) - math.log(k)).mean(0).numpy() for k in (1, 5, 50)]
    assert (means[0] < means[1]).all()
    assert (means[1] < means[2]).all()
    assert (means[2] < truth + 0.02).all()
    tight = vae.log_prob(x, samples=4000)
    assert tight.kind == "lower_bound"
    assert (np.abs(tight.values - truth) < 5 * tight.stderr + 5e-3).all()


def test_the_prior_of_the_vamp_is_the_mean_of_what_the_guide_infers():
    vae = shaken(VAE((4,), levels=3, latent_dim=2, prior="vamp", components=5, hidden=(8,)))
    z = torch.randn(6, 2)
    with torch.no_grad():
        inferred = vae._posterior(vae.latent_prior.pseudo_inputs)
        expected = inferred.log_prob(z[:, None]).logsumexp(1) - math.log(5)
        torch.testing.assert_close(vae.latent_prior(vae._posterior).log_prob(z), expected)


def test_training_puts_pseudo_inputs_on_rows_and_moves_them():
    vae = VAE((4,), levels=3, latent_dim=2, prior="vamp", components=5, hidden=(8,))
    rows = np.random.default_rng(0).integers(0, 3, size=(40, 4))
    vae.standardise(rows)
    start = vae.latent_prior.pseudo_inputs.detach().clone()
    torch.testing.assert_close(start, vae.as_input(torch.as_tensor(rows[:5])).float())
    train(vae, rows, epochs=2, progress=False)
    assert not torch.allclose(vae.latent_prior.pseudo_inputs, start)


# -- the weight of the latent term -----------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["normal", "vamp"])
def test_pyros_elbo_is_the_trainers_with_any_beta(prior):
    vae = VAE((3,), levels=4, latent_dim=2, hidden=(8,), dropout=0.0, beta=3.0, prior=prior, components=4)
    rows = vae.rows(np.random.default_rng(0).integers(0, 4, size=(5, 3)))
    for training in (True, False):
        vae.train(training)
        with pyro.get_param_store().scope(), torch.no_grad():
            torch.manual_seed(2)
            ours = elbo(vae.model, vae.guide, rows).sum().item()
            torch.manual_seed(2)
            theirs = -Trace_ELBO().loss(vae.model, vae.guide, rows)
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_beta_weighs_the_divergence_in_training_and_nothing_at_rest():
    rows = np.random.default_rng(0).integers(0, 4, size=(5, 3))
    plain = VAE((3,), levels=4, latent_dim=2, hidden=(8,), dropout=0.0)
    heavy = VAE((3,), levels=4, latent_dim=2, hidden=(8,), dropout=0.0, beta=4.0)
    x = plain.rows(rows)

    def training_bound(vae):
        with pyro.get_param_store().scope(), torch.no_grad():
            torch.manual_seed(0)
            return elbo(vae.train().model, vae.guide, x, 20_000)

    with torch.no_grad():
        q = plain._posterior(plain._as_inputs(x, None)).base_dist
        divergence = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    difference = training_bound(plain) - training_bound(heavy)
    torch.testing.assert_close(difference, 3 * divergence, rtol=0.05, atol=0.02)
    np.testing.assert_array_equal(heavy.log_prob(rows).values, plain.log_prob(rows).values)
    assert heavy.training
    heavy.eval()
    bound = bounds.row_bounds(PYRO, heavy.model, heavy.guide, x, samples=64, seed=0)
    np.testing.assert_array_equal(bound.values, plain.log_prob(rows).values)


@pytest.mark.parametrize("objective", ["iwae", "renyi", "wake_sleep"])
@pytest.mark.parametrize("build", [VAE, HierarchicalVAE])
def test_every_objective_on_offer_trains(build, objective):
    rows = np.random.default_rng(0).integers(0, 2, size=(200, 1)).repeat(4, axis=1)
    settings = {"latent_dim": 1, "hidden": (16,), "posterior": "flow"} if build is VAE else {"width": 16}
    family = build((4,), levels=2, **settings)
    assert objective in family.objectives
    start = family.log_prob(rows[:20]).mean()
    run = train(family, rows, objective=objective, epochs=15, learning_rate=0.01, progress=False)
    assert run.objective == objective
    assert family.log_prob(rows[:20]).mean() > start + 0.3


def test_wake_sleep_moves_a_guide_that_is_a_flow():
    vae = VAE((3,), levels=2, latent_dim=2, hidden=(8,), posterior="flow", dropout=0.0)
    x = vae.rows(every_row(3, 2))
    with pyro.get_param_store().scope():
        torch.manual_seed(0)
        bounds.wake_sleep(joints(vae.model, vae.guide, x, 4, fixed_draws=True)).sum().backward()
    ours = [parameter.grad.clone() for parameter in vae.encoder.parameters()]
    vae.zero_grad()
    with pyro.get_param_store().scope():
        torch.manual_seed(0)
        repeated = x.repeat(4, 1)
        drawn = poutine.trace(vae.guide).get_trace(repeated)
        z = drawn.nodes["z"]["value"].detach()
        log_q = vae._posterior(vae._as_inputs(repeated, None)).log_prob(z).reshape(4, -1)
        weights = poutine.trace(poutine.condition(vae.model, {"z": z})).get_trace(repeated)
        weights.compute_log_prob()
        log_p = sum(weights.nodes[name]["log_prob"] for name in ("z", "x")).reshape(4, -1)
        ((log_p - log_q).detach().softmax(0) * log_q).sum().backward()
    for one, other in zip(ours, vae.encoder.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=1e-3, atol=1e-5)
        assert one.abs().max() > 1e-4


# -- distributions ---------------------------------------------------------------------------------------


def test_inverse_flow_knows_the_density_of_its_draws_and_of_other_values():
    torch.manual_seed(0)
    guide = shaken(posterior("flow", 2), by=0.5)
    q = guide(0.3 * torch.randn(3, guide.numbers))
    z = q.rsample()
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()), atol=1e-4, rtol=1e-4)
    line = torch.linspace(-10, 10, 200)
    grid = torch.cartesian_prod(line, line)[:, None]  # (points, 1, 2)
    with torch.no_grad():
        mass = q.log_prob(grid).exp().sum(0) * (line[1] - line[0]) ** 2
    torch.testing.assert_close(mass, torch.ones(3), atol=2e-3, rtol=0)
    with torch.no_grad():
        draws = q.rsample((20_000,))
        mean = (q.log_prob(grid).exp()[..., None] * grid).sum(0) * (line[1] - line[0]) ** 2
    assert ((draws.mean(0) - mean).abs() < 5 * draws.std(0) / math.sqrt(20_000)).all()
    assert isinstance(q.expand((4, 3)), InverseFlow)
    assert q.expand((4, 3)).rsample().shape == (4, 3, 2)


def test_mixture_keeps_the_support_of_its_components():
    parts = dist.Normal(torch.tensor([[-3.0, 0.0], [3.0, 1.0]]), 0.5).to_event(1)
    mixture = Mixture(dist.Categorical(probs=torch.tensor([0.2, 0.8])), parts)
    assert biject_to(mixture.expand((7,)).support).bijective
    torch.manual_seed(0)
    draws = mixture.sample((4000,))
    assert abs((draws[:, 0] > 0).float().mean() - 0.8) < 0.03


def test_densities_of_a_selection_are_linear_in_what_is_selected():
    torch.manual_seed(0)
    choices = dist.Normal(torch.randn(4, 3, 2), 1.0).to_event(1)  # 4 rows, 3 choices of vectors of length 2
    y = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 1.0, 0]])
    value, each = torch.randn(4, 2), torch.randn(4, 3, 2)
    shares = torch.softmax(torch.randn(4, 3), -1)
    for build, v in ((Selected, value), (SelectedOfEach, each)):
        chosen = [build(choices, torch.eye(3)[[c] * 4]).log_prob(v) for c in range(3)]
        expected = sum(shares[:, c] * chosen[c] for c in range(3))
        torch.testing.assert_close(build(choices, shares).log_prob(v), expected)
        one_hot = torch.stack(chosen, 1)[torch.arange(4), y.argmax(1)]
        torch.testing.assert_close(build(choices, y).log_prob(v), one_hot)
    far = dist.Normal(100.0 * torch.arange(3.0).expand(4, 3), 1.0)
    drawn = Selected(far, y).sample((5,))
    assert drawn.shape == (5, 4)
    assert ((drawn - 100.0 * y.argmax(1)).abs() < 10).all()
    assert SelectedOfEach(choices, y).sample().shape == (4, 3, 2)
    probs = torch.tensor([0.0, 0.25, 0.75])
    assert OneHot(probs).log_prob(torch.tensor([0.0, 1.0, 0.0])).exp() == 0.25
    assert (OneHot(probs).sample((100,))[:, 0] == 0).all()


# -- convolutions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (9, 13), (2, 2), (12, 8, 3)])
def test_convolutions_fit_images_of_any_size(shape):
    widths = (4, 6, 8)[: min(3, min(shape[:2]).bit_length() - 1)]
    vae = VAE(shape, levels=5, latent_dim=3, networks="conv", hidden=widths, classes=3)
    rows = np.random.default_rng(0).integers(0, 5, size=(4, *shape))
    assert vae.sample(4, label=[0, 1, 2, 1]).shape == (4, *shape)
    assert np.isfinite(vae.log_prob(rows, samples=2).values).all()


def test_convolutions_read_and_write_entries_where_they_are():
    torch.manual_seed(0)
    encode = ImageEncoder((6, 6, 2), (4,), outputs=3, extra=1)
    decode = ImageDecoder((6, 6, 2), (4,), inputs=3, numbers=5)
    rows = torch.randn(2, 3, 73)
    assert encode(rows).shape == (2, 3, 3)
    torch.testing.assert_close(encode(rows)[1, 2], encode(rows[1, 2]))
    vectors = torch.randn(2, 3)
    written = decode(vectors).unflatten(-1, (6, 6, 2, 5))
    image = decode.convolutions(decode.stem(vectors).reshape(-1, *decode.smallest))  # (2, 2 * 5, 6, 6)
    torch.testing.assert_close(written[1, 4, 2, 1, 3], image[1, 1 * 5 + 3, 4, 2])


def test_a_network_too_deep_for_the_image_is_refused():
    assert halvings((5, 9), (8, 8)) == [(5, 9), (3, 5), (2, 3)]
    for build in (VAE, VQVAE):
        with pytest.raises(InvalidArgument, match="from 1 to 3: each halves the image") as caught:
            build((8, 8), levels=2, networks="conv", hidden=(8, 8, 8, 8))
        assert caught.value.argument == "hidden"
    with pytest.raises(InvalidArgument, match="from 1 to 3"):
        VAE((8, 8), levels=2, networks="conv", hidden=())
    with pytest.raises(InvalidArgument, match="2×2"):
        VAE((1, 8), levels=2, networks="conv")
    with pytest.raises(InvalidArgument, match="reshape the rows") as caught:
        VAE((8,), levels=2, networks="conv")
    assert caught.value.argument == "networks"


# -- classes ---------------------------------------------------------------------------------------------


CONDITIONAL = {
    "vae": lambda: VAE((3,), levels=2, latent_dim=1, hidden=(8,), classes=3),
    "vamp": lambda: VAE((3,), levels=2, latent_dim=1, hidden=(8,), classes=3, prior="vamp", components=3),
    "ladder": lambda: vague(HierarchicalVAE((3,), levels=2, latent_dims=(1, 1), width=8, classes=3)),
    "semi": lambda: SemiSupervisedVAE((3,), levels=2, latent_dim=1, hidden=(8,), classes=3),
    "vq": lambda: VQVAE(
        (3,), levels=2, codes=3, positions=2, code_dim=2, hidden=(8,), prior_width=8, classes=3
    ),
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_labels_matter_and_are_summed_out_where_they_are_not_given(name):
    family = CONDITIONAL[name]()
    family = family if name == "ladder" else shaken(family)
    family.class_weights.copy_(torch.tensor([0.5, 0.3, 0.2]))
    rows = every_row(3, 2)
    options = {} if name == "vq" else {"samples": 4000}
    given = np.stack([family.log_prob(rows, label=y, **options).values for y in range(3)])
    assert np.ptp(given, axis=0).max() > 0.01
    summed = family.log_prob(rows, **options)
    expected = logsumexp(given + np.log([[0.5], [0.3], [0.2]]), axis=0)
    np.testing.assert_allclose(summed.values, expected, atol=1e-5 if name == "vq" else 0.1)
    if name != "vq":  # whose bound drops all sequences of codes but one
        assert np.exp(summed.values).sum() == pytest.approx(1, abs=0.02)
    labels = np.arange(8) % 3
    mixed = family.log_prob(rows, label=labels, **options).values
    np.testing.assert_allclose(mixed, given[labels, np.arange(8)], atol=1e-5 if name == "vq" else 0.1)
    assert family.sample(5, label=2).shape == (5, 3)
    if name != "vq":
        drawn = family.sample(4000, label=1, seed=1) @ [4, 2, 1]
        expected = np.exp(given[1])
        assert np.abs(np.bincount(drawn, minlength=8) / 4000 - expected).max() < 0.04
    for label, error in (([0, 1], DataError), (3, DataError), (-1, DataError)):
        with pytest.raises(error) as caught:
            family.log_prob(rows, label=label)
        assert caught.value.argument == "label"


# -- the ladder ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ladder():
    return vague(HierarchicalVAE((2,), levels=3, latent_dims=(1, 1), width=6, dropout=0.0))


def vague(ladder):
    shaken(ladder)
    with torch.no_grad():
        for rung in ladder.rungs:
            rung.evidence.weight *= 0.3
            rung.evidence.bias.copy_(torch.tensor([0.0, 0.3]))  # a wide guide covers the posterior
    return ladder


def test_the_ladders_bound_reaches_its_density_by_quadrature(ladder):
    rows = every_row(2, 3)
    line = torch.linspace(-25, 25, 401)
    z2, z1 = torch.cartesian_prod(line, line).T[..., None]  # each (points, 1)

    def joint(x):
        with pyro.get_param_store().scope(), torch.no_grad():
            conditioned = poutine.condition(ladder.model, {"z1": z1, "z2": z2})
            trace = poutine.trace(conditioned).get_trace(x.expand(len(z1), -1))
            trace.compute_log_prob()
        return sum(trace.nodes[name]["log_prob"].double() for name in ("z1", "z2", "x"))

    step = 2 * math.log(line[1] - line[0])
    truth = np.array([(joint(row).logsumexp(0) + step).item() for row in ladder.rows(rows)])
    assert np.exp(truth).sum() == pytest.approx(1, abs=3e-3)
    bound = ladder.log_prob(rows, samples=3000)
    assert (np.abs(bound.values - truth) < 5 * bound.stderr + 5e-3).all()
    with pyro.get_param_store().scope(), torch.no_grad():
        torch.manual_seed(0)
        loose = elbo(ladder.model, ladder.guide, ladder.rows(rows), 1000).numpy()
    assert (loose < truth).all()


def test_the_guide_of_the_ladder_corrects_what_is_expected(ladder):
    x = ladder.rows(every_row(2, 3))
    with pyro.get_param_store().scope(), torch.no_grad():
        trace = poutine.trace(ladder.guide).get_trace(x)
        assert [name for name in trace.stochastic_nodes if name != "rows"] == ["z2", "z1"]
        rung, top = ladder.rungs
        start = ladder._state_at_the_top(9, None)
        assert (top.expect(start) == 0).all()
        z2, q = trace.nodes["z2"]["value"], trace.nodes["z1"]["fn"].base_dist
        expected = rung.expect(top.descend(start, z2))
        shift, log_scale = rung.read(rung.up(ladder.as_input(x).flatten(1)))
    assert expected.std() > 0.01
    torch.testing.assert_close(q.loc, expected + shift)
    torch.testing.assert_close(q.scale, log_scale.exp())


def test_pyros_elbo_of_the_ladder_is_the_trainers(ladder):
    rows = ladder.rows(every_row(2, 3))
    with pyro.get_param_store().scope(), torch.no_grad():
        torch.manual_seed(2)
        ours = elbo(ladder.model, ladder.guide, rows).sum().item()
        torch.manual_seed(2)
        theirs = -Trace_ELBO().loss(ladder.model, ladder.guide, rows)
    assert ours == pytest.approx(theirs, rel=1e-6)


# -- labels as a latent variable -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def semi():
    vae = shaken(SemiSupervisedVAE((3,), levels=2, classes=3, latent_dim=1, hidden=(8,), dropout=0.0))
    vae.class_weights.copy_(torch.tensor([0.5, 0.3, 0.2]))
    return vae


def textbook(vae):
    """Model M2 as it is written in Pyro's manual, with the label enumerated, for rows without labels."""

    def with_class(vectors, y):
        one_hot = torch.nn.functional.one_hot(y, 3).float()
        shape = torch.broadcast_shapes(vectors.shape[:-1], one_hot.shape[:-1])
        return torch.cat([vectors.expand(*shape, -1), one_hot.expand(*shape, -1)], -1)

    def model(x):
        with pyro.plate("rows", len(x)):
            y = pyro.sample("y", dist.Categorical(vae.class_weights))
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", vae.rows_given(with_class(z, y)), obs=x.float())

    def guide(x):
        with pyro.plate("rows", len(x)):
            logits = vae._class_logits(x)
            y = pyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            pyro.sample("z", vae._posterior(with_class(vae.as_input(x), y)))

    return model, guide


def test_the_bound_without_labels_is_pyros_with_the_label_enumerated(semi):
    x = semi.rows(every_row(3, 2))
    model, guide = textbook(semi)
    with pyro.get_param_store().scope(), torch.no_grad():
        torch.manual_seed(0)
        theirs = torch.tensor(
            [-TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, x) for _ in range(600)]
        )
        ours = torch.stack([elbo(semi.model, semi.guide, x, 50).sum() for _ in range(60)])
    error = math.hypot(theirs.std() / math.sqrt(600), ours.std() / math.sqrt(60))
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert error < 0.05


def test_a_known_label_gives_the_class_conditional_bound_and_the_classifiers_term(semi):
    x = semi.rows(every_row(3, 2))
    label = torch.tensor([0, 1, 2, -1, -1, 0, 1, -1])
    known = label >= 0
    classes = torch.where(known, label, 0)
    vae = copy.deepcopy(semi)
    with pyro.get_param_store().scope(), torch.no_grad():
        torch.manual_seed(0)
        mixed = elbo(vae.model, vae.guide, x, 4000, label=label)
        conditional = elbo(vae.model, vae.guide, x, 4000, label=classes)  # all known: the plain VAE
        unlabelled = elbo(vae.model, vae.guide, x, 4000)
        vae.train()
        learning = elbo(vae.model, vae.guide, x, 4000, label=label)
        term = vae._class_logits(x).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(mixed[known], conditional[known], atol=0.05, rtol=0)
    torch.testing.assert_close(mixed[~known], unlabelled[~known], atol=0.05, rtol=0)
    expected = torch.where(known, mixed + vae.alpha * term, mixed)
    torch.testing.assert_close(learning, expected, atol=0.05, rtol=0)


def test_the_gradient_of_the_bound_reaches_every_parameter(semi):
    vae = copy.deepcopy(semi).train()
    label = torch.tensor([0, 1, 2, -1, -1, 0, 1, -1])
    with pyro.get_param_store().scope():
        elbo(vae.model, vae.guide, vae.rows(every_row(3, 2)), label=label).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


def test_a_few_labels_and_many_rows_without_one_teach_to_classify():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    rows = (rng.random((300, 12)) < np.where(truth[:, None] == 1, 0.8, 0.2)).astype(int)
    labels = np.where(np.arange(300) < 6, truth, -1)
    vae = SemiSupervisedVAE((12,), levels=2, classes=2, latent_dim=2, hidden=(32,))
    train(vae, rows, labels=labels, epochs=25, progress=False)
    probabilities = vae.classify(rows)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == truth).mean() > 0.95
    drawn = vae.sample(200, label=1).mean()
    assert abs(drawn - 0.8) < 0.1


# -- codes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vq():
    rows = np.random.default_rng(0).integers(0, 3, size=(64, 1)) + np.zeros((64, 2), int)
    family = VQVAE((2,), levels=3, codes=4, positions=2, code_dim=2, hidden=(16,), prior_width=8)
    train(family, rows, epochs=15, progress=False)
    return family


def test_one_sequence_of_codes_is_a_term_of_the_density(vq):
    rows, codes = every_row(2, 3), every_row(2, 4)
    joint = np.stack([_joint(vq, rows, sequence) for sequence in codes])  # (16, 9)
    truth = logsumexp(joint, axis=0)
    assert np.exp(truth).sum() == pytest.approx(1, abs=1e-5)
    bound = vq.log_prob(rows)
    assert bound.kind == "lower_bound"
    assert bound.stderr is None
    assert (bound.values < truth).all()
    chosen = vq.encode(rows) @ [4, 1]
    np.testing.assert_allclose(bound.values, joint[chosen, np.arange(9)], atol=1e-5)


def _joint(vq, rows, sequence):
    x = vq.rows(rows)
    with pyro.get_param_store().scope(), torch.no_grad():
        codes = torch.as_tensor(sequence).expand(len(x), -1)
        trace = poutine.trace(poutine.condition(vq.model, {"codes": codes})).get_trace(x)
        trace.compute_log_prob()
    return sum(trace.nodes[name]["log_prob"].double().numpy() for name in ("codes", "x"))


def test_codes_are_the_nearest_vectors(vq):
    rows = every_row(2, 3)
    with torch.no_grad():
        vectors = vq._vectors(vq.rows(rows))
        distances = torch.cdist(vectors, vq.codebook)
    np.testing.assert_array_equal(vq.encode(rows), distances.argmin(-1).numpy())


def test_the_gradient_goes_straight_through_the_codes(vq):
    family = copy.deepcopy(vq).train()
    family.decoder.eval()
    family.prior.eval()
    x = family.rows(every_row(2, 3))
    with pyro.get_param_store().scope():
        drawn = poutine.trace(family.guide).get_trace(x)
        trace = poutine.trace(poutine.replay(family.model, trace=drawn)).get_trace(x)
        trace.compute_log_prob()
    likelihood, codebook, prior = (trace.nodes[name]["log_prob"].sum() for name in ("x", "codebook", "codes"))
    np.testing.assert_allclose(
        (likelihood + prior).item(), vq.log_prob(every_row(2, 3)).values.sum(), rtol=1e-4
    )

    def reached(term):
        names, parameters = zip(*family.named_parameters(), strict=True)
        grads = torch.autograd.grad(term, parameters, allow_unused=True, retain_graph=True)
        return {name.split(".")[0] for name, grad in zip(names, grads, strict=True) if grad is not None}

    assert reached(likelihood) == {"decoder", "encoder"}
    assert reached(codebook) == {"codebook", "encoder"}
    assert reached(prior) == {"prior"}
    vectors = family._vectors(x)
    pull = torch.autograd.grad(codebook, family.codebook, retain_graph=True)[0]
    coded = family.codebook[family._nearest(vectors)]
    by_hand = torch.zeros_like(pull).index_add_(
        0, family._nearest(vectors).flatten(), 2 * (vectors - coded).detach().flatten(0, 1)
    )
    torch.testing.assert_close(pull, by_hand)


# -- families with classes: what the table of all families cannot check -----------------------------------


@pytest.mark.parametrize("name", CONDITIONAL)
def test_with_classes_it_trains_saves_and_scores_row_by_row(name, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 30)
    rows = (rng.random((30, 3)) < 0.2 + 0.3 * labels[:, None]).astype(int)
    family = CONDITIONAL[name]()
    train(family, rows, labels=labels, epochs=2, batch_size=8, progress=False)
    copied = load(save(family, tmp_path / "family.ppgen"))
    np.testing.assert_array_equal(copied.sample(9, seed=1), family.sample(9, seed=1))
    np.testing.assert_array_equal(copied.sample(9, label=2), family.sample(9, label=2))
    whole = family.log_prob(rows[:4], label=labels[:4]).values
    np.testing.assert_array_equal(copied.log_prob(rows[:4], label=labels[:4]).values, whole)
    for i in range(4):
        alone = family.log_prob(rows[i : i + 1], label=labels[i : i + 1]).values
        np.testing.assert_allclose(alone, whole[i : i + 1], rtol=1e-5)
    summed = family.log_prob(rows[:4]).values
    np.testing.assert_allclose(family.log_prob(rows[3::-1]).values, summed[::-1], rtol=1e-5)
    with pytest.raises(DataError):
        train(family, rows, progress=False)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_pyros_own_elbo_takes_the_labels(name):
    family = CONDITIONAL[name]().train()
    rows = family.rows(every_row(3, 2))
    label = torch.arange(8) % 3
    before = copy.deepcopy(family.state_dict())
    with pyro.get_param_store().scope():
        SVI(family.model, family.guide, Adam({"lr": 0.01}), Trace_ELBO()).step(rows, label=label)
    assert any(not torch.equal(value, before[key]) for key, value in family.state_dict().items())


# -- names and bad input ---------------------------------------------------------------------------------


BAD_CALLS = [
    (lambda: VAE((2,), covariance="full"), UnknownName, "setting", "posterior"),
    (lambda: VAE((2,), prior="gamma"), UnknownName, "prior", "normal"),
    (lambda: VAE((2,), posterior="fulll"), UnknownName, "posterior", "full"),
    (lambda: VAE((2,), networks="con"), UnknownName, "networks", "conv"),
    (lambda: VAE((2,), beta=0.0), InvalidArgument, "beta", "above 0"),
    (lambda: VAE((2,), components=0), InvalidArgument, "components", "at least 1"),
    (lambda: VAE((2,), classes=1), InvalidArgument, "classes", "at least 2"),
    (lambda: VAE((2,), hidden=()).sample(2, label=1), InvalidArgument, "label", "without classes"),
    (lambda: VAE((2,), hidden=()).log_prob(np.zeros((1, 2)), label=1), InvalidArgument, "label", "without"),
    (lambda: HierarchicalVAE((2,), latent_dims=()), InvalidArgument, "latent_dims", "such as"),
    (lambda: HierarchicalVAE((2,), latent_dims=(3, 0)), InvalidArgument, "latent_dims", "such as"),
    (lambda: HierarchicalVAE((2,), width=0), InvalidArgument, "width", "at least 1"),
    (lambda: HierarchicalVAE((2,), likelihood="categorical"), InvalidArgument, "likelihood", "gaussian"),
    (lambda: SemiSupervisedVAE((2,), levels=2), InvalidArgument, "classes", "classes=10"),
    (lambda: SemiSupervisedVAE((2,), levels=2, classes=3, alpha=-1.0), InvalidArgument, "alpha", "above 0"),
    (lambda: VQVAE((2,), codes=1), InvalidArgument, "codes", "at least 2"),
    (lambda: VQVAE((2,), positions=0), InvalidArgument, "positions", "at least 1"),
    (lambda: VQVAE((2,), prior_width=6), InvalidArgument, "prior_width", "multiple of 4"),
    (lambda: VQVAE((2,), commitment=0), InvalidArgument, "commitment", "above 0"),
]


@pytest.mark.parametrize(("call", "error", "argument", "message"), BAD_CALLS)
def test_bad_input_is_named(call, error, argument, message, wrong_types):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument
