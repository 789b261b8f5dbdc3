"""Choice of features that suit the data."""

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
    """Return features by name, fitted to the data if needed; or the given features unchanged.

    ``"auto"`` takes the classifier that ships with ppgen for the 8x8 digits, PCA for other images, and
    standardised values for vectors.

    Args:
        which: a name, or a callable with a ``spec``.
        data: the dataset; ``None`` for a bare array of test examples.
        rows: the test examples.
        levels: how many values a discrete entry takes.

    Raises:
        UnknownName: if the name is unknown.
        InvalidArgument: if features are to be fitted, and there is no training set.
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
    """Whether data are windows of characters, whose neighbouring levels are unrelated."""
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
"""By name: from a dataset or ``None``, test examples and their levels to features."""
