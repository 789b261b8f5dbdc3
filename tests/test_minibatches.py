"""Programs whose plates subsample: full posteriors from minibatches, and full data for everything else."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pyro
import pyro.distributions as pdist
import pytest
import torch
from numpyro.distributions import constraints
from scipy.stats import norm

import ppgen
from ppgen.errors import InvalidArgument, ProgramError, UnsupportedProgram
from ppgen.inference.guides.named import surrogate_of
from ppgen.inference.guides.target import MinibatchTarget, estimates, read_at
from ppgen.program import read_density, read_sites
from ppgen.program.density import float64

RNG = np.random.default_rng(0)
FEW = {"x": RNG.normal(size=6), "y": RNG.normal(size=6)}
X = RNG.normal(size=2000)
MANY = {"x": X, "y": 1.0 + 2.0 * X + RNG.normal(size=2000), "m": 50}
Z = np.array([0.3, -0.7])


def in_numpyro(x, y, m=2):
    """Conjugate: noise 1, prior N(0, 10) on both coefficients."""
    a = numpyro.sample("a", dist.Normal(0.0, 10.0))
    b = numpyro.sample("b", dist.Normal(0.0, 10.0))
    with numpyro.plate("rows", len(y), subsample_size=m) as rows:
        numpyro.sample("y", dist.Normal(a + b * x[rows], 1.0), obs=y[rows])


def in_pyro(x, y, m=2):
    a = pyro.sample("a", pdist.Normal(0.0, 10.0))
    b = pyro.sample("b", pdist.Normal(0.0, 10.0))
    with pyro.plate("rows", len(y), subsample_size=m):
        x, y = pyro.subsample(x, event_dim=0), pyro.subsample(y, event_dim=0)
        pyro.sample("y", pdist.Normal(a + b * x, 1.0), obs=y)


def by_subsample(x, y, m=2):
    a = numpyro.sample("a", dist.Normal(0.0, 10.0))
    b = numpyro.sample("b", dist.Normal(0.0, 10.0))
    with numpyro.plate("rows", len(y), subsample_size=m):
        x, y = numpyro.subsample(x, event_dim=0), numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(a + b * x, 1.0), obs=y)


def by_index_in_pyro(x, y, m=2):
    a = pyro.sample("a", pdist.Normal(0.0, 10.0))
    b = pyro.sample("b", pdist.Normal(0.0, 10.0))
    with pyro.plate("rows", len(y), subsample_size=m) as rows:
        pyro.sample("y", pdist.Normal(a + b * x[rows], 1.0), obs=y[rows])


WAYS = [in_numpyro, by_subsample, in_pyro, by_index_in_pyro]


DESIGN = np.stack([np.ones(len(X)), X], axis=1)


def covariance():
    """That of both coefficients given the 2000 rows."""
    return np.linalg.inv(DESIGN.T @ DESIGN + np.eye(2) / 100)


def exact():
    """Mean and standard deviation of both coefficients given the 2000 rows."""
    return covariance() @ DESIGN.T @ MANY["y"], np.sqrt(np.diag(covariance()))


def off(post):
    """Standardised error of the means, and ratio of the standard deviations."""
    mean, sd = exact()
    draws = np.stack([post.draws["a"].ravel(), post.draws["b"].ravel()], axis=1)
    return np.abs((draws.mean(0) - mean) / sd).max(), np.abs(draws.std(0) / sd - 1).max()


def at(density, z):
    return float(density.log_prob(z))


def of_rows(minibatches, rows, z):
    return float(minibatches.log_prob(rows, np.asarray(z)))


# -- the density, and its estimates ------------------------------------------------------------------------


@pytest.mark.parametrize("program", WAYS)
def test_the_density_is_that_of_all_rows_and_the_mean_over_all_minibatches(program):
    density, plain = read_density(program, FEW), read_density(program, {**FEW, "m": None})
    by_hand = norm.logpdf(Z, 0, 10).sum() + norm.logpdf(FEW["y"], Z[0] + Z[1] * FEW["x"]).sum()
    assert abs(at(density, Z) - by_hand) < 1e-9
    assert abs(at(density, Z) - at(plain, Z)) < 1e-12
    assert plain.in_minibatches is None
    assert read_sites(program, FEW)[-1].shape == (6,)

    minibatches = density.in_minibatches()
    with float64():
        rows = jnp.asarray(list(combinations(range(6), 2)))

        def estimate(z, rows):
            return minibatches.graph(minibatches.inputs, [rows], z).log_joint

        values, gradients = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))(jnp.asarray(Z), rows)
        gradient = jax.grad(lambda z: density.graph(density.inputs, z).log_joint)(jnp.asarray(Z))
    values = np.asarray(values)
    assert values.std() > 1
    assert abs(values.mean() - at(density, Z)) < 1e-9
    np.testing.assert_allclose(np.asarray(gradients).mean(0), gradient, atol=1e-9)


def test_rows_repeat_as_the_data_do():
    minibatches = read_density(in_numpyro, FEW).in_minibatches()
    found = of_rows(minibatches, {"rows": [4, 1]}, Z)
    likelihood = norm.logpdf(FEW["y"], Z[0] + Z[1] * FEW["x"])
    assert abs(found - norm.logpdf(Z, 0, 10).sum() - 3 * (likelihood[4] + likelihood[1])) < 1e-9


def test_estimates_with_the_control_variate_are_unbiased_and_quiet():
    """A regression in Student's t is not quadratic, so that some noise is left."""

    def program(x, y, m=5):
        beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with numpyro.plate("rows", len(y), subsample_size=m) as rows:
            numpyro.sample("y", dist.StudentT(4.0, beta[0] + beta[1] * x[rows], scale), obs=y[rows])

    density = read_density(program, {"x": X[:100], "y": MANY["y"][:100]})
    minibatches = density.in_minibatches()
    target, z = MinibatchTarget(minibatches.graph), np.array([1.1, 1.9, 0.1])
    with float64():
        arrays = read_at(density, minibatches, np.array([1.0, 2.0, 0.0]), 0)
        windows = (jnp.arange(100)[:, None] + jnp.arange(5)) % 100  # every run of rows that a step can take

        def both(rows):
            given = [arrays.orders[0][rows]]
            with_it = jax.value_and_grad(target.estimate(arrays, given))
            without = minibatches.graph(minibatches.inputs, given, jnp.asarray(z)).log_joint
            return (*with_it(jnp.asarray(z)), without)

        values, gradients, plain = jax.jit(jax.vmap(both))(windows)
        gradient = jax.grad(lambda z: density.graph(density.inputs, z).log_joint)(jnp.asarray(z))
    values, plain = np.asarray(values), np.asarray(plain)
    assert abs(values.mean() - at(density, z)) < 1e-9
    np.testing.assert_allclose(np.asarray(gradients).mean(0), gradient, atol=1e-9)
    assert values.std() < plain.std() / 5


def test_the_gradient_of_the_elbo_is_unbiased():
    """Averaged over many steps' keys, the surrogate's gradient on minibatches is that on all rows."""
    density = read_density(in_numpyro, FEW)
    minibatches = density.in_minibatches()
    target = MinibatchTarget(minibatches.graph)
    guide = ppgen.inference.guides.make_guide("mean_field", 2, {})
    bound = ppgen.inference.SVI().recipe.bound
    with float64():
        whitening = ppgen.inference.guides.guide.Whitening(jnp.zeros(2), jnp.ones(2), jnp.zeros(()))
        arrays = read_at(density, minibatches, np.array([2.0, -2.0]), 0)
        keys = jax.random.split(jax.random.key(1), 4000)
        parameters = guide.initial(jax.random.key(0)) + 0.1

        def gradients(target, inputs):
            surrogate = surrogate_of(target, guide, bound, 2)
            each = jax.vmap(lambda key: jax.grad(surrogate)(parameters, key, inputs, whitening))
            return np.asarray(jax.jit(each)(keys))

        noisy, whole = gradients(target, arrays), gradients(density.graph, density.inputs)
    difference = noisy - whole  # the draws are the same, the rows are not
    error = difference.mean(0) / (difference.std(0) / np.sqrt(len(keys)) + 1e-9)
    assert difference.std() > 0.1
    assert np.abs(error).max() < 4

    z = np.tile(Z, (100, 1))
    with float64():
        found, again = (estimates(density, target, arrays, z) for _ in range(2))
    assert len(np.unique(found.round(9))) > 1  # each point has rows of its own, the same at every look
    np.testing.assert_array_equal(found, again)


# -- posteriors --------------------------------------------------------------------------------------------


def infer(program, data, method="svi", **options):
    return ppgen.infer(program, data, method=method, progress=False, **options)


def test_svi_on_minibatches_finds_the_closed_form():
    post = infer(in_pyro, MANY, restarts=1)
    error, ratio = off(post)
    assert error < 0.05
    assert ratio < 0.05
    assert post.diagnostics.ok
    assert "50 of the 2000 rows of rows" in post.how
    mean, _ = exact()  # log p(y) = log p(y, a, b) - log p(a, b | y), at the mean
    joint = norm.logpdf(mean, 0, 10).sum() + norm.logpdf(MANY["y"], mean[0] + mean[1] * X).sum()
    evidence = joint + np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance())[1]
    assert abs(post.log_evidence.value - evidence) < 0.02


def numpyro_guide(x, y, m):
    location = numpyro.param("location", jnp.zeros(2))
    scale = numpyro.param("scale", 0.1 * jnp.ones(2), constraint=constraints.positive)
    with numpyro.plate("rows", len(y), subsample_size=m):
        pass
    numpyro.sample("a", dist.Normal(location[0], scale[0]))
    numpyro.sample("b", dist.Normal(location[1], scale[1]))


def pyro_guide(x, y, m):
    location = pyro.param("location", torch.zeros(2))
    scale = pyro.param("scale", 0.1 * torch.ones(2), constraint=pdist.constraints.positive)
    with pyro.plate("rows", len(y), subsample_size=m):
        pass
    pyro.sample("a", pdist.Normal(location[0], scale[0]))
    pyro.sample("b", pdist.Normal(location[1], scale[1]))


@pytest.mark.parametrize(("program", "guide"), [(in_numpyro, numpyro_guide), (in_pyro, pyro_guide)])
def test_a_guide_of_a_users_own_on_minibatches(program, guide):
    post = infer(program, MANY, guide=guide, restarts=1)
    error, ratio = off(post)
    assert error < 0.06
    assert ratio < 0.06
    assert "50 of the 2000 rows of rows" in post.how


def test_few_steps_are_enough_for_a_fit_of_sorts():
    with pytest.warns(ppgen.errors.InferenceWarning, match="had not converged after max_steps=100"):
        infer(in_numpyro, FEW | {"m": 3}, restarts=1, max_steps=100, draws=100)


def test_other_methods_read_all_rows():
    post = infer(in_pyro, MANY, "nuts", draws=500, tune=300)
    error, ratio = off(post)
    assert error < 0.12
    assert ratio < 0.1


def test_everything_after_the_fit_has_the_full_length(tmp_path):
    post = infer(in_numpyro, FEW | {"m": 3}, draws=50)
    assert post.predictive()["y"].shape == (4, 50, 6)
    data = post.to_arviz(predictive=True, prior=10)
    assert data["log_likelihood"]["y"].shape == (4, 50, 6)
    assert data["prior_predictive"]["y"].shape == (1, 10, 6)
    assert data["log_likelihood"]["y"].dims[-1] == "rows"
    a, b = (data["posterior"][name].values for name in "ab")
    by_hand = norm.logpdf(FEW["y"], a[..., None] + b[..., None] * FEW["x"])
    np.testing.assert_allclose(data["log_likelihood"]["y"], by_hand, atol=1e-9)
    prior = norm.logpdf(a, 0, 10) + norm.logpdf(b, 0, 10)
    np.testing.assert_allclose(data["sample_stats"]["lp"], prior + by_hand.sum(-1), atol=1e-9)
    np.testing.assert_allclose(post.log_weights, post.stats["lp"] - post.stats["log_q"], atol=1e-9)
    again = ppgen.Posterior.load(post.save(tmp_path / "post.nc"), in_numpyro)
    np.testing.assert_array_equal(again.extend(10, progress=False).draws["a"][:, :50], post.draws["a"])


def test_size_of_the_minibatch_is_not_lost_in_the_cache():
    """The same program with other minibatches, then with other data: each has its own graph or inputs."""
    first, second = (read_density(in_numpyro, FEW | {"m": m}).in_minibatches() for m in (2, 3))
    assert first.graph != second.graph
    assert read_density(in_numpyro, FEW | {"m": 2}).in_minibatches().graph == first.graph
    shifted = read_density(in_numpyro, {"x": FEW["x"], "y": FEW["y"] + 5.0, "m": 2})
    posts = [infer(in_numpyro, data, restarts=1) for data in (FEW | {"m": 2}, shifted.data, FEW | {"m": 3})]
    means = [post.draws["a"].mean() for post in posts]
    assert means[1] - means[0] > 4
    assert abs(means[2] - means[0]) < 0.1


# -- programs of other shapes ------------------------------------------------------------------------------


def test_discrete_latents_of_rows_are_summed_out():
    def mixture(y, m):
        mu = pyro.sample("mu", pdist.Normal(0.0, 5.0).expand([2]).to_event(1))
        with pyro.plate("rows", len(y), subsample_size=m) as rows:
            k = pyro.sample("k", pdist.Bernoulli(0.3)).long()
            pyro.sample("y", pdist.Normal(mu[k], 1.0), obs=y[rows])

    y = np.array([-2.0, 3.0, -1.0, 4.0])
    each = np.log(0.7 * norm.pdf(y, Z[0]) + 0.3 * norm.pdf(y, Z[1]))
    minibatches = read_density(mixture, {"y": y, "m": 2}).in_minibatches()
    found = of_rows(minibatches, {"rows": [3, 0]}, Z)
    assert abs(found - norm.logpdf(Z, 0, 5).sum() - 2 * (each[3] + each[0])) < 1e-9


def test_two_plates_that_both_subsample():
    def crossed(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        rows = numpyro.plate("rows", 4, subsample_size=2, dim=-2)
        columns = numpyro.plate("columns", 6, subsample_size=3, dim=-1)
        with rows as i, columns as j:
            numpyro.sample("y", dist.Normal(mu, 1.0), obs=y[i[:, None], j])

    def crossed_in_pyro(y):
        mu = pyro.sample("mu", pdist.Normal(0.0, 1.0))
        rows = pyro.plate("rows", 4, subsample_size=2, dim=-2)
        columns = pyro.plate("columns", 6, subsample_size=3, dim=-1)
        with rows as i, columns as j:
            pyro.sample("y", pdist.Normal(mu, 1.0), obs=y[i[:, None], j])

    y = RNG.normal(size=(4, 6))
    for program in (crossed, crossed_in_pyro):
        minibatches = read_density(program, {"y": y}).in_minibatches()
        found = of_rows(minibatches, {"rows": [3, 1], "columns": [0, 5, 2]}, [0.5])
        block = norm.logpdf(y[np.ix_([3, 1], [0, 5, 2])], 0.5).sum()
        assert abs(found - norm.logpdf(0.5) - 4 * block) < 1e-9


def test_groups_that_python_counts():
    """Integers whose numbers Python needs are constants of the graph, and still indexed by the rows."""

    def program(y, group, m=3):
        with numpyro.plate("groups", int(np.max(group)) + 1):
            mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", len(y), subsample_size=m) as rows:
            numpyro.sample("y", dist.Normal(mu[group[rows]], 1.0), obs=y[rows])

    group, z = np.array([0, 1, 2, 0, 1, 2]), np.array([1.0, 2.0, 3.0])
    minibatches = read_density(program, {"y": FEW["y"], "group": group}).in_minibatches()
    found = of_rows(minibatches, {"rows": [5, 0, 4]}, z)
    each = norm.logpdf(FEW["y"], z[group])
    assert abs(found - norm.logpdf(z).sum() - 2 * each[[5, 0, 4]].sum()) < 1e-9


# -- what is refused ---------------------------------------------------------------------------------------


def local(y):
    with numpyro.plate("rows", len(y), subsample_size=2) as rows:
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y[rows])


def local_in_pyro(y):
    with pyro.plate("rows", len(y), subsample_size=2) as rows:
        x = pyro.sample("x", pdist.Normal(0.0, 1.0))
        pyro.sample("y", pdist.Normal(x, 1.0), obs=y[rows])


@pytest.mark.parametrize("program", [local, local_in_pyro])
def test_local_latents(program):
    with pytest.raises(UnsupportedProgram, match=r"site 'x'.*plate 'rows'.*ppgen.train"):
        infer(program, {"y": FEW["y"]})
    assert infer(program, {"y": FEW["y"]}, "laplace", draws=50).draws["x"].shape == (4, 50, 6)


@pytest.mark.parametrize("program", [in_numpyro, in_pyro])
@pytest.mark.parametrize("m", [7, 0])
def test_more_rows_than_there_are(program, m):
    with pytest.raises(ProgramError, match=rf"plate 'rows': got subsample_size={m}, expected from 1 to .* 6"):
        read_density(program, FEW | {"m": m})


def test_rows_that_know_of_each_other():
    def centred(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", len(y), subsample_size=2):
            batch = numpyro.subsample(y, event_dim=0)
            numpyro.sample("y", dist.Normal(mu + batch.mean(), 1.0), obs=batch)

    with pytest.raises(UnsupportedProgram, match="site 'y'.*minibatch that is not theirs"):
        infer(centred, {"y": FEW["y"]})


def test_data_that_are_the_minibatch_already():
    def fed(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", 100, subsample_size=len(y)):
            numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with pytest.raises(ProgramError, match=r"read in full: 'rows' \(100 rows, not 6\).*y\[rows\]"):
        infer(fed, {"y": FEW["y"]})


def test_a_python_loop_over_the_rows():
    def loop(y):
        mu = pyro.sample("mu", pdist.Normal(0.0, 1.0))
        for i in pyro.plate("rows", len(y), subsample_size=2):
            pyro.sample(f"y_{i}", pdist.Normal(mu, 1.0), obs=y[i])

    density = read_density(loop, {"y": FEW["y"]})
    assert abs(at(density, np.array([0.5])) - norm.logpdf(0.5) - norm.logpdf(FEW["y"], 0.5).sum()) < 1e-9
    with pytest.raises(UnsupportedProgram, match="plate 'rows'"):
        density.in_minibatches()


def test_bounds_that_minibatches_would_bias():
    with pytest.raises(InvalidArgument, match="objective: got 'iwae'.*biased"):
        infer(in_numpyro, FEW, objective="iwae")
