"""Whose failure it is: what goes wrong inside a user's program is said to be the program's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ppgen.errors import PpgenError, ProgramError, UnsupportedProgram

__all__ = ["at_site", "explained"]


@contextmanager
def explained(expected: str, attempt: str) -> Iterator[None]:
    """Turn a failure in the user's own code into a :class:`ProgramError`, and keep the cause.

    Args:
        expected: what the program should have been able to do.
        attempt: a line that runs the program alone.

    Example:
        >>> with explained("a program that runs", "program(**data)"):
        ...     [][0]
        Traceback (most recent call last):
        ppgen.errors.ProgramError: program: got IndexError when it was run on the data: list index ...
    """
    try:
        yield
    except PpgenError:
        raise
    except Exception as error:
        first_line = (str(error).splitlines() or ["no message"])[0]
        raise ProgramError(
            "program",
            got=f"{type(error).__name__} when it was run on the data: {first_line}",
            expected=expected,
            fix=f"The traceback above this one shows the line. Call {attempt} to try it alone.",
        ) from error


@contextmanager
def at_site(name: str) -> Iterator[None]:
    """Say at which site it is that a log density cannot be recorded: no line of the program computes it."""
    try:
        yield
    except UnsupportedProgram as error:
        if error.argument.startswith("site"):
            raise
        where = f"site {name!r}, {error.argument}"
        raise type(error)(where, got=error.got, expected=error.expected, fix=error.fix) from error
