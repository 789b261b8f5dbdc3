"""A training step of a Pyro program, four ways: `python benchmarks/training.py [--cases vae-small]`.

- by hand: the same networks in a plain torch loop, loss and gradient written out
- ppgen, compiled: `ppgen.train(..., compile="always")`, the steps lowered to JAX
- ppgen, torch: `ppgen.train(..., compile="never")`
- pyro.infer.SVI: Pyro's own loop on the same program (for the flow: a bare zuko loop is the hand-written one)

Each runs in a process of its own, in turn, on one thread a library unless `--threads` says more: milliseconds
a step (the median over epochs after the first), seconds until the first step is done, and the peak of the
resident memory. Machines are shared: the ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

BATCH = 128
WAYS = ("by hand", "ppgen, compiled", "ppgen, torch", "pyro.infer.SVI")


class Case(NamedTuple):
    """A family, its settings, and the shape of the rows."""

    family: str
    shape: tuple[int, ...]
    levels: int | None
    settings: dict[str, Any]
    title: str


CASES = {
    "vae-small": Case(
        "VAE", (64,), 2, {"hidden": (128, 128), "latent_dim": 16, "dropout": 0.0}, "VAE 64-128-128-16"
    ),
    "vae-large": Case(
        "VAE", (784,), 2, {"hidden": (512, 512), "latent_dim": 32, "dropout": 0.0}, "VAE 784-512-512-32"
    ),
    "flow": Case(
        "NeuralSplineFlow",
        (8,),
        None,
        {"transforms": 3, "hidden": (64, 64), "bins": 8},
        "neural spline flow, 8 dimensions",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        case, way = json.loads(arguments.worker)
        print(json.dumps(measure(CASES[case], way, arguments.steps, arguments.threads)))
        return
    for name in arguments.cases:
        _print(CASES[name], {way: _in_a_process(name, way, arguments) for way in WAYS})


def _in_a_process(case: str, way: str, arguments: argparse.Namespace) -> dict[str, float]:
    flags = f"--xla_cpu_multi_thread_eigen={'true' if arguments.threads > 1 else 'false'}"
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "XLA_FLAGS": flags}
    command = [sys.executable, __file__, "--worker", json.dumps([case, way])]
    command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def _print(case: Case, results: dict[str, dict[str, float]]) -> None:
    hand = results["by hand"]["ms"]
    print(f"\n{case.title}, batch {BATCH}")
    print(f"{'':18} {'ms a step':>10} {'speed, by hand = 1':>19} {'first step, s':>14} {'peak, MB':>9}")
    for way, result in results.items():
        row = f"{way:18} {result['ms']:10.2f} {hand / result['ms']:19.2f}"
        print(f"{row} {result['first']:14.1f} {result['peak_mb']:9.0f}")
    ratio = results["pyro.infer.SVI"]["ms"] / results["ppgen, compiled"]["ms"]
    print(f"compiled against pyro.infer.SVI: {ratio:.1f} times as fast", flush=True)


# -- one way, in its own process -----------------------------------------------------------------------------


def measure(case: Case, way: str, steps: int, threads: int) -> dict[str, float]:
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    shape = (40 * BATCH, *case.shape)
    rows = rng.normal(size=shape) if case.levels is None else rng.integers(0, case.levels, size=shape)
    epochs = max(3, steps // 40)
    begin = time.perf_counter()
    run = _with_ppgen if way.startswith("ppgen") else _with_a_loop
    first, seconds = run(case, way, rows, epochs, begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ms": 1e3 * statistics.median(seconds) / 40, "first": first, "peak_mb": peak}


def _with_ppgen(case: Case, way: str, rows: Any, epochs: int, begin: float) -> tuple[float, list[float]]:
    import ppgen
    from ppgen.data import Dataset

    kind = "continuous" if case.levels is None else "discrete"
    data = Dataset("rows", rows, rows[:0], rows[:0], kind, case.levels)
    family = getattr(ppgen.models, case.family)(case.shape, case.levels, **case.settings)
    compile = "always" if way.endswith("compiled") else "never"
    run = ppgen.train(family, data, epochs=epochs, batch_size=BATCH, compile=compile, progress=False)
    ends = [record.seconds for record in run.history]
    first = time.perf_counter() - begin - (ends[-1] - ends[0])
    return first, [after - before for before, after in pairwise(ends)]


def _with_a_loop(case: Case, way: str, rows: Any, epochs: int, begin: float) -> tuple[float, list[float]]:
    import torch

    x = torch.from_numpy(rows).float() if case.levels is None else torch.from_numpy(rows)
    step = _svi(case) if way == "pyro.infer.SVI" else _by_hand(case)
    first, seconds = 0.0, []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in x[torch.randperm(len(x))].split(BATCH):
            step(batch)
            first = first or time.perf_counter() - begin
        seconds.append(time.perf_counter() - start)
    return first, seconds[1:]


def _svi(case: Case) -> Callable[[Any], None]:
    import pyro
    from pyro.infer import SVI, Trace_ELBO

    import ppgen

    pyro.enable_validation(False)
    family = getattr(ppgen.models, case.family)(case.shape, case.levels, **case.settings)
    family.train()
    guide = family.guide if case.family == "VAE" else lambda x: None
    svi = SVI(family.model, guide, pyro.optim.AdamW({"lr": 1e-3}), Trace_ELBO())
    return lambda batch: svi.step(batch)


def _by_hand(case: Case) -> Callable[[Any], None]:
    import torch

    modules, loss = _hand_vae(case) if case.family == "VAE" else _hand_flow(case)
    parameters = [p for module in modules for p in module.parameters()]
    adam = torch.optim.AdamW(parameters, lr=1e-3)

    def step(batch: Any) -> None:
        adam.zero_grad()
        loss(batch).backward()
        adam.step()

    return step


def _hand_vae(case: Case) -> tuple[list[Any], Callable[[Any], Any]]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    dims, latent, hidden = case.shape[0], case.settings["latent_dim"], case.settings["hidden"]
    encoder = _mlp(dims, hidden, 2 * latent)
    decoder = _mlp(latent, hidden, dims)

    def loss(x: Any) -> Any:
        loc, log_scale = encoder(2.0 * x - 1).chunk(2, -1)
        z = loc + log_scale.exp() * torch.randn_like(loc)
        log_p = -F.binary_cross_entropy_with_logits(decoder(z), x.float(), reduction="none").sum(-1)
        # log p(z) - log q(z | x), at the same draw
        ratio = (-0.5 * z.square() + 0.5 * ((z - loc) / log_scale.exp()).square() + log_scale).sum(-1)
        return -(log_p + ratio).mean()

    return [nn.ModuleList([encoder, decoder])], loss


def _hand_flow(case: Case) -> tuple[list[Any], Callable[[Any], Any]]:
    import zuko

    flow = zuko.flows.NSF(
        features=case.shape[0],
        transforms=case.settings["transforms"],
        hidden_features=case.settings["hidden"],
        bins=case.settings["bins"],
    )
    return [flow], lambda x: -flow().log_prob(x).mean()


def _mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> Any:
    from torch import nn

    def layers() -> Iterator[nn.Module]:
        sizes = (inputs, *hidden)
        for before, after in pairwise(sizes):
            yield from (nn.Linear(before, after), nn.SiLU())
        yield nn.Linear(sizes[-1], outputs)

    return nn.Sequential(*layers())


if __name__ == "__main__":
    main()
