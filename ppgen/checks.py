"""The checks of arguments that every room makes: each gives the value back, or says what to write instead."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

from ppgen.errors import InvalidArgument, UnknownName

__all__ = ["check_choice", "check_flag", "check_integer", "check_integers", "check_number", "check_options"]


def check_integer(
    name: str, value: Any, *, least: int = 1, most: int | None = None, example: int | None = None
) -> int:
    """An integer from ``least`` to ``most``; NumPy's count, booleans do not.

    Raises:
        InvalidArgument: naming the argument, with ``example`` as what to write.

    Example:
        >>> check_integer("draws", 1000)
        1000
        >>> check_integer("draws", 2.5, example=1000)
        Traceback (most recent call last):
        ppgen.errors.InvalidArgument: draws: got 2.5, expected an integer, at least 1. Write draws=1000.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least or (most is not None and number > most):
        limits = f"an integer, at least {least}" if most is None else f"an integer from {least} to {most}"
        raise InvalidArgument(
            name,
            got=_short(value),
            expected=limits,
            fix=f"Write {name}={least if example is None else example}.",
        )
    return number


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    example: float | None = None,
) -> float:
    """A finite number greater than ``above`` and less than ``below``, from ``least`` to ``most``.

    Raises:
        InvalidArgument: naming the argument and its range, with ``example`` as what to write.

    Example:
        >>> check_number("target_accept", 0.9, above=0.0, below=1.0)
        0.9
        >>> check_number("alpha", 1, least=0.0, below=1.0, example=0.5)
        Traceback (most recent call last):
        ppgen.errors.InvalidArgument: alpha: got 1, expected a number of at least 0, below 1. Write alpha=0.5.
    """
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and above < number < below and least <= number <= most):
        limits = [
            f"{word} {end:g}" for word, end in (("above", above), ("of at least", least)) if end > -math.inf
        ]
        limits += [
            f"{word} {end:g}" for word, end in (("below", below), ("of at most", most)) if end < math.inf
        ]
        expected = f"a number {', '.join(limits)}" if limits else "a finite number"
        fix = f"Write {name}={example:g}." if example is not None else f"Give {name} such a number."
        raise InvalidArgument(name, got=_short(value), expected=expected, fix=fix)
    return number


def check_integers(
    name: str, values: Any, *, expected: str, least: int = 1, at_least: int = 0, example: Any = (8, 8)
) -> tuple[int, ...]:
    """A sequence of at least ``at_least`` integers, each no smaller than ``least``, as a tuple.

    Example:
        >>> check_integers("hidden", [64, 64], expected="layer widths")
        (64, 64)
    """
    try:
        integers = tuple(operator.index(value) for value in values)
    except TypeError:
        integers = (least - 1,)
    if len(integers) < at_least or min(integers, default=least) < least:
        fix = f"Write {name}={(values,) if isinstance(values, int) else example}."
        raise InvalidArgument(name, got=_short(values), expected=expected, fix=fix)
    return integers


def check_choice(name: str, value: Any, known: Iterable[Any]) -> Any:
    """One of the names on offer.

    Raises:
        UnknownName: with the nearest name.

    Example:
        >>> check_choice("metric", "dense", ("dense", "diagonal"))
        'dense'
    """
    known = list(known)
    if value not in known:
        raise UnknownName(name, value, known)
    return value


def check_options(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Names of options, all of which must be on offer.

    Raises:
        UnknownName: of the first that is not.
        InvalidArgument: if there are none to choose from.
    """
    known = list(known)
    for option in given:
        if not known:
            raise InvalidArgument(
                option, got="a value", expected=f"nothing: {what} has no options", fix=f"Leave {option} out."
            )
        if option not in known:
            raise UnknownName(f"option of {what}", option, known)


def check_flag(name: str, value: Any) -> bool:
    """``True`` or ``False``."""
    if not isinstance(value, bool):
        raise InvalidArgument(name, got=_short(value), expected="True or False", fix=f"Write {name}=True.")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
