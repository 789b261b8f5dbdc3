"""Eight Gaussians on a ring, the classic test of mode collapse: `python benchmarks/ring.py [--seeds 3]`.

GAN and WGAN with gradient penalty, each with its settings below, for several seeds. A row is a training:

- modes: how many of the eight have at least 1 % of 2500 samples within three standard deviations
- near: the share of samples that near any mode; of the data themselves 98.9 %
- seconds: of training, on one core; cpu: processor time, where the machine is shared
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from ppgen import train
from ppgen.data import Dataset
from ppgen.models import GAN, WGAN

RADIUS, SPREAD = 2.0, 0.1
NETWORKS = {"latent_dim": 2, "hidden": (128, 128)}
SETTINGS = {"batch_size": 128, "average": 0.99, "patience": None}
FAMILIES = {
    "GAN": (GAN, {"epochs": 32, "learning_rate": 1e-3, "penalty": 0.1}),
    # A penalty of 10 is for distances much larger than these: the paper's own toys have 0.1 too.
    "WGAN": (
        WGAN,
        {"epochs": 64, "learning_rate": 2e-3, "penalty": 0.1, "critic_steps": 3, "critic_rate": 2.0},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    print(f"{'family':8}{'seed':>6}{'modes':>8}{'near':>8}{'seconds':>10}{'cpu':>8}")
    for name, (family, options) in FAMILIES.items():
        for seed in seeds:
            model, start, cpu = family((2,), **NETWORKS, seed=seed), time.perf_counter(), time.process_time()
            train(model, dataset(), seed=seed, progress=False, **SETTINGS, **options)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            modes, near = coverage(model.sample(2500, seed=0))
            print(f"{name:8}{seed:6}{modes:8}{near:8.1%}{seconds:10.1f}{cpu:8.1f}", flush=True)


def dataset() -> Dataset:
    """Rows of the ring, split into training and held-out ones."""
    return Dataset("ring", ring(8000, 0), ring(500, 1), ring(500, 2), "continuous")


def ring(n: int, seed: int) -> np.ndarray:
    """Rows ``(n, 2)`` of the eight Gaussians."""
    rng = np.random.default_rng(seed)
    return centres()[rng.integers(0, 8, n)] + SPREAD * rng.normal(size=(n, 2))


def centres() -> np.ndarray:
    """The means ``(8, 2)``."""
    angles = np.arange(8) * math.pi / 4
    return RADIUS * np.stack([np.cos(angles), np.sin(angles)], 1)


def coverage(samples: np.ndarray) -> tuple[int, float]:
    """How many modes have at least 1 % of the samples near them, and the share of samples near any."""
    distance = np.linalg.norm(samples[:, None] - centres(), axis=-1)
    near = distance.min(1) < 3 * SPREAD
    counts = np.bincount(distance.argmin(1)[near], minlength=8)
    return int((counts >= 0.01 * len(samples)).sum()), float(near.mean())


if __name__ == "__main__":
    main()
