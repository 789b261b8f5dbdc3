"""Rows from any library as NumPy arrays, or an error that says why they cannot be used."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ppgen.data.lazy import Bounds, LazyRows, RowArray, blocks
from ppgen.errors import DataError

__all__ = [
    "UNKNOWN",
    "as_array",
    "as_labels",
    "as_rows",
    "as_rows_of",
    "check_rows",
    "describe_array",
    "is_numeric",
    "to_numpy",
]

UNKNOWN = -1  # the label of a row whose class is unknown


def as_array(data: Any, *, argument: str) -> np.ndarray:
    """Turn an array from any library into a NumPy array with a row axis."""
    rows = to_numpy(data)
    _check_numbers(rows, argument)
    return rows.astype(np.float64) if rows.dtype.kind == "f" else rows


def as_rows_of(data: Any, shape: tuple[int, ...], levels: int | None, *, argument: str = "x") -> np.ndarray:
    """Turn rows ``(n, *shape)`` from any library into a NumPy array.

    Raises:
        DataError: if they have another shape, are empty, not finite, or outside the levels.
    """
    rows = as_array(data, argument=argument)
    if rows.shape[1:] != shape:
        sizes = ", ".join(map(str, shape))
        raise DataError(
            argument,
            got=f"an array of shape {rows.shape}",
            expected=f"(n, {sizes}), the shape that the model is built for",
            fix=f"Write {argument}.reshape(-1, {sizes}), or build the model for this shape.",
        )
    check_rows(rows.astype(np.float64) if levels is None else rows, levels, argument=argument)
    return rows


def as_rows(data: Any, *, argument: str) -> RowArray:
    """As :func:`as_array`, but rows on disk stay there: lazy rows, and memory-mapped arrays."""
    if not isinstance(data, (LazyRows, np.memmap)):
        return as_array(data, argument=argument)
    _check_numbers(data, argument)
    lazy: Any = data if isinstance(data, LazyRows) else LazyRows(data)
    return lazy


def check_rows(rows: RowArray, levels: int | None, *, argument: str) -> None:
    """Reject rows that no model could learn from: empty, not finite, or outside their levels.

    Lazy rows are read once, block by block, and remember the result.
    """
    if rows.size == 0:
        raise DataError(
            argument,
            got=f"an empty array of shape {rows.shape}",
            expected="at least one row with at least one entry",
            fix="Check how the rows were selected.",
        )
    if isinstance(rows, LazyRows) and rows.bounds is not None and _fit(rows, rows.bounds, levels):
        return
    found = _scan(rows)
    if found.bad:
        raise DataError(
            argument,
            got=f"{found.bad} NaN or infinite values, the first at index {found.where}",
            expected="finite numbers",
            fix="Drop or impute these rows, for example data[np.isfinite(data).all(axis=1)].",
        )
    if isinstance(rows, LazyRows):
        rows.bounds = found.bounds
    if _fit(rows, found.bounds, levels):
        return
    if not found.bounds.whole:
        raise DataError(
            argument,
            got="values that are not whole numbers",
            expected=f"integers 0 … {levels - 1 if levels else 'levels - 1'}",
            fix="Use a model for continuous data (levels=None), or round to levels first.",
        )
    low, high = int(found.bounds.low), int(found.bounds.high)
    raise DataError(
        argument,
        got=f"values from {low} to {high}",
        expected=f"integers 0 … {levels - 1}" if levels else "integers from 0 up",
        fix=f"Shift the values to start at 0, or pass levels={high - min(low, 0) + 1}.",
    )


def _fit(rows: RowArray, bounds: Bounds, levels: int | None) -> bool:
    if levels is None and rows.dtype.kind == "f":
        return True
    return bounds.whole and bounds.low >= 0 and (levels is None or bounds.high < levels)


class _Found(NamedTuple):
    """How many values are not finite, where the first one is, and the bounds of the others."""

    bad: int
    where: tuple[int, ...]
    bounds: Bounds


def _scan(rows: RowArray) -> _Found:
    count, start = 0, 0
    where: tuple[int, ...] = ()
    low, high, whole = np.inf, -np.inf, True
    for block in blocks(rows):
        bad = ~np.isfinite(block)
        if bad.any() and not count:
            first, *rest = (int(i) for i in np.argwhere(bad)[0])
            where = (start + first, *rest)
        count += int(bad.sum())
        low, high = min(low, block.min().item()), max(high, block.max().item())
        whole = whole and (block.dtype.kind != "f" or bool((block == np.round(block)).all()))
        start += len(block)
    return _Found(count, where, Bounds(low, high, whole))


def as_labels(labels: Any, classes: int | None, *, argument: str) -> np.ndarray:
    """Turn labels from any library into integers ``(n,)``.

    Args:
        labels: integers from 0 up, -1 where a class is unknown.
        classes: how many classes there are, if known.
        argument: their name in an error.

    Raises:
        DataError: if they are not integers, or not classes.
    """
    array = to_numpy(labels)
    if array.ndim != 1 or array.dtype.kind not in "bui":
        raise DataError(
            argument,
            got=describe_array(array),
            expected="integers (n,), the class of each row",
            fix="Encode the classes: np.unique(labels, return_inverse=True)[1].",
        )
    top = np.inf if classes is None else classes - 1
    if array.size and (array.min() < UNKNOWN or array.max() > top or (classes is None and array.max() < 0)):
        raise DataError(
            argument,
            got=f"labels from {array.min()} to {array.max()}",
            expected=f"classes 0 … {'' if classes is None else classes - 1}, or -1 where it is unknown",
            fix="Number the classes from 0, and pass their number as classes=.",
        )
    return array.astype(np.int64)


def to_numpy(data: Any) -> np.ndarray:
    """An array from any library as NumPy; ragged rows become an empty object array, to be rejected.

    Example:
        >>> to_numpy([[1, 2], [3, 4]]).shape
        (2, 2)
    """
    if hasattr(data, "detach"):  # a torch tensor, without importing torch
        data = data.detach().cpu()
    try:
        return np.asarray(data)
    except ValueError:  # ragged rows
        return np.empty(0, dtype=object)


def is_numeric(array: Any) -> bool:
    """Whether an array holds booleans, integers or floats."""
    return array.dtype.kind in "buif"


def describe_array(array: Any) -> str:
    """Describe an array, for the error that rejects it.

    Example:
        >>> describe_array(np.zeros(3))
        'an array of dtype float64 and shape (3,)'
    """
    if array.dtype.kind == "O":
        return "rows of different sizes, or not of numbers"
    return f"an array of dtype {array.dtype} and shape {array.shape}"


def _check_numbers(rows: np.ndarray | LazyRows, argument: str) -> None:
    if not is_numeric(rows) or rows.ndim < 2:
        raise DataError(
            argument,
            got=describe_array(rows),
            expected="numbers (n, *shape): one row per data point, all of one shape",
            fix="Convert it to numbers; write data.reshape(-1, 1) for scalars, data[None] for a single row.",
        )
