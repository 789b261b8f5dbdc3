"""The arrays that pictures are drawn of, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppgen.errors import DataError

__all__ = ["check_array", "check_arrays"]


def check_array(name: str, values: Any, shape: str, *, fix: str, infinite_fix: str) -> np.ndarray:
    """Finite numbers in this shape, as floats.

    Args:
        name: of the argument, for the errors.
        values: any array.
        shape: how it is to look, ``"(n, 2)"`` for example; ``*event`` stands for any number of axes.
        fix: what to write where the shape is another one, or nothing is there.
        infinite_fix: what to do where a number is not finite.

    Raises:
        DataError: saying which.

    Example:
        >>> fixes = {"fix": "Choose two columns.", "infinite_fix": "Drop them."}
        >>> check_array("points", np.zeros((3, 4)), "(n, 2)", **fixes)
        Traceback (most recent call last):
        ppgen.errors.DataError: points: got an array of shape (3, 4), expected (n, 2), not empty. Choose ...
    """
    array = np.asarray(values)
    axes = [axis.strip() for axis in shape.strip("()").split(",") if axis.strip()]
    fixed = [axis for axis in axes if not axis.startswith("*")]
    fits = array.ndim == len(fixed) if fixed == axes else array.ndim >= len(fixed)
    fits &= all(
        not axis.isdigit() or int(axis) == size for axis, size in zip(axes, array.shape, strict=False)
    )
    if not fits or not array.size or array.dtype.kind not in "buif":
        raise DataError(name, got=f"an array of shape {array.shape}", expected=f"{shape}, not empty", fix=fix)
    if not np.isfinite(array).all():
        raise DataError(name, got="NaN or infinite values", expected="finite numbers", fix=infinite_fix)
    return array.astype(float)


def check_arrays(
    argument: str, by_name: Mapping[str, Any], shape: str, *, example: str, fix: str, infinite_fix: str
) -> dict[str, np.ndarray]:
    """At least one array by name, each as :func:`check_array` has it.

    Args:
        argument: that they are.
        by_name: the arrays.
        shape, fix, infinite_fix: as there.
        example: what to write where there are none.
    """
    if not by_name:
        raise DataError(argument, got="none", expected=f"{{name: array {shape}}}", fix=f"Write {example}.")
    return {
        name: check_array(f"{argument}[{name!r}]", values, shape, fix=fix, infinite_fix=infinite_fix)
        for name, values in by_name.items()
    }
