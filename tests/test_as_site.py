"""A trained model as a part of another program: densities in both languages, gradients, posteriors."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as ndist
import pyro
import pyro.distributions as pdist
import pytest
import torch
from scipy.stats import multivariate_normal

from ppgen.errors import InvalidArgument, NoLikelihood, UnknownName
from ppgen.inference.infer import infer
from ppgen.models import IAF, MAF, NICE, VAE, ContinuousFlow, Glow, NeuralSplineFlow, RealNVP, Transformer
from ppgen.program.as_site import as_decoder, as_site
from ppgen.program.density import float64

NET = {"hidden": (8,)}
TALK = {"width": 8, "layers": 1, "heads": 2}
SITES = {
    "nice": lambda: NICE((3,), **NET),
    "realnvp": lambda: RealNVP((3,), **NET),
    "maf": lambda: MAF((3,), transforms=2, **NET),
    "iaf": lambda: IAF((3,), transforms=1, **NET),
    "spline": lambda: NeuralSplineFlow((3,), transforms=2, **NET),
    "spline-levels": lambda: NeuralSplineFlow((3,), levels=3, transforms=2, **NET),
    "continuous": lambda: ContinuousFlow((3,), steps=2, **NET),
    "glow": lambda: Glow((2, 2), scales=1, steps=1, channels=4),
    "transformer": lambda: Transformer((3,), **TALK),
    "transformer-levels": lambda: Transformer((3,), levels=3, **TALK),
}


def rows_for(family, n=4):
    rng = np.random.default_rng(0)
    if isinstance(family, Transformer) and family.levels:
        return rng.integers(0, 3, (n, *family.shape))
    return rng.uniform(0.1, 2.9, (n, *family.shape))


# -- rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SITES)
def test_both_languages_give_the_familys_own_density_and_its_gradient(name):
    family = SITES[name]()
    rows = rows_for(family)
    with torch.no_grad():
        own = (
            family.density()
            .log_prob(torch.as_tensor(rows if rows.dtype.kind == "i" else rows.astype(np.float32)))
            .numpy()
        )
    x = torch.tensor(rows, requires_grad=rows.dtype.kind == "f")
    in_pyro = as_site(family).log_prob(x)
    np.testing.assert_allclose(in_pyro.detach().numpy(), own, rtol=2e-4, atol=1e-4)
    site = as_site(family, engine="numpyro")
    with float64():
        in_numpyro = np.asarray(site.log_prob(rows))
        gradient = jax.grad(lambda x: site.log_prob(x).sum()) if x.requires_grad else None
        gradient = gradient and np.asarray(gradient(jnp.asarray(rows)))
    np.testing.assert_allclose(in_numpyro, in_pyro.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(site.log_prob(rows), own, rtol=2e-4, atol=1e-4)  # single precision
    if x.requires_grad:
        in_pyro.sum().backward()
        np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-8, atol=1e-10)
    assert jax.eval_shape(site.log_prob, rows[0]).shape == ()
    assert jax.eval_shape(site.log_prob, np.stack([rows, rows])).shape == (2, 4)


@pytest.mark.parametrize("name", ["realnvp", "spline-levels", "transformer-levels"])
def test_draws_are_the_models(name):
    family = SITES[name]()
    site, frozen = as_site(family, engine="numpyro"), as_site(family)
    drawn = site.sample(jax.random.key(0), (400,))
    assert drawn.shape == (400, *family.shape)
    assert bool(site.support(drawn).all())
    assert not np.array_equal(drawn, site.sample(jax.random.key(1), (400,)))
    np.testing.assert_array_equal(drawn, site.sample(jax.random.key(0), (400,)))
    torch.manual_seed(0)
    other = frozen.sample((4000,)).double().numpy()
    spread = other.std(0) / 20
    assert (np.abs(np.asarray(drawn).mean(0) - other.mean(0)) < 5 * spread).all()
    assert jax.jit(lambda key: site.sample(key))(jax.random.key(2)).shape == family.shape


def test_a_site_is_frozen_and_is_a_copy():
    family = RealNVP((2,), hidden=(8,))
    site = as_site(family)
    before = site.log_prob(torch.zeros(2))
    with torch.no_grad():
        for parameter in family.parameters():
            parameter += 1
    torch.testing.assert_close(site.log_prob(torch.zeros(2)), before)
    assert not before.requires_grad
    assert family.loc.dtype == torch.float32
    assert all(parameter.requires_grad for parameter in family.parameters())
    with pyro.get_param_store().scope(), pyro.poutine.trace() as tape:
        pyro.sample("x", site)
    assert [node["type"] for node in tape.trace.nodes.values()] == ["sample"]


def test_a_class_is_a_setting_of_the_site():
    family = RealNVP((2,), hidden=(8,), classes=3)
    rows = np.random.default_rng(0).normal(size=(5, 2))
    own = family.log_prob(rows, label=2).values
    np.testing.assert_allclose(as_site(family, label=2).log_prob(torch.tensor(rows)), own, rtol=1e-4)
    np.testing.assert_allclose(as_site(family, label=2, engine="numpyro").log_prob(rows), own, rtol=1e-4)


def test_in_plates_every_row_is_drawn_and_scored_on_its_own():
    family = RealNVP((2,), hidden=(8,))
    rows = np.random.default_rng(0).normal(size=(5, 2))
    own = family.log_prob(rows).values
    site = as_site(family, engine="numpyro")

    def in_numpyro(x=None):
        with numpyro.plate("rows", 5):
            return numpyro.sample("x", site, obs=x)

    fresh = numpyro.handlers.seed(in_numpyro, 0)()
    assert fresh.shape == (5, 2)
    assert len(np.unique(np.asarray(fresh)[:, 0])) == 5
    trace = numpyro.handlers.trace(in_numpyro).get_trace(jnp.asarray(rows))
    np.testing.assert_allclose(trace["x"]["fn"].log_prob(rows), own, rtol=1e-4)
    with pyro.plate("rows", 5):
        assert pyro.sample("x", as_site(family)).shape == (5, 2)


# -- posteriors ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear():
    """A flow whose density is a Gaussian: shifts that are linear in the entry before, constant scales."""
    flow = MAF((2,), hidden=(), transforms=1)
    flow.loc += torch.tensor([1.0, -2.0])
    flow.scale *= torch.tensor([1.5, 0.5])
    with torch.no_grad():
        flow.map.transforms[0].hyper[-1].weight[1::2] = 0.0
    return flow


def exact_gaussian(flow):
    """The mean and covariance of a flow whose log density is quadratic."""
    site, origin = as_site(flow), torch.zeros(2, dtype=torch.float64)
    precision = -torch.autograd.functional.hessian(site.log_prob, origin).numpy()
    covariance = np.linalg.inv(precision)
    mean = covariance @ torch.autograd.functional.jacobian(site.log_prob, origin).numpy()
    return mean, covariance


@pytest.mark.parametrize("engine", ["pyro", "numpyro"])
def test_a_flow_as_prior_has_the_posterior_of_its_closed_form(linear, engine):
    mean, covariance = exact_gaussian(linear)
    rows = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(
        linear.log_prob(rows).values, multivariate_normal(mean, covariance).logpdf(rows), rtol=1e-4
    )
    prior = as_site(linear, engine=engine)

    def in_pyro(y):
        x = pyro.sample("x", prior)
        pyro.sample("y", pdist.Normal(x[1], 0.3), obs=y)

    def in_numpyro(y):
        x = numpyro.sample("x", prior)
        numpyro.sample("y", ndist.Normal(x[1], 0.3), obs=y)

    y = -1.5
    gain = covariance[:, 1] / (covariance[1, 1] + 0.3**2)
    expected = mean + gain * (y - mean[1])
    spread = np.sqrt(np.diag(covariance - np.outer(gain, covariance[1])))
    post = infer(in_pyro if engine == "pyro" else in_numpyro, {"y": y}, draws=1000, progress=False)
    assert post.diagnostics.ok, post.diagnostics
    draws = post.draws["x"].reshape(-1, 2)
    error = spread / np.sqrt(post.diagnostics.ess_bulk_min)
    assert (np.abs(draws.mean(0) - expected) < 5 * error).all()
    np.testing.assert_allclose(draws.std(0), spread, rtol=0.1)


@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # few draws, of what is bounded
def test_levels_of_a_spline_flow_stay_in_their_box():
    flow = NeuralSplineFlow((2,), levels=4, hidden=(8,), transforms=2)
    prior = as_site(flow, engine="numpyro")

    def program(y):
        x = numpyro.sample("x", prior)
        numpyro.sample("y", ndist.Normal(x[0], 0.2), obs=y)

    draws = infer(program, {"y": 3.5}, draws=300, tune=300, chains=2, progress=False).draws["x"]
    assert 0 < draws.min() < draws.max() < 4
    assert abs(draws[..., 0].mean() - 3.5) < 0.15


# -- decoders --------------------------------------------------------------------------------------------

DECODERS = {
    "categorical": {"levels": 3},
    "bernoulli": {"levels": 2},
    "logistic": {"levels": 5, "likelihood": "discretized_logistic"},
    "gaussian": {},
}


def small_vae(settings):
    vae = VAE((2, 3), latent_dim=2, hidden=(8,), **settings)
    if vae.levels is None:
        vae.standardise(np.random.default_rng(0).normal(3.0, 2.0, (50, 2, 3)))
    return vae


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_the_likelihood_of_the_familys_program(name):
    vae = small_vae(DECODERS[name])
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 2, 3))
    model = pyro.poutine.condition(vae.model, {"z": torch.as_tensor(z).float()})
    with pyro.get_param_store().scope(), torch.no_grad():
        site = pyro.poutine.trace(model).get_trace(torch.as_tensor(x)).nodes["x"]
        own = site["fn"].log_prob(site["value"]).numpy()
    in_pyro = as_decoder(vae)(torch.as_tensor(z))
    decoder = as_decoder(vae, engine="numpyro")
    in_numpyro = decoder(jnp.asarray(z))
    scored = in_pyro.log_prob(torch.as_tensor(x).double()).numpy()
    assert in_pyro.batch_shape == in_numpyro.batch_shape == (5, 2, 3)
    np.testing.assert_allclose(scored.sum((1, 2)), own, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(in_numpyro.log_prob(x)), scored, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(decoder(z=jnp.asarray(z)).to_event(2).log_prob(x), own, rtol=1e-4)
    one = decoder(jnp.asarray(z[0]))
    assert one.batch_shape == as_decoder(vae)(torch.as_tensor(z[0])).batch_shape == (2, 3)
    np.testing.assert_allclose(one.log_prob(x), np.stack([one.log_prob(row) for row in x]), rtol=1e-5)
    drawn = one.sample(jax.random.key(0), (7,))
    assert drawn.shape == (7, 2, 3)
    assert bool(one.support(drawn).all())


def test_gradients_go_through_the_latent_variables():
    vae = small_vae(DECODERS["categorical"])
    x = np.random.default_rng(0).integers(0, 3, (2, 3))
    decoder = as_decoder(vae, engine="numpyro")
    with float64():
        gradient = np.asarray(jax.grad(lambda z: decoder(z).log_prob(x).sum())(jnp.array([0.3, -0.7])))
    z = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    as_decoder(vae)(z).log_prob(torch.as_tensor(x)).sum().backward()
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-6)


def test_missing_pixels_have_the_same_posterior_in_both_languages():
    """Two latent variables, so that the posterior mean is known by quadrature."""
    vae = small_vae(DECODERS["categorical"])
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter *= 3
    image = np.random.default_rng(0).integers(0, 3, (2, 3))
    seen = np.array([[True, False, True], [True, True, False]])
    in_pyro, in_numpyro = as_decoder(vae), as_decoder(vae, engine="numpyro")

    def pyro_program(image, seen):
        z = pyro.sample("z", pdist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.poutine.mask(mask=seen):
            pyro.sample("x", in_pyro(z), obs=image)

    def numpyro_program(image, seen):
        z = numpyro.sample("z", ndist.Normal(jnp.zeros(2), 1.0).to_event(1))
        with numpyro.handlers.mask(mask=seen):
            numpyro.sample("x", in_numpyro(z), obs=image)

    axis = np.linspace(-6, 6, 121)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    pixels = in_pyro(torch.as_tensor(grid)).log_prob(torch.as_tensor(image)).numpy()
    weight = np.exp((pixels * seen).sum((1, 2)) - 0.5 * (grid**2).sum(1))
    expected = (weight[:, None] * grid).sum(0) / weight.sum()
    spread = np.sqrt((weight[:, None] * (grid - expected) ** 2).sum(0) / weight.sum())
    for program in (pyro_program, numpyro_program):
        post = infer(program, {"image": image, "seen": seen}, draws=600, tune=400, progress=False)
        draws = post.draws["z"].reshape(-1, 2)
        assert (np.abs(draws.mean(0) - expected) < 0.15 * spread).all()
        np.testing.assert_allclose(draws.std(0), spread, rtol=0.15)
        assert post.predictive(seed=0)["x"].shape[2:] == (2, 3)


def test_a_decoder_may_stand_in_a_plate_of_the_same_name_as_the_familys_own():
    vae = small_vae(DECODERS["bernoulli"])
    decoder = as_decoder(vae)
    with pyro.plate("rows", 4, dim=-3):
        z = pyro.sample("z", pdist.Normal(torch.zeros(4, 1, 1, 2), 1.0).to_event(1))
        drawn = pyro.sample("x", decoder(z[:, 0, 0]))
    assert drawn.shape == (4, 2, 3)


# -- bad input -------------------------------------------------------------------------------------------


BAD = [
    (lambda: as_site(RealNVP((2,), **NET), engine="stan"), UnknownName, "engine", "'numpyro'"),
    (lambda: as_site(small_vae({"levels": 3})), NoLikelihood, "family", "as_decoder"),
    (lambda: as_decoder(RealNVP((2,), **NET)), NoLikelihood, "family", "as_site"),
    (lambda: as_decoder(RealNVP((2,), levels=3, **NET)), NoLikelihood, "family", "as_site"),
    (lambda: as_decoder(Transformer((2,), **TALK)), NoLikelihood, "family", "as_site"),
    (lambda: as_site(ContinuousFlow((2,), trace="hutchinson")), NoLikelihood, "family", 'trace="exact"'),
    (lambda: as_site(RealNVP((2,), **NET), label=1), InvalidArgument, "label", "no classes"),
    (lambda: as_site(RealNVP((2,), classes=2, **NET)), InvalidArgument, "label", "a class 0 … 1"),
    (lambda: as_site(RealNVP((2,), classes=2, **NET), label=2), InvalidArgument, "label", "0 … 1"),
    (lambda: as_decoder(small_vae({"levels": 3}))(), InvalidArgument, "latents", r"decoder\(z\)"),
    (lambda: as_decoder(small_vae({"levels": 3}))(torch.zeros(3)), InvalidArgument, "z", r"\(\.\.\., 2\)"),
    (
        lambda: as_decoder(small_vae({"levels": 3}), engine="numpyro")(jnp.zeros(2), w=1),
        InvalidArgument,
        "latents",
        "the names",
    ),
]


@pytest.mark.parametrize(("call", "error", "argument", "message"), BAD)
def test_bad_input_is_named(call, error, argument, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument


def test_a_flow_in_its_base_is_the_same_flow():
    """The non-centred form: the density of z is that of y = f(z), times the volume that f makes of z's."""
    flow = as_site(RealNVP((2,), hidden=(8,), transforms=2, seed=3)).base
    z = flow.base.sample((5,)).double()
    rows = flow.from_base(z)
    volumes = [torch.linalg.slogdet(torch.autograd.functional.jacobian(flow.from_base, one))[1] for one in z]
    expected = flow.base.log_prob(z) - torch.stack(volumes)
    np.testing.assert_allclose(flow.log_prob(rows).detach(), expected.detach(), rtol=1e-6)
