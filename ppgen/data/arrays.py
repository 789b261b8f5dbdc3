"""Arrays of any library as NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["describe_array", "is_numeric", "to_numpy"]


def to_numpy(data: Any) -> np.ndarray:
    """An array of any library as NumPy; rows of unlike sizes as an array of objects, to be refused.

    Example:
        >>> to_numpy([[1, 2], [3, 4]]).shape
        (2, 2)
    """
    if hasattr(data, "detach"):  # a torch tensor, without importing torch
        data = data.detach().cpu()
    try:
        return np.asarray(data)
    except ValueError:  # NumPy's word for rows of unlike sizes
        return np.empty(0, dtype=object)


def is_numeric(array: Any) -> bool:
    """Whether an array holds booleans, integers or floats."""
    return array.dtype.kind in "buif"


def describe_array(array: Any) -> str:
    """What an array is, for the error that refuses it.

    Example:
        >>> describe_array(np.zeros(3))
        'an array of dtype float64 and shape (3,)'
    """
    if array.dtype.kind == "O":
        return "rows of unlike sizes, or of no numbers"
    return f"an array of dtype {array.dtype} and shape {array.shape}"
