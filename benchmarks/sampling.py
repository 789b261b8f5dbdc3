"""Cached sampling against the loop that recomputes every prefix: `python benchmarks/sampling.py [--rows 16]`.

Both draw 28x28 images from the same network in one process, on one thread. The loop is given the whole
advantage of its prefix: the transformer reads only the entries so far, the PixelCNN only the rows so far. It
is timed at 28 steps, one in each image row, and its time for all 784 is 28 times their sum. The two must say
the same at each of these steps, or the script stops. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ppgen.models import PixelCNN, Transformer

SIDE = 28
MODELS = {
    "transformer, 4 layers, width 64": lambda levels: Transformer((SIDE, SIDE), levels, width=64, layers=4),
    "PixelCNN, 6 layers, width 32": lambda levels: PixelCNN((SIDE, SIDE), levels, width=32, layers=6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=16, help="how many images to draw at once")
    rows = parser.parse_args().rows
    torch.set_num_threads(1)
    print(f"{'model':34} {'levels':>6} {'cached':>9} {'recomputed':>11} {'ratio':>7}")
    for name, make in MODELS.items():
        for levels in (2, 16):
            cached, recomputed = _measure(make(levels), rows, _pixels_of(name))
            ratio = recomputed / cached
            print(f"{name:34} {levels:6} {cached:7.2f} s {recomputed:9.2f} s {ratio:6.0f}x", flush=True)


def _pixels_of(name: str) -> Callable[[int], int]:
    """How many entries the loop has to read for entry t: whole rows of the image for a PixelCNN."""
    if name.startswith("PixelCNN"):
        return lambda t: (t // SIDE + 1) * SIDE
    return lambda t: t + 1


@torch.no_grad()
def _measure(family: Transformer | PixelCNN, rows: int, pixels: Callable[[int], int]) -> tuple[float, float]:
    density = family.density()
    density.sample((rows,))  # the first call is slower
    start = time.process_time()
    drawn = density.sample((rows,)).flatten(1)
    cached = time.process_time() - start
    steps = [row * SIDE + (row * 11) % SIDE for row in range(SIDE)]  # one in each row, in all columns
    remembered = _remembered(family, drawn, steps)
    start = time.process_time()
    for t in steps:
        outputs = family.network(drawn[:, : pixels(t)])[:, t]
        density.conditional(outputs).sample()
        torch.testing.assert_close(outputs, remembered[t], rtol=1e-3, atol=1e-4)
    return cached, (time.process_time() - start) * SIDE


def _remembered(family: Transformer | PixelCNN, values: Tensor, steps: list[int]) -> dict[int, Tensor]:
    outputs, memory = family.network.first(len(values))
    said = {0: outputs}
    for t in range(1, SIDE * SIDE):
        outputs, memory = family.network.next(t, values[:, t - 1], memory)
        if t in steps:
            said[t] = outputs
    return said


if __name__ == "__main__":
    main()
