"""Pyro programs as JAX densities: the same log density, sites and errors as Pyro's own."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer.reparam import LocScaleReparam, TransformReparam
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn

import ppgen
from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.models.bayesian.in_pyro.eight_schools import eight_schools
from ppgen.program import read_density
from ppgen.program.languages.pyro.bijections import find_bijection
from ppgen.program.lowering.recording import record

SCHOOLS = {
    "sigma": np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
    "y": np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
}
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=6)


@pytest.fixture
def double():
    """Pyro in double precision, to compare with."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# -- programs of many shapes -------------------------------------------------------------------------------


def simplex(counts):
    p = pyro.sample("p", dist.Dirichlet(torch.ones(3)))
    pyro.sample("counts", dist.Multinomial(10, p), obs=counts)


def correlation(y):
    scale = pyro.sample("scale", dist.HalfNormal(2.0).expand([3]).to_event(1))
    factor = pyro.sample("L", dist.LKJCholesky(3, 2.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(3), scale_tril=scale[:, None] * factor), obs=y)


def covariance(y):
    corr = pyro.sample("corr", dist.LKJ(3, 1.5))
    precision = pyro.sample("precision", dist.Gamma(2.0, 1.0))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(3), corr / precision), obs=y)


def precision(y):
    matrix = pyro.sample("matrix", dist.Wishart(torch.tensor(5.0), torch.eye(3)))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(3), precision_matrix=matrix), obs=y)


def ordered(y):
    cut = pyro.sample("cut", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.OrderedLogistic(torch.tensor(0.3), cut), obs=y)


def dependent_support(y):
    a = pyro.sample("a", dist.Uniform(0.0, 1.0))
    b = pyro.sample("b", dist.Uniform(0.0, 1.0 - a))
    pyro.sample("y", dist.Normal(a + b, 0.5).expand([2]).to_event(1), obs=y)


def many_supports(y):
    a = pyro.sample("a", dist.Gamma(2.0, 3.0))
    b = pyro.sample("b", dist.Beta(2.0, 3.0))
    c = pyro.sample("c", dist.StudentT(3.0, 0.0, 2.0))
    d = pyro.sample("d", dist.LogNormal(0.0, 1.0))
    e = pyro.sample("e", dist.Cauchy(0.0, 1.0))
    f = pyro.sample("f", dist.Laplace(0.0, 1.0))
    g = pyro.sample("g", dist.Pareto(1.0, 3.0))
    h = pyro.sample("h", dist.Weibull(1.0, 2.0))
    i = pyro.sample("i", dist.Gumbel(0.0, 1.0))
    j = pyro.sample("j", dist.InverseGamma(3.0, 1.0))
    k = pyro.sample("k", dist.Chi2(3.0))
    m = pyro.sample("m", dist.Kumaraswamy(2.0, 3.0))
    n = pyro.sample("n", dist.AsymmetricLaplace(0.0, 1.0, 2.0))
    pyro.sample("y", dist.Normal(a + b + c + d + e + f + g, h + i.exp() + j + k + m + n.abs()), obs=y)


def likelihoods(y, k):
    rate = pyro.sample("rate", dist.Exponential(1.0))
    p = pyro.sample("p", dist.Beta(2.0, 2.0))
    with pyro.plate("row", len(y)):
        pyro.sample("poisson", dist.Poisson(rate), obs=k)
        pyro.sample("binomial", dist.Binomial(9, p), obs=k)
        pyro.sample("beta_binomial", dist.BetaBinomial(rate, 2.0, 9), obs=k)
        pyro.sample("negative_binomial", dist.NegativeBinomial(rate, p), obs=k)
        pyro.sample("zeros", dist.ZeroInflatedPoisson(rate, gate=p), obs=k)
        pyro.sample("gamma_poisson", dist.GammaPoisson(rate, p), obs=k)
        pyro.sample("geometric", dist.Geometric(p), obs=k)
        pyro.sample("bernoulli", dist.Bernoulli(logits=rate), obs=(k > 1).double())
        pyro.sample("skew", dist.SkewLogistic(p, 1.0, rate), obs=y)
        pyro.sample("categorical", dist.Categorical(torch.stack([p, rate, rate])), obs=k % 3)
        pyro.sample("gamma", dist.Gamma(rate, p), obs=y.exp())


def angles(y):
    loc = pyro.sample("loc", dist.VonMises(0.5, 2.0))
    concentration = pyro.sample("concentration", dist.Gamma(2.0, 0.5))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.VonMises(loc, concentration), obs=y)


def mixture_by_hand(y):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    mu = pyro.sample("mu", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    parts = weights.log() + dist.Normal(mu, 1.0).log_prob(y[:, None])
    pyro.factor("mixture", torch.logsumexp(parts, -1).sum())


def mixture(y):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("component", 2):
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        sigma = pyro.sample("sigma", dist.LogNormal(0.0, 1.0))
    with pyro.plate("row", len(y)):
        components = dist.Normal(mu, sigma)
        pyro.sample("y", dist.MixtureSameFamily(dist.Categorical(weights), components), obs=y)


def gaussian_process(x, y):
    length = pyro.sample("length", dist.InverseGamma(3.0, 2.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    kernel = torch.exp(-0.5 * torch.cdist(x, x).square() / length**2) + noise * torch.eye(len(x))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), kernel), obs=y)


def low_rank(y):
    loading = pyro.sample("loading", dist.Normal(0.0, 1.0).expand([6, 1]).to_event(2))
    pyro.sample("y", dist.LowRankMultivariateNormal(torch.zeros(6), loading, torch.ones(6)), obs=y)


def garch(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
    base = pyro.sample("base", dist.HalfNormal(1.0))
    shock = pyro.sample("shock", dist.Uniform(0.0, 1.0))
    memory = pyro.sample("memory", dist.Uniform(0.0, 1.0 - shock))
    variance = torch.zeros(len(y))
    variance[0] = 1.0
    for t in range(1, len(y)):
        variance[t] = base + shock * (y[t - 1] - mu) ** 2 + memory * variance[t - 1]
    pyro.sample("y", dist.Normal(mu, variance.sqrt()).to_event(1), obs=y)


def states(y):
    step = pyro.sample("step", dist.HalfNormal(1.0))
    x = torch.tensor(0.0)
    for t in pyro.markov(range(len(y))):
        x = pyro.sample(f"x_{t}", dist.LogNormal(x, step))
        pyro.sample(f"y_{t}", dist.Normal(x, 1.0), obs=y[t])


def oscillator(y):
    stiffness = pyro.sample("stiffness", dist.LogNormal(0.0, 1.0))
    state = pyro.sample("start", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    def slope(u):
        return torch.stack([u[1], -stiffness * u[0]])

    path = []
    for _ in range(len(y)):
        state = rk4(slope, state, 0.2)
        path.append(state[0])
    pyro.sample("y", dist.Normal(torch.stack(path), 0.1).to_event(1), obs=y)


def rk4(slope, u, h):
    k1 = slope(u)
    k2 = slope(u + h / 2 * k1)
    k3 = slope(u + h / 2 * k2)
    k4 = slope(u + h * k3)
    return u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def nested_plates(y):
    with pyro.plate("group", 3, dim=-2):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("row", 2, dim=-1):
            x = pyro.sample("x", dist.Normal(mu, 1.0))
            pyro.sample("y", dist.Normal(x, 1.0), obs=y)


def sequential_plate(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    for i in pyro.plate("row", len(y)):
        pyro.sample(f"y_{i}", dist.Normal(mu, 1.0), obs=y[i])


def scaled_and_masked(y, keep):
    with poutine.scale(scale=2.5), poutine.mask(mask=keep):
        mu = pyro.sample("mu", dist.Gamma(2.0, 1.0).expand([3]))
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    pyro.sample("z", dist.Normal(mu.sum(), 1.0).mask(False), obs=y[0])


def factors(y):
    mu = pyro.sample("mu", dist.Gamma(2.0, 1.0))
    pyro.factor("penalty", -(mu**2))
    pyro.sample("y", dist.Poisson(mu).expand([2]).to_event(1), obs=y)


def reparametrised(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    config = {"theta": LocScaleReparam(0.0), "rate": TransformReparam()}
    with poutine.reparam(config=config), pyro.plate("row", 3):
        theta = pyro.sample("theta", dist.Normal(mu, 2.0))
        base = dist.Normal(0.0, 1.0)
        rate = pyro.sample("rate", dist.TransformedDistribution(base, [dist.transforms.ExpTransform()]))
        pyro.sample("y", dist.Normal(theta, rate), obs=y)


def _conditioned(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    tau = pyro.sample("tau", dist.HalfNormal(1.0))
    pyro.sample("hidden", dist.Normal(tau, 1.0), obs=mu)
    pyro.sample("y", dist.Normal(mu, tau).expand([6]).to_event(1), obs=y)


_TAU = torch.tensor(0.7, dtype=torch.float64)
conditioned = poutine.block(poutine.condition(_conditioned, data={"tau": _TAU}), hide=["hidden"])


class BayesianNetwork(PyroModule):
    def __init__(self):
        super().__init__()
        self.hidden = PyroModule[nn.Linear](2, 3)
        self.hidden.weight = PyroSample(dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2))
        self.hidden.bias = PyroSample(dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        self.out = PyroModule[nn.Linear](3, 1).requires_grad_(False)
        self.noise = PyroSample(lambda self: dist.LogNormal(self.hidden.bias.sum(), 1.0))

    def forward(self, x, y):
        mean = self.out(torch.tanh(self.hidden(x))).squeeze(-1)
        with pyro.plate("row", len(x)):
            pyro.sample("y", dist.Normal(mean, self.noise), obs=y)


class Decoder(nn.Module):
    """Every layer that decoders are made of, with weights as training leaves them."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4, padding_idx=0)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.layers = nn.Sequential(
            nn.Linear(4, 16), nn.LayerNorm(16), nn.GELU(), nn.Unflatten(-1, (4, 2, 2)),
            nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(4), nn.ELU(),
            nn.Conv2d(4, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.SiLU(), nn.Upsample(scale_factor=2),
            nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 6), nn.Softplus(),
            nn.Hardswish(), nn.LeakyReLU(), nn.PReLU(), nn.Mish(),
        )  # fmt: skip

    def forward(self, z):
        tokens = self.embedding(torch.tensor([[1, 0, 4]])) + z[:, None]
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.layers(self.block(attended).mean(1))


torch.manual_seed(0)
DECODER = Decoder().eval()


def decoder(y):
    with pyro.plate("row", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
        pyro.sample("y", dist.Normal(DECODER(z), 0.1).to_event(1), obs=y)


PROGRAMS = [
    (eight_schools, SCHOOLS),
    (simplex, {"counts": np.array([2.0, 5.0, 3.0])}),
    (correlation, {"y": RNG.normal(size=(4, 3))}),
    (covariance, {"y": RNG.normal(size=3)}),
    (precision, {"y": RNG.normal(size=(4, 3))}),
    (ordered, {"y": np.array([0, 1, 2, 1])}),
    (dependent_support, {"y": np.array([0.2, 0.9])}),
    (many_supports, {"y": 0.3}),
    (likelihoods, {"y": Y, "k": np.array([0, 1, 3, 2, 0, 5])}),
    (angles, {"y": Y}),
    (mixture_by_hand, {"y": Y}),
    (mixture, {"y": Y}),
    (gaussian_process, {"x": X, "y": Y}),
    (low_rank, {"y": Y}),
    (garch, {"y": Y}),
    (states, {"y": Y}),
    (oscillator, {"y": Y}),
    pytest.param(nested_plates, {"y": Y.reshape(3, 2)}, marks=pytest.mark.quick),
    (sequential_plate, {"y": Y}),
    (scaled_and_masked, {"y": np.array([0.5, 1.0, 9.0]), "keep": np.array([True, True, False])}),
    (factors, {"y": np.array([1, 4])}),
    (reparametrised, {"y": np.array([0.1, 0.2, 0.3])}),
    (conditioned, {"y": Y}),
    (BayesianNetwork(), {"x": X, "y": Y}),
    (decoder, {"y": RNG.normal(size=(2, 6))}),
]
EACH_PROGRAM = pytest.mark.parametrize(
    ("program", "data"), PROGRAMS, ids=lambda p: getattr(p, "__name__", type(p).__name__)
)


@EACH_PROGRAM
@pytest.mark.usefixtures("double")
def test_log_density_is_pyros(program, data):
    """The log joint at random points is the sum of Pyro's own trace and of the Jacobians."""
    density = read_density(program, data)
    evaluate = jax.jit(density.graph)
    rng = np.random.default_rng(1)
    for _ in range(3):
        z = rng.normal(size=density.dim)
        with jax.enable_x64(True):
            point = evaluate(density.inputs, z)
        values = {part.name: torch.tensor(np.asarray(point.values[part.name])) for part in density.latents}
        np.testing.assert_allclose(point.log_joint, _pyros_log_joint(program, data, values, z), rtol=1e-9)


def _pyros_log_joint(program, data, values, z):
    tensors = {name: torch.as_tensor(value) for name, value in data.items()}
    for network in (DECODER, program):
        if isinstance(network, nn.Module):
            network.double()
    with torch.no_grad():
        trace = poutine.trace(poutine.condition(program, data=values)).get_trace(**tensors)
        total, parts = trace.log_prob_sum(), []
        for name, value in values.items():
            bijection = find_bijection(_support(trace.nodes[name]["fn"]))
            parts.append(bijection.inv(value))
            total = total + bijection.log_abs_det_jacobian(parts[-1], value).sum()
    for network in (DECODER, program):
        if isinstance(network, nn.Module):
            network.requires_grad_(False)  # Pyro's parameter store has made it trainable
    np.testing.assert_allclose(torch.cat([part.ravel() for part in parts]), z, rtol=1e-6, atol=1e-7)
    return total


def _support(distribution):
    circle = constraints.interval(-math.pi, math.pi)
    return circle if isinstance(distribution, dist.VonMises) else distribution.support


@EACH_PROGRAM
def test_constrain_and_unconstrain_are_inverse(program, data):
    density = read_density(program, data)
    z = np.random.default_rng(1).normal(size=density.dim)
    with jax.enable_x64(True):
        point = jax.jit(density.graph)(density.inputs, z)
    np.testing.assert_allclose(density.unconstrain(point.values), z, atol=1e-7)


@pytest.mark.parametrize("support", [constraints.lower_cholesky, constraints.positive_definite])
@pytest.mark.usefixtures("double")
def test_bijections_to_matrices(support):
    """Onto the support, and with the Jacobian of the entries on and below the diagonal."""
    bijection = find_bijection(support)
    x = torch.from_numpy(RNG.normal(size=(2, 6)))
    y = bijection(x)
    assert support.check(y).all()
    assert bijection.inverse_shape(y.shape) == x.shape
    torch.testing.assert_close(bijection.inv(y), x)
    rows, columns = torch.tril_indices(3, 3)
    for one, log_det in zip(x, bijection.log_abs_det_jacobian(x, y), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: bijection(x)[rows, columns], one)
        torch.testing.assert_close(jacobian.slogdet()[1], log_det)


@pytest.mark.quick
def test_equal_programs_share_a_graph():
    """New numbers, or the same function defined again, compile nothing; another program does."""

    def make(scale):
        def program(y):
            mu = pyro.sample("mu", dist.Normal(0.0, scale))
            pyro.sample("y", dist.Normal(mu, 1.0).expand(y.shape).to_event(1), obs=y)

        return program

    first = read_density(make(1.0), {"y": np.zeros(3)})
    assert first.graph == read_density(make(1.0), {"y": np.ones(3)}).graph
    assert first.graph != read_density(make(2.0), {"y": np.zeros(3)}).graph
    assert first.graph != read_density(make(1.0), {"y": np.zeros(4)}).graph


def test_numbers_that_python_needs_become_constants():
    """Sizes and masks that are read off integer data."""

    def program(group, y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0).expand([int(group.max()) + 1]).to_event(1))
        for k in group.unique().tolist():
            pyro.sample(f"y_{k}", dist.Normal(mu[k], 1.0).expand([1]), obs=y[group == k].mean()[None])

    y = [0.0, 1.0, 2.0, 3.0]
    density = read_density(program, {"group": [0, 1, 1, 2], "y": y})
    other = read_density(program, {"group": [0, 0, 1, 2], "y": y})
    assert density.dim == 3
    z = np.array([0.1, 0.2, 0.3])
    assert float(density.log_prob(z)) != float(other.log_prob(z))
    assert density.graph == read_density(program, {"group": [0, 1, 1, 2], "y": y[::-1]}).graph


def test_impossible_observations_have_no_density():
    def program(y):
        top = pyro.sample("top", dist.Exponential(0.1))
        pyro.sample("y", dist.Uniform(0.0, top).expand([2]).to_event(1), obs=y)

    density = read_density(program, {"y": np.array([1.0, 3.0])})
    assert float(density.log_prob(np.log([2.9]))) == -np.inf
    assert np.isfinite(float(density.log_prob(np.log([3.1]))))

    def counts(y):
        rate = pyro.sample("rate", dist.Exponential(1.0))
        pyro.sample("y", dist.Poisson(rate), obs=y)

    point = read_density(counts, {"y": -1}).evaluate(np.zeros(1))
    assert not point.in_support["y"]
    assert float(point.log_joint) == -np.inf


def test_single_precision_networks_meet_double_precision_latents():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))

    def program(y):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        pyro.sample("y", dist.Normal(network(z).sum(), 1.0), obs=y)

    density = read_density(program, {"y": 0.5})
    z = np.array([0.3, -0.2])
    mean = network.double()(torch.tensor(z)).sum().item()
    expected = scipy.stats.norm.logpdf(0.5, mean) + scipy.stats.norm.logpdf(z).sum()
    assert np.isclose(density.log_prob(z), expected, rtol=1e-9)


def test_the_users_state_is_as_before():
    """Random numbers, the parameter store, torch's dtype and Pyro's validation."""
    pyro.clear_param_store()
    pyro.param("mine", torch.tensor(2.0))
    pyro.enable_validation(True)
    state = torch.random.get_rng_state()
    density = read_density(eight_schools, SCHOOLS)
    density.unconstrain({"mu": 0.0, "tau": 1.0, "z": np.zeros(8)})
    density.simulate(0, {"mu": np.zeros(2), "tau": np.ones(2), "z": np.zeros((2, 8))})
    assert torch.equal(state, torch.random.get_rng_state())
    assert list(pyro.get_param_store()) == ["mine"]
    assert torch.get_default_dtype() == torch.float32
    assert pyro.distributions.is_validation_enabled()
    with pytest.raises(ValueError, match="scale"):
        dist.Normal(0.0, -1.0)
    pyro.clear_param_store()


# -- inference -------------------------------------------------------------------------------------------


def test_eight_schools_by_nuts(reference):
    """Means within 4 standard errors, standard deviations within 10 %."""
    _, answers = reference("eight_schools_noncentered")
    post = ppgen.infer(eight_schools, SCHOOLS, target_accept=0.95, seed=1, progress=False)
    assert post.diagnostics.ok, post.diagnostics.problems
    columns = {"mu": post.draws["mu"], "tau": post.draws["tau"]}
    columns |= {f"theta[{j + 1}]": post.draws["theta"][..., j] for j in range(8)}
    for name, draws in columns.items():
        error = answers[name]["sd"] / np.sqrt(post.diagnostics.ess_bulk_min)
        assert abs(draws.mean() - answers[name]["mean"]) < 4 * error
        assert abs(draws.std() / answers[name]["sd"] - 1) < 0.1
    assert post.to_arviz().posterior["theta"].dims == ("chain", "draw", "school")


def test_simulated_observations_have_the_programs_distribution():
    density = read_density(eight_schools, SCHOOLS)
    values = {"mu": np.full(500, 3.0), "tau": np.full(500, 2.0), "z": np.ones((500, 8))}
    drawn = density.simulate(0, values)["y"]
    assert drawn.shape == (500, 8)
    np.testing.assert_allclose(drawn.mean(0), 5.0, atol=4 * SCHOOLS["sigma"].max() / np.sqrt(500))
    np.testing.assert_allclose(drawn.std(0), SCHOOLS["sigma"], rtol=0.15)
    np.testing.assert_array_equal(density.simulate(0, values)["y"], drawn)
    assert not np.array_equal(density.simulate(1, values)["y"], drawn)


# -- what cannot be lowered ------------------------------------------------------------------------------


def _branches(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mu if mu > 0 else -mu, 1.0), obs=y)


def _lists(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    pyro.sample("y", dist.Normal(sum(mu.tolist()), 1.0), obs=y)


def _leaves_torch(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(torch.as_tensor(np.sin(mu.numpy())), 1.0), obs=y)


def _no_such_operation(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(torch.special.bessel_j0(mu), 1.0), obs=y)


def _draws_outside(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mu + torch.randn(()), 1.0), obs=y)


def _hides_a_latent(y):
    pyro.sample("mu", dist.Normal(0.0, 1.0))
    with poutine.block():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(x, 1.0), obs=y)


def _free_parameter(y):
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(m, pyro.param("w", torch.ones(()))), obs=y)


def _free_network(y):
    network = pyro.module("net", nn.Linear(1, 1))
    pyro.sample("y", dist.Normal(network(pyro.sample("m", dist.Normal(torch.zeros(1), 1.0))), 1.0), obs=y)


class _FreeModule(PyroModule):
    def __init__(self):
        super().__init__()
        self.w = PyroParam(torch.ones(()), constraints.positive)
        self.m = PyroSample(dist.Normal(0.0, 1.0))

    def forward(self, y):
        pyro.sample("y", dist.Normal(self.m, self.w), obs=y)


def _not_by_its_plate(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("row", 5, subsample_size=2):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y.expand(2))


def _latent_delta(y):
    pyro.sample("mu", dist.Delta(torch.zeros(())))


def _discrete(y):
    pyro.sample("k", dist.Bernoulli(0.5))


def _on_the_sphere(y):
    pyro.sample("x", dist.ProjectedNormal(torch.ones(3)))


def _nothing_latent(y):
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def _fails(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mu, -1.0), obs=y)


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (_branches, UnsupportedProgram, r"program \(.*test_lowering.py:\d+\).*torch.where"),
        (_lists, UnsupportedProgram, r"program \(.*test_lowering.py:\d+\).*torch.where"),
        (_leaves_torch, UnsupportedProgram, r"no .numpy\(\)"),
        (_no_such_operation, UnsupportedProgram, r"aten::special_bessel_j0 \(.*test_lowering.py:\d+\)"),
        (_draws_outside, UnsupportedProgram, r"aten::randn \(.*test_lowering.py:\d+\).*random numbers"),
        (_hides_a_latent, UnsupportedProgram, r"random numbers outside.*poutine.block"),
        (_free_parameter, UnsupportedProgram, "site 'w'.*poutine.substitute"),
        (_free_network, UnsupportedProgram, r"site 'net\$\$\$weight'.*requires_grad_\(False\)"),
        (_FreeModule(), UnsupportedProgram, "site 'w'.*pyro.param"),
        (_not_by_its_plate, ProgramError, "read in full: 'row'.*y\\[rows\\]"),
        (_latent_delta, UnsupportedProgram, "site 'mu'.*pyro.deterministic"),
        (_discrete, UnsupportedProgram, "site 'k'.*discrete latent"),
        (_on_the_sphere, UnsupportedProgram, "site 'x'.*ProjectedNormal.*support"),
        (_nothing_latent, ProgramError, "no latent site"),
        (_fails, ProgramError, "ValueError when it was run on the data"),
    ],
)
def test_bad_programs(program, error, words):
    with pytest.raises(error, match=words):
        read_density(program, {"y": 0.5})


def test_fixed_parameters_are_constants():
    fixed = poutine.substitute(_free_parameter, data={"w": torch.tensor(2.0)})
    assert read_density(fixed, {"y": 0.5}).dim == 1
    assert read_density(_FreeModule().requires_grad_(False), {"y": 0.5}).dim == 1


def test_records_are_replayed_on_other_numbers():
    """Writing in place, views of views, and a result that came in as it is."""

    def function(x):
        h = torch.zeros(3)
        h[1:] += x
        h.view(3, 1)[0].fill_(2.0)
        m = torch.outer(x, x).fill_diagonal_(7.0)
        return {"h": h, "x": x, "m": m, "n": [torch.arange(2)]}

    result = record(function, torch.zeros(2)).in_jax(jnp.array([1.0, 3.0]))
    np.testing.assert_array_equal(result["h"], [2.0, 1.0, 3.0])
    np.testing.assert_array_equal(result["x"], [1.0, 3.0])
    np.testing.assert_array_equal(result["m"], [[7.0, 3.0], [3.0, 7.0]])
    np.testing.assert_array_equal(result["n"][0], [0, 1])
