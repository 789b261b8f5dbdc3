"""Programs that are refused or misread, and not yet mended: each test states what is right.

A strict expected failure turns red as soon as the fault is mended: take the mark away then.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pyro
import pyro.distributions as pdist
import pytest
import torch
from numpyro.contrib.control_flow import scan
from scipy import stats

import ppgen
from ppgen.errors import PpgenError, ProgramError
from ppgen.program import read_density


def log_joint(program, data, **latents):
    """The log joint density of a program at these latent values, without the Jacobian of their supports."""
    density = read_density(program, data)
    point = density.evaluate(density.unconstrain(latents))
    parts = [*point.log_prior.values(), *point.log_likelihood.values()]
    return sum(float(np.sum(part)) for part in parts)


class TestPyro:
    @pytest.mark.xfail(
        strict=True, raises=ProgramError, reason="the lowering knows no torch.autograd.Function (safe_log)"
    )
    def test_a_discrete_hidden_markov_model(self):
        y = torch.tensor([0.1, 2.9, 3.2, 0.2], dtype=torch.float64)
        moves = torch.tensor([[0.7, 0.3], [0.4, 0.6]], dtype=torch.float64)
        means = torch.tensor([0.0, 3.0], dtype=torch.float64)

        def program(y):
            trans = pyro.sample("trans", pdist.Dirichlet(torch.ones(2, 2)).to_event(1))
            states = pdist.DiscreteHMM(torch.zeros(2), trans.log(), pdist.Normal(means, 1.0))
            pyro.sample("y", states, obs=y)

        def path(states):
            steps = zip((0, *states), states, strict=False)
            seen = stats.norm.logpdf(y.numpy(), means.numpy()[list(states)]).sum()
            return np.exp(seen) * np.prod([moves[a, b] for a, b in list(steps)[1:]])

        # Pyro's chain takes a first step before the first observation, from equally probable states.
        first = (0.5 * moves.sum(0)).numpy()
        paths = [first[states[0]] * path(states) for states in itertools.product((0, 1), repeat=4)]
        assert log_joint(program, {"y": y}, trans=moves.numpy()) == pytest.approx(np.log(np.sum(paths)))

    @pytest.mark.parametrize("operation", ["or", "and", "xor"])
    @pytest.mark.xfail(strict=True, raises=PpgenError, reason="in-place |=, &= and ^= are not lowered")
    def test_logical_operations_in_place(self, operation):
        def program(y):
            phi = pyro.sample("phi", pdist.Uniform(0.0, 1.0))
            seen = y[:, 0].bool()
            if operation == "or":
                seen |= y[:, 1].bool()
            elif operation == "and":
                seen &= y[:, 1].bool()
            else:
                seen ^= y[:, 1].bool()
            with pyro.plate("rows", len(y)), pyro.poutine.mask(mask=seen):
                pyro.sample("y", pdist.Bernoulli(phi), obs=y[:, 2])

        y = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
        rows = {"or": 3, "and": 1, "xor": 2}[operation]
        assert log_joint(program, {"y": y}, phi=0.3) == pytest.approx(rows * np.log(0.3))

    @pytest.mark.xfail(
        strict=True, raises=ProgramError, reason="a plate of size 1 in front counts as a shape"
    )
    def test_a_leading_plate_of_one(self):
        def program(data):
            q = pyro.sample("q", pdist.Uniform(0.0, 1.0))
            with pyro.plate("outer", 1, dim=-2):
                v = pyro.sample("v", pdist.Normal(q, 1.0))
                with pyro.plate("rows", len(data), dim=-1):
                    pyro.sample("y", pdist.Normal(v, 1.0), obs=data)

        y = np.array([1.0, 0.0, 0.0])
        truth = stats.norm.logpdf(0.2, 0.4) + stats.norm.logpdf(y, 0.2).sum()
        assert log_joint(program, {"data": y}, q=0.4, v=np.array([[0.2]])) == pytest.approx(truth)

    @pytest.mark.xfail(
        strict=True, raises=ProgramError, reason="a tensor passes for a number in poutine.scale"
    )
    def test_rows_are_weighted_by_a_tensor(self):
        weights, y = np.array([1.0, 2.0, 0.5]), np.array([0.3, -1.0, 2.0])

        def program(y):
            x = pyro.sample("x", pdist.Normal(0.0, 1.0))
            with pyro.plate("rows", 3), pyro.poutine.scale(scale=torch.tensor(weights)):
                pyro.sample("y", pdist.Normal(x, 1.0), obs=y)

        truth = stats.norm.logpdf(0.4) + weights @ stats.norm.logpdf(y, 0.4)
        density = read_density(program, {"y": y})
        assert float(density.log_prob(np.array([0.4]))) == pytest.approx(truth)


class TestNumPyro:
    @pytest.mark.xfail(
        strict=True,
        raises=PpgenError,
        reason="an integer carry takes no enumerated state in double precision",
    )
    def test_an_integer_state_is_carried(self):
        def program(y):
            phi = numpyro.sample("phi", dist.Uniform(0.0, 1.0))

            def step(z, y):
                z = numpyro.sample("z", dist.Bernoulli(0.1 + 0.8 * phi * z), infer={"enumerate": "parallel"})
                numpyro.sample("y", dist.Bernoulli(0.1 + 0.8 * z), obs=y)
                return z, None

            scan(step, jnp.asarray(1, jnp.int32), y)

        def path(states):
            before = np.array([1, *states[:-1]])
            moved = stats.bernoulli.pmf(states, 0.1 + 0.8 * 0.6 * before)
            return np.prod(moved * stats.bernoulli.pmf(y, 0.1 + 0.8 * np.array(states)))

        y = np.array([1, 0, 0])
        truth = np.log(sum(path(states) for states in itertools.product((0, 1), repeat=3)))
        assert log_joint(program, {"y": y}, phi=0.6) == pytest.approx(truth)

    @pytest.mark.parametrize("use", ["predictive", "smc", "importance"])
    @pytest.mark.xfail(
        strict=True, reason="data that a scan indexes are NumPy's where the program is drawn from"
    )
    def test_a_scan_may_index_its_data(self, use):
        def program(y):
            a = numpyro.sample("a", dist.Normal(0.0, 1.0))

            def step(carry, t):
                mean = a * jnp.where(t > 0, y[t - 1], 0.0)
                return carry, numpyro.sample("obs", dist.Normal(mean, 1.0))

            with numpyro.handlers.condition(data={"obs": y}):
                scan(step, 0.0, jnp.arange(len(y)))

        data = {"y": np.sin(np.arange(20.0))}
        before, now = data["y"][:-1], data["y"][1:]
        precision = 1 + before @ before
        if use == "predictive":
            post = ppgen.infer(program, data, "laplace", progress=False)
            assert post.predictive()["obs"].shape[2:] == (20,)
        else:
            post = ppgen.infer(program, data, use, draws=200, progress=False)
            post = post.corrected() if use == "importance" else post
        assert post.draws["a"].mean() == pytest.approx(before @ now / precision, abs=5 / precision**0.5 / 10)


@pytest.mark.parametrize("language", ["pyro", "numpyro"])
@pytest.mark.xfail(
    strict=True,
    raises=(PpgenError, AssertionError),
    reason="a support that depends on a discrete latent is not enumerated",
)
def test_a_support_may_depend_on_a_discrete_latent(language):
    def in_pyro(y):
        mu = pyro.sample("mu", pdist.Normal(0.0, 1.0))
        n = pyro.sample("n", pdist.Binomial(3, torch.tensor(0.5)))
        k = pyro.sample("k", pdist.Binomial(n, torch.tensor(0.5)))
        pyro.sample("y", pdist.Normal(mu + k, 1.0), obs=y)

    def in_numpyro(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        n = numpyro.sample("n", dist.Binomial(3, 0.5))
        k = numpyro.sample("k", dist.Binomial(n, 0.5))
        numpyro.sample("y", dist.Normal(mu + k, 1.0), obs=y)

    y, mu = 1.5, 0.3
    pairs = [(n, k) for n in range(4) for k in range(n + 1)]
    terms = [
        stats.binom.pmf(n, 3, 0.5) * stats.binom.pmf(k, n, 0.5) * stats.norm.pdf(y, mu + k) for n, k in pairs
    ]
    density = read_density(in_pyro if language == "pyro" else in_numpyro, {"y": np.array(y)})
    truth = stats.norm.logpdf(mu) + np.log(np.sum(terms))
    assert float(density.log_prob(np.array([mu]))) == pytest.approx(truth)
