"""Which language a program is written in."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, cast, get_args

import numpy as np

from ppgen.errors import InvalidArgument, ProgramError, UnknownName
from ppgen.program.family import Engine, Program

__all__ = ["detect_engine"]


def detect_engine(program: Program, data: Mapping[str, Any], engine: str | None = None) -> Engine:
    """Say whether a callable is a Pyro or a NumPyro program.

    An explicit ``engine`` is taken at its word; so is a program's own ``engine`` attribute. Otherwise
    the program is started once with a probe on both languages' handler stacks, and the first
    statement that reaches either decides. A language that is not imported cannot have written a
    program, so nothing is imported to find out.

    Args:
        program: a callable with ``sample`` statements.
        data: its keyword arguments.
        engine: ``"pyro"`` or ``"numpyro"``.

    Raises:
        UnknownName: if ``engine`` is neither.
        InvalidArgument: if the names in ``data`` are not the program's arguments.
        ProgramError: if the program has no statement of either language, or fails before its first.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> detect_engine(lambda: numpyro.sample("x", dist.Normal(0, 1)), {})
        'numpyro'
    """
    if not callable(program):
        raise InvalidArgument(
            "program",
            got=f"an object of type {type(program).__name__}",
            expected="a callable with sample statements",
            fix="Pass the function itself, not its result.",
        )
    _check_arguments(program, data)
    declared = engine or getattr(program, "engine", None)
    if declared is not None:
        if declared not in get_args(Engine):
            raise UnknownName("engine", declared, get_args(Engine))
        return cast(Engine, declared)
    return _probe(program, data)


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

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


def _probe(program: Program, data: Mapping[str, Any]) -> Engine:
    """Run the program until its first statement, with data in the arrays of either language."""
    failure: Exception | None = None
    # The first entry stands twice: a program that imports its language itself is caught the second time.
    for convert in (_as_given, _as_given, _to_jax, _to_torch):
        try:
            with ExitStack() as stack:
                # Handlers may complain of a program that is cut short; the real run will say what is true.
                stack.enter_context(warnings.catch_warnings(action="ignore"))
                for probe in _probes():
                    stack.enter_context(probe)
                program(**{name: convert(value) for name, value in data.items()})
        except _FirstStatement as found:
            return found.engine
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


def _probes() -> Iterator[Any]:
    """A handler for each imported language that raises on the first statement to reach it."""
    if "numpyro" in sys.modules:
        yield sys.modules["jax"].enable_x64(True)  # as in the real run: rounding must not fail a check
        from numpyro.primitives import Messenger as NumPyroMessenger

        class NumPyroProbe(NumPyroMessenger):
            def process_message(self, msg: Any) -> None:
                raise _FirstStatement("numpyro")

        yield NumPyroProbe()
    if "pyro" in sys.modules:
        from pyro.poutine.messenger import Messenger as PyroMessenger

        class PyroProbe(PyroMessenger):
            def _process_message(self, msg: Any) -> None:
                raise _FirstStatement("pyro")

        yield PyroProbe()


def _as_given(value: Any) -> Any:
    return value


def _to_jax(value: Any) -> Any:
    if "jax" not in sys.modules or not isinstance(value, np.ndarray):
        return value
    return sys.modules["jax"].numpy.asarray(value)


def _to_torch(value: Any) -> Any:
    if "torch" not in sys.modules or not isinstance(value, np.ndarray):
        return value
    return sys.modules["torch"].as_tensor(value)
