"""Every picture draws what it says, leaves no global state behind, and refuses what it cannot draw."""

import io
import subprocess
import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from ppgen import plots
from ppgen.errors import DataError, PpgenError, UnknownName
from ppgen.evaluation import Row, Scorecard
from ppgen.plots.curves import density_curve

RNG = np.random.default_rng(0)
DRAWS = {"mu": RNG.normal(size=(4, 300)), "theta": RNG.normal(size=(4, 300, 2, 2))}
IMAGES = RNG.integers(0, 17, size=(70, 8, 6))
POINTS = RNG.normal(size=(50, 2))
CARD = Scorecard("d", 9, (Row("flow", "Flow", "lower_bound", "discrete", 2.0, (1.9, 2.1), -88.0, 1.0),))


def run(n, valid=True):
    return [
        SimpleNamespace(epoch=i, train=1000 / i, valid=90 + (i - 30) ** 2 / 100 if valid else None)
        for i in range(1, n + 1)
    ]


PICTURES = {
    "trace": lambda: plots.trace(DRAWS),
    "forest": lambda: plots.forest(DRAWS, reference={"mu": 0.0, "theta": np.zeros((2, 2))}),
    "intervals": lambda: plots.predictive_check(RNG.normal(size=8), RNG.normal(size=(200, 8))),
    "densities": lambda: plots.predictive_check(RNG.normal(size=80), RNG.normal(size=(200, 80))),
    "samples": lambda: plots.samples({"real": IMAGES, "a": IMAGES[:5], "b": IMAGES[:1]}, levels=17),
    "scatter": lambda: plots.scatter({"data": POINTS, "a": POINTS, "b": POINTS}),
    "history": lambda: plots.history({"vae": run(50), "flow": run(3, valid=False)}),
    "scorecard": lambda: plots.scorecard(CARD),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_figure_that_can_be_saved(name):
    figure = PICTURES[name]()
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert figure.get_size_inches()[0] <= 7.5  # fits a page, and is legible on a phone


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_leaves_no_global_state(name):
    before = dict(mpl.rcParams)
    PICTURES[name]()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", PICTURES)
def test_every_axis_with_numbers_says_what_it_shows(name):
    for axes in PICTURES[name]().axes:
        said = [axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")]
        numbered = axes.xaxis.get_tick_params()["labelbottom"]
        assert any(said) or not numbered, "numbers without a word"


def test_pictures_start_no_window_system():
    code = (
        "import sys, ppgen.plots as p, numpy as np;"
        "p.trace({'m': np.random.default_rng(0).normal(size=(2, 9))});"
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules or 'jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_trace_has_two_panels_a_scalar_and_a_line_a_chain():
    figure = plots.trace(DRAWS, ["theta"])
    assert len(figure.axes) == 2 * 4
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == [
        "theta[0, 0]",
        "theta[0, 1]",
        "theta[1, 0]",
        "theta[1, 1]",
    ]
    assert all(len(axes.lines) == 4 for axes in figure.axes)


def test_trace_of_a_stuck_chain_still_draws():
    stuck = RNG.normal(size=(3, 50))
    stuck[1] = 2.0
    assert len(plots.trace({"mu": stuck}).axes) == 2
    assert len(plots.trace({"zero": np.zeros((2, 50))}).axes) == 2


def test_many_scalars_are_cut_and_the_picture_says_so():
    many = {"z": RNG.normal(size=(2, 5, 100))}
    figure = plots.trace(many)
    assert len(figure.axes) == 2 * 20
    assert figure.axes[-1].get_xlabel() == "draw (the first 20 of 100 scalars)"
    assert "the first 60 of 100" in plots.forest(many, reference={"z": np.zeros(100)}).axes[0].get_xlabel()


def test_forest_draws_the_quantiles():
    draws = np.linspace(0, 1, 1001).reshape(1, -1)
    thin, thick, dot = plots.forest({"u": draws}).axes[0].lines[:3]
    assert thin.get_xdata() == pytest.approx([0.03, 0.97])
    assert thick.get_xdata() == pytest.approx([0.25, 0.75])
    assert np.asarray(dot.get_xdata()) == pytest.approx([0.5])


def test_forest_marks_the_reference_at_its_parameter():
    axes = plots.forest(DRAWS, reference={"theta": np.arange(4.0).reshape(2, 2)}).axes[0]
    marks = next(line for line in axes.lines if line.get_label() == "reference")
    assert list(marks.get_ydata()) == [1, 2, 3, 4]
    assert list(marks.get_xdata()) == [0, 1, 2, 3]


def test_predictive_check_shows_few_observations_one_by_one():
    figure = plots.predictive_check(
        np.arange(3.0), RNG.normal(size=(99, 3)), labels=["a", "b", "c"], quantity="score, points"
    )
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_xlabel() == "score, points"
    assert any(list(line.get_xdata()) == [0, 1, 2] for line in axes.lines)


def test_samples_share_one_grey_scale_and_keep_every_pixel():
    figure = plots.samples({"real": IMAGES[:4], "dark": IMAGES[:4] // 2}, levels=17)
    for axes, images in zip(figure.axes, (IMAGES[:4], IMAGES[:4] // 2), strict=True):
        picture = axes.images[0]
        assert picture.get_clim() == (0, 16)
        mosaic = np.asarray(picture.get_array())
        assert mosaic.shape == (2 * 10, 2 * 8)
        assert (mosaic[1:9, 1:7] == images[0]).all()
        assert (mosaic[11:19, 9:15] == images[3]).all()


def test_scatter_panels_share_their_limits():
    figure = plots.scatter({"data": POINTS, "far": POINTS + 100})
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_history_marks_the_best_epoch_and_leaves_out_the_fall():
    axes = plots.history({"vae": run(50)}).axes[0]
    ring = axes.lines[-1]
    assert np.asarray(ring.get_xdata()).item() == 30
    assert axes.get_ylim()[1] < 500


def test_scorecard_has_one_dot_a_row():
    axes = plots.scorecard(CARD).axes[0]
    assert axes.lines[1].get_marker() == "<"
    assert list(axes.lines[0].get_xdata()) == [1.9, 2.1]


@pytest.mark.parametrize("law", [stats.norm(3, 2), stats.expon(), stats.gamma(3), stats.uniform()])
def test_density_curve_is_near_the_density(law):
    values = law.rvs(20_000, random_state=0)
    x, y = density_curve(values, values.min(), values.max())
    assert np.trapezoid(y, x) == pytest.approx(1)
    assert np.trapezoid(np.abs(y - law.pdf(x)), x) / 2 < 0.03  # total variation


BAD = {
    "no draws": (lambda: plots.trace({}), DataError, "draws", "Posterior.draws"),
    "unknown name": (lambda: plots.forest(DRAWS, ["tau"]), UnknownName, "names", "'mu'"),
    "one axis": (lambda: plots.trace({"mu": np.zeros(9)}), DataError, "draws['mu']", "array[None]"),
    "nan draws": (
        lambda: plots.trace({"mu": np.full((2, 3), np.nan)}),
        DataError,
        "draws['mu']",
        "diagnostics",
    ),
    "no observation": (
        lambda: plots.predictive_check(np.zeros(0), np.zeros((5, 0))),
        DataError,
        "observed",
        "ravel",
    ),
    "shapes": (
        lambda: plots.predictive_check(np.zeros(3), np.zeros((5, 4))),
        DataError,
        "predicted",
        "(-1, 3)",
    ),
    "labels": (
        lambda: plots.predictive_check(np.zeros(3), np.zeros((5, 3)), labels=["a"]),
        DataError,
        "labels",
        "3",
    ),
    "infinite": (
        lambda: plots.predictive_check(np.full(3, np.inf), np.zeros((5, 3))),
        DataError,
        "observed",
        "finite",
    ),
    "flat images": (
        lambda: plots.samples({"a": np.zeros((4, 64))}),
        DataError,
        "images_by_name['a']",
        "8, 8",
    ),
    "no images": (lambda: plots.samples({}), DataError, "images_by_name", "model.sample"),
    "three columns": (lambda: plots.scatter({"a": np.zeros((4, 3))}), DataError, "points_by_name['a']", ":2"),
    "no points": (lambda: plots.scatter({}), DataError, "points_by_name", "flow.sample"),
    "no run": (lambda: plots.history({}), DataError, "runs", "run.history"),
    "no epoch": (lambda: plots.history({"vae": []}), DataError, "runs['vae']", "run.history"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_argument_and_the_fix(case):
    call, error, argument, hint = BAD[case]
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, PpgenError)
    assert caught.value.argument == argument
    assert hint in str(caught.value)
