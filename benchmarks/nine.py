"""The nine reference posteriors: data, programs, and how far draws are from the reference."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "posteriors"


class Program(NamedTuple):
    """Where a program is, and what it takes from the data.

    Attributes:
        file, name: in ``ppgen.models.bayesian`` and, in Pyro, in ``ppgen.models.bayesian.in_pyro``.
        arguments: by name.
        observed: the argument that changes when new data comes.
    """

    file: str
    name: str
    arguments: tuple[str, ...]
    observed: str


NINE = {
    "eight_schools_noncentered": Program("eight_schools", "eight_schools", ("sigma", "y"), "y"),
    "arK": Program("autoregression", "autoregression", ("y", "K"), "y"),
    "garch11": Program("garch", "garch", ("y", "sigma1"), "y"),
    "gp_pois_regr": Program("gaussian_process", "poisson_regression", ("x", "k"), "k"),
    "low_dim_gauss_mix": Program("mixture", "gaussian_mixture", ("y",), "y"),
    "logearn_interaction": Program("regression", "log_earnings", ("height", "male", "log_earn"), "log_earn"),
    "kidscore_interaction": Program(
        "regression", "kid_scores", ("mom_hs", "mom_iq", "kid_score"), "kid_score"
    ),
    "diamonds": Program("regression", "diamond_prices", ("X", "Y"), "Y"),
    "lotka_volterra": Program("predator_prey", "lotka_volterra", ("ts", "y_init", "y"), "y"),
}

Answers = Mapping[str, Mapping[str, float]]


def read(posterior: str) -> tuple[dict[str, Any], Answers]:
    """The program's arguments, and the reference's mean and sd of each parameter."""
    content = json.loads((FOLDER / f"{posterior}.json").read_text())
    data = content["data"]
    if posterior == "logearn_interaction":
        data["log_earn"] = np.log(data["earn"])
    arguments = {name: np.asarray(data[name]) for name in NINE[posterior].arguments}
    arguments = {
        name: value.item() if value.dtype.kind == "i" and value.ndim == 0 else value
        for name, value in arguments.items()
    }
    observed = NINE[posterior].observed
    if observed != "k":  # counts stay integers
        arguments[observed] = arguments[observed].astype(float)
    return arguments, content["reference"]


def find_program(posterior: str, language: str) -> Any:
    """The program in ``"numpyro"`` or in ``"pyro"``."""
    home = {"numpyro": "ppgen.models.bayesian", "pyro": "ppgen.models.bayesian.in_pyro"}[language]
    file, name = NINE[posterior][:2]
    return getattr(importlib.import_module(f"{home}.{file}"), name)


def new_data(posterior: str, arguments: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Other observations of the same shapes and sizes."""
    rng = np.random.default_rng(seed)
    observed = NINE[posterior].observed
    old = arguments[observed]
    if posterior == "gp_pois_regr":
        new = rng.poisson(old)
    elif posterior == "lotka_volterra":  # must stay positive
        new = old * np.exp(0.1 * rng.normal(size=old.shape))
    else:
        new = old + 0.05 * old.std() * rng.normal(size=old.shape)
    return {**arguments, observed: new}


def columns(draws: Mapping[str, np.ndarray], answers: Answers) -> dict[str, np.ndarray]:
    """The draws ``(chain, draw)`` of each parameter of the reference, which are named as ``beta[1]`` is."""
    found = {}
    for parameter in answers:
        site, _, index = parameter.partition("[")
        values = np.asarray(draws[site], dtype=float)
        found[parameter] = values[..., int(index[:-1]) - 1] if index else values
    return found


class Error(NamedTuple):
    """How far draws are from the reference, each the largest over the parameters.

    Attributes:
        z: of the means, in Monte Carlo standard errors of the draws and the reference together.
        mean: of the means, in standard deviations of the posterior.
        sd: of the standard deviations, relative.
        worst: the parameter with the largest error of its mean.
    """

    z: float
    mean: float
    sd: float
    worst: str


def compare(draws: Mapping[str, np.ndarray], answers: Answers) -> Error:
    """Means and sds against the reference, whose own means have a standard error of sd/100."""
    shifts, z, stretches = {}, [], []
    for parameter, values in columns(draws, answers).items():
        mean, sd = answers[parameter]["mean"], answers[parameter]["sd"]
        shifts[parameter] = abs(values.mean() - mean) / sd
        z.append(shifts[parameter] / np.hypot(1 / np.sqrt(effective_size(values, "mean")), 1 / 100))
        stretches.append(abs(values.std() / sd - 1))
    worst = max(shifts, key=lambda name: np.nan_to_num(shifts[name], nan=np.inf))
    return Error(float(np.max(z)), float(shifts[worst]), float(np.max(stretches)), worst)


def smallest_ess(draws: Mapping[str, np.ndarray], answers: Answers) -> float:
    """The smallest bulk effective sample size over the reference's parameters."""
    return min(effective_size(values, "bulk") for values in columns(draws, answers).values())


def effective_size(values: np.ndarray, method: str) -> float:
    """ArviZ's effective sample size of ``(chain, draw)``."""
    import arviz

    return float(arviz.ess(values, method=method))
