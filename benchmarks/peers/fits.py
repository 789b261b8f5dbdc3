"""One library's NUTS on one posterior, inside a fresh process: a JSON line for each thing that is timed.

Every library gets its defaults at 4 chains of 1000 draws after 1000 of warm-up, and goes as far as a
summary table by ArviZ. Where a default cannot run a posterior at all, the next best is taken and said in
the line's "note".
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nine
import numpy as np

__all__ = ["LIBRARIES", "measure"]

DRAWS, TUNE, CHAINS = 1000, 1000, 4
STAN = Path(__file__).parent / "stan"

Draws = Mapping[str, np.ndarray]
Fit = Callable[[Mapping[str, Any], int], Draws]
"""From data and a seed to draws ``(chain, draw, *event)``."""

# NumPyro and Pyro compute in single precision by default, which rounds this kernel's jitter of 1e-10 away.
NEEDS_DOUBLE = ("gp_pois_regr",)


def measure(library: str, posterior: str, second: bool, say: Callable[..., None]) -> None:
    """Fit once or twice, and say at each step what was reached.

    Args:
        library: one of :data:`LIBRARIES`.
        posterior: one of the nine.
        second: whether to fit new data of the same shapes as well.
        say: takes what was reached as keywords.
    """
    warnings.simplefilter("ignore")
    data, answers = nine.read(posterior)
    fit, note = LIBRARIES[library](posterior, data)
    draws = fit(data, 1)
    _summarise(draws)
    say(summary_at=time.time(), note=note)
    error = nine.compare(draws, answers)
    say(ess=nine.smallest_ess(draws, answers), z=error.z, mean=error.mean, sd=error.sd)
    if not second:
        return
    fresh = nine.new_data(posterior, data, seed=2)
    begin = time.perf_counter()
    draws = fit(fresh, 2)
    say(second=time.perf_counter() - begin)
    say(second_ess=nine.smallest_ess(draws, answers))


def _summarise(draws: Draws) -> None:
    import arviz

    arviz.summary(arviz.from_dict(posterior=dict(draws)))


# -- the libraries ---------------------------------------------------------------------------------------


def _ppgen(language: str) -> Callable[[str, Mapping[str, Any]], tuple[Fit, str]]:
    def prepare(posterior: str, data: Mapping[str, Any]) -> tuple[Fit, str]:
        import ppgen

        program = nine.find_program(posterior, language)

        def fit(data: Mapping[str, Any], seed: int) -> Draws:
            return ppgen.infer(
                program, data, draws=DRAWS, tune=TUNE, chains=CHAINS, seed=seed, progress=False
            ).draws

        return fit, ""

    return prepare


def _numpyro(posterior: str, data: Mapping[str, Any]) -> tuple[Fit, str]:
    """Chains in parallel, one a device, as its documentation advises; new data without compilation."""
    from functools import partial

    import numpyro

    numpyro.set_host_device_count(CHAINS)
    double = posterior in NEEDS_DOUBLE
    numpyro.enable_x64(double)
    import jax
    from numpyro.infer import MCMC, NUTS

    fixed = {name: value for name, value in data.items() if isinstance(value, int)}  # sizes
    program = partial(nine.find_program(posterior, "numpyro"), **fixed)
    mcmc = MCMC(
        NUTS(program),
        num_warmup=TUNE,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="parallel",
        progress_bar=False,
        jit_model_args=True,
    )

    def fit(data: Mapping[str, Any], seed: int) -> Draws:
        changing = {name: value for name, value in data.items() if name not in fixed}
        mcmc.run(jax.random.key(seed), **changing)
        return {name: np.asarray(values) for name, values in mcmc.get_samples(group_by_chain=True).items()}

    return fit, "double precision" if double else ""


def _pyro(posterior: str, data: Mapping[str, Any]) -> tuple[Fit, str]:
    import pyro
    import torch
    from pyro.distributions import ImproperUniform
    from pyro.infer import MCMC, NUTS, Predictive

    # Pyro draws its start from the prior, which an improper one cannot give; this is near 0, as elsewhere.
    def start(self: Any, sample_shape: Any = ()) -> Any:
        bijection = torch.distributions.biject_to(self.support)
        shape = bijection.inverse_shape(self.shape(sample_shape))
        return bijection(torch.empty(shape).uniform_(-2, 2))

    ImproperUniform.sample = start
    double = posterior in NEEDS_DOUBLE
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    program = nine.find_program(posterior, "pyro")

    def fit(data: Mapping[str, Any], seed: int) -> Draws:
        pyro.set_rng_seed(seed)
        tensors = {name: _tensor(value) for name, value in data.items()}
        mcmc = MCMC(
            NUTS(program),
            num_samples=DRAWS,
            warmup_steps=TUNE,
            num_chains=CHAINS,
            disable_progbar=True,
            hook_fn=_count_step,
        )
        mcmc.run(**tensors)
        draws = {name: values.numpy() for name, values in mcmc.get_samples(group_by_chain=True).items()}
        return draws | _computed(tensors, draws)

    def _tensor(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return torch.tensor(value, dtype=torch.get_default_dtype() if value.dtype.kind == "f" else None)

    def _computed(tensors: dict[str, Any], draws: Draws) -> Draws:
        """Deterministic sites, which its MCMC leaves out."""
        wanted = {"eight_schools_noncentered": ["theta"], "gp_pois_regr": ["f"]}.get(posterior)
        if not wanted:
            return {}
        flat = {name: torch.tensor(values).flatten(0, 1) for name, values in draws.items()}
        found = Predictive(program, flat, return_sites=wanted)(**tensors)
        return {name: found[name].numpy().reshape(CHAINS, DRAWS, -1) for name in wanted}

    return fit, "double precision" if double else ""


def _count_step(*_: Any) -> None:
    """Leave a byte for each step of each chain: if the fit is stopped, the race can tell how far it was."""
    if path := os.environ.get("PEERS_STEPS"):
        with Path(path).open("ab") as file:
            file.write(b".")


def _nutpie(posterior: str, data: Mapping[str, Any]) -> tuple[Fit, str]:
    import nutpie
    from peers.in_pymc import build

    compiled = nutpie.compile_pymc_model(build(posterior, data))
    observed = nine.NINE[posterior].observed

    def fit(data: Mapping[str, Any], seed: int) -> Draws:
        model = compiled.with_data(**{observed: data[observed]})
        trace = nutpie.sample(model, draws=DRAWS, tune=TUNE, chains=CHAINS, seed=seed, progress_bar=False)
        return {name: values.to_numpy() for name, values in trace.posterior.items()}

    return fit, ""


def _pystan(posterior: str, data: Mapping[str, Any]) -> tuple[Fit, str]:
    import arviz
    import stan

    code = (STAN / f"{posterior}.stan").read_text()

    def fit(data: Mapping[str, Any], seed: int) -> Draws:
        model = stan.build(code, data=_for_stan(posterior, data), random_seed=seed)
        drawn = model.sample(num_chains=CHAINS, num_samples=DRAWS, num_warmup=TUNE)
        posterior_group = arviz.from_pystan(posterior=drawn).posterior
        return {name: values.to_numpy() for name, values in posterior_group.items()}

    return fit, ""


def _for_stan(posterior: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the sizes that a Stan program declares."""
    observed = data[nine.NINE[posterior].observed]
    sizes = {
        "eight_schools_noncentered": {"J": len(observed)},
        "arK": {"T": len(observed)},
        "garch11": {"T": len(observed)},
        "lotka_volterra": {"T": len(observed)},
    }.get(posterior, {"N": len(observed)})
    if posterior == "diamonds":
        sizes["K"] = data["X"].shape[1]
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in data.items()}
    return plain | sizes


LIBRARIES = {
    "ppgen, NumPyro program": _ppgen("numpyro"),
    "ppgen, Pyro program": _ppgen("pyro"),
    "NumPyro": _numpyro,
    "Pyro": _pyro,
    "PyMC with nutpie": _nutpie,
    "PyStan": _pystan,
}


if __name__ == "__main__":
    _library, _posterior, _second, _path = sys.argv[1:]

    def _write(**what: Any) -> None:  # to a file: other libraries write to stdout as they like
        with Path(_path).open("a") as file:
            file.write(json.dumps(what) + "\n")

    measure(_library, _posterior, _second == "yes", _write)
