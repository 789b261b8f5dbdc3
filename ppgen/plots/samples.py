"""Generated images next to real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppgen.plots.arrays import check_arrays
from ppgen.style.figures import new_panels, show_image, title

__all__ = ["samples"]

_MOST_IMAGES = 64
_WIDTH = 6.2  # of a figure of two blocks, in inches


def samples(images_by_name: Mapping[str, Any], levels: int | None = None, *, columns: int = 2) -> Figure:
    """Draw one block of images a name, all with the same grey scale.

    Args:
        images_by_name: ``{name: array (n, h, w)}``, for example the test rows and each model's samples;
            the first 64 of each are drawn.
        levels: how many grey levels there are; ``None`` to span the values that occur.
        columns: blocks side by side.

    Raises:
        DataError: if there is no image, or an array is not ``(n, h, w)`` or not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> blocks = {"test rows": rng.integers(0, 17, (64, 8, 8)), "model": rng.integers(0, 17, (64, 8, 8))}
        >>> [axes.get_title(loc="left") for axes in samples(blocks, levels=17).axes]
        ['test rows', 'model']
    """
    blocks = check_arrays(
        "images_by_name",
        images_by_name,
        "(n, h, w)",
        example='{"test rows": digits.test, "model": model.sample(64)}',
        fix="Write images.reshape(-1, 8, 8) for flat 8x8 images.",
        infinite_fix="Look at the model that drew them.",
    )
    blocks = {name: images[:_MOST_IMAGES] for name, images in blocks.items()}
    size = _WIDTH / 2 if min(columns, len(blocks)) <= 2 else 1.8 * _WIDTH / columns
    figure, panels = new_panels(len(blocks), columns, size=(size, size + 0.25), grid=None)
    low, high = _range(blocks, levels)
    for panel, (name, images) in zip(panels, blocks.items(), strict=True):
        show_image(panel, _mosaic(images, low), low, high)
        title(panel, name)
    return figure


def _mosaic(images: np.ndarray, background: float) -> np.ndarray:
    n, height, width = images.shape
    n_columns = math.ceil(math.sqrt(n))
    n_rows = math.ceil(n / n_columns)
    # A rim of one pixel keeps neighbours apart.
    canvas = np.full((n_rows * n_columns, height + 2, width + 2), background)
    canvas[:n, 1:-1, 1:-1] = images
    tiles = canvas.reshape(n_rows, n_columns, height + 2, width + 2).swapaxes(1, 2)  # (rows, h, columns, w)
    return tiles.reshape(n_rows * (height + 2), n_columns * (width + 2))


def _range(blocks: Mapping[str, np.ndarray], levels: int | None) -> tuple[float, float]:
    if levels is not None:
        return 0.0, levels - 1.0
    return min(float(b.min()) for b in blocks.values()), max(float(b.max()) for b in blocks.values())
