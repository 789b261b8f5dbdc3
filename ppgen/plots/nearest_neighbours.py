"""Generated images over the training images nearest to them: copies are seen at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppgen.errors import DataError
from ppgen.evaluation.quality.copying import Memorisation
from ppgen.style.figures import FAINT, INK, new_figure

__all__ = ["nearest_neighbours"]

_COLUMNS = 10


def nearest_neighbours(
    found: Memorisation, *, generated: Any, train: Any, levels: int | None = None, columns: int = _COLUMNS
) -> Figure:
    """Draw the generated images that are closest to training images, each over its nearest one.

    Args:
        found: what :func:`ppgen.evaluation.memorisation` returned for the same rows.
        generated: the generated images ``(n, h, w)``, in the order in which they were measured.
        train: the training images ``(k, h, w)``, in theirs.
        levels: how many grey levels there are; ``None`` to span the values that occur.
        columns: how many pairs to draw.

    Raises:
        DataError: if the images are not those that were measured.

    Example:
        >>> from ppgen.data import load
        >>> from ppgen.evaluation import memorisation
        >>> digits = load("digits")
        >>> generated = digits.valid[:100]
        >>> vectors = {"train": digits.train, "real": digits.test, "generated": generated}
        >>> found = memorisation(**{name: rows.reshape(len(rows), -1) for name, rows in vectors.items()})
        >>> len(nearest_neighbours(found, generated=generated, train=digits.train, levels=17).axes)
        20
    """
    images, known = (_checked(name, rows) for name, rows in (("generated", generated), ("train", train)))
    if len(images) != found.n or found.nearest.max() >= len(known) or images.shape[1:] != known.shape[1:]:
        raise DataError(
            "generated",
            got=f"{images.shape} generated and {known.shape} training images",
            expected=f"the {found.n} generated and all training images that were measured, of one size",
            fix="Give the same rows, in the same order, as to memorisation.",
        )
    order = np.argsort(found.distances, kind="stable")[:columns]
    low, high = (0, levels - 1) if levels else (known.min(), known.max())
    width = 0.9 * len(order)
    figure, axes = new_figure(2, len(order), width=max(3.0, width), height=2.35, grid=None)
    for column, i in enumerate(order):
        pair = images[i], known[found.nearest[i]]
        for panel, image in zip(axes[:, column], pair, strict=True):
            panel.imshow(image, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            for spine in panel.spines.values():
                spine.set(visible=True, color=FAINT)
        axes[1, column].set_xlabel(f"{found.distances[i]:.2g}", fontsize=8.5, color=INK)
    for panel, words in zip(axes[:, 0], ("generated", "nearest in\ntraining"), strict=True):
        panel.set_ylabel(words, fontsize=8.5)
    figure.supxlabel("distance; the closest pairs first", fontsize=9, color=INK)
    return figure


def _checked(name: str, rows: Any) -> np.ndarray:
    images = np.asarray(rows)
    if images.ndim != 3 or images.dtype.kind not in "buif":
        raise DataError(
            name,
            got=f"an array of shape {images.shape}",
            expected="images (n, h, w)",
            fix="Write rows.reshape(-1, 8, 8) for flat 8x8 images.",
        )
    return images
