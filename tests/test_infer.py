"""ppgen.infer: posteriors with known answers, and what is said of bad ones."""

import dataclasses
import gzip
import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pyro
import pytest
import torch

import ppgen
from ppgen.errors import (
    DataError,
    InferenceError,
    InferenceWarning,
    InvalidArgument,
    ProgramError,
    StorageError,
    UnknownName,
    UnsupportedProgram,
)
from ppgen.findings import Finding
from ppgen.inference.citations import papers
from ppgen.inference.convergence import ess_bulk
from ppgen.inference.diagnostics import diagnose_chains
from ppgen.inference.guides import make_guide
from ppgen.inference.guides.objectives import make_bound
from ppgen.inference.markov import chains, checkpoint
from ppgen.inference.markov.stuck_chains import judge
from ppgen.models.bayesian.eight_schools import eight_schools

SCHOOLS = ppgen.data.load("eight_schools")


def regression(x, y):
    """Conjugate: flat noise scale 1, prior N(0, 10) on both coefficients."""
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, 1.0), obs=y)


@pytest.fixture(scope="module")
def schools():
    return ppgen.infer(eight_schools, SCHOOLS, draws=2000, seed=1, target_accept=0.95, progress=False)


def _agrees(draws, mean, sd):
    """Within 4 Monte Carlo standard errors (the reference's own included), and sd within 10 %."""
    draws_error = draws.std() / np.sqrt(ess_bulk(draws))
    reference_error = sd / 100  # 10,000 nearly independent reference draws
    assert abs(draws.mean() - mean) < 4 * np.hypot(draws_error, reference_error)
    assert abs(draws.std() / sd - 1) < 0.1


def test_eight_schools_against_the_reference(schools, reference):
    data, answers = reference("eight_schools_noncentered")
    np.testing.assert_array_equal(SCHOOLS["y"], data["y"])
    for name in ("mu", "tau"):
        _agrees(schools.draws[name], answers[name]["mean"], answers[name]["sd"])
    for school in range(8):
        expected = answers[f"theta[{school + 1}]"]
        _agrees(schools.draws["theta"][..., school], expected["mean"], expected["sd"])


def test_an_ill_conditioned_regression_against_the_reference(reference):
    data, answers = reference("kidscore_interaction")
    arrays = {name: np.array(data[name], dtype=float) for name in ("kid_score", "mom_hs", "mom_iq")}

    def kidscore(kid_score, mom_hs, mom_iq):
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), (4,))
        beta = numpyro.sample("beta", flat)
        sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
        mean = beta[0] + beta[1] * mom_hs + beta[2] * mom_iq + beta[3] * mom_hs * mom_iq
        numpyro.sample("kid_score", dist.Normal(mean, sigma), obs=kid_score)

    post = ppgen.infer(kidscore, arrays, seed=0, progress=False)
    assert post.diagnostics.ok, post.diagnostics.problems
    _agrees(post.draws["sigma"], answers["sigma"]["mean"], answers["sigma"]["sd"])
    for k in range(4):
        expected = answers[f"beta[{k + 1}]"]
        _agrees(post.draws["beta"][..., k], expected["mean"], expected["sd"])


def test_correlated_columns_whose_scales_differ_a_thousandfold():
    """What Stan adds to every variance, 1e-5, is 1,900 times that of b, and 63,000 times what is left of it
    given a."""
    x = 5000 + 1000 * np.random.default_rng(0).normal(size=60)
    design = np.stack([np.ones(60), x], axis=1)
    y = design @ [1.0, 0.002] + 0.5 * np.random.default_rng(1).normal(size=60)
    covariance = 0.25 * np.linalg.inv(design.T @ design)
    mean = np.linalg.solve(design.T @ design, design.T @ y)

    def line(x, y):
        a = numpyro.sample("a", dist.ImproperUniform(dist.constraints.real, (), ()))
        b = numpyro.sample("b", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Normal(a + b * x, 0.5), obs=y)

    post = ppgen.infer(line, {"x": x, "y": y}, chains=2, seed=0, progress=False)
    assert post.diagnostics.ok, post.diagnostics.problems
    for k, name in enumerate("ab"):
        _agrees(post.draws[name], mean[k], np.sqrt(covariance[k, k]))
    assert post.stats["n_steps"].mean() < 10


@pytest.mark.parametrize("metric", [pytest.param("dense", marks=pytest.mark.quick), "diagonal", "low_rank"])
def test_a_conjugate_regression_in_closed_form(metric):
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    y = 1.0 + 2.0 * x + rng.normal(size=30)
    design = np.stack([np.ones(30), x], axis=1)
    covariance = np.linalg.inv(design.T @ design + np.eye(2) / 100)
    mean = covariance @ design.T @ y

    post = ppgen.infer(regression, {"x": x, "y": y}, draws=2000, seed=0, metric=metric, progress=False)
    for k in range(2):
        _agrees(post.draws["beta"][..., k], mean[k], np.sqrt(covariance[k, k]))
    correlation = np.corrcoef(post.draws["beta"].reshape(-1, 2).T)[0, 1]
    exact = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert abs(correlation - exact) < 0.05


def test_a_posterior_carries_everything(schools):
    assert schools.draws["mu"].shape == (4, 2000)
    assert schools.draws["theta"].shape == (4, 2000, 8)
    np.testing.assert_allclose(
        schools.draws["theta"],
        schools.draws["mu"][..., None] + schools.draws["tau"][..., None] * schools.draws["z"],
    )
    assert schools.log_weights is None
    assert schools.log_evidence is None
    assert schools.diagnostics.rhat_max < 1.01
    assert list(schools.summary().loc["mu"].index[:2]) == ["mean", "sd"]

    data = schools.to_arviz(predictive=True)
    for group in ("posterior", "sample_stats", "log_likelihood", "log_prior", "posterior_predictive"):
        assert hasattr(data, group)
    assert data.posterior["theta"].dims == ("chain", "draw", "school")
    np.testing.assert_array_equal(data.observed_data["y"], SCHOOLS["y"])
    np.testing.assert_array_equal(data.constant_data["sigma"], SCHOOLS["sigma"])

    from scipy.stats import norm

    expected = norm.logpdf(SCHOOLS["y"], schools.draws["theta"], SCHOOLS["sigma"])
    np.testing.assert_allclose(data.log_likelihood["y"], expected, rtol=1e-10)
    np.testing.assert_allclose(data.log_prior["mu"], norm.logpdf(schools.draws["mu"], 0, 5), rtol=1e-10)


def test_coords_and_dims_of_the_user_win(schools):
    names = [f"school {letter}" for letter in "ABCDEFGH"]
    renamed = dataclasses.replace(schools, coords={"place": names}, dims={"theta": ["place"]})
    assert list(renamed.to_arviz().posterior["place"]) == names


def test_predictive_draws_have_the_right_spread(schools):
    drawn = schools.predictive(seed=3)["y"]
    assert drawn.shape == (4, 2000, 8)
    expected = np.sqrt(schools.draws["theta"].var(axis=(0, 1)) + SCHOOLS["sigma"] ** 2)
    np.testing.assert_allclose(drawn.std(axis=(0, 1)), expected, rtol=0.05)
    np.testing.assert_array_equal(drawn, schools.predictive(seed=3)["y"])


def regression_in_pyro(x, y):
    beta = pyro.sample("beta", pyro.distributions.Normal(torch.zeros(2), 10.0).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", pyro.distributions.Normal(beta[0] + beta[1] * x, 1.0), obs=y)


@pytest.mark.parametrize("program", [regression, regression_in_pyro])
def test_predictive_draws_at_new_arguments(program):
    x, ahead = np.linspace(-1.0, 1.0, 20), np.array([0.0, 3.0, 10.0])
    post = ppgen.infer(program, {"x": x, "y": 1 + 2 * x}, draws=300, progress=False)
    drawn = post.predictive(1, data={"x": ahead, "y": np.zeros(3)})["y"]
    assert drawn.shape == (4, 300, 3)
    design = np.stack([np.ones(20), x], 1)
    covariance = np.linalg.inv(design.T @ design + np.eye(2) / 100)
    at = np.stack([np.ones(3), ahead], 1)
    spread = np.sqrt(1 + np.einsum("ni,ij,nj->n", at, covariance, at))
    error = 5 * spread / np.sqrt(post.diagnostics.ess_bulk_min)
    assert np.all(np.abs(drawn.mean((0, 1)) - at @ covariance @ design.T @ (1 + 2 * x)) < error)
    np.testing.assert_allclose(drawn.std((0, 1)), spread, rtol=0.12)


def test_new_groups_are_drawn_from_their_prior(schools):
    more = {"sigma": np.full(3, 0.01), "y": np.zeros(3)}
    with pytest.raises(InvalidArgument, match=r"'z' has the shape \(3,\), not \(8,\).*anew=\['z'\]"):
        schools.predictive(data=more)
    drawn = schools.predictive(data=more, anew=["z"])["y"]
    assert drawn.shape == (4, 2000, 3)
    mu, tau = schools.draws["mu"], schools.draws["tau"]
    np.testing.assert_allclose(drawn.var((0, 1)), mu.var() + (tau**2).mean(), rtol=0.15)
    with pytest.raises(InvalidArgument, match=r"Write anew=\['z'\]"):
        schools.predictive(anew="z")
    with pytest.raises(UnknownName, match="anew"):
        schools.predictive(anew=["theta"])
    with pytest.raises(InvalidArgument, match="all latent sites"):
        schools.predictive(anew=["mu", "tau", "z"])
    with pytest.raises(InvalidArgument, match="'y' is not observed"):
        schools.predictive(data={"y": None})
    with pytest.raises(InvalidArgument, match="the arguments of the program"):
        schools.predictive(data={"z": np.zeros(3)})


@pytest.mark.quick
def test_the_same_seed_gives_the_same_draws():
    data = {"x": np.arange(5.0), "y": np.arange(5.0)}
    runs = [
        ppgen.infer(regression, data, draws=500, tune=500, seed=seed, progress=False) for seed in (7, 7, 8)
    ]
    np.testing.assert_array_equal(runs[0].positions, runs[1].positions)
    assert not np.array_equal(runs[0].positions, runs[2].positions)


def test_new_data_of_the_same_shapes_compile_nothing():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    ppgen.infer(regression, data, draws=500, tune=500, progress=False)
    before = chains.compile_loop.cache_info().misses
    ppgen.infer(regression, {"x": data["x"], "y": data["y"] + 1}, draws=600, tune=300, progress=False)
    assert chains.compile_loop.cache_info().misses == before


def test_extending_gives_the_draws_of_a_longer_run():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    settings = {"tune": 300, "seed": 4, "progress": False}
    longer = ppgen.infer(regression, data, draws=1500, **settings)
    extended = ppgen.infer(regression, data, draws=1000, **settings).extend(500, progress=False)
    np.testing.assert_array_equal(extended.positions, longer.positions)
    np.testing.assert_array_equal(extended.stats["energy"], longer.stats["energy"])
    assert extended.request.draws == 1500
    assert extended.diagnostics == longer.diagnostics


def test_drawing_until_the_effective_sample_size_is_reached():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    settings = {"draws": 100, "tune": 300, "seed": 1, "progress": False}
    post = ppgen.infer(regression, data, until_ess=2000, **settings)
    assert min(post.diagnostics.ess_bulk_min, post.diagnostics.ess_tail_min) >= 2000
    with pytest.warns(InferenceWarning):
        capped = ppgen.infer(regression, data, until_ess=10_000, max_draws=120, **settings)
    assert capped.draws["beta"].shape[1] == 120
    assert any("worth only" in problem for problem in capped.diagnostics.problems)


class _Killed(Exception):
    """Stands for a process that ends in the middle."""


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    settings = {"draws": 500, "tune": 300, "seed": 5, "progress": False}
    whole = ppgen.infer(regression, data, **settings)

    path, steps = tmp_path / "run.ppgen", []
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)  # write at every chance
    advance = chains.Chains.advance

    def killed_after_500(self, count):
        steps.append(count)
        if sum(steps) > 500:
            raise _Killed
        return advance(self, count)

    monkeypatch.setattr(chains.Chains, "advance", killed_after_500)
    with pytest.raises(_Killed):
        ppgen.infer(regression, data, checkpoint=path, **settings)
    monkeypatch.setattr(chains.Chains, "advance", advance)

    resumed = ppgen.infer(regression, data, checkpoint=path, **settings)
    np.testing.assert_array_equal(resumed.positions, whole.positions)
    monkeypatch.setattr(chains.Chains, "advance", None)  # all is there: nothing more to draw
    again = ppgen.infer(regression, data, checkpoint=path, **settings)
    np.testing.assert_array_equal(again.positions, whole.positions)
    with pytest.raises(ppgen.errors.StorageError, match="which another run has written"):
        ppgen.infer(regression, data, checkpoint=path, **{**settings, "seed": 6})


def two_modes(log_ratio):
    """Modes at ±6, the second with ``exp(log_ratio)`` times the mass of the first."""
    centres, scale = jnp.array([[-6.0, -6.0], [6.0, 6.0]]), 0.5
    parts = dist.Normal(centres, scale).to_event(1)
    numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(logits=jnp.array([0.0, log_ratio])), parts))


def test_a_chain_in_a_mode_that_holds_nothing_starts_anew(tmp_path, monkeypatch):
    settings = {"draws": 500, "seed": 2, "progress": False}
    post = ppgen.infer(two_modes, {"log_ratio": -30.0}, **settings)
    assert post.how.startswith("Restarted during the warm-up")
    assert post.how.endswith(": chains 1, 2, 3.")
    assert post.diagnostics.ok
    assert (post.draws["x"] < 0).all()

    path, advance, calls = tmp_path / "run.ppgen", chains.Chains.advance, []
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)

    def killed_among_the_fresh_chains(self, count):
        calls.append(self)
        if len(set(calls)) > 1 and self.done > 0:
            raise _Killed
        return advance(self, count)

    monkeypatch.setattr(chains.Chains, "advance", killed_among_the_fresh_chains)
    with pytest.raises(_Killed):
        ppgen.infer(two_modes, {"log_ratio": -30.0}, checkpoint=path, **settings)
    monkeypatch.setattr(chains.Chains, "advance", advance)
    resumed = ppgen.infer(two_modes, {"log_ratio": -30.0}, checkpoint=path, **settings)
    np.testing.assert_array_equal(resumed.positions, post.positions)
    assert resumed.how == post.how
    assert resumed.extend(100, progress=False).how == post.how


def test_a_mode_of_its_own_mass_is_not_hidden():
    """Chains there are not started anew, although it is the smaller one, and R-hat sees them."""
    with pytest.warns(InferenceWarning):
        post = ppgen.infer(two_modes, {"log_ratio": -4.0}, draws=500, seed=2, progress=False)
    assert post.how == ""
    assert post.diagnostics.rhat_max > 1.5


def test_chains_are_judged_by_what_their_regions_hold():
    rng = np.random.default_rng(0)
    position = rng.normal(size=(5, 80, 3))
    position[1] *= 0.1  # narrow and high: as much as the first
    position[4] = 1.0  # stuck
    lp = -np.square(position).sum(2) / 2
    lp[1] = 3 * np.log(10.0) - 50 * np.square(position[1]).sum(1)
    lp[2] -= 40.0  # a plateau
    lp[3] -= np.linspace(160.0, 40.0, 80)  # on its way up
    record = chains.Record(position, lp, *(None,) * 6)
    arrived, is_lost = judge(record)
    np.testing.assert_array_equal(arrived, [True, True, False, False, False])
    np.testing.assert_array_equal(is_lost, [False, False, True, False, True])


def test_the_warmup_is_kept_on_request():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    post = ppgen.infer(regression, data, draws=400, tune=300, keep_warmup=True, progress=False)
    assert post.drawn.warmup.positions.shape == (4, 300, 2)
    groups = post.to_arviz()
    assert groups.warmup_posterior["beta"].shape == (4, 300, 2)
    assert groups.posterior["beta"].shape == (4, 400, 2)


@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # the largest R-hat of 200
def test_the_low_rank_metric_on_two_hundred_dimensions():
    """A scale that differs a thousandfold, and one direction that many entries share."""
    scale = np.geomspace(0.01, 10.0, 200)
    shared = np.outer(np.ones(200), np.ones(200)) * 4.0
    covariance = scale[:, None] * (np.eye(200) + shared) * scale

    def program():
        numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(200), jnp.asarray(covariance)))

    post = ppgen.infer(program, {}, draws=500, tune=600, chains=2, seed=0, progress=False)
    assert post.settings.metric == "auto"
    assert post.stats["n_steps"].mean() < 32  # a unit metric would need thousands
    ratio = post.draws["x"].std(axis=(0, 1)) / (scale * np.sqrt(5.0))
    assert np.abs(np.log(ratio)).max() < 0.25


def test_a_start_along_pathfinders_path_reaches_far_posteriors():
    def far(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1e4))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    y = 3000.0 + np.arange(5.0)
    post = ppgen.infer(far, {"y": y}, tune=200, start="pathfinder", keep_warmup=True, progress=False)
    assert abs(post.drawn.warmup.positions[:, 0] - 3002.0).max() < 5
    _agrees(post.draws["mu"], 3002.0, np.sqrt(1 / 5))


def test_summary_is_arvizs(schools):
    import arviz

    ours, theirs = schools.summary(), arviz.summary(schools.to_arviz())
    assert list(ours.index) == list(theirs.index)
    both = [column for column in ours.columns if column in theirs.columns and column != "mcse_sd"]
    assert {"mean", "sd", "mcse_mean", "ess_bulk", "ess_tail", "r_hat"} <= set(both)
    # Of the standard deviation's error there are several estimates.
    np.testing.assert_allclose(ours[both], theirs[both].astype(float), atol=0.006, rtol=1e-3)


def test_netcdf_round_trip(schools, tmp_path):
    import arviz

    back = arviz.from_netcdf(str(schools.to_netcdf(tmp_path / "schools.nc")), engine="h5netcdf")
    np.testing.assert_array_equal(back.posterior["mu"], schools.draws["mu"])
    with pytest.raises(ppgen.errors.StorageError, match="folder does not exist"):
        schools.to_netcdf(tmp_path / "missing" / "schools.nc")


@pytest.mark.quick
def test_a_saved_posterior_goes_on_where_it_stopped(tmp_path):
    import arviz

    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    settings = {"tune": 300, "seed": 4, "progress": False, "target_accept": 0.85, "keep_warmup": True}
    post = ppgen.infer(regression, data, draws=1000, **settings)
    back = ppgen.Posterior.load(post.save(tmp_path / "line.nc"), regression)
    np.testing.assert_array_equal(back.draws["beta"], post.draws["beta"])
    np.testing.assert_array_equal(back.drawn.warmup.positions, post.drawn.warmup.positions)
    assert back.diagnostics == post.diagnostics
    assert back.settings == post.settings
    assert back.dims == post.dims
    longer = post.extend(500, progress=False)
    np.testing.assert_array_equal(back.extend(500, progress=False).positions, longer.positions)

    assert arviz.from_netcdf(str(tmp_path / "line.nc"), engine="h5netcdf").posterior["beta"].shape == (
        4,
        1000,
        2,
    )
    with pytest.raises(ProgramError, match="a log density of"):
        ppgen.Posterior.load(tmp_path / "line.nc", lambda x, y: regression(x, 2 * y))
    (tmp_path / "broken.nc").write_bytes(b"CDF")
    for name in ("missing.nc", "broken.nc"):
        with pytest.raises(StorageError, match="missing, damaged"):
            ppgen.Posterior.load(tmp_path / name, regression)


@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # 2 chains of 20 draws
def test_a_posterior_that_version_0_1_saved_is_read(tmp_path):
    path = tmp_path / "nuts.nc"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "fixtures/nuts_0_1.nc.gz").read_bytes()))
    post = ppgen.Posterior.load(path, regression)
    assert post.settings == ppgen.inference.NUTS(target_accept=0.85)
    np.testing.assert_allclose(post.draws["beta"].mean((0, 1)), [0.02196912, 0.97938483], rtol=1e-6)
    assert post.extend(5, progress=False).draws["beta"].shape == (2, 25, 2)


def test_findings_are_saved_as_data_and_read_from_older_files(tmp_path):
    import h5py

    post = ppgen.infer(regression, {"x": np.arange(6.0), "y": np.arange(6.0)}, "laplace", progress=False)
    finding = Finding(
        "several modes", "problem", "There are 2.", 'Take method="smc".', {"share": np.float64(0.3)}
    )
    path = replace(post, drawn=replace(post.drawn, findings=(finding,))).save(tmp_path / "modes.nc")
    back = ppgen.Posterior.load(path, regression)
    assert back.drawn.findings == (finding,)
    assert back.diagnostics.problems == ('There are 2. Take method="smc".',)
    with h5py.File(path, "a") as file:  # as format 1 had it
        document = json.loads(file["ppgen"].attrs["document"])
        file["ppgen"].attrs["document"] = json.dumps(document | {"format": 1, "findings": ["There are 2."]})
    assert ppgen.Posterior.load(path, regression).diagnostics.problems == ("There are 2.",)


def test_prior_draws_come_as_arviz_groups():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    post = ppgen.infer(regression, data, draws=500, tune=300, progress=False)
    groups = post.to_arviz(prior=2000)
    assert groups.prior["beta"].shape == (1, 2000, 2)
    assert abs(float(groups.prior["beta"].std()) / 10 - 1) < 0.05
    spread = np.sqrt(100 * (1 + data["x"] ** 2) + 1)
    np.testing.assert_allclose(groups.prior_predictive["y"].std(("chain", "draw")), spread, rtol=0.1)

    def flat(y):
        mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with pytest.raises(UnsupportedProgram, match="site 'mu': got a prior that cannot be drawn from"):
        ppgen.infer(flat, {"y": np.zeros(3)}, draws=500, tune=300, progress=False).to_arviz(prior=10)


# -- what is wrong, in sentences -------------------------------------------------------------------------


def _stats(shape, **changed):
    rng = np.random.default_rng(0)
    stats = {name: rng.normal(size=shape) for name in ("lp", "energy")}
    stats |= {"acceptance_rate": np.full(shape, 0.8), "diverging": np.zeros(shape, bool)}
    return stats | {"tree_depth": np.full(shape, 3)} | changed


def test_a_stuck_chain_is_named():
    shape = (4, 500)
    draws = np.random.default_rng(0).normal(size=shape)
    stats = _stats(shape)
    draws[2], stats["lp"][2] = 5.0, -300.0
    found = diagnose_chains({"mu": draws}, stats, max_tree_depth=10)
    stuck = next(finding for finding in found.findings if finding.topic == "chains that move")
    assert (stuck.severity, stuck.evidence["chain"]) == ("problem", 2)
    problems = found.problems
    assert any(p.startswith("Chain 2 is stuck") for p in problems)
    assert any(p.startswith("Chain 2 has not found what the others agree on") for p in problems)


def test_every_problem_is_said():
    shape = (4, 500)
    good = np.random.default_rng(1).normal(size=shape)
    slow = np.cumsum(good, axis=1)
    diverging = np.zeros(shape, bool)
    diverging[0, :3] = True
    cases = {
        "The chains do not agree": ({"mu": slow}, _stats(shape)),
        "worth only": ({"mu": slow}, _stats(shape)),
        "3 of 2000 trajectories diverged": ({"mu": good}, _stats(shape, diverging=diverging)),
        "cut off at tree depth 10": ({"mu": good}, _stats(shape, tree_depth=np.full(shape, 10))),
        "energy changes too little": ({"mu": good}, _stats(shape, energy=slow)),
    }
    for words, (draws, stats) in cases.items():
        found = diagnose_chains(draws, stats, max_tree_depth=10)
        assert not found.ok
        assert any(words in problem for problem in found.problems), (words, found.problems)
    found = diagnose_chains({"mu": good}, _stats(shape), max_tree_depth=10)
    assert found.ok
    assert len({finding.topic for finding in found.findings}) == 6  # what is in order is said, too


def test_the_funnel_is_flagged():
    def funnel():
        scale = numpyro.sample("v", dist.Normal(0.0, 3.0))
        numpyro.sample("x", dist.Normal(0.0, jnp.exp(scale / 2)).expand([9]).to_event(1))

    with pytest.warns(InferenceWarning):
        post = ppgen.infer(funnel, {}, seed=0, progress=False)
    assert any("diverged" in problem for problem in post.diagnostics.problems)


def test_chains_of_an_improper_posterior_are_said_to_drift():
    def ridge(y):
        flat = dist.ImproperUniform(dist.constraints.real, (), ())
        a, b = numpyro.sample("a", flat), numpyro.sample("b", flat)
        numpyro.sample("y", dist.Normal(a + b, 1.0), obs=y)

    with pytest.warns(InferenceWarning):
        post = ppgen.infer(ridge, {"y": np.zeros(3)}, draws=300, tune=300, seed=1, progress=False)
    assert post.diagnostics.problems[0].startswith("The chains drift away in site 'a'")

    def far(y):  # a proper posterior that lies far away is none of them
        mu = numpyro.sample("mu", dist.Normal(0.0, 1e9))
        numpyro.sample("y", dist.Normal(mu, 1e6), obs=y)

    post = ppgen.infer(far, {"y": np.full(3, 5e8)}, seed=1, progress=False)
    assert not any("drift" in problem for problem in post.diagnostics.problems)


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "nutz"}, UnknownName, "Did you mean 'nuts'"),
        ({"target_acept": 0.9}, UnknownName, "option of method 'nuts'.*Did you mean 'target_accept'"),
        ({"target_accept": 1.5}, InvalidArgument, "target_accept: got 1.5"),
        ({"start": "prior"}, UnknownName, "start: got 'prior'"),
        ({"until_ess": 0}, InvalidArgument, "until_ess: got 0"),
        ({"metric": "full"}, UnknownName, "metric: got 'full'"),
        ({"max_tree_depth": 0}, InvalidArgument, "max_tree_depth"),
        ({"draws": 0}, InvalidArgument, "draws: got 0"),
        ({"chains": 100_000}, InvalidArgument, "chains: got 100000, expected an integer from 1 to 1000"),
        ({"guide": "nfs"}, UnknownName, "Did you mean 'nsf'"),
        ({"chains": 2.5}, InvalidArgument, "chains: got 2.5"),
        ({"seed": -1}, InvalidArgument, "seed: got -1"),
        ({"engine": "stan"}, UnknownName, "engine: got 'stan'"),
        ({"data": {"sigma": SCHOOLS["sigma"], "z": 1}}, InvalidArgument, "data: got the names"),
        ({"data": [1, 2]}, InvalidArgument, "data: got a list"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        ppgen.infer(eight_schools, **{"data": SCHOOLS, "progress": False, **arguments})


def test_no_finite_start_names_the_site():
    def program(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(jnp.log(-jnp.exp(mu)), 1.0), obs=y)

    with pytest.raises(InferenceError, match="not finite at: y"):
        ppgen.infer(program, {"y": np.zeros(3)}, progress=False)


def test_observations_outside_the_support_name_the_site():
    def program(y):
        rate = numpyro.sample("rate", dist.Exponential(1.0))
        numpyro.sample("y", dist.Poisson(rate), obs=y)

    with pytest.raises(DataError, match="site 'y'.*outside the support"):
        ppgen.infer(program, {"y": np.array([1, -2])}, progress=False)


def test_auto_says_which_method_it_took_and_why():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    post = ppgen.infer(regression, data, method="auto", draws=1000, progress=False)
    assert post.method == "pathfinder"
    assert post.how.startswith("Pathfinder: no problems found, taken.")
    assert post.diagnostics.ok
    assert "zhang2022" in ppgen.cite(post)


def test_every_method_has_its_papers():
    data = {"x": np.arange(6.0), "y": np.arange(6.0)}
    for method in ("laplace", "nuts"):
        entries = ppgen.cite(ppgen.infer(regression, data, method, draws=1000, progress=False))
        assert entries.count("@article{") >= 4
        assert "numpyro" in entries.lower()
    for guide in ("mean_field", "full_rank", "low_rank", "realnvp", "nsf", "iaf"):
        assert set(make_guide(guide, 2, {}).cites) <= set(papers())
    for objective in ("elbo", "iwae", "renyi", "wake_sleep"):
        assert set(make_bound(objective, 4, 0.5).cites) <= set(papers())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")  # so few draws seldom agree
def test_chains_that_factor_large_matrices_come_back():
    """On two cores two batches of such chains once waited for each other for ever."""
    x = np.linspace(0, 10, 60)
    y = np.sin(x) + 0.1 * np.random.default_rng(0).normal(size=60)

    def process(x, y):
        scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
        noise = numpyro.sample("noise", dist.HalfNormal(1.0))
        near = jnp.exp(-0.5 * ((x[:, None] - x) / scale) ** 2) + (noise**2 + 1e-6) * jnp.eye(len(x))
        numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), near), obs=y)

    post = ppgen.infer(process, {"x": x, "y": y}, draws=100, tune=100, progress=False)
    assert post.density.graph.largest_matrix == 60
    assert 0.05 < post.draws["noise"].mean() < 0.2
