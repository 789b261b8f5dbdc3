"""Which features suit the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ppgen.checks import check_choice
from ppgen.data import Dataset
from ppgen.data.text import ALPHABET
from ppgen.errors import InvalidArgument
from ppgen.evaluation.features.classifier import Classifier, digits_classifier
from ppgen.evaluation.features.pca import PCA
from ppgen.evaluation.features.plain import Pixels, Standardised
from ppgen.evaluation.features.spec import Takes

__all__ = ["choose_features", "is_text"]

_COMPONENTS = 32


def choose_features(which: Any, data: Dataset | None, rows: np.ndarray, levels: int | None) -> Takes:
    """The features of a name, fitted to the data where they need it; or those that were given.

    ``"auto"`` takes the classifier that comes with ppgen for the 8x8 digits, PCA for other images, and
    standardised values for vectors.

    Args:
        which: a name, or an object with ``spec`` that is called with rows.
        data: the dataset; ``None`` for a bare array of test rows.
        rows: the test rows.
        levels: how many values a discrete entry takes.

    Raises:
        UnknownName: if the name is none of those.
        InvalidArgument: if features are to be fitted, and there are no training rows.
        StorageError: if weights are missing.
    """
    if not isinstance(which, str):
        if isinstance(which, Takes) and not isinstance(which, type):
            return which
        raise InvalidArgument(
            "features",
            got=f"a {type(which).__name__}",
            expected="a name, or an object with spec that is called with rows",
            fix='Write features="pca".',
        )
    if which == "auto":
        which = _suited(data, rows)
    check_choice("features", which, ["auto", *_MAKERS])
    if data is None and which in ("pca", "classifier"):
        raise InvalidArgument(
            "features",
            got=f"{which!r} for a bare array of test rows",
            expected="a Dataset, whose training rows they are fitted to",
            fix='Write data=ppgen.data.as_dataset(array), or features="standardised".',
        )
    return _MAKERS[which](data, rows, levels)


def is_text(shape: tuple[int, ...], levels: int | None) -> bool:
    """Whether rows are windows of characters: neighbouring levels then are nothing alike."""
    return len(shape) == 1 and levels == len(ALPHABET)


def _suited(data: Dataset | None, rows: np.ndarray) -> str:
    if data is not None and _is_digits(data):
        return "classifier"
    return "pca" if data is not None and rows.ndim > 2 else "standardised"


def _is_digits(data: Dataset) -> bool:
    return data.name == "digits" and (data.shape, data.levels, data.classes) == ((8, 8), 17, 10)


def _efficientnet(levels: int | None) -> Takes:
    from ppgen.evaluation.features.efficientnet import EfficientNetLite0

    return EfficientNetLite0(levels)


def _inception(levels: int | None) -> Takes:
    from ppgen.evaluation.features.inception import InceptionV3

    return InceptionV3(levels)


_MAKERS: Mapping[str, Callable[[Any, np.ndarray, int | None], Takes]] = {
    "pixels": lambda data, rows, levels: Pixels(rows.shape[1:], levels),
    "standardised": lambda data, rows, levels: Standardised.of_rows(
        rows if data is None else np.asarray(data.train), levels
    ),
    "pca": lambda data, rows, levels: PCA.fit(data, components=min(_COMPONENTS, len(data.train), data.dims)),
    "classifier": lambda data, rows, levels: (
        digits_classifier() if _is_digits(data) else Classifier.fit(data)
    ),
    "efficientnet_lite0": lambda data, rows, levels: _efficientnet(levels),
    "inception_v3": lambda data, rows, levels: _inception(levels),
}
"""Of a name: from a dataset or ``None``, test rows and their levels to features."""
