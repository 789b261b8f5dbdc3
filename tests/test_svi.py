"""Variational inference: guides against known answers, and what is said of those that cannot reach them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy.stats import multivariate_normal

import ppgen
from ppgen.errors import InvalidArgument, ProgramError, UnknownName, UnsupportedProgram
from ppgen.inference.guides import GUIDES, make_guide
from ppgen.inference.guides.guide import log_normal
from ppgen.inference.guides.invariance import find_drift
from ppgen.inference.guides.named import compile_steps
from ppgen.inference.guides.neutra import fit_transform
from ppgen.inference.guides.objectives import Bound
from ppgen.inference.method import Request
from ppgen.models.bayesian.eight_schools import eight_schools
from ppgen.program import read_density
from ppgen.program.density import float64

pytestmark = pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=30)
Y = 1.0 + 2.0 * X + RNG.normal(size=30)


def fit(program, data=None, **options):
    return ppgen.infer(program, data or {}, method="svi", progress=False, **options)


def gaussian(covariance):
    def program():
        numpyro.sample("z", dist.MultivariateNormal(jnp.arange(len(covariance)) * 1.0, covariance))

    return program


def regression(x, y):
    """Conjugate: noise 1, prior N(0, 10) on both coefficients."""
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, 1.0), obs=y)


def banana():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(x**2, 0.5))


def two_modes():
    halves = dist.Normal(jnp.array([-10.0, 10.0]), 1.0)
    numpyro.sample("z", dist.MixtureSameFamily(dist.Categorical(jnp.array([0.5, 0.5])), halves))


# -- Gaussian guides ---------------------------------------------------------------------------------------


def test_full_rank_is_exact_on_a_gaussian():
    covariance = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 100.0 * 0.1], [0.0, 10.0, 1e4]])
    post = fit(gaussian(covariance), draws=2000)
    flat = post.draws["z"].reshape(-1, 3)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(flat.mean(0) - np.arange(3)) < 4 * sd / np.sqrt(len(flat))).all()
    np.testing.assert_allclose(np.cov(flat.T / sd[:, None]), covariance / np.outer(sd, sd), atol=0.1)
    assert np.ptp(post.log_weights) < 0.05  # the guide is the posterior
    assert abs(post.log_evidence.value) < 1e-3
    assert post.diagnostics.ok
    assert post.drawn.fit.converged


def test_the_evidence_of_a_conjugate_regression():
    post = fit(regression, {"x": X, "y": Y})
    design = np.stack([np.ones(30), X], axis=1)
    exact = multivariate_normal.logpdf(Y, np.zeros(30), np.eye(30) + 100 * design @ design.T)
    assert abs(post.log_evidence.value - exact) < 4 * post.log_evidence.stderr + 1e-3
    assert abs(post.drawn.fit.bound - exact) < 0.02
    assert post.corrected().diagnostics.ok


def test_mean_field_is_too_narrow_on_a_correlated_gaussian_and_says_so():
    covariance = np.array([[1.0, 0.95], [0.95, 1.0]])
    post = fit(gaussian(covariance), guide="mean_field", draws=2000)
    exact = 1 / np.diag(np.linalg.inv(covariance))  # the optimum of the reverse divergence
    np.testing.assert_allclose(post.draws["z"].reshape(-1, 2).var(0), exact, rtol=0.15)
    assert not post.diagnostics.ok


def test_low_rank_reaches_a_factor_covariance():
    loadings = np.random.default_rng(1).normal(size=(20, 2))
    covariance = np.diag(np.linspace(0.5, 2.0, 20)) + loadings @ loadings.T
    program = gaussian(covariance)
    post = fit(program, guide="low_rank", rank=2, draws=2000)
    flat = post.draws["z"].reshape(-1, 20)
    np.testing.assert_allclose(flat.var(0), np.diag(covariance), rtol=0.15)
    assert post.drawn.khat < 0.7
    assert post.diagnostics.ok


def test_scales_that_differ_a_thousandfold(reference):
    data, answers = reference("kidscore_interaction")
    from ppgen.models.bayesian.regression import kid_scores

    arrays = {name: np.array(data[name], float) for name in ("kid_score", "mom_hs", "mom_iq")}
    post = fit(kid_scores, arrays, guide="full_rank")
    assert post.diagnostics.ok, post.diagnostics.problems
    for k in range(4):
        expected, draws = answers[f"beta[{k + 1}]"], post.draws["beta"][..., k]
        assert abs(draws.mean() - expected["mean"]) < 0.1 * expected["sd"]
        assert abs(draws.std() / expected["sd"] - 1) < 0.1


# -- flows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_guide_knows_its_own_density(name, dim):
    with float64():
        guide = make_guide(name, dim, {})
        key = jax.random.key(1)
        parameters = guide.initial(key)
        parameters = parameters + 0.1 * jax.random.normal(key, parameters.shape)
        u = jax.random.normal(key, (20, dim))
        y, log_det = jax.jit(jax.vmap(guide.push, (None, 0)))(parameters, u)
        pushed = jax.vmap(log_normal)(u) - log_det
        inverted = jax.jit(jax.vmap(guide.log_prob, (None, 0)))(parameters, y)
        np.testing.assert_allclose(inverted, pushed, atol=1e-5)

        jacobians = jax.jit(jax.vmap(jax.jacfwd(lambda u: guide.push(parameters, u).y)))(u)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobians)[1], atol=1e-6)

        scores = jax.jit(jax.vmap(guide.score, (None, 0)))(parameters, u)
        by_autodiff = jax.jit(jax.vmap(jax.grad(guide.log_prob, 1), (None, 0)))(parameters, y)
        np.testing.assert_allclose(scores, by_autodiff, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_integrates_to_one(name):
    with float64():
        guide = make_guide(name, 2, {})
        key = jax.random.key(2)
        parameters = guide.initial(key)
        parameters = parameters + 0.1 * jax.random.normal(key, parameters.shape)
        axis = np.linspace(-15.0, 15.0, 601)
        grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        log_prob = jax.jit(jax.vmap(guide.log_prob, (None, 0)))(parameters, grid)
    assert abs(np.exp(log_prob).sum() * (axis[1] - axis[0]) ** 2 - 1) < 2e-3


@pytest.mark.parametrize("name", ["nsf", "realnvp", "iaf"])
def test_a_flow_bends_where_a_gaussian_cannot(name):
    straight = fit(banana, guide="full_rank", restarts=1)
    assert not straight.diagnostics.ok
    assert straight.drawn.khat > 0.7
    bent = fit(banana, guide=name, restarts=1)
    assert -0.05 < bent.drawn.fit.bound < 0.02  # the log evidence is 0
    assert bent.draws["y"].std() > 0.8 * np.sqrt(2.25) or not bent.diagnostics.ok
    if name == "nsf":
        assert bent.drawn.khat < 0.7


@pytest.mark.slow
def test_a_spline_flow_on_eight_schools(reference):
    _, answers = reference("eight_schools_noncentered")
    post = fit(eight_schools, ppgen.data.load("eight_schools"), guide="nsf", restarts=1)
    assert post.drawn.khat < 0.7
    for name in ("mu", "tau"):
        draws = post.corrected().draws[name]
        assert abs(draws.mean() - answers[name]["mean"]) < 0.15 * answers[name]["sd"]
        assert abs(draws.std() / answers[name]["sd"] - 1) < 0.2


# -- what is said of a bad fit -------------------------------------------------------------------------------


def test_two_modes_are_noticed():
    post = fit(two_modes, guide="full_rank")
    assert not post.diagnostics.ok
    assert any("several modes" in problem for problem in post.diagnostics.problems)


def test_a_guide_that_stops_short_of_a_tail_is_noticed():
    """Its weights are equal, for it is the posterior where it draws."""
    rng = np.random.default_rng(0)
    density = read_density(gaussian(np.eye(2)))
    everything = rng.normal([0.0, 1.0], size=(4000, 2))
    cut = everything[everything[:, 0] < 0.3]
    assert find_drift(density, everything, 1e-9 * rng.normal(size=len(everything)), 0) == ()
    (finding,) = find_drift(density, cut, 1e-9 * rng.normal(size=len(cut)), 0)
    assert "z changes by" in finding.what
    assert finding.evidence["site"] == "z"


def test_a_fit_that_is_cut_off_says_so():
    post = fit(banana, guide="realnvp", max_steps=600, restarts=1)
    assert any("had not converged after max_steps=600" in problem for problem in post.diagnostics.problems)


# -- draws ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_draws():
    one, same, other = (fit(regression, {"x": X, "y": Y}, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.positions, same.positions)
    assert not np.array_equal(one.positions, other.positions)


def test_more_draws_go_on_where_the_first_stopped():
    short, long = (fit(regression, {"x": X, "y": Y}, draws=draws, seed=5) for draws in (200, 500))
    longer = short.extend(draws=300, progress=False)
    np.testing.assert_allclose(longer.positions, long.positions, rtol=1e-10)
    np.testing.assert_allclose(longer.log_weights, long.log_weights, atol=1e-8)
    assert longer.log_evidence.value == pytest.approx(long.log_evidence.value)


def test_new_data_of_the_same_shapes_compile_nothing():
    fit(regression, {"x": X, "y": Y})
    size = compile_steps.cache_info().currsize
    compiled = _compiled_functions()
    fit(regression, {"x": X + 1.0, "y": 2.0 * Y})
    assert compile_steps.cache_info().currsize == size
    assert _compiled_functions() == compiled


def _compiled_functions():
    """How many loops over steps have been compiled in this process."""
    density = read_density(regression, {"x": X, "y": Y})
    guide = make_guide("full_rank", density.dim, {})
    return compile_steps(density.graph, guide, Bound("elbo", 1, 0.5), 32)._cache_size()


# -- objectives ----------------------------------------------------------------------------------------------


def test_tighter_bounds_lie_between_the_elbo_and_the_evidence():
    log_weights = np.random.default_rng(0).normal(size=80_000) - 0.5  # the evidence is 1
    elbo = Bound("elbo", 1, 0.0).values(log_weights).mean()
    renyi = Bound("renyi", 8, 0.5).values(log_weights).mean()
    iwae = Bound("iwae", 8, 0.0).values(log_weights).mean()
    assert elbo < renyi < iwae < 0.01


@pytest.mark.parametrize(("name", "alpha"), [("iwae", 0.0), ("renyi", 0.5)])
def test_doubly_reparameterised_gradients_are_unbiased(name, alpha):
    """Against the derivative of the bound itself, for q = N(m, 1) and π = N(0, 1)."""
    bound, m = Bound(name, 4, alpha), 0.7
    with float64():
        u = jax.random.normal(jax.random.key(0), (400_000,))

        def value(m):
            log_w = (-0.5 * (m + u) ** 2 + 0.5 * u**2).reshape(-1, 4)
            return (jax.nn.logsumexp((1 - alpha) * log_w, axis=1) / (1 - alpha)).mean()

        plain = jax.grad(value)(m)
        log_weights = -0.5 * (m + u) ** 2 + 0.5 * u**2
        path = -(m + u) + u  # d log w / dz at z = m + u
        ours = jnp.sum(bound.coefficients(log_weights) * path)
    assert float(ours) == pytest.approx(float(plain), abs=0.01)


@pytest.mark.parametrize("objective", ["iwae", "renyi", "wake_sleep"])
def test_every_objective_recovers_a_gaussian(objective):
    covariance = np.array([[2.0, 1.0], [1.0, 1.0]])
    post = fit(gaussian(covariance), objective=objective, restarts=1, draws=2000)
    np.testing.assert_allclose(np.cov(post.draws["z"].reshape(-1, 2).T), covariance, atol=0.15)


# -- guides of users -----------------------------------------------------------------------------------------


def noisy(x, y):
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2.0))
    numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, sigma), obs=y)


def noisy_guide(x, y):
    location = numpyro.param("location", jnp.zeros(2))
    factor = numpyro.param("factor", jnp.eye(2), constraint=constraints.lower_cholesky)
    numpyro.sample("beta", dist.MultivariateNormal(location, scale_tril=factor))
    spread = numpyro.param("spread", 0.3, constraint=constraints.positive)
    numpyro.sample("sigma", dist.LogNormal(numpyro.param("middle", 0.0), spread))


@pytest.mark.parametrize("objective", ["elbo", "wake_sleep"])
def test_a_guide_in_numpyro_agrees_with_the_one_by_name(objective):
    data = {"x": X, "y": Y}
    ours = fit(noisy, data, guide="full_rank", restarts=1, draws=2000)
    theirs = fit(noisy, data, guide=noisy_guide, objective=objective, restarts=1, draws=2000)
    np.testing.assert_allclose(theirs.draws["beta"].mean((0, 1)), ours.draws["beta"].mean((0, 1)), atol=0.03)
    assert theirs.draws["sigma"].mean() == pytest.approx(ours.draws["sigma"].mean(), rel=0.03)
    # The weights are those of the same posterior: both estimate the same evidence.
    evidence = [np.log(np.exp(post.log_weights).mean()) for post in (ours, theirs)]
    assert evidence[0] == pytest.approx(evidence[1], abs=0.1)
    longer = theirs.extend(draws=10, progress=False)
    assert longer.positions.shape == (4, 2010, 3)


def test_a_guide_that_cannot_be_reparameterised_is_fitted_by_wake():
    def mixture_guide():
        centres = numpyro.param("centres", jnp.array([-8.0, 8.0]))
        halves = dist.Normal(centres, numpyro.param("spread", 2.0, constraint=constraints.positive))
        numpyro.sample("z", dist.MixtureSameFamily(dist.Categorical(jnp.array([0.5, 0.5])), halves))

    with pytest.raises(UnsupportedProgram, match='objective="wake_sleep"'):
        fit(two_modes, guide=mixture_guide)
    post = fit(two_modes, guide=mixture_guide, objective="wake_sleep", restarts=1)
    assert post.diagnostics.ok, post.diagnostics.problems
    assert abs(post.log_evidence.value) < 0.02
    assert post.draws["z"].std() == pytest.approx(np.sqrt(101), rel=0.05)


def test_guides_that_do_not_fit_the_program_are_refused():
    def guide(x, y, *, fault=""):
        size = 3 if fault == "shape" else 2
        numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([size]).to_event(1))
        if fault != "missing":
            kind = dist.Normal if fault == "support" else dist.LogNormal
            numpyro.sample("sigma", kind(3.0, 0.1))
        if fault == "extra":
            numpyro.sample("more", dist.Normal(0.0, 1.0))

    messages = {
        "missing": "no site 'sigma'",
        "extra": "'more' that is no continuous latent site",
        "shape": r"site 'beta': got values of shape \(3,\)",
        "support": "site 'sigma': got a guide whose draws lie in the real numbers",
    }
    for fault, message in messages.items():

        def faulty(x, y, fault=fault):
            guide(x, y, fault=fault)

        with pytest.raises(ProgramError, match=message):
            fit(noisy, {"x": X, "y": Y}, guide=faulty)


def test_options_that_cannot_be_are_refused(wrong_types):
    for options, error in [
        ({"guide": "nfs"}, UnknownName),
        ({"objective": "elbow"}, UnknownName),
        ({"objective": "wake"}, UnknownName),  # its older name, which wake_sleep stands next to in the error
        ({"alpha": 1.5, "objective": "renyi"}, InvalidArgument),
        ({"samples": 0}, InvalidArgument),
        ({"guide": 3}, InvalidArgument),
    ]:
        with pytest.raises(error):
            fit(banana, **options)


# -- Pyro ----------------------------------------------------------------------------------------------------


def test_a_pyro_program_with_a_guide_by_name(reference):
    from ppgen.models.bayesian.in_pyro import eight_schools as in_pyro

    schools = ppgen.data.load("eight_schools")
    ours = fit(in_pyro.eight_schools, schools, guide="full_rank", restarts=1)
    theirs = fit(eight_schools, schools, guide="full_rank", restarts=1)
    assert ours.drawn.fit.bound == pytest.approx(theirs.drawn.fit.bound, abs=0.05)


def pyro_pair(fault=""):
    """A regression with unknown noise, and a guide for it."""
    import pyro
    import pyro.distributions as dist
    import torch

    positive = dist.constraints.positive

    def program(x, y):
        beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
        with pyro.plate("row", len(x)):
            pyro.sample("y", dist.Normal(beta[0] + beta[1] * x, sigma), obs=y)

    def guide(x, y):
        location = pyro.param("location", torch.zeros(3 if fault == "shape" else 2))
        factor = pyro.param("factor", torch.eye(len(location)), constraint=dist.constraints.lower_cholesky)
        pyro.sample("beta", dist.MultivariateNormal(location, scale_tril=factor))
        kind = dist.Normal if fault == "support" else dist.LogNormal
        if fault != "missing":
            middle, spread = torch.tensor(0.0), torch.tensor(0.3)
            spread = pyro.param("spread", spread, constraint=positive)
            pyro.sample("sigma", kind(pyro.param("middle", middle), spread))

    return program, guide


def test_guides_in_pyro_that_do_not_fit_are_refused():
    for fault in ("missing", "shape", "support"):
        program, guide = pyro_pair(fault)
        with pytest.raises(ProgramError, match="beta" if fault == "shape" else "sigma"):
            fit(program, {"x": X, "y": Y}, guide=guide)


def pyro_module_guide():
    """The same guide as a module, with a network's weights among its parameters."""
    import pyro.distributions as dist
    import torch
    from pyro.nn import PyroModule, PyroParam, PyroSample

    class Guide(PyroModule):
        def __init__(self):
            super().__init__()
            self.location = PyroModule[torch.nn.Linear](1, 2)
            self.factor = PyroParam(torch.eye(2), dist.constraints.lower_cholesky)
            self.middle = torch.nn.Parameter(torch.zeros(()))
            self.spread = PyroParam(torch.tensor(0.3), dist.constraints.positive)
            self.beta = PyroSample(
                lambda self: dist.MultivariateNormal(self.centre(), scale_tril=self.factor)
            )
            self.sigma = PyroSample(lambda self: dist.LogNormal(self.middle, self.spread))

        def centre(self):
            return self.location(torch.ones(1))

        def forward(self, x, y):
            return self.beta, self.sigma

    return Guide()


@pytest.mark.parametrize(
    ("kind", "objective"),
    [("function", "elbo"), ("function", "wake_sleep"), ("module", "elbo"), ("automatic", "elbo")],
)
def test_a_guide_in_pyro_agrees_with_the_one_by_name(kind, objective):
    import pyro
    from pyro.infer.autoguide import AutoMultivariateNormal

    program, guide = pyro_pair()
    guide = {"function": guide, "module": pyro_module_guide(), "automatic": AutoMultivariateNormal(program)}[
        kind
    ]
    data, before = {"x": X, "y": Y}, set(pyro.get_param_store().keys())
    weights = [p.clone() for p in guide.parameters()] if kind == "module" else []
    ours = fit(program, data, guide="full_rank", restarts=1)
    theirs = fit(program, data, guide=guide, objective=objective, restarts=1, draws=2000)
    assert set(pyro.get_param_store().keys()) == before  # nothing is left behind
    assert all((a == b).all() for a, b in zip(weights, guide.parameters() if weights else (), strict=True))
    if objective == "elbo":
        assert theirs.drawn.fit.bound == pytest.approx(ours.drawn.fit.bound, abs=0.1)
    np.testing.assert_allclose(theirs.draws["beta"].mean((0, 1)), ours.draws["beta"].mean((0, 1)), atol=0.03)
    evidence = [np.log(np.exp(post.log_weights).mean()) for post in (ours, theirs)]
    assert evidence[0] == pytest.approx(evidence[1], abs=0.1)
    assert theirs.extend(draws=10, progress=False).positions.shape == (4, 2010, 3)


def test_a_guide_in_pyro_draws_gamma_and_dirichlet_variates_with_their_gradients():
    """Conjugate: the guide can be the posterior, and its bound is then the evidence."""
    import pyro
    import pyro.distributions as dist
    import torch

    counts, total = np.array([7.0, 2.0, 1.0]), 10.0

    def program(counts, total):
        shares = pyro.sample("shares", dist.Dirichlet(torch.ones(3)))
        pyro.sample("counts", dist.Multinomial(10, shares), obs=counts)
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        pyro.sample("total", dist.Poisson(rate), obs=total)

    def guide(counts, total):
        positive = dist.constraints.positive
        pyro.sample("shares", dist.Dirichlet(pyro.param("a", torch.ones(3), constraint=positive)))
        shape = pyro.param("shape", torch.tensor(1.0), constraint=positive)
        pyro.sample("rate", dist.Gamma(shape, pyro.param("rate_of", torch.tensor(1.0), constraint=positive)))

    post = fit(program, {"counts": counts, "total": total}, guide=guide, restarts=1, draws=2000)
    np.testing.assert_allclose(post.draws["shares"].mean((0, 1)), (1 + counts) / 13, atol=0.01)
    assert post.draws["rate"].mean() == pytest.approx(12 / 2, abs=0.1)
    assert post.draws["rate"].std() == pytest.approx(np.sqrt(12) / 2, abs=0.1)
    assert np.ptp(post.log_weights) < 0.1
    assert post.diagnostics.ok


def test_a_guide_in_pyro_that_cannot_be_recorded_is_refused_at_its_line():
    import pyro
    import pyro.distributions as dist
    import torch

    program, guide = pyro_pair()

    def branching(x, y):
        if pyro.param("bend", torch.tensor(1.0)) > 0:
            guide(x, y)

    def frozen(x, y):
        beta = pyro.sample("beta", dist.Normal(pyro.param("m", torch.zeros(2)), 1.0).to_event(1))
        pyro.sample("sigma", dist.LogNormal(torch.tensor(beta.detach().numpy()).sum(), 0.1))

    with pytest.raises(UnsupportedProgram, match=r"test_svi.py:\d+.*torch.where"):
        fit(program, {"x": X, "y": Y}, guide=branching)
    with pytest.raises(UnsupportedProgram, match="Python computes in part"):
        fit(program, {"x": X, "y": Y}, guide=frozen)


# -- a posterior in a guide's space --------------------------------------------------------------------------


def test_a_transformed_density_is_the_original_and_the_jacobian():
    density = read_density(banana)
    moved = fit_transform(density, "realnvp", Request(1, 1, 1, 0, False), max_steps=600)
    with float64():
        w = jax.random.normal(jax.random.key(0), (10, 2))
        ours = jax.vmap(lambda w: moved.graph(moved.inputs, w).log_joint)(w)
        z = moved.to_program(np.asarray(w)[None])[0]
        fitted = moved.fitted

        def to_z(w):
            return fitted.whitening.apply(fitted.guide.push(jnp.asarray(fitted.parameters), w).y)

        log_det = np.linalg.slogdet(jax.vmap(jax.jacfwd(to_z))(w))[1]
        np.testing.assert_allclose(jax.vmap(to_z)(w), z, rtol=1e-10)
    expected = np.array([float(density.log_prob(point)) for point in z]) + log_det
    np.testing.assert_allclose(ours, expected, atol=1e-8)


def test_nuts_in_the_space_of_a_flow_has_the_right_moments():
    import blackjax

    density = read_density(banana)
    moved = fit_transform(density, "realnvp", Request(1, 1, 1, 0, False))
    with float64():

        def log_density(w):
            return moved.graph(moved.inputs, w).log_joint

        kernel = blackjax.nuts(log_density, step_size=0.4, inverse_mass_matrix=jnp.ones(2))

        def step(state, key):
            state, _ = kernel.step(key, state)
            return state, state.position

        start = kernel.init(jnp.zeros(2))
        _, w = jax.lax.scan(step, start, jax.random.split(jax.random.key(0), 4000))
    x, y = moved.to_program(np.asarray(w)[None])[0].T
    assert abs(x.mean()) < 0.15
    assert abs(x.std() - 1.0) < 0.1
    assert abs(y.mean() - 1.0) < 0.15


def test_a_guide_in_pyro_whose_flow_has_no_inverse_is_fitted():
    import pyro
    import pyro.distributions as pyro_dist
    import torch

    def model(y):
        mu = pyro.sample("mu", pyro_dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("y", pyro_dist.Normal(mu, 1.0).to_event(1), obs=y)

    torch.manual_seed(0)
    planar = pyro_dist.transforms.Planar(2)

    def guide(y):
        pyro.module("planar", planar)
        scale = pyro.param("scale", torch.ones(2), constraint=pyro_dist.constraints.positive)
        base = pyro_dist.Normal(pyro.param("loc", torch.zeros(2)), scale).to_event(1)
        pyro.sample("mu", pyro_dist.TransformedDistribution(base, [planar]))

    data = {"y": np.array([1.0, -1.0])}
    post = ppgen.infer(model, data, method="svi", guide=guide, seed=1, progress=False)
    assert post.draws["mu"].mean((0, 1)) == pytest.approx([0.5, -0.5], abs=0.05)  # exact: N(y / 2, 1 / 2)
    assert post.draws["mu"].std((0, 1)) == pytest.approx([0.5**0.5] * 2, rel=0.05)
