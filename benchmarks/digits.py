"""Every family on the digits: `python benchmarks/digits.py [--models transformer vae] [--seeds 0 1 2]`.

Trains each member by its recipe below, measures test bits/dim with their kind and interval beside simple
baselines, and draws samples. What is done is kept in --work, so that a run that was stopped goes on.
Writes docs/benchmarks/digits.json, digits.md and digits.png. About an hour on 2 cores for three seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GREY, BINARY = "digits", "digits-binary"
SIGNS = {"exact": "=", "lower_bound": "≤", "upper_bound": "≥", "estimate": "≈", None: ""}


class Recipe(NamedTuple):
    """A family by its name in the catalog, on a dataset, with its settings and those of its training."""

    group: str
    family: str
    data: str
    settings: Mapping[str, Any]
    training: Mapping[str, Any]


_AVERAGED = {"average": 0.998, "patience": None}
_PERSISTENT = {"objective": "pcd", "chains": 128, "average": 0.999, "patience": None}
_GREYS = {
    "likelihood": "discretized_logistic"
}  # levels of grey are ordered, which a categorical does not know

RECIPES: dict[str, Recipe] = {
    "pixelcnn": Recipe("autoregressive", "pixelcnn", GREY, {}, {"epochs": 25, **_AVERAGED}),
    "transformer": Recipe("autoregressive", "transformer", GREY, {}, {"epochs": 14}),
    "vae": Recipe("latent-variable", "vae", GREY, _GREYS, {"epochs": 60}),
    "vae, mixture prior": Recipe(
        "latent-variable", "vae", GREY, {**_GREYS, "prior": "mixture"}, {"epochs": 60}
    ),
    "vae, VampPrior": Recipe("latent-variable", "vae", GREY, {**_GREYS, "prior": "vamp"}, {"epochs": 60}),
    "hierarchical-vae": Recipe("latent-variable", "hierarchical-vae", GREY, _GREYS, {"epochs": 80}),
    "vqvae": Recipe(
        "latent-variable",
        "vqvae",
        GREY,
        {**_GREYS, "codes": 32, "positions": 8, "hidden": (256, 256)},
        {"epochs": 40, "learning_rate": 2e-3},
    ),
    "spline flow": Recipe(
        "flow", "flow", GREY, {"dropout": 0.2, "dequantization": "variational"}, {"epochs": 45}
    ),
    "realnvp": Recipe("flow", "realnvp", GREY, {"dropout": 0.2}, {"epochs": 40}),
    "maf": Recipe("flow", "maf", GREY, {"dropout": 0.2}, {"epochs": 40}),
    "nice": Recipe("flow", "nice", GREY, {"dropout": 0.2}, {"epochs": 40}),
    "energy model": Recipe(
        "energy",
        "energy",
        GREY,
        {},
        {**_PERSISTENT, "steps": 10, "restart": 0.02, "epochs": 60, "learning_rate": 1e-3},
    ),
    "masked-diffusion": Recipe(
        "diffusion",
        "masked-diffusion",
        GREY,
        {"network": "mlp", "width": 256, "depth": 2, "dropout": 0.5},
        {"epochs": 200, "batch_size": 100, "learning_rate": 2e-3, "average": 0.99, "weight_decay": 0.1},
    ),
    "ddpm": Recipe(
        "diffusion",
        "ddpm",
        GREY,
        {"network": "mlp", "width": 256, "depth": 2, "dropout": 0.5, "steps": 500},
        {
            "objective": "variational_bound",
            "epochs": 80,
            "batch_size": 100,
            "learning_rate": 2e-3,
            "average": 0.99,
            "weight_decay": 0.1,
        },
    ),
    "gan": Recipe(
        "adversarial",
        "gan",
        GREY,
        {"classes": 10, "latent_dim": 32},
        {
            "batch_size": 64,
            "epochs": 100,
            "learning_rate": 1e-3,
            "penalty": 0.1,
            "average": 0.99,
            "patience": None,
        },
    ),
    "made": Recipe("autoregressive", "made", BINARY, {}, {"epochs": 80, "learning_rate": 2e-3, **_AVERAGED}),
    "nade": Recipe("autoregressive", "nade", BINARY, {}, {"epochs": 40, **_AVERAGED}),
    "fvsbn": Recipe(
        "autoregressive", "fvsbn", BINARY, {}, {"epochs": 100, "learning_rate": 0.01, "weight_decay": 0.1}
    ),
    "rbm": Recipe("energy", "rbm", BINARY, {"hidden": 256}, {**_PERSISTENT, "epochs": 300}),
    "boltzmann": Recipe("energy", "boltzmann", BINARY, {}, {**_PERSISTENT, "epochs": 100}),
    "dbn": Recipe("energy", "dbn", BINARY, {}, {"epochs": 200, "average": 0.999, "patience": None}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="MODEL")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "digits")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.seeds[0], arguments.work)
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    _run_all(arguments)
    write(arguments.work, time.perf_counter() - begin)


def _run_all(arguments: argparse.Namespace) -> None:
    waiting = [
        (name, seed)
        for seed in arguments.seeds
        for name in ("baselines", *arguments.models)
        if (name != "baselines" or seed == 0) and not _result(arguments.work, name, seed).exists()
    ]
    running: dict[Any, tuple[str, int]] = {}
    while waiting or running:
        while waiting and len(running) < arguments.processes:
            name, seed = waiting.pop(0)
            running[_start(name, seed, arguments.work)] = (name, seed)
        time.sleep(0.5)
        for process in [process for process in running if process.poll() is not None]:
            name, seed = running.pop(process)
            state = "done" if process.returncode == 0 else f"FAILED (see {name}-{seed}.log)"
            print(f"{name}, seed {seed}: {state}", flush=True)


def _start(name: str, seed: int, work: Path) -> Any:
    # One thread each: two that wait for each other on a shared machine are slower than one.
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, __file__, "--worker", name, "--seeds", str(seed), "--work", str(work)]
    with (work / f"{name}-{seed}.log").open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _result(work: Path, name: str, seed: int) -> Path:
    return work / f"{name}-{seed}.json"


# -- one training, in its own process ------------------------------------------------------------------------


def work(name: str, seed: int, folder: Path) -> None:
    import numpy as np

    import ppgen
    from ppgen.models import make

    if name == "baselines":
        rows = [_row("baseline", dataset, row) for dataset in (GREY, BINARY) for row in _baselines(dataset)]
        _result(folder, name, seed).write_text(json.dumps(rows, indent=1))
        return
    recipe = RECIPES[name]
    data = ppgen.data.load(recipe.data)
    family = make(recipe.family, data.shape, data.levels, seed=seed, **recipe.settings)
    begin = time.process_time()
    run = ppgen.train(family, data, seed=seed, progress=False, **recipe.training)
    seconds = time.process_time() - begin  # of the one thread: other work on the machine does not count
    print(run)
    card = ppgen.evaluate({name: family}, data, baselines=False, seed=seed, progress=False)
    np.save(folder / f"{name}-{seed}.npy", family.sample(16, seed=seed))
    ppgen.save(family, folder / f"{name}-{seed}.ppgen")
    measured = {"seed": seed, "seconds": seconds}
    rows = [_row(recipe.group, recipe.data, row) | measured for row in card.rows]
    _result(folder, name, seed).write_text(json.dumps(rows, indent=1))


def _baselines(dataset: str) -> Iterator[Any]:
    import ppgen
    from ppgen.evaluation.baselines import IndependentCategorical

    data = ppgen.data.load(dataset)
    card = ppgen.evaluate({"counts": IndependentCategorical.fit(data)}, data, progress=False)
    return (row for row in card.rows if row.baseline)


def _row(group: str, data: str, row: Any) -> dict[str, Any]:
    return {
        "model": row.model,
        "family": group,
        "data": data,
        "kind": row.kind,
        "bits_per_dim": row.bits_per_dim,
        "interval": row.interval,
        "parameters": row.parameters,
        "seconds": row.train_seconds,
        "sample_seconds": row.sample_seconds,
        "how": row.how,
    }


# -- the table -----------------------------------------------------------------------------------------------


def write(work: Path, seconds: float) -> None:
    """Put what is in the work folder into docs/benchmarks."""
    out = ROOT / "docs" / "benchmarks"
    out.mkdir(parents=True, exist_ok=True)
    rows = list(_summaries(work))
    (out / "digits.json").write_text(json.dumps(rows, indent=1) + "\n")
    (out / "digits.md").write_text(_page(rows))
    picture = _picture(work)
    picture.savefig(out / "digits.png", dpi=130, bbox_inches="tight")
    print(f"{len(rows)} rows in {out}; this run took {seconds / 60:.0f} min")


def _summaries(work: Path) -> Iterator[dict[str, Any]]:
    """A row a model: the mean over its seeds, with the spread between them."""
    by_model = defaultdict(list)
    for path in sorted(work.glob("*-*.json")):
        for row in json.loads(path.read_text()):
            by_model[row["data"], row["model"]].append(row)
    for rows in by_model.values():
        first = min(rows, key=lambda row: row.get("seed", 0))
        if first["bits_per_dim"] is None:
            yield {**first, "seeds": len(rows)}
            continue
        bits = [row["bits_per_dim"] for row in rows]
        half = (first["interval"][1] - first["interval"][0]) / 2
        mean = statistics.fmean(bits)
        yield {
            **first,
            "bits_per_dim": mean,
            "interval": [mean - half, mean + half],
            "seeds": len(rows),
            "spread": statistics.stdev(bits) if len(bits) > 1 else None,
            "seconds": statistics.fmean(row["seconds"] or 0.0 for row in rows),
        }


def _page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# The families on the digits",
        "",
        "Test bits per dimension, lower is better; by `python benchmarks/digits.py`. Means over seeds,",
        "with the standard deviation between seeds, and the half width of a 95 % interval over test sets of",
        "this size (447 images). `=` is exact, `≤` a bound, `≈` an estimate: only like kinds rank. A bound",
        "below an exact figure is a win; a bound above one says nothing. Seconds are processor",
        "time of training on one thread.",
    ]
    for data, title in ((GREY, "`digits`: 8×8, 17 levels"), (BINARY, "`digits-binary`: 8×8, 2 levels")):
        head = "| model | family | | bits/dim | ± seeds | ± test set | parameters | s |"
        lines += ["", f"## {title}", "", head]
        lines += ["| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"]
        lines += [_line(row) for row in _ranked(row for row in rows if row["data"] == data)]
    lines += ["", "![Samples of each family beside real digits](digits.png)", ""]
    return "\n".join(lines)


def _ranked(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = ["exact", "lower_bound", "estimate", "upper_bound", None]
    return sorted(rows, key=lambda row: (kinds.index(row["kind"]), row["bits_per_dim"] or 0.0))


def _line(row: dict[str, Any]) -> str:
    if row["bits_per_dim"] is None:
        figures = "— | | "
    else:
        spread = "" if row["spread"] is None else f"{row['spread']:.3f}"
        half = (row["interval"][1] - row["interval"][0]) / 2
        figures = f"{row['bits_per_dim']:.3f} | {spread} | {half:.3f}"
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
    parameters = "" if row["parameters"] is None else f"{row['parameters']:,}"
    return (
        f"| {row['model']} | {row['family']} | {SIGNS[row['kind']]} | {figures} | {parameters} | {seconds} |"
    )


def _picture(work: Path) -> Any:
    import numpy as np

    import ppgen
    from ppgen import plots

    samples = {
        name: np.load(work / f"{name}-0.npy") / (16 if recipe.data == GREY else 1)
        for name, recipe in RECIPES.items()
        if (work / f"{name}-0.npy").exists()
    }
    real = {
        "real digits": ppgen.data.load(GREY).test[:16] / 16,
        "real, binary": ppgen.data.load(BINARY).test[:16],
    }
    return plots.samples(real | samples, columns=6)


if __name__ == "__main__":
    main()
