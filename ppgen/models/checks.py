"""The checks that every family's constructor makes of its settings."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ppgen.errors import InvalidArgument, UnknownName

__all__ = ["check_fraction", "check_levels", "check_name", "check_positive", "check_shape", "check_sizes"]


def check_shape(shape: Any) -> tuple[int, ...]:
    """The shape of one row as a tuple of positive integers."""
    return _integers("shape", shape, expected="the shape of one row, such as (8, 8) or (2,)", at_least=1)


def check_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """The widths of hidden layers, perhaps none."""
    return _integers(name, sizes, expected="a tuple of layer widths, such as (256, 256)", at_least=0)


def check_levels(levels: Any) -> int | None:
    """How many values a discrete entry takes, at least 2; ``None`` for continuous data."""
    return None if levels is None else check_positive("levels", levels, least=2)


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
