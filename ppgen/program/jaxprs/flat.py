"""A jaxpr as one flat list of operations on numbered values, with calls inlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

__all__ = ["FlatProgram", "Operation", "flatten"]


class Operation(NamedTuple):
    """One operation.

    Attributes:
        equation: what it does: the primitive and its parameters. Its variables are not to be read.
        reads: the values it is given.
        makes: the values it gives.
    """

    equation: JaxprEqn
    reads: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass
class FlatProgram:
    """Operations in order, on values that are numbers from 0 on.

    Attributes:
        size: how many values there are.
        inputs: the arguments, in order.
        constants: the arrays that the program closes over.
        literals: the scalars that it writes out; equal ones are one value.
        operations: each after those that it reads.
        alive: which of them a result depends on, or have effects. Dead ones stay in the list: a Python loop
            leaves them in every block, and blocks are easier to find whole.
        results: what the program gives back, in order.
    """

    size: int = 0
    inputs: list[int] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    literals: dict[int, Literal] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    alive: list[bool] = field(default_factory=list)
    results: list[int] = field(default_factory=list)


def flatten(closed: ClosedJaxpr) -> FlatProgram:
    """Write a jaxpr as one list of operations.

    Example:
        >>> import jax
        >>> flat = flatten(jax.make_jaxpr(lambda x: jax.jit(lambda y: 2 * y)(x) + 2)(1.0))
        >>> [(op.equation.primitive.name, op.reads, op.makes) for op in flat.operations]
        [('mul', (1, 0), (2,)), ('add', (2, 1), (3,))]
    """
    builder = _Builder()
    builder.program.inputs = [builder.new() for _ in closed.jaxpr.invars]
    builder.program.results = builder.inline(closed, builder.program.inputs)
    builder.program.alive = _alive(builder.program)
    return builder.program


# Calls without a meaning of their own, by their names in the versions of JAX.
_CALLS = ("jit", "pjit")


class _Builder:
    def __init__(self) -> None:
        self.program = FlatProgram()
        self.known: dict[Any, int] = {}  # constants by identity, literals by their bits

    def new(self) -> int:
        self.program.size += 1
        return self.program.size - 1

    def inline(self, closed: ClosedJaxpr, arguments: Sequence[int]) -> list[int]:
        jaxpr: Jaxpr = closed.jaxpr
        values: dict[Var, int] = dict(zip(jaxpr.invars, arguments, strict=True))
        values.update(zip(jaxpr.constvars, map(self._constant, closed.consts), strict=True))

        def look_up(atom: Var | Literal) -> int:
            return self._literal(atom) if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            reads = tuple(map(look_up, equation.invars))
            if equation.primitive.name in _CALLS and not equation.effects:
                makes = tuple(self.inline(equation.params["jaxpr"], reads))
            else:
                makes = tuple(self.new() for _ in equation.outvars)
                self.program.operations.append(Operation(equation, reads, makes))
            values.update(zip(equation.outvars, makes, strict=True))
        return [look_up(atom) for atom in jaxpr.outvars]

    def _constant(self, array: Any) -> int:
        if id(array) not in self.known:
            self.known[id(array)] = self.new()
            self.program.constants[self.known[id(array)]] = array
        return self.known[id(array)]

    def _literal(self, literal: Literal) -> int:
        # The bits tell 0 from -0, and know a NaN again.
        aval: Any = literal.aval
        bits = (aval.dtype, aval.weak_type, np.asarray(literal.val).tobytes())
        if bits not in self.known:
            self.known[bits] = self.new()
            self.program.literals[self.known[bits]] = literal
        return self.known[bits]


def _alive(program: FlatProgram) -> list[bool]:
    needed, alive = set(program.results), []
    for operation in reversed(program.operations):
        alive.append(bool(operation.equation.effects) or not needed.isdisjoint(operation.makes))
        if alive[-1]:
            needed.update(operation.reads)
    return alive[::-1]
