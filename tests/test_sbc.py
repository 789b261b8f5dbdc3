"""Simulation-based calibration: right programs pass, wrong ones are found out, bands hold what they say."""

import io
import json
from dataclasses import replace

import arviz
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pyro
import pytest
import torch
from scipy.stats import norm

import ppgen
from ppgen import plots
from ppgen.errors import (
    DataError,
    InferenceError,
    InvalidArgument,
    ProgramError,
    UnknownName,
    UnsupportedProgram,
)
from ppgen.inference import NUTS, SMC, SVI, Laplace, Request
from ppgen.inference.batch import make_batch
from ppgen.inference.batched_calls import BatchedCalls
from ppgen.program import read_density
from ppgen.workflow import calibrate, calibration
from ppgen.workflow.calibration import chain_check
from ppgen.workflow.calibration.uniformity import counts_below, p_value, simultaneous_band, stay_inside

N = 5
DATA = {"y": np.zeros(N)}
X = np.linspace(1.0, 2.0, 8)


def location(y):
    """Prior N(0, 1), five observations with noise 1: the posterior is N(Σy / 6, 1 / √6)."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", N):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def wide_prior(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 3.0))
    with numpyro.plate("row", N):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def shifted_prior(y):
    mu = numpyro.sample("mu", dist.Normal(1.5, 1.0))
    with numpyro.plate("row", N):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def noisier(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", N):
        numpyro.sample("y", dist.Normal(mu, 2.0), obs=y)


def line(x, y):
    """Intercept and slope, which the covariate from 1 to 2 ties together."""
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    level = numpyro.deterministic("level", beta[0] + beta[1] * x[3])
    with numpyro.plate("row", 8):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, 0.3), obs=y)
    return level


def in_pyro(x, y):
    beta = pyro.sample("beta", pyro.distributions.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("row", 8):
        pyro.sample("y", pyro.distributions.Normal(beta[0] + beta[1] * x, 0.3), obs=y)


def check(program, data=DATA, method="laplace", simulations=100, **options):
    return calibrate(program, data, method=method, simulations=simulations, progress=False, **options)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("nuts", {"tune": 200}),
        ("svi", {"restarts": 1, "samples": 8}),
        ("laplace", {}),
        ("smc", {"target_ess": 0.4}),
    ],
)
def test_ranks_are_those_of_the_exact_posterior(method, options):
    found = check(location, method=method, simulations=64, **options)
    assert found.ok, str(found)
    assert found.batched
    assert found.failed <= 3  # short chains: a few are worth a little less than is ranked
    exact = norm.cdf(found.truths["mu"], found.data["y"].sum(1) / (N + 1), 1 / np.sqrt(N + 1))
    error = (found.ranks[:, 0] + 0.5) / (found.draws + 1) - exact
    # Of L independent draws, the share below a point of probability u has variance u (1 - u) / L.
    z = error / np.sqrt(np.maximum(exact * (1 - exact), 1 / found.draws) / found.draws)
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.3
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize(
    "method", [NUTS(), NUTS(metric="low_rank"), Laplace(), SVI(restarts=1, samples=8), SMC(particles=200)]
)
def test_data_sets_together_give_what_each_gives_alone(method):
    """The same draws from the same seeds, up to rounding, where a single one draws by the same numbers."""
    data = {"x": X, "y": np.zeros(8)}
    density = read_density(line, data)
    ys = np.random.default_rng(0).normal(X, 0.3, size=(3, 8))
    (place,) = (i for i, array in enumerate(density.inputs.arrays) if np.array_equal(array, np.zeros(8)))
    arrays = [[*density.inputs.arrays[:place], y, *density.inputs.arrays[place + 1 :]] for y in ys]
    densities = [replace(density, inputs=density.inputs._replace(arrays=own)) for own in arrays]
    requests = [Request(200, 200, 2, seed=seed, progress=False) for seed in range(3)]
    assert method.batching(density, requests[0]).size > 1
    together = method.draw_many(make_batch(densities, [place]), requests)
    alone = [method.draw(*one) for one in zip(densities, requests, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.positions.shape == other.positions.shape == (2, 200, 2)
        mean, spread = other.positions.mean((0, 1)), other.positions.std((0, 1))
        np.testing.assert_array_less(abs(one.positions.mean((0, 1)) - mean) / spread, 0.4)
        np.testing.assert_allclose(one.positions.std((0, 1)), spread, rtol=0.25)
        assert one.stats.keys() == other.stats.keys()
        if method.name in ("laplace", "svi"):
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-3 * spread.max())
            assert one.log_evidence.value == pytest.approx(other.log_evidence.value, abs=1e-3)


def test_a_wrong_prior_is_found_out():
    found = check(location, simulator=wide_prior)
    assert not found.ok
    assert "mu is too narrow" in found.problems[0] or "log likelihood" in found.problems[0]
    assert {test.name for test in found.tests if test.adjusted < 0.05} >= {"mu"}
    shifted = check(location, simulator=shifted_prior)
    assert any("mu is biased downwards" in problem for problem in shifted.problems)
    shift = shifted.tests[0]
    assert shift.shift_interval[0] > 0.05


def test_a_wrong_likelihood_is_found_out():
    found = check(location, simulator=noisier)
    test = found.tests[0]
    assert test.name == "mu"
    assert test.adjusted < 1e-3
    assert test.spread_interval[0] > 1  # too narrow
    log_likelihood = found.tests[1]
    assert log_likelihood.name == "log likelihood"
    assert log_likelihood.adjusted < 1e-6  # far noisier data than the program thinks
    assert log_likelihood.shift < -0.15


def test_a_mean_field_guide_is_too_narrow():
    options = {"guide": "mean_field", "restarts": 1, "samples": 8}
    found = check(line, {"x": X, "y": np.zeros(8)}, "svi", simulations=64, **options)
    assert found.names == ("beta[0]", "beta[1]", "level", "log likelihood")
    assert any("beta[0] is too narrow" in problem for problem in found.problems)
    assert any("beta[1] is too narrow" in problem for problem in found.problems)
    assert found.failed > 20  # its own importance weights know of it
    assert any("own diagnostics" in problem for problem in found.problems)
    assert "32 data sets at a time" in str(found)


def test_both_languages_and_the_same_seed():
    data = {"x": X, "y": np.zeros(8)}
    first, again = (check(in_pyro, data) for _ in range(2))
    assert first.ok, str(first)
    assert first.batched
    assert np.array_equal(first.ranks, again.ranks)
    other = check(in_pyro, data, seed=1)
    assert not np.array_equal(first.ranks, other.ranks)
    assert check(line, data).ok


def test_covariates_stay_and_observed_values_do_not_matter():
    ones, zeros = (check(location, {"y": np.full(N, value)}) for value in (1.0, 0.0))
    assert np.array_equal(ones.ranks, zeros.ranks)


def flat(y):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    with numpyro.plate("row", N):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def test_around_a_posterior_both_data_sets_are_fitted():
    y = np.array([2.0, 1.0, 3.0, 2.5, 1.5])
    post = ppgen.infer(flat, {"y": y}, "laplace", progress=False)
    found = calibrate(flat, around=post, method="laplace", simulations=100, progress=False)
    assert found.ok, str(found)
    assert found.batched
    assert abs(found.truths["mu"].mean() - 2) < 0.2
    both = (y.sum() + found.data["y"].sum(1)) / (2 * N)  # the posterior of ten observations
    exact = norm.cdf(found.truths["mu"], both, 1 / np.sqrt(2 * N))
    assert np.abs(found.ranks[:, 0] / found.draws - exact).max() < 0.25
    with pytest.raises(InvalidArgument, match="another program"):
        calibrate(location, around=post)
    with pytest.raises(InvalidArgument, match="more than the 4000"):
        calibrate(flat, around=post, simulations=5000)


def test_serial_fits_say_so_and_errors_are_counted(monkeypatch):
    fits = []

    def sometimes(method, density, request):
        fits.append(request.seed)
        if len(fits) == 4:
            return InferenceError("program", got="nothing", expected="something", fix="Try again.")
        return method.draw(density, request)

    monkeypatch.setattr(calibration.fits, "draw_or_error", sometimes)
    found = check(location, method="importance", simulations=20, thin=2)
    assert not found.batched
    assert "One data set after another" in found.how
    assert found.without_draws == 1
    assert (found.ranks[3] == -1).all()
    assert not found.ok
    assert "1 of 20 fits ended in an error" in found.problems[0]
    assert "simulation 3: program: got nothing" in found.problems[0]


def read_by_python(y):
    scale = 1.0 + 0 * float(np.asarray(y)[0])
    mu = numpyro.sample("mu", dist.Normal(0.0, scale))
    with numpyro.plate("row", N):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def test_a_program_that_python_reads_is_fitted_serially():
    found = check(read_by_python, simulations=20, starts=1, thin=2)
    assert not found.batched
    assert "run the program again" in found.how
    exact = norm.cdf(found.truths["mu"], found.data["y"].sum(1) / (N + 1), 1 / np.sqrt(N + 1))
    assert np.abs(found.ranks[:, 0] / found.draws - exact).max() < 0.25


# -- what is refused ---------------------------------------------------------------------------------------


def factor(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.factor("extra", -(mu**2))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([N]).to_event(1), obs=y)


def unobserved(y):
    numpyro.sample("mu", dist.Normal(jnp.mean(y), 1.0))


def logged(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([N]).to_event(1), obs=jnp.log(y + 1))


def empirical_prior(y):
    mu = numpyro.sample("mu", dist.Normal(jnp.mean(y), 1.0))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([N]).to_event(1), obs=y)


def autoregression(y):
    rho = numpyro.sample("rho", dist.Normal(0.0, 0.5))
    before = jnp.concatenate([jnp.zeros(1), y[:-1]])
    numpyro.sample("y", dist.Normal(rho * before, 1.0).to_event(1), obs=y)


def counts(n):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("n", dist.Poisson(rate), obs=n)


@pytest.mark.parametrize(
    ("program", "data", "error", "words"),
    [
        (flat, DATA, UnsupportedProgram, "site 'mu'.*cannot be drawn from"),
        (factor, DATA, UnsupportedProgram, "site 'extra'.*factor"),
        (unobserved, DATA, ProgramError, "no observed site"),
        (logged, DATA, UnsupportedProgram, "site 'y'.*computed"),
        (empirical_prior, DATA, UnsupportedProgram, "prior that depends on the observed argument 'y'"),
        (autoregression, DATA, UnsupportedProgram, "site 'y'.*depends on the observed argument"),
        (counts, {"n": 3}, DataError, "Python number 3"),
        (location, {"y": np.zeros(N, int)}, DataError, "continuous site 'y'"),
    ],
)
def test_what_cannot_be_simulated_is_refused(program, data, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        check(program, data)


@pytest.mark.parametrize(
    "options",
    [
        {"simulations": 10},
        {"draws": 2},
        {"alpha": 0.0},
        {"checkpoint": "run.ckpt", "method": "nuts"},
        {"thin": 0},
    ],
)
def test_impossible_arguments_are_refused(options):
    with pytest.raises(InvalidArgument):
        check(location, **options)


def test_a_simulator_with_other_sites_is_refused():
    with pytest.raises(ProgramError, match="simulator.*the sites"):
        check(location, simulator=unobserved)


# -- the tests of uniformity -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "draws"), [(60, 99), (250, 19)])
def test_bands_hold_at_all_points_at_once(n, draws):
    band = simultaneous_band(n, draws, 0.9)
    rng = np.random.default_rng(3)
    counts = np.stack([counts_below(rng.integers(0, draws + 1, n), draws) for _ in range(5000)]) / n
    inside = ((counts >= band.low - 1e-12) & (counts <= band.high + 1e-12)).all(1)
    assert abs(inside.mean() - band.coverage) < 0.015  # 3.5 standard errors
    assert 0.9 <= band.coverage < 0.91


def test_p_values_and_bands_agree():
    rng = np.random.default_rng(4)
    samples = [rng.integers(0, 50, 100) for _ in range(200)]
    band = simultaneous_band(100, 49, 0.8)
    counts = np.stack([counts_below(ranks, 49) for ranks in samples]) / 100
    outside = ~((counts >= band.low - 1e-12) & (counts <= band.high + 1e-12)).all(1)
    found = np.array([p_value(ranks, 49) for ranks in samples])
    assert np.array_equal(outside, found <= 1 - band.coverage + 1e-9)
    assert abs((found <= 0.2).mean() - 0.2) < 0.09


@pytest.mark.quick
def test_the_probability_of_a_walk_is_that_of_enumeration():
    ways = np.stack(np.meshgrid(*[range(4)] * 5), -1).reshape(-1, 5)  # five ranks on 0 … 3
    counts = np.stack([counts_below(ranks, 3) for ranks in ways])
    low, high = np.array([0, 2, 2]), np.array([2, 3, 5])
    assert stay_inside(5, low, high) == pytest.approx(((counts >= low) & (counts <= high)).all(1).mean())


def test_chain_checks_are_arvizs_numbers():
    noise = np.random.default_rng(5).normal(size=(2, 400, 3))
    draws = noise.copy()
    for t in range(1, 400):
        draws[:, t] = np.array([0.0, 0.6, -0.4]) * draws[:, t - 1] + noise[:, t]
    split = chain_check._split(draws)
    sizes = chain_check.effective_size(chain_check._normal_scores(split))
    for i in range(3):
        assert chain_check.split_rhat(split)[i] == pytest.approx(float(arviz.rhat(draws[..., i])), abs=1e-6)
        assert sizes[i] == pytest.approx(float(arviz.ess(draws[..., i], method="bulk")), rel=0.02)
    stats = {name: np.zeros((2, 400), bool) for name in ("diverging", "reached_max_treedepth")}
    names = ("a", "b", "c")
    assert not list(chain_check.check_chains(draws, stats, names=names, wanted=99))
    draws[1, :, 1] += 2
    stats["diverging"][0, :20], stats["reached_max_treedepth"][1] = True, True
    found, *more = chain_check.check_chains(draws, stats, names=names, wanted=99)
    assert (found.topic, found.evidence["site"]) == ("agreement of the chains", "b")
    assert "R-hat of b" in found.what
    assert [finding.topic for finding in more[-2:]] == ["divergences", "length of trajectories"]


def test_calls_of_threads_meet():
    lengths = []

    def double(x):
        lengths.append(len(x))
        return 2 * x

    def procedure(times):
        def run(call):
            value = np.array(1.0)
            for _ in range(times):
                value = call("double", (value,))
            return float(value)

        return run

    assert BatchedCalls({"double": double}, (2, 4)).run([procedure(n) for n in (1, 3, 3)]) == [2.0, 8.0, 8.0]
    assert lengths == [4, 2, 2]


# -- what comes back ---------------------------------------------------------------------------------------


def test_a_result_is_drawn_written_and_read():
    found = check(location, simulator=wide_prior)
    for picture in (plots.ranks, plots.ecdf_difference):
        figure = picture(found)
        assert [panel.get_title(loc="left") for panel in figure.axes] == ["mu  ✗", "log likelihood  ✗"]
        figure.savefig(io.BytesIO(), format="png")
        assert len(picture(found, ["mu"]).axes) == 1
        with pytest.raises(UnknownName):
            picture(found, ["nu"])
    written = json.loads(json.dumps(found.to_json()))
    assert written["tests"][0]["name"] == "mu"
    assert written["ok"] is False
    data = found.to_arviz()
    assert data["prior"]["mu"].shape == (1, 100)
    assert data["prior_predictive"]["y"].shape == (1, 100, N)
    assert data["sample_stats_prior"]["rank mu"].max() <= 1
    assert "too narrow" in str(found)


def test_many_hessians_side_by_side_come_back():
    """On two cores two batches of them once waited for each other for ever."""

    def locations(y):
        z = numpyro.sample("z", dist.Normal(np.zeros(11), 1.0).to_event(1))
        numpyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=y)

    data = {"y": np.zeros(11)}
    found = calibrate(locations, data, method="laplace", simulations=200, alpha=0.001, progress=False)
    assert found.ok  # Laplace is exact here
