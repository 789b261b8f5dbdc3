"""Figures of sample quality, against closed forms, other libraries and the traps that catch others."""

import json
import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from scipy import stats

from ppgen.data import as_dataset, load
from ppgen.errors import DataError, EvaluationWarning, InvalidArgument, PpgenError
from ppgen.evaluation import (
    Features,
    FeatureSpec,
    Row,
    Scorecard,
    classifier_two_sample_test,
    density_coverage,
    evaluate,
    frechet_distance,
    inception_score,
    kernel_distance,
    memorisation,
    molecule_quality,
    ngram_novelty,
    perplexity,
    precision_recall,
    wasserstein_distance,
)
from ppgen.evaluation.features import digits_classifier
from ppgen.evaluation.quality import kernel as kernel_module
from ppgen.evaluation.quality.jackknife import jackknife
from ppgen.plots import cost, nearest_neighbours
from ppgen.plots import precision_recall as plot_precision_recall
from ppgen.program.likelihood import Likelihood

FIGURES = {
    "frechet": frechet_distance,
    "kernel": kernel_distance,
    "gaussian kernel": lambda **both: kernel_distance(**both, kernel="gaussian"),
    "precision and recall": precision_recall,
    "density and coverage": density_coverage,
    "wasserstein": wasserstein_distance,
    "sliced wasserstein": lambda **both: wasserstein_distance(**both, method="sliced"),
    "two-sample test": classifier_two_sample_test,
    "logistic test": lambda **both: classifier_two_sample_test(**both, classifier="logistic"),
    "memorisation": lambda real, generated: memorisation(train=real, real=real, generated=generated),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def clouds(rng):
    return rng.normal(size=(300, 5)), 1.2 * rng.normal(size=(250, 5)) + 0.3


def parts(found):
    """The measurements that a result is made of."""
    pairs = (("precision", "recall"), ("density", "coverage"))
    return next(([getattr(found, n) for n in pair] for pair in pairs if hasattr(found, pair[0])), [found])


# -- closed forms -----------------------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_lies_in_its_interval(rng):
    mixing = rng.normal(size=(6, 6)) / 2
    first, second = mixing @ mixing.T + np.eye(6), np.diag([0.3, 0.5, 1.0, 1.5, 2.0, 3.0])
    root = scipy.linalg.sqrtm(first @ second).real
    truth = 6 * 0.25 + np.trace(first + second - 2 * root)
    inside = 0
    for _ in range(40):
        x = rng.multivariate_normal(np.zeros(6), first, size=400)
        y = rng.multivariate_normal(np.full(6, 0.5), second, size=300)
        found = frechet_distance(real=x, generated=y)
        inside += found.interval[0] <= truth <= found.interval[1]
        assert abs(found.extrapolated - truth) < 5 * found.stderr
    assert inside >= 34  # of 40 at 95 %; fewer has probability 0.003


def test_extrapolation_takes_the_bias_of_few_samples_away(rng):
    plain, extrapolated = [], []
    for _ in range(30):
        found = frechet_distance(real=rng.normal(size=(100, 8)), generated=rng.normal(size=(100, 8)) + 0.4)
        plain.append(found.value)
        extrapolated.append(found.extrapolated)
    truth = 8 * 0.16
    assert np.mean(plain) > truth + 0.3
    assert abs(np.mean(extrapolated) - truth) < 0.15


def test_kernel_distance_of_gaussians_lies_in_its_interval_and_has_no_bias(rng):
    d, shift, scale, width = 4, 0.3, 1.3, 2.0

    def expected(distance2, variance):  # of the kernel, of a difference ~ N(shift, variance I)
        spread = width**2 + variance
        return (width**2 / spread) ** (d / 2) * math.exp(-distance2 / (2 * spread))

    truth = expected(0, 2) + expected(0, 2 * scale**2) - 2 * expected(d * shift**2, 1 + scale**2)
    values, inside = [], 0
    for _ in range(60):
        x, y = rng.normal(size=(150, d)), scale * rng.normal(size=(200, d)) + shift
        found = kernel_distance(real=x, generated=y, kernel="gaussian", bandwidth=width)
        values.append(found.value)
        inside += found.interval[0] <= truth <= found.interval[1]
    assert inside >= 52
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / math.sqrt(60)


@pytest.mark.parametrize("kernel", ["polynomial", "gaussian"])
def test_kernel_distance_and_its_error_against_their_definition(kernel, rng):
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(7, 3)) + 0.5

    def k(a, b):
        if kernel == "polynomial":
            return (a @ b / 3 + 1) ** 3
        return math.exp(-((a - b) ** 2).sum() / (2 * 1.7**2))

    def estimate(x, y):
        within = [
            sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))
            for z in (x, y)
        ]
        return sum(within) - 2 * np.mean([[k(a, b) for b in y] for a in x])

    left = [
        [estimate(np.delete(x, i, axis=0), y) for i in range(len(x))],
        [estimate(x, np.delete(y, j, axis=0)) for j in range(len(y))],
    ]
    variance = sum((len(each) - 1) * np.var(each) for each in left)
    width = {"bandwidth": 1.7} if kernel == "gaussian" else {}
    found = kernel_distance(real=x, generated=y, kernel=kernel, **width)
    assert found.value == pytest.approx(estimate(x, y), rel=1e-10)
    assert found.stderr == pytest.approx(math.sqrt(variance), rel=1e-10)


@pytest.mark.parametrize("power", [1, 2])
def test_exact_wasserstein_distance_of_a_shift(power, rng):
    x = rng.normal(size=(40, 3))
    found = wasserstein_distance(real=x, generated=x + np.array([2.0, 3.0, 6.0]), power=power)
    assert found.value == pytest.approx(7.0)


def test_sliced_wasserstein_distance_of_gaussians(rng):
    d, shift, scale = 5, 0.8, 1.5
    # Along a direction, N(0, 1) against N(s, scale²), where s² is shift² on average.
    truth = math.sqrt(shift**2 + (scale - 1) ** 2)
    x, y = rng.normal(size=(4000, d)), scale * rng.normal(size=(3000, d)) + shift
    found = wasserstein_distance(real=x, generated=y, method="sliced")
    assert found.value == pytest.approx(truth, rel=0.05)


def test_exact_wasserstein_distance_of_gaussians_on_the_line(rng):
    x, y = rng.normal(size=(300, 1)), 2 * rng.normal(size=(250, 1)) + 1
    low, high = wasserstein_distance(real=x, generated=y).interval
    assert low < math.sqrt(2) < high


def test_inception_score_of_known_probabilities():
    blur = np.full((40, 4), 0.25)
    sure = np.eye(4)[np.arange(40) % 4]
    assert inception_score(generated=blur).value == pytest.approx(1)
    assert inception_score(generated=sure, real=blur).value == pytest.approx(4)
    half = np.where(sure == 1, 0.7, 0.1)
    entropy = stats.entropy([0.7, 0.1, 0.1, 0.1])
    assert inception_score(generated=half).value == pytest.approx(math.exp(math.log(4) - entropy))


def test_perplexity_of_a_die_and_of_a_bound():
    exact = Likelihood(np.full(10, -2 * math.log(6)), "exact", "discrete", 2, "dice")
    assert perplexity(exact).value == pytest.approx(6)
    rng = np.random.default_rng(0)
    varied = replace(exact, values=rng.normal(-4.0, 1.0, size=400))
    low, high = perplexity(varied).interval
    assert low < math.exp(2.0) < high
    with pytest.raises(InvalidArgument, match="lower_bound"):
        perplexity(exact).compare(perplexity(replace(exact, kind="lower_bound")))


# -- parity with other libraries --------------------------------------------------------------------------


def textbook(x, y):
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)


@pytest.mark.quick
def test_frechet_distance_is_the_textbook_formula(clouds):
    x, y = clouds
    found = frechet_distance(real=x, generated=y)
    assert found.value == pytest.approx(textbook(x, y), rel=1e-8)
    assert frechet_distance(real=y, generated=x).value == pytest.approx(found.value)


def test_frechet_distance_with_more_features_than_rows(rng):
    x, y = rng.normal(size=(30, 50)), rng.normal(size=(20, 50)) + 1
    with pytest.warns(EvaluationWarning) as caught:
        found = frechet_distance(real=x, generated=y)
    assert [str(warning.message) for warning in caught] == list(found.warnings)
    # The square root of one covariance, of low rank, by its eigenvectors; then another symmetric matrix.
    values, vectors = np.linalg.eigh(np.cov(x.T))
    root = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ np.cov(y.T) @ root)
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    expected = shift + np.trace(np.cov(x.T) + np.cov(y.T)) - 2 * np.sqrt(np.maximum(inner, 0)).sum()
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert "fewer real samples (30) than features (50)" in found.warnings[0]
    assert "fewer generated samples (20)" in found.warnings[1]


def torchmetrics_of(x, y, name, **options):
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance

        class Flat(torch.nn.Module):
            num_features = x.shape[1]

            def forward(self, images):
                return images.flatten(1)

        metric = {"fid": FrechetInceptionDistance, "kid": KernelInceptionDistance}[name](
            feature=Flat(), **options
        )
        metric.set_dtype(torch.float64)
        for rows, real in ((x, True), (y, False)):
            metric.update(torch.from_numpy(rows).reshape(len(rows), -1, 1, 1), real=real)
        return metric.compute()


def test_frechet_distance_agrees_with_torchmetrics(clouds):
    found = torchmetrics_of(*clouds, "fid", input_img_size=(5, 1, 1))
    value = frechet_distance(real=clouds[0], generated=clouds[1]).value
    assert value == pytest.approx(float(found), rel=1e-5)


def test_kernel_distance_agrees_with_torchmetrics(clouds):
    x, y = clouds[0][:250], clouds[1]
    mean, _ = torchmetrics_of(x, y, "kid", subsets=1, subset_size=250)
    assert kernel_distance(real=x, generated=y).value == pytest.approx(float(mean), rel=1e-5)


def test_precision_recall_density_coverage_agree_with_prdc(clouds):
    prdc = pytest.importorskip("prdc", reason="prdc is not installed")
    x, y = clouds
    theirs = prdc.compute_prdc(real_features=x, fake_features=y, nearest_k=4)
    shares = precision_recall(real=x, generated=y, neighbours=4)
    balls = density_coverage(real=x, generated=y, neighbours=4)
    assert shares.value == pytest.approx((theirs["precision"], theirs["recall"]))
    assert balls.value == pytest.approx((theirs["density"], theirs["coverage"]))


def test_neighbours_agree_with_scikit_learn(clouds):
    from sklearn.neighbors import NearestNeighbors

    x, y = clouds
    distances, nearest = NearestNeighbors(n_neighbors=1).fit(x).kneighbors(y)
    found = memorisation(train=x, real=clouds[0][:100] + 1, generated=y)
    assert found.distances == pytest.approx(distances[:, 0])
    assert (found.nearest == nearest[:, 0]).all()
    z = stats.mannwhitneyu(
        found.distances, found.held_out_distances, method="asymptotic", use_continuity=False
    )
    assert 2 * stats.norm.sf(abs(found.z)) == pytest.approx(z.pvalue, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("power", [1, 2])
def test_wasserstein_distances_agree_with_pot(power, clouds):
    import ot

    x, y = clouds
    directions = np.random.default_rng(0).normal(size=(5, 200))
    directions /= np.linalg.norm(directions, axis=0)
    sliced = wasserstein_distance(real=x, generated=y, method="sliced", power=power)
    theirs = ot.sliced_wasserstein_distance(x, y, projections=directions, p=power)
    assert sliced.value == pytest.approx(theirs)
    few = wasserstein_distance(real=x[:100], generated=y[:100], power=power)
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    costs = cdist(x[:100], y[:100]) ** power
    assert few.value == pytest.approx(costs[linear_sum_assignment(costs)].mean() ** (1 / power))


# -- intervals --------------------------------------------------------------------------------------------


def test_jackknife_is_right_and_takes_the_bias_away(rng):
    def squared_difference(x, y):
        return jackknife(lambda i, j: np.array([(x[i].mean() - y[j].mean()) ** 2]), 100, 80, seed=1)

    spreads = [squared_difference(rng.normal(size=100), rng.normal(size=80) + 1) for _ in range(200)]
    values, corrected, stderr = (
        np.array([getattr(spread, name)[0] for spread in spreads])
        for name in ("values", "corrected", "stderr")
    )
    # The bias is 1/100 + 1/80; the corrected figures keep little of it.
    assert (values - corrected).mean() == pytest.approx(1 / 100 + 1 / 80, rel=0.15)
    assert stderr.mean() == pytest.approx(values.std(), rel=0.15)


@pytest.mark.parametrize("figures", [precision_recall, density_coverage], ids=["precision", "density"])
def test_intervals_of_shares_cover_what_other_samples_show(figures, rng):
    results = [
        parts(figures(real=rng.normal(size=(150, 3)), generated=0.8 * rng.normal(size=(150, 3)) + 0.4))
        for _ in range(25)
    ]
    for each in zip(*results, strict=True):
        centre = np.mean([m.value for m in each])
        assert sum(m.interval[0] <= centre <= m.interval[1] for m in each) >= 21
        assert np.mean([m.stderr for m in each]) < 3 * np.std([m.value for m in each])


def test_two_sample_test_rejects_as_often_as_it_says(rng):
    p_values = [
        classifier_two_sample_test(real=rng.normal(size=(60, 3)), generated=rng.normal(size=(60, 3))).p_value
        for _ in range(60)
    ]
    assert sum(p < 0.05 for p in p_values) <= 8
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("classifier", ["neighbours", "logistic", "network"])
def test_two_sample_test_sees_a_shift(classifier, rng):
    found = classifier_two_sample_test(
        real=rng.normal(size=(100, 3)), generated=rng.normal(size=(150, 3)) + 2, classifier=classifier
    )
    assert found.value > 0.9
    assert found.p_value < 0.01
    assert "tells them apart" in found.reading


# -- known traps ------------------------------------------------------------------------------------------


def test_identical_sets(clouds):
    x, _ = clouds
    found = frechet_distance(real=x, generated=x.copy())
    assert found.value == pytest.approx(0, abs=1e-10)
    assert found.extrapolated == 0
    assert precision_recall(real=x, generated=x).value == (1, 1)
    assert density_coverage(real=x, generated=x).coverage.value == 1
    assert wasserstein_distance(real=x, generated=x).value == pytest.approx(0, abs=1e-7)
    assert (
        kernel_distance(real=x, generated=x).value < 0
    )  # without bias: the pairs of a row with itself count


def test_a_collapsed_model_is_precise_and_recalls_nothing(clouds):
    x, _ = clouds
    collapsed = np.repeat(x[:1], 200, axis=0)
    shares, balls = (f(real=x, generated=collapsed) for f in (precision_recall, density_coverage))
    assert shares.precision.value == 1
    assert shares.recall.value < 0.01
    assert balls.coverage.value < 0.1
    assert any("collapsed" in sentence for sentence in shares.precision.warnings)
    value = frechet_distance(real=x, generated=collapsed).value
    assert value == pytest.approx(((x.mean(0) - x[0]) ** 2).sum() + np.trace(np.cov(x.T)))


def test_duplicated_real_rows_do_not_make_a_perfect_model_worse(clouds):
    x, _ = clouds
    twice = np.concatenate([x[:50]] * 6)
    assert precision_recall(real=twice, generated=x[:50]).value == (1, 1)
    assert density_coverage(real=twice, generated=x[:50]).coverage.value == 1


def test_precision_and_recall_are_not_swapped(rng):
    both = rng.normal(size=(200, 2))
    far = np.array([20.0, 0.0])
    one_mode, two_modes = both + far, np.concatenate([both[:100], both[100:] + far])
    missing = precision_recall(real=two_modes, generated=one_mode)
    assert missing.precision.value > 0.9
    assert missing.recall.value < 0.6
    inventing = precision_recall(real=one_mode, generated=two_modes)
    assert inventing.precision.value < 0.6
    assert inventing.recall.value > 0.9


def test_an_outlier_lifts_recall_but_not_coverage(rng):
    x, y = rng.normal(size=(200, 2)), 0.05 * rng.normal(size=(200, 2))
    far = np.concatenate([y, [[40.0, 0.0], [0.0, 40.0], [-40.0, 0.0], [0.0, -40.0]]])
    assert precision_recall(real=x, generated=far).recall.value > 0.9
    assert density_coverage(real=x, generated=far).coverage.value < 0.4


def test_blocks_of_the_kernel_change_nothing(clouds, monkeypatch):
    whole = kernel_distance(real=clouds[0], generated=clouds[1])
    monkeypatch.setattr(kernel_module, "_BLOCK", 7)
    parted = kernel_distance(real=clouds[0], generated=clouds[1])
    assert parted.value == pytest.approx(whole.value, rel=1e-9)
    assert parted.stderr == pytest.approx(whole.stderr, rel=1e-9)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_rows_give_the_same_figures_in_any_order(name, clouds):
    x, y = clouds
    first, again = FIGURES[name](real=x, generated=y), FIGURES[name](real=x, generated=y)
    shuffled = FIGURES[name](real=x[::-1], generated=y[::-1])
    for one, same, other in zip(parts(first), parts(again), parts(shuffled), strict=True):
        assert (one.value, one.interval) == (same.value, same.interval)
        assert one.interval[0] <= one.interval[1]
        assert one.stderr >= 0
        if "accuracy" not in one.name:  # whose folds are by place
            assert other.value == pytest.approx(one.value, rel=1e-9)


def test_memorisation_sees_copies_and_underfitting(rng):
    train, real, new = rng.normal(size=(3, 300, 6))
    honest = memorisation(train=train, real=real, generated=new)
    copied = memorisation(train=train, real=real, generated=train[:200])
    blurred = memorisation(train=train, real=real, generated=2 * new)
    assert abs(honest.z) < 3
    assert abs(honest.value - honest.held_out) < 0.12
    assert copied.value == 0
    assert copied.copies == 1
    assert copied.z < -3
    assert "copies" in copied.reading
    assert blurred.z > 3
    assert "underfits" in blurred.reading


def test_ngram_novelty(rng):
    train = rng.integers(0, 5, size=(200, 30))
    recited = ngram_novelty(train=train, generated=train[:20], length=6)
    fresh = ngram_novelty(train=train, generated=rng.integers(0, 5, size=(50, 30)), real=train, length=6)
    assert recited.value == 0
    share = len({row[i : i + 6].tobytes() for row in train for i in range(25)}) / 5**6
    assert fresh.interval[0] < 1 - share < fresh.interval[1]
    assert "held-out rows is 0.000" in fresh.how


def test_molecules():
    pytest.importorskip("rdkit", reason="rdkit is not installed (the extra 'molecules')")
    found = molecule_quality(
        train=["CCO", "c1ccccc1"], generated=["OCC", "C1=CC=CC=C1", "CCN", "NCC", "C1CC", "not a molecule"]
    )
    assert found.validity.value == pytest.approx(4 / 6)
    assert found.uniqueness.value == pytest.approx(3 / 4)
    assert found.novelty.value == pytest.approx(1 / 3)
    assert found.novelty.interval[0] < 1 / 3 < found.novelty.interval[1]


def test_molecules_without_rdkit_say_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(InvalidArgument, match=r"ppgen\[molecules\]"):
        molecule_quality(train=["CCO"], generated=["CCO"] * 4)


# -- results ----------------------------------------------------------------------------------------------


def test_results_of_different_specs_refuse_comparison(clouds):
    x, y = clouds
    one, two = FeatureSpec("PCA", "aa"), FeatureSpec("PCA", "bb")
    first = frechet_distance(real=Features(x, one), generated=Features(y, one))
    second = frechet_distance(real=Features(x, two), generated=Features(y, two))
    for compare in (first.compare, first.__lt__, first.__gt__):
        with pytest.raises(InvalidArgument, match="features of the spec"):
            compare(second)
    with pytest.raises(InvalidArgument, match="figure"):
        first.compare(kernel_distance(real=Features(x, one), generated=Features(y, one)))
    with pytest.raises(InvalidArgument, match="same features"):
        frechet_distance(real=Features(x, one), generated=Features(y, two))


def test_comparison_says_which_is_better(clouds):
    x, y = clouds
    near, far = (kernel_distance(real=x, generated=y + shift) for shift in (0.0, 2.0))
    assert near < far
    assert far > near
    assert "better" in near.compare(far).reading
    assert "worse" in far.compare(near).reading
    assert "cannot be told apart" in near.compare(near).reading


def test_only_inception_features_give_a_fid(clouds):
    x, y = clouds
    spec = FeatureSpec("Inception-v3 as in the FID paper", "aa")
    assert frechet_distance(real=Features(x, spec), generated=Features(y, spec)).name == "FID"
    assert frechet_distance(real=x, generated=y).name == "Fréchet distance"


def test_readings_are_sentences_with_the_interval(clouds):
    for figure in FIGURES.values():
        for part in parts(figure(real=clouds[0], generated=clouds[1])):
            assert "95 % interval" in str(part)
            assert "250" in str(part)


# -- bad input --------------------------------------------------------------------------------------------

GOOD = np.random.default_rng(1).normal(size=(40, 3))
HOLE = GOOD.copy()
HOLE[7, 1] = np.nan

BAD_PAIRS = {
    "one sample": (GOOD, GOOD[:1], "generated", "at least 4"),
    "no real sample": (GOOD[:0], GOOD, "real", "at least 4"),
    "features of different widths": (GOOD, GOOD[:, :2], "generated", "3, as in real"),
    "nan": (GOOD, HOLE, "generated", "row 7"),
    "constant features": (np.ones((40, 3)), GOOD, "real", "all the same"),
    "images": (GOOD[:, :, None], GOOD[:, :, None], "real", "reshape"),
    "unlike sizes": ([[1.0, 2.0], [3.0]], GOOD, "real", "different sizes"),
    "words": (GOOD, np.full((40, 3), "a"), "generated", "numbers"),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
@pytest.mark.parametrize("name", FIGURES)
def test_bad_samples_are_refused_by_every_figure(name, case, wrong_types):
    real, generated, argument, hint = BAD_PAIRS[case]
    with pytest.raises(DataError) as caught:
        FIGURES[name](real=real, generated=generated)
    assert caught.value.argument == argument or name == "memorisation"
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "figure",
    [
        frechet_distance,
        kernel_distance,
        precision_recall,
        density_coverage,
        wasserstein_distance,
        classifier_two_sample_test,
        memorisation,
        inception_score,
    ],
)
def test_real_and_generated_cannot_be_given_by_position(figure):
    with pytest.raises(TypeError):
        figure(GOOD, GOOD)


BAD_OPTIONS = {
    "neighbours": lambda: precision_recall(real=GOOD, generated=GOOD, neighbours=0),
    "too many neighbours": lambda: density_coverage(real=GOOD, generated=GOOD, neighbours=30),
    "kernel": lambda: kernel_distance(real=GOOD, generated=GOOD, kernel="linear"),
    "bandwidth": lambda: kernel_distance(real=GOOD, generated=GOOD, kernel="gaussian", bandwidth=-1.0),
    "bandwidth of a polynomial": lambda: kernel_distance(real=GOOD, generated=GOOD, bandwidth=1.0),
    "method": lambda: wasserstein_distance(real=GOOD, generated=GOOD, method="sinkhorn"),
    "power": lambda: wasserstein_distance(real=GOOD, generated=GOOD, power=3),
    "classifier": lambda: classifier_two_sample_test(real=GOOD, generated=GOOD, classifier="tree"),
    "folds": lambda: classifier_two_sample_test(real=GOOD, generated=GOOD, folds=100),
    "no probabilities": lambda: inception_score(generated=Features(GOOD, FeatureSpec("PCA"))),
    "probabilities that do not sum to 1": lambda: inception_score(generated=np.abs(GOOD)),
    "other classes": lambda: inception_score(generated=np.eye(4), real=np.eye(5)),
    "densities": lambda: perplexity(Likelihood(np.zeros(9), "exact", "continuous", 2, "flow")),
    "short rows": lambda: ngram_novelty(train=np.zeros((4, 3), int), generated=np.zeros((4, 3), int)),
    "one string": lambda: molecule_quality(train=["C"], generated="CCO"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused(case, wrong_types):
    with pytest.raises(PpgenError) as caught:
        BAD_OPTIONS[case]()
    assert isinstance(caught.value, (InvalidArgument, DataError))


# -- the scorecard ----------------------------------------------------------------------------------------


class Drawer:
    """A model that can only sample: it draws from rows that it was given."""

    def __init__(self, rows):
        self.rows = rows

    def sample(self, n, *, seed=0):
        return self.rows[np.random.default_rng(seed).integers(0, len(self.rows), size=n)]


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def card(digits):
    from ppgen.evaluation.baselines import IndependentCategorical

    models = {
        "copier": Drawer(digits.train),
        "collapsed": Drawer(digits.train[:1]),
        "counts": IndependentCategorical.fit(digits),
        "broken": SimpleNamespace(sample=lambda n, *, seed=0: np.full((n, 8, 8), np.nan)),
    }
    return evaluate(models, digits, baselines=False, generated=200, progress=False)


def test_models_without_a_likelihood_are_measured_by_their_samples(card, digits):
    row = card["copier"]
    assert row.kind is None
    assert "no log_prob" in row.how
    assert row.sample_seconds > 0
    assert row.measured("precision").value > 0.8
    assert row.measured("precision").spec == digits_classifier().spec
    assert row.measured("authenticity").value == 0
    assert row.measured("data-copying z").value < -3
    assert row.measured("nothing") is None
    assert card["collapsed"].measured("recall").value < 0.05
    counts = card["counts"]
    assert counts.kind == "exact"
    assert counts.measured("Fréchet distance, infinite samples") > row.measured(
        "Fréchet distance, infinite samples"
    )


def test_unseen_real_rows_say_what_there_is_to_reach(card):
    found = {figure.name: figure for figure in card.unseen}
    assert found["Fréchet distance, infinite samples"].interval[0] == 0
    assert found["precision"].value > 0.8
    assert 0.4 < found["classifier accuracy"].value < 0.6


def test_samples_that_cannot_be_measured_are_named_with_the_reason(card):
    assert card["broken"].quality == ()
    assert "NaN" in card["broken"].quality_note
    assert "NaN" in card.to_html()


def test_tables_and_sentences_tell_of_samples(card):
    text = str(card)
    assert "Quality of samples" in text
    assert "Copies of training rows: copier, collapsed." in text
    assert "classifier of digits" in text
    assert "Fréchet (∞)" in text
    page = card.to_html()
    assert page.count("<table>") == 2
    assert all(name in page for name in ("precision", "recall", "coverage", "authentic"))


def test_json_keeps_samples_and_reads_older_cards(card):
    content = json.loads(card.to_json())
    assert content["format"] == 2
    assert content["rows"][0]["quality"][0]["spec"]["weights"] == digits_classifier().spec.weights
    assert Scorecard.from_json(card.to_json()) == card
    del content["format"], content["unseen"]
    for row in content["rows"]:
        del row["quality"], row["quality_note"]
    older = Scorecard.from_json(json.dumps(content))
    assert [row.model for row in older.rows] == [row.model for row in card.rows]
    assert older.rows[0].quality == ()
    with pytest.raises(InvalidArgument, match="format 9"):
        Scorecard.from_json(json.dumps({**content, "format": 9}))


def test_pictures_of_trade_offs(card):
    panel = plot_precision_recall(card).axes[0]
    names = {text.get_text() for text in panel.texts} - {""}
    assert names == {"copier", "collapsed", "counts", "unseen real rows"}
    assert {text.get_text() for text in cost(card).axes[0].texts} - {""} == {"counts"}
    bare = Scorecard("digits", 9, (Row("a", "A", None, "discrete", None, None, None, None),))
    for draw in (plot_precision_recall, cost):
        with pytest.raises(InvalidArgument, match=r"ppgen\.evaluate"):
            draw(bare)


def test_picture_of_nearest_neighbours_shows_the_closest_pairs(digits):
    generated = np.concatenate([digits.valid[:80], digits.train[17:18]])
    flat = {"train": digits.train, "real": digits.test, "generated": generated}
    found = memorisation(**{name: rows.reshape(len(rows), -1) for name, rows in flat.items()})
    figure = nearest_neighbours(found, generated=generated, train=digits.train, levels=17, columns=5)
    first, below = figure.axes[0].images[0].get_array(), figure.axes[5].images[0].get_array()
    assert (first == digits.train[17]).all()
    assert (below == digits.train[17]).all()
    with pytest.raises(DataError, match="that were measured"):
        nearest_neighbours(found, generated=generated[:9], train=digits.train)


def test_vectors_are_measured_on_standardised_values(rng):
    data = as_dataset(rng.normal([0, 50], [1, 9], size=(600, 2)), splits=(0.6, 0.2, 0.2))
    model = Drawer(rng.normal([0, 50], [1, 9], size=(5000, 2)))
    card = evaluate({"true": model}, data, baselines=False, progress=False)
    assert card["true"].measured("precision").spec.name == "standardised values"
    assert card["true"].measured("precision").n == 120
    assert abs(card["true"].measured("data-copying z").value) < 3.5


def test_text_is_measured_by_what_is_new(rng):
    from ppgen.data.text import encode, english

    rows = encode(english()[:40_000], window=32)
    data = as_dataset(rows, levels=96, splits=(0.6, 0.2, 0.2))
    card = evaluate({"reciter": Drawer(data.train)}, data, baselines=False, progress=False)
    novelty = card["reciter"].measured("novelty of 8-grams")
    assert novelty.value == 0
    assert "held-out rows" in novelty.how


def test_quality_can_be_left_out_or_asked_for_in_other_features(digits):
    models = {"copier": Drawer(digits.train)}
    assert evaluate(models, digits, baselines=False, generated=0, progress=False)["copier"].quality == ()
    card = evaluate(models, digits, baselines=False, generated=60, features="pca", progress=False)
    assert card["copier"].measured("recall").spec.name == "PCA to 32 components"
    few = evaluate(models, digits.test[:20], progress=False)["copier"]
    assert "fewer than 50 test rows" in few.quality_note


BAD_EVALUATIONS = {
    "unknown features": ({"features": "pixel"}, "Did you mean 'pixels'"),
    "features that are none": ({"features": 3}, "features="),
    "too few": ({"generated": 3}, "at least 50"),
    "negative": ({"generated": -1}, "at least 50"),
}


@pytest.mark.parametrize("case", BAD_EVALUATIONS)
def test_bad_options_of_evaluate(case, digits, wrong_types):
    options, hint = BAD_EVALUATIONS[case]
    with pytest.raises(InvalidArgument, match=hint):
        evaluate({"copier": Drawer(digits.train)}, digits, progress=False, **options)


def test_fitted_features_need_training_rows(digits):
    with pytest.raises(InvalidArgument, match="as_dataset"):
        evaluate({"copier": Drawer(digits.train)}, digits.test, features="pca", progress=False)
