r"""Sums over finite discrete variables, by elimination of one after the other.

A joint density over discrete variables :math:`z` is a product of factors, each a table over a few
variables and a few plates:

.. math:: \log \sum_z \exp \Big( \sum_f \sum_{i \in \mathrm{plates}(f)} \log f_i(z_{f, i}) \Big)

Variables in the innermost plates are summed first, each for every element of its plates separately;
what is left of their factors is multiplied over those plates, and so on outwards. This is tensor
variable elimination (Obermeyer et al., *Tensor Variable Elimination for Plated Factor Graphs*, 2019,
arXiv:1902.03210).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ppgen.errors import UnsupportedProgram

__all__ = [
    "LARGEST_TABLE",
    "Axis",
    "Elimination",
    "Factor",
    "PlateAxis",
    "Step",
    "Variable",
    "add",
    "aligned",
    "choose",
    "connected",
    "draw",
    "eliminate",
    "log_sum_exp",
    "sum_plates",
]

LARGEST_TABLE = 10_000_000
"""The most entries that a table may have: 80 MB in double precision."""


class PlateAxis(NamedTuple):
    """A dimension of independent repetitions: its position from the right, and its length."""

    dim: int
    size: int


Axis = int | PlateAxis
"""An axis of a factor: a variable, by number, or a plate."""


class Variable(NamedTuple):
    """A discrete variable: one value for each element of its plates."""

    name: str
    size: int
    plates: frozenset[PlateAxis]


class Factor(NamedTuple):
    """A table of log weights, its axes named.

    Example:
        >>> Factor((0, PlateAxis(-1, 3)), jnp.zeros((2, 3))).plates
        frozenset({PlateAxis(dim=-1, size=3)})
    """

    axes: tuple[Axis, ...]
    table: Any

    @property
    def variables(self) -> frozenset[int]:
        """The variables among the axes."""
        return frozenset(axis for axis in self.axes if not isinstance(axis, PlateAxis))

    @property
    def plates(self) -> frozenset[PlateAxis]:
        """The plates among the axes."""
        return frozenset(axis for axis in self.axes if isinstance(axis, PlateAxis))


class Step(NamedTuple):
    """A variable that has been marginalised, and all that bore on it then: given the other variables in
    there, this factor is its log posterior up to a constant."""

    variable: int
    factor: Factor


class Elimination(NamedTuple):
    """What is left of connected factors when every variable is marginalised.

    Attributes:
        total: the log of the sum, one for each element of the plates that all of the factors share.
        steps: in the order of elimination.
    """

    total: Factor
    steps: list[Step]


def eliminate(factors: Sequence[Factor], variables: Mapping[int, Variable]) -> Elimination:
    """Sum all variables out of factors that are connected through them.

    Args:
        factors: at least one; each has the plates of each of its variables.
        variables: what the numbers among the factors' axes stand for.

    Raises:
        UnsupportedProgram: if a table would become too large, or if variables in different plates meet
            in both plates at once, which leaves no order of summation.

    Example:
        >>> rows = PlateAxis(-1, 2)
        >>> z = {0: Variable("z", 2, frozenset({rows}))}
        >>> prior = Factor((0, rows), jnp.log(jnp.array([[0.25, 0.25], [0.75, 0.75]])))
        >>> likelihood = Factor((0, rows), jnp.log(jnp.array([[1.0, 2.0], [1.0, 4.0]])))
        >>> [round(float(row), 3) for row in jnp.exp(eliminate([prior, likelihood], z).total.table)]
        [1.0, 3.5]
    """
    pending = list(factors)
    steps: list[Step] = []
    while any(factor.variables for factor in pending):
        innermost = max((factor.plates for factor in pending), key=len)
        here = [factor for factor in pending if factor.plates == innermost]
        pending = [factor for factor in pending if factor.plates != innermost]
        here = _sum_out(here, innermost, variables, steps)
        for factor in here:
            outer = frozenset().union(*(variables[v].plates for v in factor.variables))
            if factor.variables and outer == innermost:
                raise _intractable([variables[v] for v in sorted(factor.variables)])
            pending.append(sum_plates(factor, outer) if factor.variables or pending else factor)
    return Elimination(add(pending), steps)


def _sum_out(
    factors: list[Factor],
    plates: frozenset[PlateAxis],
    variables: Mapping[int, Variable],
    steps: list[Step],
) -> list[Factor]:
    """Sum out the variables that live in exactly these plates, always the cheapest one next."""
    alive: dict[int, Factor] = dict(enumerate(factors))
    touching: dict[int, set[int]] = {}
    for i, factor in alive.items():
        for variable in factor.variables:
            if variables[variable].plates == plates:
                touching.setdefault(variable, set()).add(i)
    repeats = math.prod(plate.size for plate in plates)

    def cost(variable: int) -> int:
        together = frozenset().union(*(alive[i].variables for i in touching[variable]))
        return repeats * math.prod(variables[v].size for v in together)

    costs = {variable: cost(variable) for variable in touching}
    while costs:
        variable = min(costs, key=lambda v: (costs[v], v))
        used = sorted(touching.pop(variable))
        if costs.pop(variable) > LARGEST_TABLE:
            raise _too_large({v: variables[v] for i in used for v in alive[i].variables}, repeats)
        together = add([alive.pop(i) for i in used])
        steps.append(Step(variable, together))
        axis = together.axes.index(variable)
        number = len(factors) + len(steps)
        alive[number] = Factor(
            together.axes[:axis] + together.axes[axis + 1 :], log_sum_exp(together.table, axis)
        )
        for other in alive[number].variables & costs.keys():
            touching[other] = touching[other].difference(used) | {number}
            costs[other] = cost(other)
    return list(alive.values())


def draw(steps: Sequence[Step], key: jax.Array) -> dict[int, Factor]:
    """One exact joint draw of the variables: backwards through the elimination.

    Returns:
        The number of each variable's value, one for each element of its plates.
    """
    drawn: dict[int, Factor] = {}
    for i, step in enumerate(reversed(steps)):
        factor = step.factor
        for other in factor.variables - {step.variable}:
            factor = choose(factor, other, drawn[other])
        axes = tuple(axis for axis in factor.axes if axis != step.variable)
        logits = aligned(factor, (*axes, step.variable))
        drawn[step.variable] = Factor(axes, jax.random.categorical(jax.random.fold_in(key, i), logits))
    return drawn


def choose(factor: Factor, variable: int, number: Factor) -> Factor:
    """A factor at one value of a variable in each element of the plates."""
    axis = factor.axes.index(variable)
    index = jnp.broadcast_to(
        aligned(number, factor.axes),
        tuple(1 if i == axis else size for i, size in enumerate(factor.table.shape)),
    )
    chosen = jnp.take_along_axis(factor.table, index, axis)
    return Factor(factor.axes[:axis] + factor.axes[axis + 1 :], jnp.squeeze(chosen, axis))


def connected(factors: Sequence[Factor]) -> list[list[int]]:
    """Which factors hang together through variables, each group in order.

    Example:
        >>> chain = [Factor((0,), None), Factor((0, 1), None), Factor((2,), None), Factor((), None)]
        >>> connected(chain)
        [[0, 1], [2], [3]]
    """
    group = list(range(len(factors)))

    def find(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    first: dict[int, int] = {}
    for i, factor in enumerate(factors):
        for variable in factor.variables:
            a, b = sorted((find(first.setdefault(variable, i)), find(i)))
            group[b] = a
    members: dict[int, list[int]] = {}
    for i in range(len(factors)):
        members.setdefault(find(i), []).append(i)
    return list(members.values())


# -- arithmetic with named axes ------------------------------------------------------------------------


def add(factors: Sequence[Factor]) -> Factor:
    """The product of factors, as the sum of their logs."""
    axes = tuple(dict.fromkeys(axis for factor in factors for axis in factor.axes))
    table = aligned(factors[0], axes)
    for factor in factors[1:]:
        table = table + aligned(factor, axes)
    return Factor(axes, table)


def sum_plates(factor: Factor, kept: frozenset[PlateAxis]) -> Factor:
    """The product over all plates but those kept."""
    gone = tuple(i for i, axis in enumerate(factor.axes) if isinstance(axis, PlateAxis) and axis not in kept)
    if not gone:
        return factor
    axes = tuple(axis for i, axis in enumerate(factor.axes) if i not in gone)
    return Factor(axes, jnp.sum(factor.table, gone))


def log_sum_exp(table: jax.Array, axis: int) -> jax.Array:
    """The log of a sum; where all terms are 0 it is -inf, and its gradient 0 rather than NaN.

    Example:
        >>> import jax
        >>> print(jax.grad(lambda x: log_sum_exp(x, 0))(jnp.full(2, -jnp.inf)))
        [0. 0.]
    """
    top = jax.lax.stop_gradient(jnp.max(table, axis, keepdims=True))
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    total = jnp.sum(jnp.exp(table - top), axis)
    log_total = jnp.log(jnp.where(total == 0, 1.0, total))  # a NaN stays one
    return jnp.where(total == 0, -jnp.inf, log_total + jnp.squeeze(top, axis))


def aligned(factor: Factor, axes: Sequence[Axis]) -> jax.Array:
    """The table with these axes, of length 1 where the factor has them not."""
    present = [axis for axis in axes if axis in factor.axes]
    order = [factor.axes.index(axis) for axis in present]
    table = factor.table if order == sorted(order) else jnp.transpose(factor.table, order)
    lengths = dict(zip(present, table.shape, strict=True))
    return jnp.reshape(table, [lengths.get(axis, 1) for axis in axes])


# -- what cannot be summed -----------------------------------------------------------------------------


def _intractable(variables: Sequence[Variable]) -> UnsupportedProgram:
    names = ", ".join(repr(variable.name) for variable in variables)
    return UnsupportedProgram(
        f"sites {names}",
        got="discrete latents in different plates that meet inside of both plates",
        expected="discrete latents that can be summed out plate by plate",
        fix="Each pair of their elements depends on each other, so the sum has exponentially many terms. "
        "Make the sites of one of the plates continuous, or fix them.",
    )


def _too_large(variables: Mapping[int, Variable], repeats: int) -> UnsupportedProgram:
    names = [repr(variable.name) for variable in variables.values()]
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    entries = repeats * math.prod(variable.size for variable in variables.values())
    return UnsupportedProgram(
        f"sites {listed}",
        got=f"discrete latents that must be summed out together, a table of {entries:.1e} entries",
        expected=f"at most {LARGEST_TABLE:.0e} entries",
        fix="Give each site fewer values, or let fewer of them meet in one statement; a chain, where each "
        "site depends on the one before, is summed out step by step.",
    )
