"""Generated images over the training images nearest to them: copies are seen at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppgen.errors import DataError
from ppgen.evaluation.quality.copying import Memorisation
from ppgen.plots.arrays import check_array
from ppgen.style.figures import INK, footnote, new_figure, show_image

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
    fixes = {"fix": "Write rows.reshape(-1, 8, 8) for flat 8x8 images.", "infinite_fix": "Drop them first."}
    images, known = (
        check_array(name, rows, "(n, h, w)", **fixes)
        for name, rows in (("generated", generated), ("train", train))
    )
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
            show_image(panel, image, low, high)
        axes[1, column].set_xlabel(f"{found.distances[i]:.2g}", fontsize=8.5, color=INK)
    for panel, words in zip(axes[:, 0], ("generated", "nearest in\ntraining"), strict=True):
        panel.set_ylabel(words, fontsize=8.5)
    footnote(figure, "distance; the closest pairs first")
    return figure
