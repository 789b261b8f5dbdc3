"""Checks shared by families: of labels, and of image shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppgen.data.rows import as_labels
from ppgen.errors import DataError, InvalidArgument

__all__ = ["check_convolutions", "check_image", "check_labels"]


def check_labels(label: Any, classes: int | None, n: int) -> np.ndarray | None:
    """Check labels, one for all or one per example, and return ``(n,)`` classes; ``None`` if not given.

    Raises:
        InvalidArgument: if labels are given to a model without classes.
        DataError: if they are not n classes.
    """
    if label is None:
        return None
    if classes is None:
        raise InvalidArgument(
            "label",
            got=f"{label!r}"[:80],
            expected="nothing: the model was built without classes",
            fix="Build it with classes=..., and train it on labelled rows.",
        )
    labels = as_labels(np.full(n, label) if np.shape(label) == () else label, classes, argument="label")
    if len(labels) != n or labels.min(initial=0) < 0:
        got = f"{len(labels)} labels" if len(labels) != n else "an unknown label, -1"
        fix = "Write label=3 for one class, or pass an array with one class per row."
        raise DataError("label", got=got, expected=f"one class 0 … {classes - 1}, or {n} of them", fix=fix)
    return labels


def check_image(shape: tuple[int, ...], fix: str) -> tuple[int, int, int]:
    """The shape of images as ``(channels, height, width)``."""
    if len(shape) not in (2, 3):
        expected = "(height, width) or (channels, height, width)"
        raise InvalidArgument("shape", got=str(shape), expected=expected, fix=fix)
    return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]


def check_convolutions(argument: str, network: str, shape: tuple[int, ...]) -> None:
    """Reject a convolutional network for data that are not images, naming the argument that chose it."""
    if len(shape) not in (2, 3):
        raise InvalidArgument(
            argument,
            got=f"{network!r}, for rows of shape {shape}",
            expected="images: (height, width) or (height, width, colours)",
            fix=f"Write {argument}='mlp'.",
        )
