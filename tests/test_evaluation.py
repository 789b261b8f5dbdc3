"""The scorecard and its baselines, against enumeration, closed forms and known entropies."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

import ppgen
from ppgen.data import Dataset, as_dataset, load
from ppgen.errors import DataError, InvalidArgument, NoLikelihood, PpgenError, StorageError
from ppgen.evaluation import Row, Scorecard, evaluate
from ppgen.evaluation.baselines import (
    CategoricalMixture,
    GaussianMixture,
    IndependentCategorical,
    KernelDensity,
)
from ppgen.evaluation.row import group_rows
from ppgen.program.likelihood import Likelihood

DISCRETE = [IndependentCategorical, CategoricalMixture, GaussianMixture, KernelDensity]
DENSITIES = [GaussianMixture, KernelDensity]


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def pairs():
    """Two dependent dice of four sides, and the probability of each pair."""
    joint = np.array([[8, 1, 1, 0], [1, 6, 1, 0], [1, 1, 5, 1], [0, 0, 2, 4]]) / 32
    cells = np.random.default_rng(0).choice(16, size=1800, p=joint.ravel())
    rows = np.stack(np.divmod(cells, 4), axis=1)
    return Dataset("pairs", rows[:1200], rows[1200:1500], rows[1500:], "discrete", 4), joint


@pytest.fixture(scope="module")
def fitted(pairs):
    """Every baseline for discrete data, fitted to the dice."""
    return {baseline: baseline.fit(pairs[0], seed=5) for baseline in DISCRETE}


@pytest.fixture(scope="module")
def normal():
    rows = np.random.default_rng(1).normal([3.0, -50.0], [0.1, 20.0], size=(4000, 2))
    return as_dataset(rows, splits=(0.5, 0.25, 0.25), name="normal")


def all_rows(levels, dims):
    return np.array(list(itertools.product(range(levels), repeat=dims)))


# -- the laws of every baseline ---------------------------------------------------------------------


@pytest.mark.parametrize("baseline", [IndependentCategorical, CategoricalMixture])
def test_probabilities_of_all_images_sum_to_one(baseline):
    images = np.random.default_rng(0).integers(0, 2, size=(60, 3, 3))
    data = as_dataset(images, splits=(0.8, 0.2, 0.0))
    values = baseline.fit(data).log_prob(all_rows(2, 9).reshape(-1, 3, 3)).values
    assert np.exp(values).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("baseline", DENSITIES)
def test_densities_integrate_to_one_in_the_units_of_the_data(baseline, normal):
    x = np.linspace(2.3, 3.7, 141)
    y = np.linspace(-190.0, 90.0, 141)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    ll = baseline.fit(normal).log_prob(grid.reshape(-1, 2))
    total = np.exp(ll.values).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert (ll.kind, ll.space) == ("exact", "continuous")
    assert total == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("baseline", DENSITIES)
def test_densities_reach_the_entropy_of_a_normal(baseline, normal):
    ll = baseline.fit(normal).log_prob(normal.test)
    entropy = sum(stats.norm(scale=s).entropy() for s in (0.1, 20.0))
    assert -0.05 < -ll.mean() - entropy < 0.15


@pytest.mark.parametrize("baseline", DISCRETE)
def test_no_baseline_beats_the_entropy_of_the_dice(baseline, pairs, fitted):
    data, joint = pairs
    entropy = stats.entropy(joint.ravel())
    ll = fitted[baseline].log_prob(data.test)
    assert -ll.mean() > entropy - 3 * ll.mean_stderr()


def test_mixture_finds_the_dependence_and_counts_do_not(pairs, fitted):
    _, joint = pairs
    independent = np.outer(joint.sum(1), joint.sum(0)).ravel()
    counts, mixture = (
        np.exp(fitted[baseline].log_prob(all_rows(4, 2)).values)
        for baseline in (IndependentCategorical, CategoricalMixture)
    )
    assert counts == pytest.approx(independent, abs=0.02)
    assert stats.entropy(joint.ravel(), mixture) < stats.entropy(joint.ravel(), independent) / 4


@pytest.mark.parametrize("baseline", DENSITIES)
def test_dequantized_bound_stays_below_the_exact_cell(baseline):
    rows = np.random.default_rng(2).binomial(9, 0.4, size=(900, 1))
    fitted = baseline.fit(Dataset("counts", rows[:600], rows[600:700], rows[700:], "discrete", 10))
    bound = fitted.log_prob(np.arange(10)[:, None], noise=400)

    def density(x):
        return math.exp(fitted.estimator.score_samples([[x]])[0])

    cells = np.array([integrate.quad(density, level, level + 1, epsabs=1e-9)[0] for level in range(10)])
    assert bound.kind == "lower_bound"
    assert (bound.values <= np.log(cells) + 3 * bound.stderr + 1e-6).all()
    assert (bound.values > np.log(cells) - 2).all()
    assert cells.sum() <= 1 + 1e-6


@pytest.mark.parametrize("baseline", DISCRETE)
def test_samples_are_rows_of_the_data_and_follow_the_seed(baseline, pairs, fitted):
    _, joint = pairs
    draws = fitted[baseline].sample(20_000, seed=3)
    assert draws.shape == (20_000, 2)
    assert draws.dtype == np.int64
    assert 0 <= draws.min() <= draws.max() <= 3
    assert (draws == fitted[baseline].sample(20_000, seed=3)).all()
    assert (draws != fitted[baseline].sample(20_000, seed=4)).any()
    frequencies = np.bincount(draws[:, 0], minlength=4) / len(draws)
    assert frequencies == pytest.approx(joint.sum(1), abs=0.05)


@pytest.mark.parametrize("baseline", [IndependentCategorical, CategoricalMixture])
def test_samples_have_the_probabilities_of_log_prob(baseline, fitted):
    draws = fitted[baseline].sample(40_000, seed=0)
    frequencies = np.bincount(draws[:, 0] * 4 + draws[:, 1], minlength=16) / len(draws)
    assert frequencies == pytest.approx(np.exp(fitted[baseline].log_prob(all_rows(4, 2)).values), abs=0.01)


@pytest.mark.parametrize("baseline", [IndependentCategorical, CategoricalMixture])
def test_log_prob_of_a_batch_is_the_batch_of_log_probs(baseline, fitted):
    rows = all_rows(4, 2)
    single = [fitted[baseline].log_prob(row[None]).values[0] for row in rows]
    assert fitted[baseline].log_prob(rows).values == pytest.approx(np.array(single))


@pytest.mark.parametrize("baseline", DISCRETE)
def test_same_seed_gives_the_same_fit(baseline, pairs, fitted):
    data, _ = pairs
    again = baseline.fit(data, seed=5)
    assert (again.log_prob(data.test).values == fitted[baseline].log_prob(data.test).values).all()


# -- the figures that others quote ------------------------------------------------------------------


@pytest.mark.quick
def test_independent_categorical_on_digits(digits):
    half = IndependentCategorical.fit(digits).log_prob(digits.test)
    one = IndependentCategorical.fit(digits, smoothing=1.0).log_prob(digits.test)
    assert half.bits_per_dim() == pytest.approx(2.4299, abs=1e-4)
    assert one.bits_per_dim() == pytest.approx(2.4317, abs=1e-4)
    assert (half.kind, half.space, half.dims) == ("exact", "discrete", 64)


def test_categorical_mixture_on_digits(digits):
    mixture = CategoricalMixture.fit(digits)
    assert mixture.log_prob(digits.test).bits_per_dim() < 2.25
    assert mixture.n_parameters == len(mixture.weights) - 1 + len(mixture.weights) * 64 * 16


def test_expectation_maximization_with_one_component_is_the_smoothed_marginal(digits):
    one = CategoricalMixture.fit(digits, sizes=(1,), smoothings=(1e-9,))
    counts = IndependentCategorical.fit(digits, smoothing=1e-9)
    seen = counts.probs > 1e-6
    assert one.probs[0][seen] == pytest.approx(counts.probs[seen])


def test_densities_on_two_moons():
    moons = load("two_moons")
    for baseline in DENSITIES:
        nll = -baseline.fit(moons).log_prob(moons.test).mean()
        assert 1.0 < nll < 1.06  # the true entropy is 1.013


def test_baselines_without_validation_rows(digits):
    few = Dataset("few", digits.train[:200], digits.valid[:0], digits.test[:50], "discrete", 17)
    assert CategoricalMixture.fit(few).log_prob(few.test).bits_per_dim() < 3.5


# -- evaluate ---------------------------------------------------------------------------------------


class Coin:
    """A model with every part that a row can report."""

    def __init__(self, shape=(2,), levels=4, kind="exact"):
        self.shape, self.levels, self.kind = shape, levels, kind
        self.trained = SimpleNamespace(seconds=12.5, epochs=3)

    def parameters(self):
        return [SimpleNamespace(shape=(3, 2)), SimpleNamespace(shape=(4,), requires_grad=False)]

    def log_prob(self, x):
        return Likelihood(np.full(len(x), -2 * math.log(4)), self.kind, "discrete", 2, "uniform")

    def sample(self, n, *, seed=0):
        return np.random.default_rng(seed).integers(0, 4, size=(n, 2))


class Silent(Coin):
    def log_prob(self, x):
        raise NoLikelihood("log_prob", got="a GAN", expected="a density", fix="Look at its samples.")


class Impossible(Coin):
    def log_prob(self, x):
        return Likelihood(np.where(np.arange(len(x)) == 3, -np.inf, -1.0), "exact", "discrete", 2, "half")


class Wrong(Coin):
    def log_prob(self, x):
        return Likelihood(np.zeros(len(x) - 1), "exact", "discrete", 2, "short")


def quiet(models, data, **options):
    return evaluate(models, data, progress=False, **options)


def test_a_row_reports_everything(pairs):
    row = quiet({"coin": Coin()}, pairs[0], baselines=False)["coin"]
    assert (row.family, row.kind, row.space, row.baseline) == ("Coin", "exact", "discrete", False)
    assert row.bits_per_dim == pytest.approx(2)
    assert row.interval == pytest.approx((2, 2))
    assert row.nats == pytest.approx(-2 * math.log(4))
    assert (row.parameters, row.train_seconds) == (6, 12.5)
    assert row.sample_seconds > 0


def test_interval_covers_the_true_entropy_as_often_as_it_says():
    probs = np.array([0.7, 0.2, 0.1])
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        rows = rng.choice(3, size=(200, 1), p=probs)
        ll = Likelihood(np.log(probs)[rows[:, 0]], "exact", "discrete", 1, "true")
        low, high = Row.of("true", "True", ll).interval
        covered += low < stats.entropy(probs, base=2) < high
    assert 0.91 < covered / 400 < 0.98


def test_baselines_stand_in_the_table(pairs):
    card = quiet({"coin": Coin()}, pairs[0])
    names = [row.model for row in card.rows if row.baseline]
    assert names == [baseline.name for baseline in DISCRETE]
    assert all(row.train_seconds > 0 and row.parameters > 0 for row in card.rows)
    assert card.n_test == 300


def test_continuous_data_has_the_density_baselines(normal):
    card = quiet(GaussianMixture.fit(normal), normal)
    assert [row.model for row in card.rows] == ["GaussianMixture", "Gaussian mixture", "kernel density"]
    assert {(row.space, row.kind) for row in card.rows} == {("continuous", "exact")}


def test_a_bare_array_has_no_baselines(pairs):
    data, _ = pairs
    card = quiet([Coin(), Coin()], data.test)
    assert [row.model for row in card.rows] == ["Coin", "Coin 2"]
    assert card.dataset == "array"


def test_a_model_without_a_likelihood_is_listed_with_its_reason(pairs):
    card = quiet({"gan": Silent(), "coin": Coin()}, pairs[0], baselines=False)
    assert (card["gan"].kind, card["gan"].bits_per_dim) == (None, None)
    assert "Look at its samples" in card["gan"].how
    assert card.groups[-1].rows == (card["gan"],)


def test_an_infinite_mean_is_said_and_not_ranked(pairs):
    card = quiet({"half": Impossible(), "coin": Coin()}, pairs[0], baselines=False)
    assert card["half"].bits_per_dim is None
    assert "1 of 300 test rows" in card["half"].how
    assert [row.model for row in card.groups[0].rows] == ["coin", "half"]


def test_sampling_need_not_be_timed(pairs):
    assert quiet({"coin": Coin()}, pairs[0], baselines=False, samples=0)["coin"].sample_seconds is None


def test_progress_goes_to_standard_error_alone(pairs, capsys):
    evaluate({"coin": Coin()}, pairs[0], baselines=False, progress=True)
    assert capsys.readouterr().out == ""


# -- the scorecard ----------------------------------------------------------------------------------


@pytest.fixture
def card():
    def row(model, kind, bits, space="discrete", **more):
        known = {"interval": (bits - 0.02, bits + 0.02), "nats": -44.0 * bits, "nats_stderr": 0.5}
        return Row(model, model.title(), kind, space, bits, **known, **more)

    rows = (
        row("flow", "lower_bound", 2.10),
        row("transformer", "exact", 1.96, parameters=79_000, train_seconds=241.0, sample_seconds=0.012),
        row("vae", "lower_bound", 1.90),
        row("counts", "exact", 2.43, baseline=True, how="counts <b>&</b> more"),
        row("annealed", "estimate", 2.0),
        row("density", "exact", 0.7, space="continuous"),
        Row("gan", "GAN", None, "discrete", None, None, None, None, how="no density"),
    )
    return Scorecard("digits <8x8>", 447, rows)


def test_groups_never_mix_kinds_and_are_sorted_within(card):
    for group in card.groups:
        assert {(row.space, row.kind) for row in group.rows} == {(group.space, group.kind)}
        bits = [row.bits_per_dim for row in group.rows if row.bits_per_dim is not None]
        assert bits == sorted(bits)
    assert sum(len(group.rows) for group in card.groups) == len(card.rows)
    assert [row.model for row in card.groups[1].rows] == ["vae", "flow"]


def test_order_of_the_rows_does_not_matter_to_the_groups(card):
    assert group_rows(card.rows) == group_rows(card.rows[::-1])


def test_reading_says_what_may_be_concluded(card):
    text = " ".join(card.reading)
    assert "A bound below an exact figure is a real win; a bound above it is inconclusive." in text
    assert "densities are different quantities" in text
    only_exact = Scorecard("digits", 447, card.rows[1:2])
    assert "bound" not in " ".join(only_exact.reading)


def test_text_has_every_model_once_and_marks_bounds(card):
    lines = str(card).splitlines()
    for row in card.rows:
        assert sum(line.startswith(f"  {row.model} ") or line == f"  {row.model}" for line in lines) == 1
    assert any("≤ 1.900" in line for line in lines)
    assert any("≈ 2.000" in line for line in lines)


def test_json_keeps_everything_and_writes_null_for_unknown(card, tmp_path):
    text = card.to_json(tmp_path / "card.json")
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["dataset"] == "digits <8x8>"
    assert content["n_test"] == 447
    assert content["rows"][0]["interval"] == [2.08, 2.12]
    assert content["rows"][-1]["bits_per_dim"] is None
    assert Scorecard.from_json((tmp_path / "card.json").read_text(encoding="utf-8")) == card


def test_html_is_whole_escaped_and_loads_nothing(card, tmp_path):
    page = card.to_html(tmp_path / "card.html")
    assert (tmp_path / "card.html").read_text(encoding="utf-8") == page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "digits &lt;8x8&gt;" in page
    assert "counts &lt;b&gt;&amp;&lt;/b&gt; more" in page
    assert "<table>" in card._repr_html_()
    assert "<html" not in card._repr_html_()


def test_plot_has_a_panel_for_each_measured_group(card):
    titles = [axes.get_title(loc="left") for axes in card.plot().axes]
    assert titles == [group.title for group in card.groups if group.kind is not None]


def test_plot_of_nothing_measured_is_an_empty_figure(card):
    assert len(Scorecard("digits", 447, card.rows[-1:]).plot().axes) == 1


def test_unknown_model_is_a_key_error(card):
    with pytest.raises(KeyError, match="nobody"):
        card["nobody"]


# -- bad input --------------------------------------------------------------------------------------

ROWS = np.arange(8).reshape(4, 2) % 4

BAD = {
    "no model": (lambda: quiet({}, ROWS), InvalidArgument, "models", "vae"),
    "no model in a list": (lambda: quiet([], ROWS), InvalidArgument, "models", "vae"),
    "empty name": (lambda: quiet({" ": Coin()}, ROWS), InvalidArgument, "models", "name"),
    "name that is no string": (lambda: quiet({1: Coin()}, ROWS), InvalidArgument, "models", "name 1"),
    "no log_prob": (lambda: quiet({"a": object()}, ROWS), InvalidArgument, "models['a']", "log_prob"),
    "a class": (lambda: quiet({"a": Coin}, ROWS), InvalidArgument, "models['a']", "instance"),
    "another shape": (lambda: quiet([Coin(shape=(3,))], ROWS), InvalidArgument, "models['Coin']", "(2,)"),
    "a dataset's name": (lambda: quiet([Coin()], "digits"), DataError, "data", "ppgen.data.load"),
    "program data": (lambda: quiet([Coin()], load("eight_schools")), DataError, "data", "Bayesian"),
    "an empty array": (lambda: quiet([Coin()], ROWS[:0]), DataError, "data", "at least one row"),
    "one axis": (lambda: quiet([Coin()], ROWS[0]), DataError, "data", "reshape"),
    "nan": (lambda: quiet([Coin()], np.full((3, 2), np.nan)), DataError, "data", "isfinite"),
    "negative samples": (lambda: quiet([Coin()], ROWS, samples=-1), InvalidArgument, "samples", "64"),
    "a short likelihood": (
        lambda: quiet([Wrong()], ROWS),
        InvalidArgument,
        "models['Wrong'].log_prob",
        "4 rows",
    ),
    "no row": (lambda: Scorecard("digits", 9, ()), InvalidArgument, "rows", "ppgen.evaluate"),
    "samples in words": (lambda: quiet([Coin()], ROWS, samples="9"), InvalidArgument, "samples", "64"),
    "not a scorecard": (lambda: Scorecard.from_json("[1, 2"), InvalidArgument, "text", "to_json"),
    "half a scorecard": (lambda: Scorecard.from_json('{"rows": [{}]}'), InvalidArgument, "text", "to_json"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_argument_and_the_fix(case, wrong_types):
    call, error, argument, hint = BAD[case]
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, PpgenError)
    assert caught.value.argument == argument
    assert hint in str(caught.value)


def test_data_without_test_rows(pairs):
    data, _ = pairs
    empty = Dataset("none", data.train, data.valid, data.test[:0], "discrete", 4)
    with pytest.raises(DataError, match="empty test split.*splits="):
        quiet([Coin()], empty)


@pytest.mark.parametrize("levels", [5, None])
def test_levels_that_differ_from_the_data(pairs, levels):
    with pytest.raises(InvalidArgument, match="levels=4"):
        quiet([Coin(levels=levels)], pairs[0])


def test_all_checks_come_before_any_work(pairs):
    class Counting(Coin):
        calls = 0

        def log_prob(self, x):
            Counting.calls += 1
            return super().log_prob(x)

    with pytest.raises(InvalidArgument):
        quiet({"good": Counting(), "bad": Coin(shape=(9,))}, pairs[0])
    assert Counting.calls == 0


@pytest.mark.parametrize("baseline", [IndependentCategorical, CategoricalMixture])
def test_counting_baselines_refuse_continuous_data(baseline, normal):
    with pytest.raises(DataError, match="KernelDensity"):
        baseline.fit(normal)


@pytest.mark.parametrize("baseline", DISCRETE)
@pytest.mark.parametrize(
    ("rows", "hint"),
    [(np.zeros((2, 3), int), "shape"), (np.full((2, 2), 9), "levels=10"), (ROWS[:0], "empty")],
)
def test_baselines_refuse_rows_that_do_not_fit(baseline, rows, hint, fitted):
    with pytest.raises(DataError, match=hint):
        fitted[baseline].log_prob(rows)


def test_smoothing_must_be_positive(digits):
    with pytest.raises(InvalidArgument, match=r"smoothing=0\.5"):
        IndependentCategorical.fit(digits, smoothing=0.0)


@pytest.mark.parametrize("method", ["to_html", "to_json"])
def test_a_path_that_cannot_be_written(card, method, tmp_path):
    with pytest.raises(StorageError, match="mkdir"):
        getattr(card, method)(tmp_path / "missing" / "card")


def test_the_front_door_is_at_the_top():
    assert ppgen.evaluate is evaluate
    assert ppgen.Scorecard is Scorecard
