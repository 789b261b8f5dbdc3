"""A program's data: checked once, then split into arrays that may change and values that may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ppgen.errors import DataError, InvalidArgument

__all__ = ["check_data", "is_array", "ways_to_trace"]


def check_data(data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Turn the data of a program into double-precision NumPy arrays, and refuse what no fit survives.

    Lists, pandas columns, torch and JAX arrays become NumPy arrays; single integers, booleans,
    strings, ``None`` and other objects stay as they are, since a program may use them as sizes or
    switches.

    Raises:
        InvalidArgument: if ``data`` is not a mapping.
        DataError: if an array is empty, not numeric, or holds NaN or infinite values.

    Example:
        >>> check_data({"y": [1, 2], "n": 2})
        {'y': array([1, 2]), 'n': 2}
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise InvalidArgument(
            "data",
            got=f"a {type(data).__name__}",
            expected="the keyword arguments of the program by name",
            fix='Write data={"y": y}.',
        )
    return {str(name): _check_value(str(name), value) for name, value in data.items()}


def is_array(value: Any) -> bool:
    """Whether a checked value is an array whose numbers may change without a new compilation."""
    return isinstance(value, np.ndarray)


def ways_to_trace(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Which data arrays may change without a new compilation: all, else the floats, else none.

    A program may use an array's numbers in Python, for example ``np.unique(group)`` for a size.
    What it reads so is a constant of its graph.
    """
    arrays = {name: value for name, value in data.items() if is_array(value)}
    floats = {name: value for name, value in arrays.items() if value.dtype.kind == "f"}
    yield arrays
    if floats and len(floats) < len(arrays):
        yield floats
    if arrays:
        yield {}


def _check_value(name: str, value: Any) -> Any:
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu()
    if isinstance(value, (bool, int, str, np.integer, np.bool_)) or value is None:
        return value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (float, list, tuple)) and not hasattr(value, "__array__"):
        return value
    array = _as_numbers(name, value)
    if array.size == 0:
        raise DataError(
            f"data[{name!r}]",
            got=f"an empty array of shape {array.shape}",
            expected="at least one value",
            fix="Check how the data was selected.",
        )
    bad = ~np.isfinite(array)
    if bad.any():
        where = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
        raise DataError(
            f"data[{name!r}]",
            got=f"{int(bad.sum())} NaN or infinite values, the first at [{where}]",
            expected="finite numbers",
            fix="Drop them, or put any finite number there and mask these observations in the program "
            "(numpyro.handlers.mask, pyro.poutine.mask).",
        )
    return array


def _as_numbers(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "buif":
        raise DataError(
            f"data[{name!r}]",
            got="rows of unequal length" if array.dtype.kind == "O" else f"values of dtype {array.dtype}",
            expected="an array of numbers",
            fix="Convert it first, for example with np.asarray(values, dtype=float); code text as integers.",
        )
    return array.astype(np.float64) if array.dtype.kind == "f" else array
