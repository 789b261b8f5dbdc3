"""Every family on the digits: `python benchmarks/digits.py [--models transformer vae] [--seeds 0 1 2]`.

Trains each member by its recipe below, measures test bits/dim with their kind and interval beside simple
baselines, draws samples, and measures how far they are from test images. Writes digits.json, digits.md and
digits.png. At most two hours of processor time for three seeds.

What is done is kept in --work, so that a run that was stopped goes on. A trained family is not trained again
to be measured again: delete its result there, NAME-SEED.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
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
    labelled: int | None = None  # how many training rows come with their label, where not all do
    scoring: Mapping[str, Any] = MappingProxyType({})  # options of log_prob


_AVERAGED = {"average": 0.998, "patience": None}
_PERSISTENT = {"objective": "pcd", "chains": 128, "average": 0.999, "patience": None}
_GREYS = {
    "likelihood": "discretized_logistic"
}  # levels of grey are ordered, which a categorical does not know
_FLOW_OF_NOISE = {
    "epochs": 100,
    "batch_size": 100,
    "learning_rate": 2e-3,
    "average": 0.99,
    "weight_decay": 0.1,
    "patience": None,
}
_GAME = {
    "batch_size": 64,
    "epochs": 100,
    "learning_rate": 1e-3,
    "penalty": 0.1,
    "average": 0.99,
    "patience": None,
}

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
    "semi-supervised-vae": Recipe(
        "latent-variable",
        "semi-supervised-vae",
        GREY,
        {**_GREYS, "classes": 10},
        {"epochs": 40},
        labelled=100,
        scoring={"samples": 16},  # of each of ten classes
    ),
    "spline flow": Recipe(
        "flow", "flow", GREY, {"dropout": 0.2, "dequantization": "variational"}, {"epochs": 45}
    ),
    "realnvp": Recipe("flow", "realnvp", GREY, {"dropout": 0.2}, {"epochs": 40}),
    "maf": Recipe("flow", "maf", GREY, {"dropout": 0.2}, {"epochs": 40}),
    "nice": Recipe("flow", "nice", GREY, {"dropout": 0.2}, {"epochs": 40}),
    "glow": Recipe(
        "flow", "glow", GREY, {"steps": 6, "dropout": 0.2, "dequantization": "variational"}, {"epochs": 25}
    ),
    "iaf": Recipe("flow", "iaf", GREY, {"transforms": 2, "hidden": (128,)}, {"epochs": 30}),
    "continuous flow": Recipe(
        "flow",
        "continuous-flow",
        GREY,
        {"hidden": (256, 256), "steps": 4, "dequantization": "variational"},
        {"epochs": 30},
    ),
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
    "ncsn": Recipe(
        "diffusion",
        "ncsn",
        GREY,
        {"network": "mlp", "width": 256, "depth": 2, "dropout": 0.5},
        {
            "objective": "variational_bound",
            "epochs": 80,
            "batch_size": 100,
            "learning_rate": 2e-3,
            "average": 0.99,
            "weight_decay": 0.1,
        },
    ),
    "score SDE": Recipe(
        "diffusion",
        "score-sde",
        GREY,
        {"process": "ve", "network": "mlp", "width": 256, "depth": 2, "dropout": 0.5},
        {"objective": "denoising", "weighting": "likelihood", **_FLOW_OF_NOISE},
        scoring={"tolerance": 1e-4, "samples": 4},
    ),
    "flow matching": Recipe(
        "diffusion",
        "flow-matching",
        GREY,
        {"network": "mlp", "width": 256, "depth": 2, "dropout": 0.5},
        {"pairing": "optimal", **_FLOW_OF_NOISE},
        scoring={"tolerance": 1e-4, "samples": 4},
    ),
    "gan": Recipe("adversarial", "gan", GREY, {"classes": 10, "latent_dim": 32}, _GAME),
    "f-gan": Recipe(
        "adversarial",
        "fgan",
        GREY,
        {"divergence": "squared_hellinger", "classes": 10, "latent_dim": 32},
        _GAME,
    ),
    "wgan": Recipe(
        "adversarial",
        "wgan",
        GREY,
        {"classes": 10, "latent_dim": 32},
        {**_GAME, "penalty": 1.0, "critic_steps": 3, "critic_rate": 2.0, "epochs": 60},
    ),
    "bigan": Recipe("adversarial", "bigan", GREY, {"classes": 10, "latent_dim": 32}, _GAME),
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
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        for seed in arguments.seeds:
            work(arguments.worker, seed, arguments.work)
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    _run_all(arguments)
    write(arguments.work, arguments.out, time.perf_counter() - begin)


def _run_all(arguments: argparse.Namespace) -> None:
    """A process a model, for all of its seeds: to import two engines takes as long as to measure some."""
    waiting = [
        (name, missing)
        for name in ("baselines", *arguments.models)
        if (missing := _missing(name, arguments.seeds, arguments.work))
    ]
    running: dict[Any, str] = {}
    while waiting or running:
        while waiting and len(running) < arguments.processes:
            name, seeds = waiting.pop(0)
            running[_start(name, seeds, arguments.work)] = name
        time.sleep(0.5)
        for process in [process for process in running if process.poll() is not None]:
            name = running.pop(process)
            state = "done" if process.returncode == 0 else f"FAILED (see {name}.log)"
            print(f"{name}: {state}", flush=True)


def _missing(name: str, seeds: list[int], work: Path) -> list[int]:
    """The seeds without a result; baselines have one."""
    return [
        seed for seed in ([0] if name == "baselines" else seeds) if not _result(work, name, seed).exists()
    ]


def _start(name: str, seeds: list[int], work: Path) -> Any:
    # One thread each: two that wait for each other on a shared machine are slower than one.
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, __file__, "--worker", name, "--seeds", *map(str, seeds), "--work", str(work)]
    with (work / f"{name}.log").open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _result(work: Path, name: str, seed: int) -> Path:
    return work / f"{name}-{seed}.json"


# -- one training, in its own process ------------------------------------------------------------------------


def work(name: str, seed: int, folder: Path) -> None:
    """Train and measure one recipe with one seed; a family that is trained already is only measured."""
    import numpy as np

    import ppgen

    if name == "baselines":
        rows = [row for dataset in (GREY, BINARY) for row in _baselines(ppgen.data.load(dataset))]
        _result(folder, name, seed).write_text(json.dumps(rows, indent=1))
        return
    recipe = RECIPES[name]
    data = ppgen.data.load(recipe.data)
    family, seconds = _trained(name, seed, folder, data)
    row, samples = _measured(name, recipe.group, family, data, seed, recipe.scoring)
    np.save(folder / f"{name}-{seed}.npy", samples[:16])
    _result(folder, name, seed).write_text(json.dumps([row | {"seed": seed, "seconds": seconds}], indent=1))


def _trained(name: str, seed: int, folder: Path, data: Any) -> tuple[Any, float]:
    """The family, and the seconds that its training took: of the one thread, whatever else runs beside it."""
    import ppgen
    from ppgen.models.registry import family_class

    recipe, weights = RECIPES[name], folder / f"{name}-{seed}.ppgen"
    facts = folder / f"{name}-{seed}.trained"
    if weights.exists() and facts.exists():
        return ppgen.load(weights), json.loads(facts.read_text())["seconds"]
    family = family_class(recipe.family).like(data, seed=seed, **recipe.settings)
    begin = time.process_time()
    run = ppgen.train(
        family, _with_labels(data, recipe.labelled), seed=seed, progress=False, **recipe.training
    )
    seconds = time.process_time() - begin
    print(run)
    ppgen.save(family, weights)
    facts.write_text(json.dumps({"seconds": seconds}))
    return family, seconds


def _with_labels(data: Any, labelled: int | None) -> Any:
    """The dataset with the labels of so many training rows, the first ones; they are in random order."""
    import numpy as np

    if labelled is None:
        return data
    known = np.arange(len(data.train)) < labelled
    train = np.where(known, data.labels.train, -1)
    return dataclasses.replace(data, labels=dataclasses.replace(data.labels, train=train))


def _baselines(data: Any) -> Iterator[dict[str, Any]]:
    from ppgen.evaluation import baselines

    makers = (
        baselines.IndependentCategorical,
        baselines.CategoricalMixture,
        baselines.GaussianMixture,
        baselines.KernelDensity,
    )
    for maker in makers:
        begin = time.process_time()
        model = maker.fit(data, seed=0)
        seconds = time.process_time() - begin
        row, _ = _measured(maker.name, "baseline", model, data, 0)
        yield row | {"seconds": seconds}
    yield {
        "model": "real rows (validation)",
        "family": "the data",
        "data": data.name,
        "kind": None,
        "bits_per_dim": None,
        **_quality(data, data.valid, 0),
    }


def _measured(
    name: str,
    group: str,
    model: Any,
    data: Any,
    seed: int,
    scoring: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[dict[str, Any], Any]:
    """A model's figures on the test rows, and as many samples as there are test rows."""
    from ppgen.errors import NoLikelihood
    from ppgen.evaluation.row import Row

    count = len(data.test)
    try:
        likelihood = model.log_prob(data.test, **scoring)
        row = Row.of(name, group, likelihood)
    except NoLikelihood as error:
        row = Row(name, group, None, "discrete", None, None, None, None, how=str(error))
    model.sample(count, seed=seed)  # the first call may compile
    begin = time.process_time()
    samples = model.sample(count, seed=seed)
    sample_seconds = (time.process_time() - begin) / count
    facts = {
        "model": name,
        "family": group,
        "data": data.name,
        "kind": row.kind,
        "bits_per_dim": row.bits_per_dim,
        "interval": row.interval,
        "parameters": _count(model),
        "sample_seconds": sample_seconds,
        "how": row.how,
    }
    return facts | _quality(data, samples, seed), samples


def _count(model: Any) -> int:
    """How many numbers training chose; of a torch module too."""
    if hasattr(model, "n_parameters"):
        return model.n_parameters
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _quality(data: Any, samples: Any, seed: int) -> dict[str, Any]:
    """How far samples are from the test rows, on features with a name."""
    from ppgen.evaluation import frechet_distance, kernel_distance
    from ppgen.evaluation.features import PCA, digits_classifier

    features = digits_classifier() if data.name == GREY else PCA.fit(data)
    both = {"real": features(data.test), "generated": features(samples)}
    frechet, kernel = frechet_distance(**both, seed=seed).at_infinity, kernel_distance(**both)
    return {
        "features": frechet.spec.name,
        "samples": len(samples),
        "frechet": frechet.value,
        "frechet_interval": frechet.interval,
        "kernel": kernel.value,
        "kernel_interval": kernel.interval,
    }


# -- the table -----------------------------------------------------------------------------------------------


def write(work: Path, out: Path, seconds: float) -> None:
    """Make table, JSON and picture of what is in the work folder."""
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
        rows.sort(key=lambda row: row.get("seed", 0))
        means = {
            name: statistics.fmean(row[name] for row in rows)
            for name in ("bits_per_dim", "seconds", "sample_seconds", "frechet", "kernel")
            if rows[0].get(name) is not None
        }
        intervals = {
            interval: _around(means[figure], rows[0][figure], rows[0][interval])
            for figure, interval in _INTERVALS.items()
            if figure in means
        }
        several = len(rows) > 1 and "bits_per_dim" in means
        spread = statistics.stdev(row["bits_per_dim"] for row in rows) if several else None
        yield {**rows[0], **means, **intervals, "seeds": len(rows), "spread": spread}


_INTERVALS = {"bits_per_dim": "interval", "frechet": "frechet_interval", "kernel": "kernel_interval"}


def _around(mean: float, value: float, interval: list[float]) -> list[float]:
    """An interval around the mean of all seeds, as wide as that of the first one on its wider side."""
    half = max(value - interval[0], interval[1] - value)  # that of a distance ends at 0
    return [mean - half, mean + half]


def _page(rows: list[dict[str, Any]]) -> str:
    features = {row["data"]: row["features"] for row in rows}
    lines = [
        "# The families on the digits",
        "",
        "Test bits per dimension, lower is better; by `python benchmarks/digits.py`. Means over seeds,",
        "with the standard deviation between seeds, and the half-width of a 95 % interval over test sets of",
        "this size (447 images). `=` is exact, `≤` a bound, `≈` an estimate: only like kinds rank. A bound",
        "below an exact figure is a win; a bound above one proves nothing.",
        "",
        "Fréchet is the Fréchet distance between 447 samples and the 447 test images, extrapolated to",
        "infinitely many samples, with the half-width of its 95 % interval; lower is better. It is",
        f"measured on {features[GREY]} for `digits`, and on {features[BINARY]} for `digits-binary`:",
        "distances on other features are not comparable. Models without a likelihood have no other measure",
        "in the table. The kernel distance is in `digits.json`.",
        "",
        "Seconds are CPU time on one thread: for training, and for 1000 samples, drawn 447 at a time.",
    ]
    for data, title in ((GREY, "`digits`: 8×8, 17 levels"), (BINARY, "`digits-binary`: 8×8, 2 levels")):
        head = "| model | family | | bits/dim | ± seeds | ± test set | Fréchet | ± | parameters"
        lines += ["", f"## {title}", "", f"{head} | training, s | 1000 samples, s |"]
        lines += ["| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
        lines += [_line(row) for row in _ranked(row for row in rows if row["data"] == data)]
    lines += ["", "![Samples of each family beside real digits](digits.png)", ""]
    return "\n".join(lines)


def _ranked(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = ["exact", "lower_bound", "estimate", "upper_bound", None]
    return sorted(rows, key=lambda row: (kinds.index(row["kind"]), row["bits_per_dim"] or row["frechet"]))


def _line(row: dict[str, Any]) -> str:
    cells = [
        row["model"],
        row["family"],
        SIGNS[row["kind"]],
        _number(row["bits_per_dim"], ".3f") or "—",
        _number(row["spread"], ".3f"),
        _half(row.get("interval"), ".3f"),
        _number(row["frechet"], ".2f"),
        _half(row["frechet_interval"], ".2f"),
        _number(row.get("parameters"), ","),
        _number(row.get("seconds"), ".0f"),
        _number(row.get("sample_seconds"), ".2g", times=1000),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, form: str, times: int = 1) -> str:
    return "" if value is None else f"{times * value:{form}}"


def _half(interval: list[float] | None, form: str) -> str:
    return "" if interval is None else f"{(interval[1] - interval[0]) / 2:{form}}"


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
