"""Posterior draws as lines of a picture: one scalar each, with a name that says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.errors import DataError, UnknownName

__all__ = ["first", "scalars"]


def scalars(draws: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Split draws ``(chain, draw, *event)`` into scalars ``(chain, draw)``, named ``theta[0]`` and so on.

    Args:
        draws: arrays by name.
        names: which of them, in this order; ``None`` for all.

    Raises:
        UnknownName: if a name is not among the draws.
        DataError: if an array has no chain and draw axes, is empty or holds values that are not finite.

    Example:
        >>> {name: array.shape for name, array in scalars({"b": np.zeros((4, 9, 2))}, None).items()}
        {'b[0]': (4, 9), 'b[1]': (4, 9)}
    """
    if not draws:
        raise DataError(
            "draws",
            got="no draws",
            expected="{name: array (chain, draw, *event)}",
            fix="Give Posterior.draws.",
        )
    parts: dict[str, np.ndarray] = {}
    for name in draws if names is None else names:
        if name not in draws:
            raise UnknownName("names", name, draws)
        array = _checked(name, np.asarray(draws[name]))
        for index in np.ndindex(array.shape[2:]):
            label = f"{name}[{', '.join(map(str, index))}]" if index else name
            parts[label] = array[(slice(None), slice(None), *index)]  # (chain, draw)
    return parts


def first(parts: dict[str, np.ndarray], most: int) -> tuple[dict[str, np.ndarray], str]:
    """As many scalars as a picture can hold, and the words that say how many there were.

    Example:
        >>> kept, words = first(scalars({"b": np.zeros((1, 2, 9))}, None), most=2)
        >>> list(kept), words
        (['b[0]', 'b[1]'], ' (the first 2 of 9 scalars)')
    """
    if len(parts) <= most:
        return parts, ""
    return dict(list(parts.items())[:most]), f" (the first {most} of {len(parts)} scalars)"


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim < 2 or array.size == 0:
        raise DataError(
            f"draws[{name!r}]",
            got=f"an array of shape {array.shape}",
            expected="(chain, draw, *event), not empty",
            fix="Write array[None] for a single chain.",
        )
    if not np.isfinite(array).all():
        raise DataError(
            f"draws[{name!r}]",
            got="NaN or infinite draws",
            expected="finite numbers",
            fix="Look at the fit's diagnostics first.",
        )
    return array.astype(float)
