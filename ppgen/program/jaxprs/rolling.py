"""Loops that Python unrolled, rolled again: repeated blocks of a jaxpr become one ``scan``.

XLA compiles a loop once, and unrolled operations in a time that grows faster than their number. Value
and gradient of two chains on one core: a recursion of 200 steps (2,100 operations) compiles in 1.3 s
instead of 19, and a call takes 19 µs instead of 31; 12 Runge-Kutta steps in 1 s instead of 56, 25 µs
instead of 195. Below about 80 operations there is nothing to gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun, subjaxprs

from ppgen.program.jaxprs.flat import FlatProgram, Operation, flatten
from ppgen.program.jaxprs.repeats import (
    MIN_COUNT,
    Fixed,
    Run,
    Same,
    Scanned,
    Statement,
    Wiring,
    find_runs,
    wire,
)

__all__ = ["roll"]

# Blocks that do not depend on each other run side by side, unless their arrays are too large together.
MAX_TOGETHER = 10_000_000


def roll(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same function with its repeated blocks as loops; itself if it has none.

    Each result of the original is computed by the same operations in the same order. Blocks may read
    what earlier blocks made (recursions, of any order), walk through arrays, and differ in their numbers.

    Example:
        >>> def decay(x):
        ...     for t in range(100):
        ...         x = 0.5 * x + t
        ...     return x
        >>> unrolled = jax.make_jaxpr(decay)(1.0)
        >>> rolled = roll(unrolled)
        >>> len(unrolled.eqns), [equation.primitive.name for equation in rolled.eqns]
        (200, ['convert_element_type', 'scan'])
        >>> bool(jaxpr_as_fun(rolled)(1.0)[0] == decay(1.0))
        True
    """
    program = flatten(closed)
    runs = find_runs(program)
    plan = _plan(program, runs)
    bodies = _roll_bodies(plan)
    if not runs and not bodies:
        return closed

    def evaluate(*inputs: Any) -> list[Any]:
        return _Evaluation(program, bodies, inputs).run(plan)

    return jax.make_jaxpr(evaluate)(*map(_like, closed.in_avals))


def _plan(program: FlatProgram, runs: list[Run]) -> list[Operation | tuple[Run, Wiring]]:
    """The operations and the loops that the results depend on, in order."""
    at = {i: run for run in runs for i in range(run.start, run.stop)}
    needed = set(program.results)
    steps: list[Operation | tuple[Run, Wiring]] = []
    for i, operation in reversed(list(enumerate(program.operations))):
        run = at.get(i)
        if run is None and (operation.equation.effects or not needed.isdisjoint(operation.makes)):
            needed.update(operation.reads)
            steps.append(operation)
        elif run is not None and i == run.start:
            wiring = wire(program, run, needed)
            needed.update(wiring.reads)
            steps.append((run, wiring))
    return steps[::-1]


def _roll_bodies(plan: list[Operation | tuple[Run, Wiring]]) -> dict[int, ClosedJaxpr]:
    """The bodies of the program's own loops, rolled, by the first value that the loop makes."""
    bodies = {}
    for step in plan:
        if isinstance(step, Operation) and step.equation.primitive.name == "scan":
            body = step.equation.params["jaxpr"]
            rolled = roll(body)
            if rolled is not body:
                bodies[step.makes[0]] = rolled
    return bodies


# -- evaluation ----------------------------------------------------------------------------------------


class _Element(NamedTuple):
    """One of many values that are kept in one array."""

    stack: jax.Array
    place: int


class _Evaluation:
    """Runs a flat program, each run of blocks as one loop."""

    def __init__(self, program: FlatProgram, bodies: dict[int, ClosedJaxpr], inputs: Sequence[Any]) -> None:
        self.program = program
        self.bodies = bodies
        self.values: dict[int, Any] = {v: literal.val for v, literal in program.literals.items()}
        self.values.update(program.constants)
        self.values.update(zip(program.inputs, inputs, strict=True))
        self.taken: dict[int, Any] = {}  # elements that were read by themselves

    def run(self, plan: list[Operation | tuple[Run, Wiring]]) -> list[Any]:
        for step in plan:
            if isinstance(step, Operation):
                results = self._put_together(step) or self._apply(step)
                self.values.update(zip(step.makes, results, strict=True))
            else:
                self._loop(*step)
        return [self._read(value) for value in self.program.results]

    def _read(self, value: int) -> Any:
        found = self.values[value]
        if not isinstance(found, _Element):
            return found
        if value not in self.taken:
            self.taken[value] = lax.index_in_dim(found.stack, found.place, keepdims=False)
        return self.taken[value]

    # -- one operation after the other

    def _apply(self, operation: Operation) -> list[Any]:
        arguments = [self._read(value) for value in operation.reads]
        if operation.makes and operation.makes[0] in self.bodies:
            return _scan(operation.equation, self.bodies[operation.makes[0]], arguments)
        return _bind(operation.equation, arguments)

    def _put_together(self, operation: Operation) -> list[Any]:
        """The result of joining values, or taking them apart, without one operation for each of them."""
        name, params = operation.equation.primitive.name, operation.equation.params
        in_stacks = sum(isinstance(self.values[value], _Element) for value in operation.reads)
        if name == "stack" and in_stacks > 1:
            return [jnp.moveaxis(self._stack(operation.reads), 0, params["axis"])]
        if name == "concatenate" and in_stacks > 1:
            return [self._concatenate(operation.reads, params["dimension"])]
        if name == "split" and len(operation.makes) >= MIN_COUNT and len(set(params["sizes"])) == 1:
            stack = _split(self._read(operation.reads[0]), params["axis"], len(operation.makes))
            return [_Element(stack, i) for i in range(len(operation.makes))]
        return []

    def _stack(self, values: Sequence[int]) -> Any:
        """Values of one shape, along a new first axis."""
        literals = [self.program.literals.get(value) for value in values]
        if all(literals):
            return np.stack([_number(literal) for literal in literals if literal])
        parts = [
            jnp.stack([jnp.asarray(self._read(value)) for value in indices])
            if stack is None
            else _take(stack, indices)
            for stack, indices in self._groups(values)
        ]
        return parts[0] if len(parts) == 1 else lax.concatenate(parts, 0)

    def _concatenate(self, values: Sequence[int], axis: int) -> jax.Array:
        """Values one after the other along an axis that they have."""
        parts: list[jax.Array] = []
        for stack, indices in self._groups(values):
            if stack is None:
                parts.extend(self._read(value) for value in indices)
            else:
                part = jnp.moveaxis(_take(stack, indices), 0, axis)
                parts.append(lax.collapse(part, axis, axis + 2))
        return lax.concatenate(parts, axis)

    def _groups(self, values: Sequence[int]) -> list[tuple[Any, list[int]]]:
        """Neighbours that are evenly spaced in one array, as ``(array, places)``, or ``(None, values)``."""
        groups: list[tuple[Any, list[int]]] = []
        for value in values:
            found = self.values[value]
            stack, index = found if isinstance(found, _Element) else (None, value)
            if groups and groups[-1][0] is stack:
                last = groups[-1][1]
                if stack is None or len(last) == 1 or index - last[-1] == last[1] - last[0]:
                    last.append(index)
                    continue
            groups.append((stack, [index]))
        return groups

    # -- a loop

    def _loop(self, run: Run, wiring: Wiring) -> None:
        """Compute all blocks; the lines hold what is wanted of the last ones alone."""
        held = {line[:2]: i for i, line in reversed(list(enumerate(wiring.lines)))}  # the longest of each
        in_lines = {
            key
            for key, blocks in wiring.wanted.items()
            if key in held and min(blocks) >= run.blocks - len(wiring.lines[held[key]].initial)
        }
        body = _Body(wiring, self.program.literals, sorted(wiring.wanted.keys() - in_lines))
        fixed = [self._read(value) for value in body.fixed]
        initial = [[self._initial(value) for value in line.initial] for line in wiring.lines]
        elements = [self._stack(values) for values in body.scanned]
        elements += [wiring.statements[j].starts for j in body.walks]
        elements += [self._windows(wiring.statements[j]) for j in body.windows]

        final, stacks = _repeat(body, fixed, initial, elements, run.blocks)
        kept = dict(zip(body.kept, stacks, strict=True))
        for (j, slot), blocks in wiring.wanted.items():
            for b in blocks:
                value = self.program.operations[run.start + b * run.period + j].makes[slot]
                self.values[value] = (
                    _Element(kept[j, slot], b) if (j, slot) in kept else final[held[j, slot]][b - run.blocks]
                )

    def _initial(self, value: int) -> Any:
        """The first value that a loop carries; what it carries has no weak type."""
        literal = self.program.literals.get(value)
        return _strong(_number(literal) if literal else self._read(value))

    def _windows(self, statement: Statement) -> jax.Array:
        source = statement.sources[0]
        assert isinstance(source, Fixed)
        return _windows(jnp.asarray(self._read(source.value)), statement)


# -- the body of a loop --------------------------------------------------------------------------------


class _Body:
    """One block as a function of what is fixed, what is carried, and its own elements.

    Attributes:
        fixed: the values that are the same in all blocks.
        scanned: those that each block has its own of.
        walks: the statements whose slices start at an element.
        windows: the statements whose slices are elements, taken before the loop from what is fixed.
        kept: the results that are wanted of every block, as ``(statement, slot)``.
    """

    def __init__(self, wiring: Wiring, literals: dict[int, Any], kept: list[tuple[int, int]]) -> None:
        self.wiring, self.literals, self.kept = wiring, literals, kept
        walking = {j for j, statement in wiring.statements.items() if statement.starts is not None}
        self.windows = [j for j in sorted(walking) if isinstance(wiring.statements[j].sources[0], Fixed)]
        self.walks = sorted(walking.difference(self.windows))
        inside = [s for j, s in wiring.statements.items() if j not in self.windows]
        sources = [source for statement in inside for source in statement.sources]
        self.scanned = list(dict.fromkeys(s.values for s in sources if isinstance(s, Scanned)))
        values = [source.value for source in sources if isinstance(source, Fixed)]
        self.fixed = [value for value in dict.fromkeys(values) if value not in literals]

    def __call__(self, fixed: list[Any], histories: list[list[Any]], elements: list[Any]) -> Any:
        """The histories after the block, and the results that are kept."""
        known = dict(zip(self.fixed, fixed, strict=True))
        names = [*self.scanned, *self.walks, *self.windows]
        own: dict[Any, Any] = dict(zip(names, elements, strict=True))
        made: dict[int, list[Any]] = {}

        def look_up(source: Any) -> Any:
            match source:
                case Fixed(value):
                    return known[value] if value in known else self.literals[value].val
                case Scanned(values):
                    return own[values]
                case Same(statement, slot):
                    return made[statement][slot]
            return histories[source.line][-source.lag]

        for j, statement in self.wiring.statements.items():
            if j in self.windows:
                made[j] = [own[j]]
            elif j in own:
                made[j] = [_slice_at(look_up(statement.sources[0]), own[j], statement)]
            else:
                made[j] = _bind(statement.equation, [look_up(source) for source in statement.sources])
        moved = [
            [*history[1:], _strong(made[line.statement][line.slot])]
            for history, line in zip(histories, self.wiring.lines, strict=True)
        ]
        return moved, [made[j][slot] for j, slot in self.kept]


def _repeat(
    body: _Body, fixed: list[Any], initial: list[list[Any]], elements: list[Any], count: int
) -> tuple[Any, list[Any]]:
    """All blocks: the last histories, and the kept results along a new first axis."""
    first = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in elements]
    traced, shapes = jax.make_jaxpr(body, return_shape=True)(fixed, initial, first)
    function, structure = jaxpr_as_fun(roll(traced)), jax.tree.structure(shapes)

    def block(histories: list[list[Any]], own: list[Any]) -> Any:
        return jax.tree.unflatten(structure, function(*jax.tree.leaves((fixed, histories, own))))

    if not initial and elements and _may_run_together(traced, count):
        return jax.vmap(block, in_axes=(None, 0))([], elements)
    return lax.scan(block, initial, elements, length=count)


def _may_run_together(body: ClosedJaxpr, count: int) -> bool:
    """Whether blocks side by side fit, and have no branches: of those, both would be computed."""
    size = sum(getattr(atom.aval, "size", 1) for eqn in body.eqns for atom in eqn.outvars)
    return size * count <= MAX_TOGETHER and not _branches(body.jaxpr)


def _branches(jaxpr: Jaxpr) -> bool:
    return any(equation.primitive.name in ("cond", "while") for equation in jaxpr.eqns) or any(
        map(_branches, subjaxprs(jaxpr))
    )


# -- operations on arrays ------------------------------------------------------------------------------


def _bind(equation: JaxprEqn, arguments: Sequence[Any]) -> list[Any]:
    """Apply the primitive of an equation."""
    with equation.ctx.manager:
        results = equation.primitive.bind(*arguments, **equation.primitive.get_bind_params(equation.params))
    return list(results) if equation.primitive.multiple_results else [results]


def _scan(equation: JaxprEqn, body: ClosedJaxpr, arguments: list[Any]) -> list[Any]:
    """A scan with another body."""
    params, function = equation.params, jaxpr_as_fun(body)
    carried = params["num_consts"] + params["num_carry"]
    constants = arguments[: params["num_consts"]]

    def step(carry: list[Any], elements: list[Any]) -> tuple[list[Any], list[Any]]:
        results = function(*constants, *carry, *elements)
        return results[: params["num_carry"]], results[params["num_carry"] :]

    settings = {name: params[name] for name in ("length", "reverse", "unroll")}
    initial = arguments[params["num_consts"] : carried]
    final, stacks = lax.scan(step, initial, arguments[carried:], **settings)
    return [*final, *stacks]


def _windows(array: jax.Array, statement: Statement) -> jax.Array:
    """The slices of all blocks along a new first axis; one strided slice where they are evenly spaced."""
    starts = statement.starts
    assert starts is not None
    starts = starts.astype(int)
    sizes = _sizes(statement)
    axis, *others = np.flatnonzero((starts != starts[0]).any(0)).tolist()
    steps = np.diff(starts[:, axis])
    if others or sizes[axis] != 1 or (steps != steps[0]).any():
        return jax.vmap(lambda start: _slice_at(array, start, statement))(statement.starts)
    strides = list(statement.equation.params["strides"] or [1] * len(sizes))
    strides[axis] = abs(int(steps[0]))
    found = lax.slice(array, starts.min(0).tolist(), (starts.max(0) + sizes).tolist(), strides)
    found = lax.rev(found, [axis]) if steps[0] < 0 else found
    return jnp.expand_dims(jnp.moveaxis(found, axis, 0), axis + 1)


def _slice_at(array: jax.Array, start: Any, statement: Statement) -> jax.Array:
    """The slice of one block, whose start is known only in the loop."""
    sizes, strides = _sizes(statement), statement.equation.params["strides"]
    found = lax.dynamic_slice(array, [start[axis] for axis in range(len(sizes))], sizes)
    return lax.slice(found, [0] * len(sizes), sizes, strides) if strides else found


def _sizes(statement: Statement) -> list[int]:
    """How far the slice reaches; the limits of some blocks may lie farther, even where the array ends."""
    aval: Any = statement.equation.outvars[0].aval
    strides = statement.equation.params["strides"] or [1] * len(aval.shape)
    return [max((size - 1) * stride + 1, 0) for size, stride in zip(aval.shape, strides, strict=True)]


def _take(stack: jax.Array, indices: list[int]) -> jax.Array:
    """Evenly spaced elements of an array."""
    first, last = min(indices[0], indices[-1]), max(indices[0], indices[-1])
    if first == last:
        return jnp.broadcast_to(stack[first], (len(indices), *stack.shape[1:]))
    found = lax.slice_in_dim(stack, first, last + 1, abs(indices[1] - indices[0]))
    return lax.rev(found, [0]) if indices[0] > indices[-1] else found


def _split(array: jax.Array, axis: int, count: int) -> jax.Array:
    """Equal parts of an array, along a new first axis."""
    shape = array.shape
    parts = array.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])
    return jnp.moveaxis(parts, axis, 0)


def _number(literal: Literal) -> np.ndarray:
    aval: Any = literal.aval
    return np.asarray(literal.val, aval.dtype)


def _strong(value: Any) -> jax.Array:
    """A value without a weak type."""
    value = jnp.asarray(value)
    return lax.convert_element_type(value, value.dtype) if jax.typeof(value).weak_type else value


def _like(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False))
