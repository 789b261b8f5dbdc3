"""Every error a user can meet.

Each one is built from the same four parts, so that a message always answers the same four
questions: which argument, what came, what was expected, and what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "EvaluationWarning",
    "InferenceError",
    "InferenceWarning",
    "InvalidArgument",
    "NoLikelihood",
    "PpgenError",
    "ProgramError",
    "StorageError",
    "TrainingError",
    "TrainingWarning",
    "UnknownName",
    "UnsupportedProgram",
]


class PpgenError(Exception):
    """The base of every error that ppgen raises on purpose.

    Args:
        argument: the argument, site, file or option that is wrong.
        got: what came.
        expected: what would have been right.
        fix: what to write instead, as a sentence or a line of code.

    Example:
        >>> print(InvalidArgument("draws", got="-5", expected="a positive integer", fix="Write draws=1000."))
        draws: got -5, expected a positive integer. Write draws=1000.
    """

    def __init__(self, argument: str, *, got: str, expected: str, fix: str) -> None:
        self.argument = argument
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(f"{argument}: got {got}, expected {expected}. {fix}")


class InvalidArgument(PpgenError, ValueError):
    """An argument or option has a value that it cannot have."""


class DataError(PpgenError, ValueError):
    """The data is empty, not finite, of the wrong shape or kind, or outside its levels."""


class ProgramError(PpgenError, ValueError):
    """A program or guide is wrong: its sites, their shapes, or how the two match."""


class UnsupportedProgram(ProgramError):
    """A program is right, but asks for something that ppgen cannot do with it."""


class InferenceError(PpgenError, RuntimeError):
    """A posterior method cannot start or continue."""


class TrainingError(PpgenError, RuntimeError):
    """Training cannot start or continue."""


class NoLikelihood(PpgenError, NotImplementedError):
    """A model has no likelihood of the kind that was asked for; the message names what it has."""


class StorageError(PpgenError, OSError):
    """A file cannot be read or written."""


class UnknownName(InvalidArgument):
    """A name is none of those on offer.

    Example:
        >>> print(UnknownName("method", "nutz", ["nuts", "svi"]))
        method: got 'nutz', expected one of 'nuts', 'svi'. Did you mean 'nuts'?
    """

    def __init__(self, argument: str, name: object, known: Iterable[str]) -> None:
        known = list(known)
        close = difflib.get_close_matches(str(name), known, n=1)
        super().__init__(
            argument,
            got=repr(name),
            expected="one of " + ", ".join(repr(k) for k in known),
            fix=f"Did you mean {close[0]!r}?" if close else "Take one of these names.",
        )


class EvaluationWarning(UserWarning):
    """A figure came back, but the samples that it rests on do not vouch for it."""


class InferenceWarning(UserWarning):
    """A posterior came back, but its own diagnostics do not vouch for it."""


class TrainingWarning(UserWarning):
    """Training came back early; the message says with what."""
