"""Which language a program is written in."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

from ppgen.errors import InvalidArgument, ProgramError
from ppgen.program.arguments import is_array
from ppgen.program.family import Program
from ppgen.program.languages.language import Language, find_language, imported_languages

__all__ = ["detect_engine", "language_of"]


def detect_engine(program: Program, data: Mapping[str, Any], engine: str | None = None) -> str:
    """The name of the language that a program is written in.

    An explicit ``engine`` is taken at its word; so is a program's own ``engine`` attribute. Otherwise
    the program is started once with a probe for every language, and the first statement that reaches
    a probe decides. A language that is not imported cannot have written a program, so nothing is
    imported to find out.

    Args:
        program: a callable with ``sample`` statements.
        data: its keyword arguments.
        engine: ``"pyro"`` or ``"numpyro"``.

    Raises:
        UnknownName: if there is no such language.
        InvalidArgument: if the names in ``data`` are not the program's arguments.
        ProgramError: if the program has no statement of any language, or fails before its first.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> detect_engine(lambda: numpyro.sample("x", dist.Normal(0, 1)), {})
        'numpyro'
    """
    return language_of(program, data, engine).name


def language_of(program: Program, data: Mapping[str, Any], engine: str | None = None) -> Language:
    """The language that a program is written in, as :func:`detect_engine` finds it."""
    if not callable(program):
        raise InvalidArgument(
            "program",
            got=f"an object of type {type(program).__name__}",
            expected="a callable with sample statements",
            fix="Pass the function itself, not its result.",
        )
    _check_arguments(program, data)
    declared = engine or getattr(program, "engine", None)
    return _probe(program, data) if declared is None else find_language(declared)


def _check_arguments(program: Program, data: Mapping[str, Any]) -> None:
    """Refuse data whose names are not the program's arguments."""
    try:
        signature = inspect.signature(program)
    except (TypeError, ValueError):  # some callables have no signature to check
        return
    try:
        signature.bind(**data)
    except TypeError as error:
        raise InvalidArgument(
            "data",
            got=f"the names {sorted(data)} ({error})",
            expected=f"the arguments of the program, {signature}",
            fix="Name each entry of data as the program's argument that it is for.",
        ) from None


class _FirstStatement(BaseException):
    """Carries the answer out of the program; a program's own ``except Exception`` cannot swallow it."""

    def __init__(self, language: Language) -> None:
        self.language = language


def _probe(program: Program, data: Mapping[str, Any]) -> Language:
    """Run the program until its first statement: on the data as they are, and in each language's arrays."""
    failure: Exception | None = None
    # The first entry stands twice: a program that imports its language itself is caught the second time.
    for arrays in (None, None, *imported_languages()):
        try:
            with ExitStack() as stack:
                # Handlers may complain of a program that is cut short; the real run will say what is true.
                stack.enter_context(warnings.catch_warnings(action="ignore"))
                for language in imported_languages():
                    stack.enter_context(language.probe(partial(_found, language)))
                program(**(data if arrays is None else _converted(data, arrays)))
        except _FirstStatement as found:
            return found.language
        except Exception as error:  # any failure of the user's own code; it is reported below
            failure = failure or error
    if failure is not None:
        raise ProgramError(
            "program",
            got=f"{type(failure).__name__}: {failure}, before the first sample statement",
            expected="a Pyro or NumPyro program that runs on the given data",
            fix='Call program(**data) to see the failure, or name the language: engine="numpyro".',
        ) from failure
    raise ProgramError(
        "program",
        got="a callable with no sample statement of Pyro or NumPyro",
        expected="at least one, such as numpyro.sample(...) or pyro.sample(...)",
        fix="Check that the function makes its statements on every path through it.",
    )


def _found(language: Language) -> NoReturn:
    raise _FirstStatement(language)


def _converted(data: Mapping[str, Any], language: Language) -> dict[str, Any]:
    return {name: language.array(value) if is_array(value) else value for name, value in data.items()}
