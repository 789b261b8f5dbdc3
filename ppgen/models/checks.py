"""The checks that every family makes of its settings, rows and labels."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppgen.data.rows import as_labels, as_rows_of
from ppgen.errors import DataError, InvalidArgument, UnknownName

__all__ = [
    "check_classes",
    "check_fraction",
    "check_image",
    "check_labels",
    "check_levels",
    "check_name",
    "check_number",
    "check_positive",
    "check_rows_of",
    "check_shape",
    "check_sizes",
]


def check_shape(shape: Any) -> tuple[int, ...]:
    """The shape of one row as a tuple of positive integers."""
    return _integers("shape", shape, expected="the shape of one row, such as (8, 8) or (2,)", at_least=1)


def check_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """The widths of hidden layers, perhaps none."""
    return _integers(name, sizes, expected="a tuple of layer widths, such as (256, 256)", at_least=0)


def check_levels(levels: Any) -> int | None:
    """How many values a discrete entry takes, at least 2; ``None`` for continuous data."""
    return None if levels is None else check_positive("levels", levels, least=2)


def check_classes(classes: Any) -> int | None:
    """How many classes the rows have, at least 2; ``None`` where they have none."""
    return None if classes is None else check_positive("classes", classes, least=2)


def check_labels(label: Any, classes: int | None, n: int) -> np.ndarray | None:
    """The class of each of n rows ``(n,)``, from one class for all or from one a row; ``None`` if not given.

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
    each = np.full(n, label) if np.ndim(label) == 0 and not hasattr(label, "detach") else label
    labels = as_labels(each, classes, argument="label")
    if len(labels) != n or labels.min(initial=0) < 0:
        got = f"{len(labels)} labels" if len(labels) != n else "an unknown label, -1"
        fix = "Write label=3 for one class, or give an array of as many classes as rows."
        raise DataError("label", got=got, expected=f"one class 0 … {classes - 1}, or {n} of them", fix=fix)
    return labels


def check_rows_of(x: Any, shape: tuple[int, ...], levels: int | None) -> np.ndarray:
    """Rows ``(n, *shape)`` as an array.

    Raises:
        DataError: if they are empty, not finite, of another shape, or outside the levels.
    """
    return as_rows_of(x, shape, levels)


def check_image(shape: tuple[int, ...], fix: str) -> tuple[int, int, int]:
    """The shape of rows that are images, as ``(channels, height, width)``."""
    if len(shape) not in (2, 3):
        expected = "(height, width) or (channels, height, width)"
        raise InvalidArgument("shape", got=str(shape), expected=expected, fix=fix)
    return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]


def check_number(name: str, value: Any, *, above: float = 0.0) -> float:
    """A finite number greater than ``above``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < np.inf:
        expected = f"a finite number above {above:g}"
        raise InvalidArgument(name, got=repr(value), expected=expected, fix=f"Write {name}={above + 1:g}.")
    return float(value)


def check_positive(name: str, value: Any, *, least: int = 1) -> int:
    """An integer no smaller than ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        expected = f"an integer, at least {least}"
        raise InvalidArgument(
            name, got=repr(value), expected=expected, fix=f"Write {name}={least}, for example."
        )
    return number


def check_fraction(name: str, value: float) -> float:
    """A number in [0, 1)."""
    if not 0 <= value < 1:
        raise InvalidArgument(
            name, got=repr(value), expected="a number from 0 up to but not 1", fix=f"Write {name}=0.1."
        )
    return float(value)


def check_name(argument: str, value: Any, known: Sequence[str]) -> str:
    """One of the names on offer."""
    if value not in known:
        raise UnknownName(argument, value, known)
    return value


def _integers(name: str, values: Any, *, expected: str, at_least: int) -> tuple[int, ...]:
    try:
        integers = tuple(operator.index(value) for value in values)
    except TypeError:
        integers = (0,)
    if len(integers) < at_least or min(integers, default=1) < 1:
        fix = f"Write {name}={(values,) if isinstance(values, int) else '(8, 8)'}."
        raise InvalidArgument(name, got=repr(values), expected=expected, fix=fix)
    return integers
