"""Posterior draws as lines of a picture: one scalar each, with a name that says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.errors import UnknownName
from ppgen.plots.arrays import check_arrays
from ppgen.style.entries import entries_of

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
    if names is not None:
        unknown = [name for name in names if name not in draws]
        if unknown:
            raise UnknownName("names", unknown[0], draws)
        draws = {name: draws[name] for name in names}
    arrays = check_arrays(
        "draws",
        draws,
        "(chain, draw, *event)",
        example='{"mu": post.draws["mu"]}, or give Posterior.draws',
        fix="Write array[None] for a single chain.",
        infinite_fix="Look at the fit's diagnostics first.",
    )
    parts: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        for index, label in entries_of(name, array.shape[2:]):
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
