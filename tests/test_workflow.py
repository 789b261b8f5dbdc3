"""The Bayesian workflow against closed forms: checks, cross-validation, comparison, sensitivity."""

import doctest
import io
import math
from dataclasses import replace
from pathlib import Path

import arviz
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.reparam import LocScaleReparam
from scipy.special import softmax
from scipy.stats import kstest, norm

import ppgen
from ppgen import plots, workflow
from ppgen.errors import (
    DataError,
    InferenceError,
    InferenceWarning,
    InvalidArgument,
    UnknownName,
    UnsupportedProgram,
)
from ppgen.inference import arviz_compat
from ppgen.inference.diagnostics import diagnose_chains
from ppgen.inference.method import Drawn, Request
from ppgen.inference.methods import make_method
from ppgen.inference.posterior import make_posterior
from ppgen.inference.weights import LogEvidence
from ppgen.models.bayesian.eight_schools import eight_schools, eight_schools_centred
from ppgen.models.bayesian.hidden_markov import poisson_hidden_markov
from ppgen.program import read_density
from ppgen.workflow.coverage import LooPit
from ppgen.workflow.leave_one_out import LeftOut
from ppgen.workflow.predictive_checks import PredictiveCheck, StatisticCheck
from ppgen.workflow.stacking import pseudo_bma, stack

RNG = np.random.default_rng(1)
X = RNG.normal(size=40)
Y = 1.0 + 2.0 * X + RNG.normal(size=40)
X[0], Y[0] = 9.0, 25.0  # an observation that holds the line
DESIGN = np.stack([np.ones(40), X], axis=1)
LINE = {"x": X, "y": Y}
SCHOOLS = ppgen.data.load("eight_schools")


def line(x, y):
    """Conjugate: noise 1, prior N(0, 10) on both coefficients."""
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, 1.0), obs=y)


def slope_only(x, y):
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(beta * x, 1.0), obs=y)


def line_in_pyro(x, y):
    pyro = pytest.importorskip("pyro")
    beta = pyro.sample("beta", pyro.distributions.Normal(0.0, 10.0).expand([2]).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", pyro.distributions.Normal(beta[0] + beta[1] * x, 1.0), obs=y)


def normal(y, noise):
    """Conjugate: prior N(0, 1), and noise that is known."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(mu, noise), obs=y)


def exact_loo(design=DESIGN, y=Y, prior_sd=10.0):
    """log p(y_i | y_-i) of a regression with known noise 1."""
    values = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        precision = design[rest].T @ design[rest] + np.eye(design.shape[1]) / prior_sd**2
        mean = np.linalg.solve(precision, design[rest].T @ y[rest])
        variance = 1 + design[i] @ np.linalg.solve(precision, design[i])
        values.append(norm.logpdf(y[i], design[i] @ mean, math.sqrt(variance)))
    return np.array(values)


def exact_evidence(design, y=Y, prior_sd=10.0):
    covariance = np.eye(len(y)) + prior_sd**2 * design @ design.T
    _, determinant = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * (determinant + y @ np.linalg.solve(covariance, y))


def fit(program, data, method="laplace", **options):
    return ppgen.infer(program, data, method, progress=False, **options)


def drawn_at(program, data, positions):
    """A posterior with these draws, however they have come about."""
    density = read_density(program, data)
    positions = np.asarray(positions, float)
    request = Request(positions.shape[1], 0, positions.shape[0], 0, False)
    drawn = Drawn(positions, {"lp": np.zeros(positions.shape[:2])})
    return make_posterior(density, data, make_method("laplace", {}), request, drawn, 0.0)


@pytest.fixture(scope="module")
def lines():
    constant = {"x": np.ones(40), "y": Y}
    return {
        "line": fit(line, LINE),
        "constant": fit(slope_only, constant),
        "slope_only": fit(slope_only, LINE),
    }


@pytest.fixture(scope="module")
def schools():
    return fit(eight_schools, SCHOOLS, "nuts", seed=1, target_accept=0.95)


@pytest.fixture(scope="module")
def centred():
    with pytest.warns(InferenceWarning):
        return fit(eight_schools_centred, SCHOOLS, "nuts", seed=1)


@pytest.fixture(scope="module")
def in_pyro():
    return fit(line_in_pyro, {"x": X[1:], "y": Y[1:]}, draws=250)


# -- leave-one-out cross-validation ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Estimated shape parameter:UserWarning")
def test_loo_is_arvizs_where_weights_do(schools):
    found = workflow.loo(schools, moment_match=False)
    theirs = arviz.loo(schools.to_arviz(), pointwise=True)
    pointwise = theirs.loo_i if hasattr(theirs, "loo_i") else theirs.elpd_i
    np.testing.assert_allclose(found.elpd_i, pointwise, atol=1e-8)
    np.testing.assert_allclose(found.khat, theirs.pareto_k, atol=1e-8)
    assert found.labels[:2] == ("y[0]", "y[1]")
    assert list(found.frame().columns) == ["elpd", "lpd", "khat", "how"]


def test_loo_against_the_closed_form_weights_moments_and_refit(lines):
    post = lines["line"]
    exact = exact_loo()
    psis = workflow.loo(post, moment_match=False)
    assert psis.bad == (0,)
    assert abs(psis.elpd_i[0] - exact[0]) > 0.2
    assert "cannot be trusted" in psis.reading
    np.testing.assert_allclose(psis.elpd_i[1:], exact[1:], atol=0.05)

    matched = workflow.loo(post)
    assert matched.ok
    assert matched.how[:2] == ("moment matching", "psis")
    np.testing.assert_allclose(matched.elpd_i, exact, atol=0.1)
    assert matched.interval[0] < exact.sum() < matched.interval[1]

    again = workflow.loo(post, moment_match=False, refit=True)
    assert again.ok
    assert again.how[0] == "refit"
    np.testing.assert_allclose(again.elpd_i, exact, atol=0.06)


def test_loo_of_a_pyro_program_and_of_a_population(in_pyro):
    design, y = DESIGN[1:], Y[1:]
    exact = exact_loo(design, y)
    covariance = np.linalg.inv(design.T @ design + np.eye(2) / 100)
    spread = np.sqrt(1 + np.einsum("ij,jk,ik->i", design, covariance, design))
    seen = norm.logpdf(y, design @ covariance @ design.T @ y, spread)
    for post in (in_pyro, fit(line, {"x": X[1:], "y": y}, "smc")):
        found = workflow.loo(post)
        assert found.ok
        assert abs(found.elpd - exact.sum()) < 0.15
        assert abs(found.p_loo - (seen - exact).sum()) < 0.15


def guided(shift):
    """A mean-field guide of a line whose coefficients are correlated, and the data."""
    rng = np.random.default_rng(4)
    x = shift + rng.normal(size=12)
    y = 1.0 + 2.0 * x + rng.normal(size=12)
    return fit(line, {"x": x, "y": y}, "svi", guide="mean_field", draws=4000)


@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # that it is narrow is the point
def test_weights_of_a_narrow_guide_are_folded_into_loo():
    post = guided(0.5)
    x, y = post.data["x"], post.data["y"]
    exact = exact_loo(np.stack([np.ones(12), x], axis=1), y)
    naive, _ = arviz_compat.pareto_smooth(-_log_likelihood(post))
    uncorrected = np.log((np.exp(naive) * np.exp(_log_likelihood(post))).sum(1))
    corrected = workflow.loo(post).elpd_i
    assert abs(corrected - exact).sum() < 0.3 * abs(uncorrected - exact).sum()
    assert abs(corrected.sum() - exact.sum()) < 0.1 < abs(uncorrected.sum() - exact.sum())


def _log_likelihood(post):
    flat = post.draws["beta"].reshape(-1, 2)
    return norm.logpdf(post.data["y"][:, None], flat[:, 0] + flat[:, 1] * post.data["x"][:, None], 1.0)


@pytest.mark.parametrize("program", [line, line_in_pyro])
def test_the_density_without_an_observation_is_that_of_the_other_rows(program):
    without = LeftOut(read_density(program, LINE))
    fewer = read_density(program, {"x": X[:-1], "y": Y[:-1]})
    z = np.array([0.7, 1.9])
    assert np.isclose(without.density(39).log_prob(z), fewer.log_prob(z))
    assert without.density(3).graph == without.density(39).graph  # one compilation serves all
    joint, one = without.evaluate(z[None], 39)
    assert np.isclose(joint[0] - one[0], fewer.log_prob(z))


def test_data_that_are_no_arrays_need_not_be_cut():
    def either(y, family, options):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        noise = dist.Normal(mu, options["scale"]) if family == "normal" else dist.Laplace(mu, 1.0)
        numpyro.sample("y", noise, obs=y)

    data = {"y": np.array([0.5, -1.0, 2.0]), "family": "normal", "options": {"scale": 2.0}}
    without = LeftOut(read_density(either, data)).density(2)
    fewer = read_density(either, {**data, "y": data["y"][:2]})
    assert np.isclose(without.log_prob(np.array([0.4])), fewer.log_prob(np.array([0.4])))


def test_a_series_of_hidden_states_is_not_left_out_state_by_state():
    data = {"count": np.array([0, 3, 4, 1]), "states": 2}
    dim = read_density(poisson_hidden_markov, data).dim
    with pytest.raises(UnsupportedProgram, match="site 'count': got one log density for all"):
        workflow.loo(drawn_at(poisson_hidden_markov, data, np.zeros((2, 4, dim))))


# -- comparison --------------------------------------------------------------------------------------------


def test_models_are_compared_by_what_they_predict(lines):
    found = workflow.compare(lines)
    assert [model.name for model in found.models] == ["line", "slope_only", "constant"]
    first, second, third = found.models
    exact = {
        "line": exact_loo(),
        "slope_only": exact_loo(DESIGN[:, 1:]),
        "constant": exact_loo(DESIGN[:, :1]),
    }
    lead = exact["slope_only"] - exact["line"]
    assert abs(second.difference - lead.sum()) < 0.3
    assert abs(second.difference_stderr - math.sqrt(40) * lead.std()) < 0.2
    assert np.isclose(second.p_better, norm.cdf(second.difference / second.difference_stderr))
    assert third.difference < -100
    assert first.difference == 0
    assert "line predicts best, clearly" in found.reading
    assert "only 40 observations" in found.reading
    assert list(found.frame().index) == ["line", "slope_only", "constant"]
    assert np.isclose(sum(found.weights.values()), 1.0)


def test_evidence_gives_the_models_probabilities(lines):
    found = workflow.compare(lines)
    exact = {
        "line": exact_evidence(DESIGN),
        "slope_only": exact_evidence(DESIGN[:, 1:]),
        "constant": exact_evidence(DESIGN[:, :1]),
    }
    for model in found.models:
        assert abs(model.log_evidence - exact[model.name]) < 0.01
    wanted = softmax(list(exact.values()))
    for name, probability in zip(exact, wanted, strict=True):
        model = next(model for model in found.models if model.name == name)
        assert abs(model.probability - probability) < 0.01
        low, high = model.probability_interval
        assert low <= model.probability <= high


def flat(x, y):
    beta = numpyro.sample("beta", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(beta * x, 1.0), obs=y)


def test_an_improper_prior_has_no_evidence(lines):
    post = drawn_at(flat, LINE, RNG.normal(2.6, 0.1, size=(4, 100, 1)))
    post = replace(post, drawn=replace(post.drawn, log_evidence=LogEvidence(-60.0, 0.1)))
    found = workflow.compare({"flat": post, "line": lines["line"]})
    assert "flat (site 'beta')" in found.evidence_note
    assert all(model.probability is None for model in found.models)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter:UserWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # within ArviZ
def test_stacking_weights_against_a_direct_search_and_arviz(lines):
    elpd = np.random.default_rng(0).normal(-2.0, 1.0, size=(3, 60)) + np.array([[0.3], [0.0], [-0.1]])
    grid = np.linspace(0, 1, 101)
    scores = {
        (a, b): np.log(np.exp(elpd).T @ [a, b, 1 - a - b]).sum()
        for a in grid
        for b in grid
        if a + b <= 1 + 1e-12
    }
    best = max(scores, key=scores.get)
    np.testing.assert_allclose(stack(elpd)[:2], best, atol=0.011)
    np.testing.assert_allclose(stack(elpd - 5000.0), stack(elpd), atol=1e-6)  # nothing underflows
    assert np.isclose(pseudo_bma(elpd).sum(), 1.0)
    assert pseudo_bma(elpd)[0] > pseudo_bma(elpd)[2]

    pair = {name: lines[name] for name in ("line", "slope_only")}
    theirs = arviz.compare({name: post.to_arviz() for name, post in pair.items()}, method="stacking")
    ours = workflow.compare(pair, moment_match=False)
    for name, weight in ours.weights.items():
        assert abs(theirs["weight"][name] - weight) < 0.02


def test_models_that_cannot_be_compared_are_refused(lines):
    post = lines["line"]
    with pytest.raises(InvalidArgument, match="posts: got 1 model, expected at least two"):
        workflow.compare({"line": post})
    other = fit(slope_only, {"x": X, "y": Y + 1.0})
    with pytest.raises(DataError, match="different observations of site 'y' in 'line' and 'other'"):
        workflow.compare({"line": post, "other": other})

    def by_factor(x, y):
        beta = numpyro.sample("beta", dist.Normal(0.0, 10.0))
        numpyro.factor("all_rows", dist.Normal(beta * x, 1.0).log_prob(y).sum())

    with pytest.raises(UnsupportedProgram, match=r"posts\['b'\], site 'all_rows': got a factor"):
        workflow.compare({"line": post, "b": drawn_at(by_factor, LINE, np.ones((4, 10, 1)))})

    def scaled(x, y):
        beta = numpyro.sample("beta", dist.Normal(0.0, 10.0))
        with numpyro.handlers.scale(scale=2.0):
            numpyro.sample("y", dist.Normal(beta * x, 1.0), obs=y)

    with pytest.raises(UnsupportedProgram, match="site 'y': got observations under a scale"):
        workflow.loo(drawn_at(scaled, LINE, np.ones((4, 10, 1))))


@pytest.mark.usefixtures("wrong_types")
def test_what_is_no_posterior_is_refused(lines):
    with pytest.raises(InvalidArgument, match="posts: got a list"):
        workflow.compare([lines["line"]])
    with pytest.raises(InvalidArgument, match=r"posts\['b'\]: got a dict"):
        workflow.compare({"a": lines["line"], "b": {}})
    with pytest.raises(InvalidArgument, match="post: got a int"):
        workflow.diagnose(3)
    with pytest.raises(InvalidArgument, match="draws: got a dict"):
        workflow.check({})


def test_predictions_of_several_models_are_mixed_by_their_weights(lines):
    mixed = workflow.average(lines, {"line": 3.0, "constant": 1.0, "slope_only": 0.0}, draws=8000, seed=1)
    assert mixed.draws["y"].shape == (1, 8000, 40)
    assert np.isclose((mixed.model == 0).mean(), 0.75)
    means = [lines[name].predictive()["y"].mean((0, 1)) for name in ("line", "constant")]
    np.testing.assert_allclose(mixed.draws["y"].mean((0, 1)), 0.75 * means[0] + 0.25 * means[1], atol=0.4)
    assert mixed.to_arviz().posterior_predictive["y"].shape == (1, 8000, 40)
    by_stacking = workflow.average(lines, workflow.compare(lines), draws=100)
    assert by_stacking.weights["line"] > 0.9
    with pytest.raises(InvalidArgument, match="no weight for 'constant'"):
        workflow.average(lines, {"line": 1.0, "slope_only": 1.0})
    with pytest.raises(UnknownName, match="weights: got 'lime'"):
        workflow.average(lines, {"lime": 1.0})


# -- predictive checks -------------------------------------------------------------------------------------


@pytest.mark.quick
def test_a_predictive_p_value_in_closed_form():
    y = np.random.default_rng(3).normal(1.0, 1.0, size=40)
    post = fit(normal, {"y": y, "noise": 1.0})
    mean, variance = y.sum() / 41, 1 / 41
    found = workflow.check(post, {"mean": "mean", "first": lambda y: y[0]})
    exact = norm.sf(y.mean(), mean, math.sqrt(variance + 1 / 40))
    assert abs(found["mean"].p_value - exact) < 0.03
    assert abs(found["first"].p_value - norm.sf(y[0], mean, math.sqrt(variance + 1))) < 0.03
    assert found.source == "posterior"
    low, high = found["mean"].interval
    assert low < mean < high


def test_prior_predictive_draws_are_the_priors_and_can_be_checked():
    observed = {"y": np.full(40, 9.0), "noise": 1.0}
    data = workflow.prior_predictive(normal, observed, draws=4000, seed=2)
    drawn = data.prior_predictive["y"].values
    assert drawn.shape == (1, 4000, 40)
    assert data.prior_predictive["y"].dims == ("chain", "draw", "row")
    assert abs(drawn.mean()) < 0.06
    assert abs(drawn.var(axis=(1)).mean() - 2.0) < 0.15  # prior 1, noise 1
    again = workflow.prior_predictive(normal, observed, draws=4000, seed=2)
    np.testing.assert_array_equal(drawn, again.prior_predictive["y"])
    found = workflow.check(data, ("mean", "max"))
    assert found.source == "prior"
    assert not found["mean"].ok
    assert "The mean is larger than the model predicts" in found.reading


def test_posterior_predictive_of_pyro_is_arviz_data(in_pyro):
    data = workflow.posterior_predictive(in_pyro, seed=1)
    assert data.posterior_predictive["y"].shape == (4, 250, 39)
    np.testing.assert_array_equal(data.observed_data["y"], Y[1:])
    np.testing.assert_array_equal(data.constant_data["x"], X[1:])
    assert list(arviz.summary(data)["mean"].index) == ["beta[0]", "beta[1]"]
    assert workflow.check(data, ("mean",)).ok


def improper(y):
    level = numpyro.sample("level", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(level, 1.0), obs=y)


@pytest.mark.parametrize(
    ("program", "data", "error", "words"),
    [
        (improper, {"y": np.zeros(3)}, UnsupportedProgram, "site 'level': got a prior that cannot be drawn"),
        (normal, {"y": [[1.0], [2.0, 3.0]], "noise": 1.0}, DataError, "rows of unequal length"),
        (normal, {"y": ["a", "b"], "noise": 1.0}, DataError, "values of dtype"),
        (normal, {"y": np.array([np.nan]), "noise": 1.0}, DataError, "NaN or infinite"),
        (eight_schools, {"sigma": np.ones(8)}, InvalidArgument, "no site of the program is observed"),
    ],
)
def test_programs_and_data_without_a_prior_predictive(program, data, error, words):
    with pytest.raises(error, match=words):
        workflow.prior_predictive(program, data)


def test_statistics_that_are_none(lines):
    post = lines["line"]
    with pytest.raises(UnknownName, match="Did you mean 'mean'"):
        workflow.check(post, ("meen",))
    with pytest.raises(UnknownName, match="site: got 'z'"):
        workflow.check(post, site="z")
    with pytest.raises(DataError, match=r"statistics\['row'\]: got an array of shape \(40,\)"):
        workflow.check(post, {"row": lambda y: y})
    with pytest.raises(InvalidArgument, match="draws: got 0"):
        workflow.prior_predictive(normal, {"y": np.zeros(3), "noise": 1.0}, draws=0)


# -- calibration of leave-one-out predictions --------------------------------------------------------------


def counts(y):
    rate = numpyro.sample("rate", dist.Exponential(0.2))
    numpyro.sample("y", dist.Poisson(rate), obs=y)


def test_loo_pit_is_uniform_for_the_right_model_alone():
    y = np.random.default_rng(5).normal(0.5, 1.0, size=40)
    right = workflow.loo_pit(fit(normal, {"y": y, "noise": 1.0}))
    assert right.ok
    assert kstest(right.values, "uniform").pvalue > 0.05
    rest = (y.sum() - y) / 40  # the mean given all others; its variance is 1 / 40
    np.testing.assert_allclose(right.values, norm.cdf(y, rest, math.sqrt(1 + 1 / 40)), atol=0.04)

    wrong = workflow.loo_pit(fit(normal, {"y": y, "noise": 3.0}))
    assert not wrong.ok
    assert "are too wide" in wrong.reading


def test_loo_pit_of_counts():
    rng = np.random.default_rng(6)
    assert workflow.loo_pit(fit(counts, {"y": rng.poisson(3.0, size=80)})).ok
    spread = workflow.loo_pit(fit(counts, {"y": rng.negative_binomial(1, 0.25, size=80)}))
    assert not spread.ok
    assert "too narrow" in spread.reading


# -- sensitivity -------------------------------------------------------------------------------------------


def test_power_scaling_in_closed_form():
    y = np.random.default_rng(7).normal(1.5, 2.5, size=40)
    post = fit(normal, {"y": y, "noise": 2.5}, draws=1000)
    found = workflow.sensitivity(post)
    mu = found["mu"]
    for part in ("prior", "likelihood"):
        for k, power in enumerate(found.powers):
            a, b = (power, 6.4) if part == "prior" else (1.0, 6.4 * power)
            assert abs(mu.mean[part][k] - b * y.mean() / (a + b)) < 0.03
            assert abs(mu.sd[part][k] * math.sqrt(a + b) - 1) < 0.06
            assert found.khat[part][k] < found.threshold
        assert abs(getattr(mu, part) - _exact_slope(y, part)) < 0.01
    assert found.prior_sites == ("mu",)


def _exact_slope(y, part):
    """The distance of the normal posteriors at powers 1/1.01 and 1.01 from that at 1, for each doubling."""
    x = np.linspace(-2.0, 5.0, 20001)
    step = x[1] - x[0]

    def cdf(power):
        a, b = (power, 6.4) if part == "prior" else (1.0, 6.4 * power)
        return norm.cdf(x, b * y.mean() / (a + b), 1 / math.sqrt(a + b))

    def divergence(p, q):
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p > 0, p * np.log2(p / (0.5 * (p + q))), 0.0)
        return (terms.sum() + 0.5 / math.log(2) * (q - p).sum()) * step

    def distance(p, q):
        total = divergence(p, q) + divergence(q, p)
        return math.sqrt(max(total, 0.0) / ((p + q).sum() * step))

    # As in the published implementation: the integral runs over the range of the draws, from either side.
    inside = (x > x.mean() - 20) & (norm.cdf(x, 6.4 * y.mean() / 7.4, 1 / math.sqrt(7.4)) > 1 / 4000)
    inside &= norm.cdf(x, 6.4 * y.mean() / 7.4, 1 / math.sqrt(7.4)) < 1 - 1 / 4000
    base = cdf(1.0)[inside]
    total = 0.0
    for power in (1 / 1.01, 1.01):
        other = cdf(power)[inside]
        total += max(distance(base, other), distance(1 - base, 1 - other))
    return total / (2 * math.log2(1.01))


def test_a_conflict_and_a_strong_prior_are_told_apart():
    y = np.random.default_rng(0).normal(size=40)
    far = workflow.sensitivity(fit(normal, {"y": 8.0 + y, "noise": 3.0}))
    assert far["mu"].diagnosis == "prior-data conflict"
    assert "may be in conflict" in far.reading
    weak = workflow.sensitivity(fit(normal, {"y": y, "noise": 200.0}))
    assert weak["mu"].diagnosis == "strong prior or weak likelihood"
    plenty = workflow.sensitivity(fit(normal, {"y": y, "noise": 0.9}))
    assert plenty.ok
    assert "No parameter is sensitive" in plenty.reading
    assert list(plenty.frame().columns) == ["prior", "likelihood", "diagnosis"]


def test_only_the_top_of_a_hierarchy_is_scaled(schools, centred):
    assert workflow.sensitivity(schools, names=("mu",)).prior_sites == ("mu", "tau")
    assert workflow.sensitivity(centred, names=("mu",)).prior_sites == ("mu", "tau")
    assert workflow.sensitivity(schools, prior=("z",), names=("mu",)).prior_sites == ("z",)


def test_sensitivity_refuses_what_it_cannot_scale(lines):
    with pytest.raises(UnsupportedProgram, match="flat priors only"):
        workflow.sensitivity(drawn_at(flat, LINE, RNG.normal(size=(4, 100, 1))))
    with pytest.raises(UnknownName, match="prior: got 'nu'"):
        workflow.sensitivity(lines["line"], prior=("nu",))
    with pytest.raises(InvalidArgument, match="powers"):
        workflow.sensitivity(lines["line"], powers=(-1.0,))


# -- diagnosis ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["numpyro", "pyro"])
def test_the_funnel_of_the_centred_schools_is_named_with_its_cure(language, centred):
    post = centred
    if language == "pyro":
        pytest.importorskip("pyro")
        from ppgen.models.bayesian.in_pyro.eight_schools import eight_schools_centred as in_pyro

        post = replace(centred, density=read_density(in_pyro, SCHOOLS))
    found = workflow.diagnose(post)
    first = found.findings[0]
    assert (first.topic, first.severity) == ("funnel", "problem")
    assert "funnel between tau and theta is the cause" in first.what
    assert "divergences lie in the half nearer to the neck" in first.what
    assert "non-centred" in first.do
    assert "theta = mu + tau * z" in first.do
    assert f"{language}." in first.do
    divergences = next(finding for finding in found.findings if finding.topic == "divergences")
    assert divergences.severity != "ok"
    assert "see there" in divergences.do


def test_the_cured_schools_are_clean(schools):
    found = workflow.diagnose(schools)
    assert found.ok, str(found)
    assert found.reading == "Nothing was found wrong with these draws."
    assert {finding.topic for finding in found.findings} >= {"divergences", "energy", "number of draws"}
    # What the finding says to write is the program of the cured fit.
    config = {"theta": LocScaleReparam(0)}
    density = read_density(numpyro.handlers.reparam(eight_schools_centred, config=config), SCHOOLS)
    cured = {"mu": 3.0, "tau": 2.0, "z": np.linspace(-1, 1, 8)}
    z = schools.density.unconstrain(cured)
    assert np.isclose(
        density.log_prob(density.unconstrain(cured | {"theta_decentered": cured["z"]})),
        schools.density.log_prob(z),
    )


def test_every_problem_is_a_finding_with_something_to_do(schools):
    rng = np.random.default_rng(0)
    stats = dict(schools.stats)
    slow = np.cumsum(rng.normal(size=(4, 1000)), axis=1)
    stats |= {"energy": slow, "tree_depth": np.full((4, 1000), 10)}
    bad = diagnose_chains({"mu": slow}, stats, max_tree_depth=10)
    found = workflow.diagnose(replace(schools, diagnostics=bad))
    assert found.severity == "problem"
    assert {finding.topic for finding in found.wrong} == {
        "agreement of the chains",
        "number of draws",
        "length of trajectories",
        "energy",
    }
    assert all(finding.do for finding in found.wrong)
    assert found.findings[0].topic == "agreement of the chains"
    assert [finding.topic for finding in found.findings if finding.severity == "ok"] == [
        "chains that move",
        "divergences",
    ]


def test_a_guide_that_cannot_be_corrected_is_said_to_be_wrong():
    with pytest.warns(InferenceWarning):
        poor = guided(20.0)
    weights = next(f for f in workflow.diagnose(poor).findings if f.topic == "importance weights")
    assert weights.severity == "problem"
    assert "method='nuts'" in weights.do
    assert "take method='nuts'" in workflow.loo(poor).reading
    with pytest.raises(InferenceError, match="k-hat"):
        workflow.sensitivity(poor)


# -- pictures and papers -----------------------------------------------------------------------------------


def _check():
    values = RNG.poisson(3.0, size=(50, 30))
    statistics = tuple(StatisticCheck(name, 3.0, values.mean(1), 0.4) for name in ("mean", "sd", "max"))
    return PredictiveCheck("y", "posterior", statistics, values[0], values, True)


PICTURES = {
    "comparison": lambda lines: plots.model_comparison(workflow.compare(lines)),
    "loo_pit": lambda lines: plots.loo_pit_band(LooPit("y", RNG.uniform(size=90), np.zeros(90), 0.7, 0.5)),
    "sensitivity": lambda lines: plots.power_sensitivity(workflow.sensitivity(lines["line"])),
    "statistics": lambda lines: plots.statistics_check(_check()),
    "counts": lambda lines: plots.count_check(_check().observed, _check().replicated),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_result_has_a_picture(name, lines):
    figure = PICTURES[name](lines)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert figure.get_size_inches()[0] <= 7.5


def test_counts_that_are_none_are_not_drawn():
    with pytest.raises(DataError, match="not whole"):
        plots.count_check(np.array([0.5]), np.zeros((3, 1)))


def test_the_guide_says_what_happens():
    guide = Path(__file__).resolve().parents[1] / "docs" / "workflow.md"
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    outcome = doctest.testfile(str(guide), module_relative=False, optionflags=options)
    assert outcome.attempted > 10
    assert outcome.failed == 0
