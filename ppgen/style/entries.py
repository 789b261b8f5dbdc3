"""The names of the entries of a site: ``theta[0, 1]``, or by their coordinates ``theta[A, first]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["coordinates_of", "entries_of"]


def entries_of(
    site: str,
    shape: tuple[int, ...],
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Sequence[str] = (),
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Each entry's index and name.

    Args:
        site: the site's name.
        shape: of its event.
        coords, dims: names along the axes, as ArviZ takes them.

    Example:
        >>> list(entries_of("theta", (2,), {"school": ["A", "B"]}, ["school"]))
        [((0,), 'theta[A]'), ((1,), 'theta[B]')]
        >>> list(entries_of("mu", ()))
        [((), 'mu')]
    """
    for index in np.ndindex(shape):
        inside = coordinates_of(index, shape, coords or {}, dims)
        yield index, f"{site}[{inside}]" if index else site


def coordinates_of(
    index: tuple[int, ...], shape: tuple[int, ...], coords: Mapping[str, Sequence[Any]], dims: Sequence[str]
) -> str:
    """One entry's coordinates, where its dimensions have some, else its place."""
    names = [coords.get(axis, range(size)) for axis, size in zip(dims, shape, strict=False)]
    names += [range(size) for size in shape[len(names) :]]
    return ", ".join(str(names[axis][place]) for axis, place in enumerate(index))
