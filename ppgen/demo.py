"""The main job, end to end: programs in both languages, fitted to real data, compared, in a report."""

from __future__ import annotations

import inspect
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import ppgen
from ppgen import plots
from ppgen.data import Dataset, load
from ppgen.errors import InferenceWarning, StorageError
from ppgen.evaluation.evaluate import evaluate
from ppgen.evaluation.scorecard import Scorecard
from ppgen.inference.infer import infer
from ppgen.inference.posterior import Posterior
from ppgen.inference.training.train import TrainingRun, train
from ppgen.models.bayesian.eight_schools import eight_schools
from ppgen.models.catalog import make
from ppgen.models.files import save
from ppgen.reports import Page

__all__ = ["run_demo"]

_SCHOOLS = ("A", "B", "C", "D", "E", "F", "G", "H")
_SHOWN = 49  # images of each model in the report
_SIGNS = {"lower_bound": "≤ ", "upper_bound": "≥ "}  # what a bound on log p makes of the bits
_PACKAGES = ("ppgen", "torch", "pyro-ppl", "zuko", "jax", "numpyro", "blackjax", "arviz")


@dataclass(frozen=True)
class _Trained:
    """A family on the digits, and how its training went."""

    model: Any
    run: TrainingRun


def run_demo(folder: Path, *, quick: bool = False, seed: int = 0, progress: bool = True) -> Path:
    """Fit eight schools and three generative models, and write a report of it all.

    Args:
        folder: where ``report.html``, ``scorecard.json``, ``eight_schools.nc`` and the models land.
        quick: train for seconds instead of minutes.
        seed: of every step.
        progress: show progress bars.

    Returns:
        The path of the report.

    Raises:
        StorageError: if the folder cannot be written.
    """
    _prepare(folder)
    begin = time.perf_counter()
    say = Console(stderr=True, quiet=not progress).rule
    digits = load("digits")

    say("1. Eight schools: a hierarchical model in NumPyro, by NUTS")
    schools = _fit_schools(seed, progress)
    schools.to_netcdf(folder / "eight_schools.nc")

    say("2. Handwritten digits: three families in Pyro")
    with _one_thread():
        families = _train_families(digits, quick, seed, progress)
    for name, family in families.items():
        save(family.model, folder / f"{name}.ppgen")

    say("3. How good are they, on digits that none has seen")
    models = {name: family.model for name, family in families.items()}
    with _one_thread():
        card = evaluate(models, digits, seed=seed, progress=progress)
    card.to_json(folder / "scorecard.json")

    page = Page(
        "ppgen: programs, fitted and compared",
        "A Bayesian model in NumPyro and three generative models in Pyro, on real data, in one run.",
        made_with=_made_with(seed, quick, time.perf_counter() - begin),
    )
    _write_findings(page, schools, card)
    _write_schools(page, schools)
    _write_digits(page, digits, families, card, seed)
    _write_again(page, quick)
    return page.write(folder / "report.html")


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.html").touch()
    except OSError as error:
        raise StorageError(
            "out",
            got=f"{folder}, which cannot be written ({error})",
            expected="a folder that can be written",
            fix="Write --out with another folder.",
        ) from error


# -- the fits ----------------------------------------------------------------------------------------------


def _fit_schools(seed: int, progress: bool) -> Posterior:
    with warnings.catch_warnings():  # the report says what is wrong, in the same words
        warnings.simplefilter("ignore", InferenceWarning)
        return infer(
            eight_schools,
            load("eight_schools"),
            draws=2000,
            seed=seed,
            coords={"school": _SCHOOLS},
            progress=progress,
            target_accept=0.95,
        )


@dataclass(frozen=True)
class _Recipe:
    """How long to train a family, in the whole run and in the quick one, and its settings."""

    epochs: int
    quick_epochs: int
    settings: Mapping[str, Any]


_RECIPES = {
    "transformer": _Recipe(14, 2, {}),
    # Levels of grey are ordered, which a categorical does not know.
    "vae": _Recipe(60, 8, {"likelihood": "discretized_logistic"}),
    "flow": _Recipe(25, 3, {}),
}


def _train_families(digits: Dataset, quick: bool, seed: int, progress: bool) -> dict[str, _Trained]:
    trained = {}
    for name, recipe in _RECIPES.items():
        model = make(name, digits.shape, digits.levels, seed=seed, **recipe.settings)
        epochs = recipe.quick_epochs if quick else recipe.epochs
        run = train(model, digits, epochs=epochs, seed=seed, progress=progress)
        trained[name] = _Trained(model, run)
    return trained


@contextmanager
def _one_thread() -> Iterator[None]:
    """Networks this small gain little from a second thread, and lose a lot on a machine that is shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# -- the report --------------------------------------------------------------------------------------------


def _write_findings(page: Page, post: Posterior, card: Scorecard) -> None:
    trusted = "no problems found" if post.diagnostics.ok else "with problems, named below"
    section = page.section("In short")
    section.bullets(
        f"Eight schools: {post.draws['mu'].size} draws in {post.seconds:.1f} seconds, {trusted}. Coaching "
        f"raises scores by {post.draws['mu'].mean():.1f} ± {post.draws['mu'].std():.1f} points on average.",
        *(
            f"Digits, {group.title[0].lower()}{group.title[1:]}: "
            + ", ".join(
                f"{row.model} {_SIGNS.get(str(group.kind), '')}{row.bits_per_dim:.2f}" for row in group.rows
            )
            + " bits/dim."
            for group in card.groups
        ),
    )


def _write_schools(page: Page, post: Posterior) -> None:
    effects, errors = post.data["y"], post.data["sigma"]
    section = page.section("Eight schools")
    section.text(
        "Eight schools coached their pupils for a test. Each measured an effect, with a standard error as "
        "large as the effect itself (Rubin 1981). How much of the difference between them is real?"
    )
    section.table(
        ("school", "measured effect", "standard error"),
        [(name, *row) for name, *row in zip(_SCHOOLS, effects, errors, strict=True)],
    )
    section.text("The program, in NumPyro. `ppgen.infer` reads its log density off it and draws with NUTS:")
    section.code(_source(eight_schools))
    draws = post.positions.shape[0] * post.positions.shape[1]
    section.text(f"{draws} draws in 4 chains took {post.seconds:.1f} seconds, compilation included.")
    for problem in post.diagnostics.problems:
        section.note("warning", problem)
    if post.diagnostics.ok:
        section.note("ok", str(post.diagnostics).splitlines()[0] + ".")
    section.table(
        *_summary(post),
        caption="Posterior means, standard deviations, 94 % intervals, and how far to trust them.",
    )
    section.figure(
        plots.trace(post.draws, ["mu", "tau"]),
        caption="Four chains of `mu`, the mean effect over schools, and `tau`, the spread between schools: "
        "their densities agree and their paths do not drift.",
        alt="Densities and paths of mu and tau in four chains, which overlap",
    )
    section.figure(
        plots.forest(
            {f"theta {name}": post.draws["theta"][..., i] for i, name in enumerate(_SCHOOLS)},
            reference={f"theta {name}": effects[i] for i, name in enumerate(_SCHOOLS)},
            reference_name="measured effect",
        ),
        caption="The effect of each school with its 50 % and 94 % intervals, beside what was "
        "measured. The schools inform each other: extreme measurements are drawn towards the mean.",
        alt="Intervals of the eight effects, pulled from the measurements towards their mean",
    )
    section.figure(
        plots.predictive_check(
            effects,
            post.predictive(post.seed)["y"].reshape(draws, -1),
            labels=list(_SCHOOLS),
            quantity="effect, points of the test",
        ),
        caption="Posterior predictive check: what the model would expect a new measurement in each school "
        "to be, and the measurement itself.",
        alt="Predictive intervals of the eight measurements, which contain the measured effects",
    )


def _write_digits(
    page: Page, digits: Dataset, families: Mapping[str, _Trained], card: Scorecard, seed: int
) -> None:
    section = page.section("Handwritten digits")
    section.text(
        f"Images of {digits.shape[0]}×{digits.shape[1]} pixels with {digits.levels} levels: "
        f"{len(digits.train)} to learn from, {len(digits.valid)} to stop training in time, and "
        f"{len(digits.test)} that no model has seen to measure them. Each family is a Pyro program: "
        "`ppgen.train` takes its objective from what the program can do."
    )
    section.table(
        ("family", "objective", "epochs", "best epoch", "training seconds", "settings"),
        [
            (
                name,
                family.run.objective,
                len(family.run.history),
                family.run.best_epoch,
                round(family.run.seconds, 1),
                _settings(family.model.config),
            )
            for name, family in families.items()
        ],
    )
    images = {"real": digits.test[:_SHOWN]}
    images |= {name: family.model.sample(_SHOWN, seed=seed) for name, family in families.items()}
    section.figure(
        plots.samples(images, digits.levels),
        caption="Real digits from the test set, and what each model draws when nothing is given to it.",
        alt="Grids of real digits and of digits drawn by the transformer, the VAE and the flow",
    )
    section.figure(
        plots.history({name: family.run.history for name, family in families.items()}),
        caption="The loss while training, in nats a digit; the parameters of the best validation loss are "
        "kept.",
        alt="Training and validation losses of the three families, falling",
    )
    section.heading("Bits per dimension on unseen digits")
    section.embed(card)
    section.figure(
        card.plot(),
        caption="Bits per dimension with 95 % intervals over test sets of this size; lower is better. Exact "
        "numbers and bounds stand apart.",
        alt="Bits per dimension of each model and baseline with intervals, grouped by kind of number",
    )


def _write_again(page: Page, quick: bool) -> None:
    section = page.section("Do it again")
    section.text("The same from Python:")
    section.code(
        "import ppgen\n"
        "from ppgen.models.bayesian.eight_schools import eight_schools\n\n"
        'post = ppgen.infer(eight_schools, ppgen.data.load("eight_schools"), target_accept=0.95)\n'
        "post.summary()\n\n"
        'digits = ppgen.data.load("digits")\n'
        "vae = ppgen.models.VAE(digits.shape, levels=17, likelihood='discretized_logistic')\n"
        "ppgen.train(vae, digits, epochs=60)\n"
        'ppgen.evaluate({"vae": vae}, digits)'
    )
    section.text("And with the models that this run left beside the report:")
    section.code(
        "ppgen sample transformer.ppgen -n 64 --plot samples.png\n"
        "ppgen evaluate transformer.ppgen vae.ppgen flow.ppgen --data digits --html card.html"
    )
    if quick:
        section.note("warning", "This was a quick run: the models have been trained for seconds only.")


def _settings(config: Mapping[str, Any]) -> str:
    """A family's settings in words, without those that are off."""
    shown = {key: value for key, value in config.items() if key not in ("seed", "levels") and value}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _summary(post: Posterior) -> tuple[list[str], list[list[object]]]:
    table = post.summary().astype({"ess_bulk": int, "ess_tail": int})
    rows = [row for row in table.index if not row.startswith("z[")]
    return ["quantity", *map(str, table.columns)], [
        [row, *(table[column][row] for column in table.columns)] for row in rows
    ]


def _source(program: Any) -> str:
    """A program's source without its docstring."""
    source = inspect.getsource(program)
    docstring = program.__doc__ or ""
    start = source.index(docstring) if docstring in source else 0
    if not start:
        return source
    opening = source.rindex("\n", 0, start)
    return source[:opening] + source[source.index("\n", start + len(docstring)) :]


def _made_with(seed: int, quick: bool, seconds: float) -> dict[str, object]:
    versions = {package: version(package) for package in _PACKAGES if package != "ppgen"}
    return {
        "command": "ppgen demo --quick" if quick else "ppgen demo",
        "seed": seed,
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "ppgen": ppgen.__version__,
        **versions,
    }
