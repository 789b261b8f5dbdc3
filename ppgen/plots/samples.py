"""Generated images beside real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.errors import DataError
from ppgen.style.figures import FAINT, new_figure, title

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
    blocks = {name: _checked(name, np.asarray(images)) for name, images in images_by_name.items()}
    if not blocks:
        raise DataError(
            "images_by_name",
            got="no images",
            expected="{name: array (n, h, w)}",
            fix='Write {"test rows": digits.test, "model": model.sample(64)}.',
        )
    columns = min(columns, len(blocks))
    lines = math.ceil(len(blocks) / columns)
    size = _WIDTH / 2 if columns <= 2 else 1.8 * _WIDTH / columns
    figure, axes = new_figure(lines, columns, width=size * columns, height=(size + 0.25) * lines, grid=None)
    low, high = _range(blocks, levels)
    for panel, (name, images) in zip(axes.flat, blocks.items(), strict=False):
        _draw_block(panel, images, low, high)
        title(panel, name)
    for unused in axes.flat[len(blocks) :]:
        unused.remove()
    return figure


def _draw_block(axes: Axes, images: np.ndarray, low: float, high: float) -> None:
    axes.imshow(_mosaic(images, low), cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT)


def _mosaic(images: np.ndarray, background: float) -> np.ndarray:
    n, height, width = images.shape
    n_rows, n_columns = _grid(n)
    # A rim of one pixel keeps neighbours apart.
    canvas = np.full((n_rows * n_columns, height + 2, width + 2), background)
    canvas[:n, 1:-1, 1:-1] = images
    tiles = canvas.reshape(n_rows, n_columns, height + 2, width + 2).swapaxes(1, 2)  # (rows, h, columns, w)
    return tiles.reshape(n_rows * (height + 2), n_columns * (width + 2))


def _grid(n: int) -> tuple[int, int]:
    columns = math.ceil(math.sqrt(n))
    return math.ceil(n / columns), columns


def _range(blocks: Mapping[str, np.ndarray], levels: int | None) -> tuple[float, float]:
    if levels is not None:
        return 0.0, levels - 1.0
    return min(float(b.min()) for b in blocks.values()), max(float(b.max()) for b in blocks.values())


def _checked(name: str, images: np.ndarray) -> np.ndarray:
    if images.ndim != 3 or images.size == 0:
        raise DataError(
            f"images_by_name[{name!r}]",
            got=f"an array of shape {images.shape}",
            expected="(n, h, w), at least one image",
            fix="Write images.reshape(-1, 8, 8) for flat 8x8 images.",
        )
    if not np.isfinite(images).all():
        raise DataError(
            f"images_by_name[{name!r}]",
            got="NaN or infinite pixels",
            expected="finite numbers",
            fix="Look at the model that drew them.",
        )
    return images[:_MOST_IMAGES].astype(float)
