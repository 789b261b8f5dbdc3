"""Simulation-based calibration of eight schools, ppgen against simuk: `python benchmarks/sbc.py`.

Both calibrate the same NumPyro program (non-centred) with NUTS, one chain a simulated data set, ranks of all
parameters:

- ppgen: all simulations in whole, from the call to the verdict, in a fresh process with an empty compilation
  cache: reading the program, compiling, sampling, ranks, diagnostics and tests are all counted.
- simuk (on NumPyro): measured on `--peers` simulations in a fresh process, without the time of the first, and
  scaled to all: each simulation costs it the same. The first is slower, and is added once.

Two rows: both with simuk's lengths (1000 draws after 1000 of warm-up; 990 in ppgen), and ppgen with its own
defaults (990 after 500). simuk must be importable; `--peer-python` names an interpreter that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        print(json.dumps(WORKERS[arguments.worker](arguments.simulations)))
        return
    n = arguments.simulations
    peer = _run("simuk", arguments.peers, arguments.peer_python)
    each = float(np.mean(peer["seconds"][1:]))
    theirs = peer["seconds"][0] + each * (n - 1)
    cpu = peer["cpu"][0] + float(np.mean(peer["cpu"][1:])) * (n - 1)
    print(f"simuk: {arguments.peers} simulations measured, {each:.2f} s each after the first")
    print(f"simuk: {theirs:.0f} s for {n}, {cpu:.0f} s of CPU, scaled from these")
    for name in ("defaults", "same lengths"):
        own = _run(name, n, sys.executable)
        ratio = theirs / own["seconds"]
        print(f"ppgen, {name}: {own['seconds']:.1f} s for all {n}, in whole: {ratio:.0f} times faster")
        print(f"  {own['cpu']:.1f} s of CPU, {cpu / own['cpu']:.0f} times less")
        print(f"  {own['reading']}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--peers", type=int, default=20, help="simulations that simuk is measured on")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has simuk")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(worker: str, simulations: int, python: str) -> dict:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PPGEN_COMPILATION_CACHE": cache, "PYTHONWARNINGS": "ignore"}
        command = [python, __file__, "--worker", worker, "--simulations", str(simulations)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def eight_schools(sigma, y=None):
    import numpyro
    import numpyro.distributions as dist

    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", 8):
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * effect, sigma), obs=y)


def _ppgen(simulations: int, **lengths: int) -> dict:
    begin, cpu = time.perf_counter(), time.process_time()
    from ppgen.workflow import calibrate

    data = {"sigma": SIGMA, "y": Y}
    checked = calibrate(eight_schools, data, simulations=simulations, progress=False, **lengths)
    reading = str(checked)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "reading": reading.replace("\n", " ")}


def _simuk(simulations: int) -> dict:
    warnings.simplefilter("ignore")
    import numpyro
    from numpyro.infer import NUTS
    from simuk import SBC

    numpyro.enable_x64()  # as ppgen computes
    seconds: list[float] = []
    cpu: list[float] = []

    class Timed(SBC):
        def _get_posterior_samples_numpyro(self, *arguments):
            begin, used = time.perf_counter(), time.process_time()
            found = super()._get_posterior_samples_numpyro(*arguments)
            seconds.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - used)
            return found

    checked = Timed(
        NUTS(eight_schools), num_simulations=simulations, seed=0, data_dir={"sigma": SIGMA, "y": Y}
    )
    checked.run_simulations()
    return {"seconds": seconds, "cpu": cpu}


WORKERS = {
    "simuk": _simuk,
    "same lengths": lambda n: _ppgen(n, draws=99, thin=10, tune=1000),
    "defaults": _ppgen,
}

if __name__ == "__main__":
    main()
