"""Generative models as programs, over Pyro and NumPyro.

A model is a callable with ``sample`` statements; one inference layer fits it; one evaluation layer
says how good it is, and what kind of number that is.

>>> import ppgen
>>> digits = ppgen.data.load("digits")
>>> vae = ppgen.models.VAE(digits.shape, levels=digits.levels, latent_dim=16)

Importing ppgen imports neither torch nor JAX: each part is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppgen import data, errors, evaluation, inference, models, plots, program, reports, workflow
    from ppgen.evaluation.evaluate import evaluate
    from ppgen.evaluation.scorecard import Scorecard
    from ppgen.inference.citations import cite
    from ppgen.inference.infer import infer
    from ppgen.inference.posterior import Posterior
    from ppgen.inference.training.train import train
    from ppgen.models.files import load, save
    from ppgen.reports.report import report

__version__ = "0.1.0"

__all__ = [
    "Posterior",
    "Scorecard",
    "cite",
    "data",
    "errors",
    "evaluate",
    "evaluation",
    "infer",
    "inference",
    "load",
    "models",
    "plots",
    "program",
    "report",
    "reports",
    "save",
    "train",
    "workflow",
]

_ROOMS = ("data", "errors", "evaluation", "inference", "models", "plots", "program", "reports", "workflow")
_HOMES = {
    "Posterior": "ppgen.inference.posterior",
    "Scorecard": "ppgen.evaluation.scorecard",
    "cite": "ppgen.inference.citations",
    "evaluate": "ppgen.evaluation.evaluate",
    "infer": "ppgen.inference.infer",
    "load": "ppgen.models.files",
    "report": "ppgen.reports.report",
    "save": "ppgen.models.files",
    "train": "ppgen.inference.training.train",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"ppgen.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ppgen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
