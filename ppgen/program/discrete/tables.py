"""A traced JAX function, evaluated for every value of some of its arguments at once.

Each intermediate result becomes a table over only those arguments that it depends on, so that a chain
of T arguments, each result of which depends on two neighbours, costs T small tables and no big one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

__all__ = ["Dependence", "Table", "dependence", "tabulate"]


class Table(NamedTuple):
    """A value for each setting of some variables.

    Attributes:
        variables: which, in rising order.
        array: its leading axes are those of the variables.
    """

    variables: tuple[int, ...]
    array: Any


class Dependence(NamedTuple):
    """What the results of a function depend on.

    Attributes:
        results: the variables of each result.
        largest: how many entries the largest table has that :func:`tabulate` computes on the way.
    """

    results: list[frozenset[int]]
    largest: int


def dependence(
    closed: ClosedJaxpr, given: Sequence[frozenset[int]], wanted: Sequence[bool], sizes: Sequence[int]
) -> Dependence:
    """Which variables each result depends on.

    Args:
        closed: the traced function.
        given: the variables of each argument.
        wanted: which results will be asked for.
        sizes: how many values each variable has.

    Example:
        >>> import jax.numpy as jnp
        >>> closed = jax.make_jaxpr(lambda a, b: (a + 1, a * b))(jnp.zeros(3), 2.0)
        >>> first, second = dependence(closed, [frozenset({0}), frozenset({1})], [True, True], [4, 5]).results
        >>> sorted(first), sorted(second)
        ([0], [0, 1])
    """
    known: dict[Any, frozenset[int]] = {}
    largest = 1

    def read(atom: Any) -> frozenset[int]:
        return frozenset() if isinstance(atom, Literal) else known.get(atom, frozenset())

    jaxpr = closed.jaxpr
    known.update(zip(jaxpr.invars, given, strict=True))
    for equation, needed in _needed_equations(jaxpr, wanted):
        arguments = [read(atom) for atom in equation.invars]
        inner = _inner(equation)
        if inner is not None:
            found = dependence(inner, arguments, needed, sizes)
            known.update(zip(equation.outvars, found.results, strict=True))
            largest = max(largest, found.largest)
            continue
        together = frozenset().union(*arguments)
        known.update((variable, together) for variable in equation.outvars)
        entries = max((math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars), default=1)
        largest = max(largest, entries * math.prod(sizes[variable] for variable in together))
    return Dependence([read(atom) for atom in jaxpr.outvars], largest)


def tabulate(closed: ClosedJaxpr, arguments: Sequence[Table], wanted: Sequence[bool]) -> list[Table | None]:
    """The results as tables, ``None`` for those that are not wanted.

    Example:
        >>> import jax.numpy as jnp
        >>> closed = jax.make_jaxpr(lambda a, b: (a + 1, a * b))(2.0, 2.0)
        >>> digits = Table((0,), jnp.array([1.0, 2.0])), Table((1,), jnp.array([3.0, 4.0, 5.0]))
        >>> for table in tabulate(closed, digits, [True, True]):
        ...     print(table.variables, table.array.tolist())
        (0,) [2.0, 3.0]
        (0, 1) [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]
    """
    known: dict[Any, Table] = {}

    def read(atom: Any) -> Table:
        return Table((), atom.val) if isinstance(atom, Literal) else known[atom]

    jaxpr = closed.jaxpr
    known.update(zip(jaxpr.constvars, (Table((), const) for const in closed.consts), strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation, needed in _needed_equations(jaxpr, wanted):
        given = [read(atom) for atom in equation.invars]
        inner = _inner(equation)
        if inner is not None and any(table.variables for table in given):
            results = tabulate(inner, given, needed)
        else:
            results = list(_apply(equation, given))
        known.update(
            (out, table) for out, table in zip(equation.outvars, results, strict=True) if table is not None
        )
    return [read(atom) if want else None for atom, want in zip(jaxpr.outvars, wanted, strict=True)]


def _apply(equation: Any, given: list[Table]) -> list[Table]:
    """One operation, repeated over the variables of its arguments."""

    def operation(*arrays: Any) -> Any:
        parameters = equation.primitive.get_bind_params(equation.params)
        return equation.primitive.bind(*arrays, **parameters)

    variables = tuple(sorted({variable for table in given for variable in table.variables}))
    for variable in reversed(variables):
        axes = [0 if variable in table.variables else None for table in given]
        operation = jax.vmap(operation, in_axes=axes)
    with equation.ctx.manager:
        results = operation(*(table.array for table in given))
    several = equation.primitive.multiple_results
    return [Table(variables, result) for result in (results if several else [results])]


def _needed_equations(jaxpr: Jaxpr, wanted: Sequence[bool]) -> Iterator[tuple[Any, list[bool]]]:
    """The operations that lead to wanted results, in order, each with which of its own are needed."""
    needed = {
        atom
        for atom, want in zip(jaxpr.outvars, wanted, strict=True)
        if want and not isinstance(atom, Literal)
    }
    kept = []
    for equation in reversed(jaxpr.eqns):
        outputs = [out in needed for out in equation.outvars]
        if any(outputs):
            kept.append((equation, outputs))
            needed.update(atom for atom in equation.invars if not isinstance(atom, Literal))
    yield from reversed(kept)


def _inner(equation: Any) -> ClosedJaxpr | None:
    """The operations of a compiled function, which are tabulated one by one."""
    return equation.params["jaxpr"] if equation.primitive.name in ("jit", "pjit") else None
