"""NUTS from ppgen against NumPyro's own NUTS: `python benchmarks/nuts.py [--repeats 3]`.

Both draw 4 chains of 1000 after 1000 of warm-up from the same NumPyro programs, each with its
defaults, turn by turn in one run. A row is a program and a library; seconds are medians.

- cold: a fresh process, from start to a summary table; ppgen without its compilation cache
- cached: the same with ppgen's compilation cache filled by the run before
- second fit: new data of the same shapes in a warm process, up to NumPy draws; ppgen's includes its
  diagnostics. NumPyro is given its faster way, one MCMC object with jit_model_args=True.
- default: for NumPyro, a second fit as its documentation writes it, with a new MCMC object
- sampling: the smallest of three more fits; ESS/s is the smallest bulk ESS over that time
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

POSTERIORS = Path(__file__).resolve().parents[2] / "shared" / "posteriors"
PROGRAMS = ("eight_schools", "kidscore_interaction")
LIBRARIES = ("ppgen", "numpyro")
DRAWS, TUNE, CHAINS = 1000, 1000, 4


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        print(json.dumps(_measure(*arguments.worker)))
        return
    if not POSTERIORS.exists():
        sys.exit(f"The data of kidscore_interaction is read from {POSTERIORS}, which is not there.")
    rows = {}
    for program in PROGRAMS:
        rounds = [
            {library: _run(library, program) for library in LIBRARIES} for _ in range(arguments.repeats)
        ]
        for library in LIBRARIES:
            measured = [one[library] for one in rounds]
            rows[program, library] = {key: statistics.median(m[key] for m in measured) for key in measured[0]}
    _print(rows)
    if arguments.json:
        Path(arguments.json).write_text(
            json.dumps({" ".join(key): row for key, row in rows.items()}, indent=2)
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of all fits; the table shows medians")
    parser.add_argument("--json", help="also write the table to this file")
    parser.add_argument("--worker", nargs=2, metavar=("LIBRARY", "PROGRAM"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(library: str, program: str) -> dict[str, float]:
    """One fresh process with an empty compilation cache, and for ppgen another with a full one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PPGEN_COMPILATION_CACHE": cache, "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, "--worker", library, program]
        measured = []
        for _ in range(2 if library == "ppgen" else 1):
            begin = time.time()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            print(f"{library} on {program}: {time.time() - begin:.0f} s", file=sys.stderr)
            measured.append(result | {"cold": result.pop("summary_at") - begin})
    first = measured[0]
    return first | {"cached": measured[-1]["cold"] if library == "ppgen" else float("nan")}


def _print(rows: dict[tuple[str, str], dict[str, float]]) -> None:
    columns = ("cold", "cached", "second fit", "default", "sampling", "ess", "ess/s")
    print(f"| program | library | {' | '.join(columns)} |")
    print("|---|---|" + "---:|" * len(columns))
    for (program, library), row in rows.items():
        print(f"| {program} | {library} | {' | '.join(_number(row[column]) for column in columns)} |")
    for program in PROGRAMS:
        ours, theirs = rows[program, "ppgen"], rows[program, "numpyro"]
        ratios = {name: theirs[name] / ours[name] for name in ("cold", "second fit", "sampling")}
        ratios["ess/s"] = ours["ess/s"] / theirs["ess/s"]
        ratios["second fit against NumPyro's default"] = theirs["default"] / ours["second fit"]
        print(f"{program}: " + ", ".join(f"{name} {ratio:.1f} times" for name, ratio in ratios.items()))


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}" if value < 100 else f"{value:.0f}"


# -- inside the fresh process ----------------------------------------------------------------------------


def _measure(library: str, program: str) -> dict[str, float]:
    warnings.simplefilter("ignore")
    model, data = _program(program)
    fit = {"ppgen": _fit_ppgen, "numpyro": _fit_numpyro}[library]
    summary_at, again, default = fit(model, data)
    second = _seconds(lambda: again(_new_data(program, data, 1), 1))[0]
    later = [_seconds(lambda seed=seed: again(_new_data(program, data, seed), seed)) for seed in (2, 3, 4)]
    sampling, draws = min(later, key=lambda result: result[0])
    ess = _smallest_ess(draws)
    return {
        "summary_at": summary_at,
        "second fit": second,
        "default": default(_new_data(program, data, 5)),
        "sampling": sampling,
        "ess": ess,
        "ess/s": ess / sampling,
    }


def _fit_ppgen(model, data):
    import ppgen

    def again(data, seed):
        settings = {"draws": DRAWS, "tune": TUNE, "chains": CHAINS, "seed": seed, "progress": False}
        return ppgen.infer(model, data, **settings)

    again(data, 0).summary()
    return time.time(), lambda data, seed: again(data, seed).draws, lambda data: float("nan")


def _fit_numpyro(model, data):
    import arviz
    import jax
    from numpyro.infer import MCMC, NUTS

    settings = {"num_warmup": TUNE, "num_samples": DRAWS, "num_chains": CHAINS, "chain_method": "vectorized"}

    def make(**more):
        return MCMC(NUTS(model), progress_bar=False, **settings, **more)

    def run(mcmc, data, seed):
        mcmc.run(jax.random.key(seed), **data)
        return {name: np.asarray(draws) for name, draws in mcmc.get_samples(group_by_chain=True).items()}

    mcmc = make(jit_model_args=True)
    run(mcmc, data, 0)
    arviz.summary(arviz.from_numpyro(mcmc))
    return (
        time.time(),
        lambda data, seed: run(mcmc, data, seed),
        lambda data: _seconds(lambda: run(make(), data, 0))[0],
    )


def _program(name: str):
    import numpyro
    import numpyro.distributions as dist

    if name == "eight_schools":
        import ppgen.data
        from ppgen.models.bayesian.eight_schools import eight_schools

        return eight_schools, dict(ppgen.data.load("eight_schools"))

    def kidscore(kid_score, mom_hs, mom_iq):
        beta = numpyro.sample("beta", dist.ImproperUniform(dist.constraints.real_vector, (), (4,)))
        sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
        mean = beta[0] + beta[1] * mom_hs + beta[2] * mom_iq + beta[3] * mom_hs * mom_iq
        numpyro.sample("kid_score", dist.Normal(mean, sigma), obs=kid_score)

    data = json.loads((POSTERIORS / "kidscore_interaction.json").read_text())["data"]
    return kidscore, {name: np.array(data[name], dtype=float) for name in ("kid_score", "mom_hs", "mom_iq")}


def _new_data(program: str, data: dict, seed: int) -> dict:
    """Other observations of the same shape."""
    name = {"eight_schools": "y", "kidscore_interaction": "kid_score"}[program]
    noise = np.random.default_rng(seed).normal(size=data[name].shape)
    return {**data, name: data[name] + noise}


def _seconds(call):
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def _smallest_ess(draws: dict) -> float:
    from ppgen.inference.convergence import ess_bulk

    flat = [values.reshape(*values.shape[:2], -1) for values in draws.values()]
    return min(ess_bulk(values[..., k]) for values in flat for k in range(values.shape[2]))


if __name__ == "__main__":
    main()
