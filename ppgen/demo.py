"""The main job, end to end: programs in both languages, fitted to real data, compared, in a report."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ppgen import plots
from ppgen.data import Dataset, load
from ppgen.errors import InferenceWarning, StorageError
from ppgen.evaluation.scoring import evaluate
from ppgen.inference.infer import infer
from ppgen.inference.posterior import Posterior
from ppgen.inference.training.train import TrainingRun, train
from ppgen.models.bayesian.eight_schools import eight_schools, eight_schools_centred
from ppgen.models.files import save
from ppgen.models.registry import family_class
from ppgen.reports import Section
from ppgen.reports.report import report
from ppgen.reports.result_chapters import best_of, write_scorecard

__all__ = ["run_demo"]

_SCHOOLS = ("A", "B", "C", "D", "E", "F", "G", "H")
_SHOWN = 49  # images of each model in the report


@dataclass(frozen=True)
class _Trained:
    """A family on the digits, and how its training went."""

    model: Any
    run: TrainingRun


def run_demo(folder: Path, *, quick: bool = False, seed: int = 0, progress: bool = True) -> Path:
    """Take eight schools through a whole workflow, train three generative models, and report it all.

    Args:
        folder: where ``report.html``, ``scorecard.json``, the posteriors and the models land.
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

    say("1. Eight schools: a hierarchical model in NumPyro, in two forms, by NUTS")
    schools = _fit_schools(seed, progress)
    for name, post in schools.items():
        post.save(folder / f"{name}.nc")

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

    say("4. The report")
    page = report(schools, title="ppgen: programs, fitted and compared", seed=seed)
    page.subtitle = (
        "A Bayesian workflow in NumPyro and three generative models in Pyro, on real data, in one run."
    )
    next(iter(page)).bullets(*best_of(card))
    _write_digits(page.section("Handwritten digits"), digits, families, seed)
    write_scorecard(page.section("How good are they?"), card)
    _write_reproduction(page.section("How to reproduce it"), quick)
    command = "ppgen demo --quick" if quick else "ppgen demo"
    page.made_with = {"command": command, "seconds": round(time.perf_counter() - begin), **page.made_with}
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


def _fit_schools(seed: int, progress: bool) -> dict[str, Posterior]:
    """The centred form, which is to be diagnosed, and the form that mends it."""
    data, coords = load("eight_schools"), {"school": _SCHOOLS}
    with warnings.catch_warnings():  # the report says what is wrong, in the same words
        warnings.simplefilter("ignore", InferenceWarning)
        return {
            "eight_schools_centred": infer(
                eight_schools_centred, data, seed=seed, coords=coords, progress=progress
            ),
            "eight_schools": infer(
                eight_schools, data, seed=seed, coords=coords, progress=progress, target_accept=0.95
            ),
        }


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
        model = family_class(name).like(digits, seed=seed, **recipe.settings)
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


def _write_digits(section: Section, digits: Dataset, families: Mapping[str, _Trained], seed: int) -> None:
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


def _write_reproduction(section: Section, quick: bool) -> None:
    section.text("The same from Python:")
    section.code(
        "import ppgen\n"
        "from ppgen.models.bayesian.eight_schools import eight_schools\n\n"
        'post = ppgen.infer(eight_schools, ppgen.data.load("eight_schools"), target_accept=0.95)\n'
        "post.summary()\n\n"
        'digits = ppgen.data.load("digits")\n'
        "vae = ppgen.models.VAE.like(digits, likelihood='discretized_logistic')\n"
        "ppgen.train(vae, digits, epochs=60)\n"
        'card = ppgen.evaluate({"vae": vae}, digits)\n'
        'ppgen.report(post, card, path="report.html")'
    )
    section.text("And with the models that this run left next to the report:")
    section.code(
        "ppgen sample transformer.ppgen -n 64 --plot samples.png\n"
        "ppgen evaluate transformer.ppgen vae.ppgen flow.ppgen --data digits --html card.html"
    )
    if quick:
        section.note("warning", "This was a quick run: the models have been trained for seconds only.")


def _settings(config: Mapping[str, Any]) -> str:
    """A description of a family's settings, without those that are off."""
    shown = {key: value for key, value in config.items() if key not in ("seed", "levels") and value}
    return ", ".join(f"{key} {value}" for key, value in shown.items())
