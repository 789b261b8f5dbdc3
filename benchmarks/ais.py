"""Annealed importance sampling of a decoder, two ways: `python benchmarks/ais.py [--cases small]`.

- by hand: the same decoder, schedule, chains, leapfrog steps and step sizes in a plain eager torch loop
- ppgen: `ppgen.evaluation.annealed_likelihood`, one compiled loop

Both in one process and in turn, on one thread a library unless `--threads` says more: milliseconds a
temperature for 16 rows of 16 chains, the least of three runs, and the mean log p of both, which agree
within their noise. Seconds to compile are apart. Machines are shared: the ratios are what counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any, NamedTuple

ROWS, CHAINS, LEAPFROG = 16, 16, 10


class Case(NamedTuple):
    """A decoder: the settings of a VAE, and the shape of the rows."""

    shape: tuple[int, ...]
    levels: int
    settings: dict[str, Any]
    steps: int
    title: str


CASES = {
    "tiny": Case((64,), 2, {"hidden": (32, 32), "latent_dim": 4}, 400, "4-32-32-64, Bernoulli"),
    "small": Case((64,), 2, {"hidden": (128, 128), "latent_dim": 16}, 200, "16-128-128-64, Bernoulli"),
    "large": Case((784,), 2, {"hidden": (512, 512), "latent_dim": 32}, 30, "32-512-512-784, Bernoulli"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    _fix_threads(arguments.threads)
    print(
        f"{'decoder':28} {'torch, ms':>10} {'ppgen, ms':>10} {'ratio':>6} {'compiling, s':>13}   mean log p"
    )
    for name in arguments.cases:
        print(measure(CASES[name]), flush=True)


def measure(case: Case) -> str:
    """One line of the table."""
    import numpy as np

    from ppgen.evaluation.likelihood.annealed import AnnealingSettings, start_block
    from ppgen.evaluation.likelihood.annealing import anneal, learn_step_sizes
    from ppgen.evaluation.likelihood.latent_rows import LatentRows
    from ppgen.evaluation.likelihood.subject import read_subject
    from ppgen.kernels.weights import log_mean_weight
    from ppgen.models import VAE

    vae = VAE(case.shape, case.levels, dropout=0.0, seed=0, **case.settings)
    x = vae.sample(ROWS, seed=1)
    subject = read_subject(vae, None, x)
    latent = LatentRows(subject, subject.rows(x)[0], None)
    settings = AnnealingSettings("prior", case.steps, CHAINS, LEAPFROG, 0)
    pair = latent.pair("prior")
    block = start_block(latent, subject.rows(x), settings, stream=0, pilot=False)
    sizes = learn_step_sizes(pair, block, steps=64, leapfrog=LEAPFROG, report=_quiet)

    def compiled() -> np.ndarray:
        return anneal(pair, block, sizes, steps=case.steps, leapfrog=LEAPFROG, report=_quiet)

    begin = time.perf_counter()
    compiled()
    first = time.perf_counter() - begin
    fast, weights = _least(compiled)
    slow, by_hand = _least(lambda: torch_ais(vae, x, block, sizes, case.steps))
    values = [float(log_mean_weight(found)[0].mean()) for found in (by_hand, weights)]
    errors = [float(log_mean_weight(found)[1].mean()) / ROWS**0.5 for found in (by_hand, weights)]
    per = 1000 / case.steps
    return (
        f"{case.title:28} {slow * per:10.2f} {fast * per:10.2f} {slow / fast:6.1f} {first - fast:13.1f}   "
        f"{values[0]:.2f} ± {errors[0]:.2f}, {values[1]:.2f} ± {errors[1]:.2f}"
    )


def torch_ais(vae: Any, x: Any, block: Any, step_size: Any, steps: int) -> Any:
    """The log weights ``(rows, chains)`` by an eager loop, as one writes it in torch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(0)
    rows, chains, dim = block.start.shape
    z = torch.tensor(block.start, dtype=torch.float32).reshape(-1, dim)
    scale = torch.tensor(block.scale, dtype=torch.float32).repeat_interleave(chains, 0)
    table = torch.tensor(step_size, dtype=torch.float32).repeat_interleave(chains, 0)
    target = torch.tensor(x, dtype=torch.float32).reshape(rows, -1).repeat_interleave(chains, 0)
    curve = torch.sigmoid(4.0 * (2 * torch.linspace(0, 1, steps + 1) - 1))
    beta = (curve - curve[0]) / (curve[-1] - curve[0])
    weights = torch.zeros(rows * chains)

    def tempered(z: Any, beta: Any) -> Any:
        """Log density, its gradient, and the log likelihood, each of all chains."""
        z = z.detach().requires_grad_(True)
        logits = vae.decoder(z).reshape(len(z), -1)
        fit = -binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
        value = -0.5 * z.square().sum(-1) + beta * fit
        (slope,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), slope, fit.detach()

    for k in range(1, steps + 1):
        value, slope, fit = tempered(z, beta[k])
        weights += (beta[k] - beta[k - 1]) * fit
        size = table[:, (table.shape[1] * k - 1) // steps] * (0.8 + 0.4 * torch.rand(len(z)))
        step = size[:, None] * scale
        momentum = torch.randn_like(z)
        energy = value - 0.5 * momentum.square().sum(-1)
        new, moving, slope_new = z, momentum + 0.5 * step * slope, slope
        for i in range(LEAPFROG):
            new = new + step * moving
            value_new, slope_new, _ = tempered(new, beta[k])
            moving = moving + (step if i < LEAPFROG - 1 else 0.5 * step) * slope_new
        change = value_new - 0.5 * moving.square().sum(-1) - energy
        accept = torch.rand(len(z)).log() < change
        z = torch.where(accept[:, None], new, z)
    return weights.reshape(rows, chains).double().numpy()


def _least(run: Any, times: int = 3) -> tuple[float, Any]:
    best, found = float("inf"), None
    for _ in range(times):
        begin = time.perf_counter()
        found = run()
        best = min(best, time.perf_counter() - begin)
    return best, found


def _quiet(steps: int) -> None:
    """No progress is reported."""


def _fix_threads(threads: int) -> None:
    """Threads are read when the libraries start, so that this process begins again with them set."""
    flags = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    wanted = {"OMP_NUM_THREADS": str(threads), "XLA_FLAGS": flags}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


if __name__ == "__main__":
    main()
