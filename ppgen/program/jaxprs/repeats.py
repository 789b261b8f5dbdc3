"""Where a flat program does the same thing again and again: runs of equal blocks, and how they are wired.

A Python loop leaves one block of operations an iteration. Each operation gets a number, equal for
operations of the same kind on the same shapes, and a run is a stretch of that sequence which repeats
with some period. Whether it is a loop is then decided exactly, value by value: what an operation reads
must be made in the same block, or in the block a fixed lag before, or before the run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ppgen.program.jaxprs.flat import FlatProgram

__all__ = [
    "Delayed",
    "Fixed",
    "Line",
    "Run",
    "Same",
    "Scanned",
    "Source",
    "Statement",
    "Wiring",
    "find_runs",
    "wire",
]

# A loop of fewer iterations, or that saves fewer operations, gains less in compilation than it may cost.
MIN_COUNT = 4
MIN_SAVED = 80

# A value that is read more blocks later than this would make the loop carry as many copies.
MAX_LAG = 32


class Run(NamedTuple):
    """Equal blocks, one after the other.

    Attributes:
        start: the first operation.
        period: how many operations a block has.
        blocks: how many there are.
    """

    start: int
    period: int
    blocks: int

    @property
    def stop(self) -> int:
        """The first operation after the run."""
        return self.start + self.period * self.blocks


def find_runs(program: FlatProgram) -> list[Run]:
    """The loops of a program, in order and apart from each other, those that save most first.

    Example:
        >>> import jax
        >>> from ppgen.program.jaxprs.flat import flatten
        >>> def power(x):
        ...     y = x
        ...     for _ in range(100):
        ...         y = y * x
        ...     return y
        >>> find_runs(flatten(jax.make_jaxpr(power)(1.0)))
        [Run(start=0, period=1, blocks=100)]
    """
    if len(program.operations) < MIN_SAVED:
        return []
    table = _Table(program)
    heap = [(-(stop - start - period), period, start, stop, False) for period, start, stop in table.repeats()]
    heapq.heapify(heap)
    taken = np.zeros(len(program.operations), bool)
    runs: list[Run] = []
    while heap:
        _, period, start, stop, is_wired = heapq.heappop(heap)
        if taken[start:stop].any():
            pieces = [(start + a, start + b) for a, b in _stretches(~taken[start:stop])]
        elif not is_wired:
            pieces, is_wired = list(table.wired(period, start, stop)), True
        else:
            run = Run(start, period, (stop - start) // period)
            if table.saved(run) >= MIN_SAVED:
                runs.append(run)
                taken[run.start : run.stop] = True
            continue
        for a, b in pieces:
            if (b - a) // period >= MIN_COUNT and b - a - period >= MIN_SAVED:
                heapq.heappush(heap, (-(b - a - period), period, a, b, is_wired))
    return sorted(runs)


class _Table:
    """The program in arrays: for each operation its kind, and for each value read where it was made."""

    def __init__(self, program: FlatProgram) -> None:
        operations = program.operations
        kinds = _Kinds()
        # What the program gives back counts as read by one operation more.
        self.kinds = np.array([*(kinds.number(op.equation) for op in operations), -1])
        lengths = [*(len(op.reads) for op in operations), len(program.results)]
        self.offsets = np.cumsum([0, *lengths])
        self.reads = np.array([v for op in operations for v in op.reads] + program.results, int)
        self.reader = np.repeat(np.arange(len(lengths)), lengths)
        makers, slots = np.full(program.size, -1), np.zeros(program.size, int)
        for i, operation in enumerate(operations):
            makers[list(operation.makes)] = i
            slots[list(operation.makes)] = range(len(operation.makes))
        self.maker, self.slot = makers[self.reads], slots[self.reads]
        self.alive = np.array([*program.alive, True])
        self.is_literal = np.isin(self.reads, list(program.literals))

    def repeats(self) -> Iterator[tuple[int, int, int]]:
        """Each ``(period, start, stop)`` between which the kinds repeat, as long as can be."""
        kinds = self.kinds[:-1].astype(np.int32)
        for period in range(1, len(kinds) // MIN_COUNT + 1):
            same = kinds[period:] == kinds[:-period]
            least = max((MIN_COUNT - 1) * period, MIN_SAVED)
            if np.count_nonzero(same) >= least:
                for start, stop in _stretches(same):
                    if stop - start >= least:
                        yield period, start, stop + period

    def wired(self, period: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts of a stretch in which the blocks are connected in the same way.

        Compared with its like one block before, a value read must be made one block later too, or
        both must be made before the run; or the last such initial value gives way to the first block's own.
        """
        now = slice(self.offsets[start + period], self.offsets[stop])
        before = slice(self.offsets[start], self.offsets[stop - period])
        moves = (self.maker[now] - self.maker[before] == period) & (self.slot[now] == self.slot[before])
        moves &= self.maker[before] >= 0
        latest = np.maximum(self.maker[now], self.maker[before])
        doubtful = np.flatnonzero(~moves & (latest >= start))
        rows = zip(
            self.reader[now][doubtful].tolist(),
            self.maker[now][doubtful].tolist(),
            self.maker[before][doubtful].tolist(),
            strict=True,
        )
        for reader, made, made_before in rows:
            latest_made = max(made, made_before)
            starts_to_carry = made_before < start <= made < start + period
            if reader < start + period or latest_made < start or starts_to_carry:
                continue
            yield start, reader
            start = min(latest_made + 1, reader - period + 1)
        yield start, stop

    def saved(self, run: Run) -> int:
        """How many operations fewer there are, counting what brings values into the loop and out of it."""
        inside = slice(self.offsets[run.start], self.offsets[run.stop])
        shape = (run.blocks, -1)
        reads, maker, slot = (a[inside].reshape(shape) for a in (self.reads, self.maker, self.slot))
        lags = run.blocks - 1 - (maker[-1] - run.start) // run.period
        if lags[maker[-1] >= run.start].max(initial=0) > MAX_LAG:
            return 0
        varies = (maker[-1] < run.start) & (reads != reads[0]).any(0)
        varies &= ~self.is_literal[inside].reshape(shape).all(0)
        # Values made at even distances by one kind of operation come out of a loop themselves, in one array.
        maker, slot, kind = maker[:, varies], slot[:, varies], self.kinds[maker[:, varies]]
        uneven = (
            (np.diff(maker, 2, axis=0) != 0)
            | (np.diff(slot, 2, axis=0) != 0)
            | (np.diff(kind[1:], axis=0) != 0)
        )
        into = int(uneven.sum() + (maker < 0).sum())

        outside = self.alive[self.reader]
        outside[inside] = False
        outside &= (self.maker >= run.start) & (self.maker < run.stop)
        readers = self.reader[outside]
        kinds = self.kinds[readers]
        # Readers of many values take them all at once; readers of one kind are a loop themselves.
        many = np.diff(self.offsets)[readers] >= run.blocks // 2
        found, which, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        alone = np.where(found == -1, True, counts < MIN_COUNT)[which] & ~(many & (kinds != -1))
        out_of = len(np.unique(self.reads[outside][alone]))
        operations = self.alive[run.start : run.stop].sum()
        return int(operations * (1 - 1 / run.blocks)) - into - out_of


def _stretches(flags: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where consecutive flags are set, as ``(start, stop)``."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False)).tolist()
    return zip(edges[::2], edges[1::2], strict=True)


# -- the kind of an operation --------------------------------------------------------------------------


class _Kinds:
    """Numbers for equations; the same number if they do the same to values of the same shapes.

    The starts of slices do not count: a loop may walk through an array.
    """

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.in_rule = False
        # By identity and place; the object is kept, and its identity with it.
        self.frozen: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def number(self, equation: JaxprEqn) -> int:
        key = object() if equation.effects else self._key(equation, skip_starts=True)
        try:
            return self.numbers.setdefault(key, len(self.numbers))
        except TypeError:  # a parameter that cannot be compared is like no other
            return self.numbers.setdefault(object(), len(self.numbers))

    def _key(self, equation: JaxprEqn, skip_starts: bool = False) -> Any:
        params = equation.params
        if skip_starts and equation.primitive.name == "slice":
            params = {"strides": params["strides"]}  # the sizes are those of the result
        return (
            equation.primitive,
            equation.ctx,
            tuple((name, self._freeze(value, equation)) for name, value in sorted(params.items())),
            tuple(_shape(atom.aval) for atom in equation.invars),
            tuple((_shape(atom.aval), getattr(atom.aval, "weak_type", None)) for atom in equation.outvars),
        )

    def _freeze(self, value: Any, equation: JaxprEqn) -> Any:
        """A parameter as something that is equal to others when it means the same."""
        if isinstance(value, ClosedJaxpr | Jaxpr) or hasattr(value, "call_wrapped"):
            place = (id(value), self.in_rule)
            if place not in self.frozen:
                self.frozen[place] = (value, self._freeze_code(value, equation))
            return self.frozen[place][1]
        if isinstance(value, tuple):
            return tuple(self._freeze(part, equation) for part in value)
        return (type(value), repr(value) if isinstance(value, float) else value)

    def _freeze_code(self, value: Any, equation: JaxprEqn) -> Any:
        if isinstance(value, ClosedJaxpr):
            return (self._freeze(value.jaxpr, equation), tuple(map(self._freeze_constant, value.consts)))
        if isinstance(value, Jaxpr):
            return self._freeze_jaxpr(value)
        if equation.primitive.name != "custom_jvp_call":
            return value
        if (
            self.in_rule
        ):  # the derivative's derivative, often by the same rule again: told by where it is defined
            return value.debug_info
        # Each call of a function with a derivative of its own has a new object for it; trace it to compare.
        count = len(equation.invars) - equation.params["num_consts"]
        self.in_rule = True
        try:
            jaxpr, constants, zeros = value.call_wrapped(*[False] * count)
            return (self._freeze_jaxpr(jaxpr), tuple(map(self._freeze_constant, constants)), tuple(zeros))
        except Exception:  # a rule that needs more than its arguments is like no other
            return value
        finally:
            self.in_rule = False

    def _freeze_constant(self, value: Any) -> Any:
        self.frozen.setdefault((id(value), False), (value, None))
        return id(value)

    def _freeze_jaxpr(self, jaxpr: Jaxpr) -> Any:
        numbers: dict[Any, int] = {}

        def name(atom: Any) -> Any:
            if isinstance(atom, Literal):
                return (_shape(atom.aval), np.asarray(atom.val).tobytes())
            return (_shape(atom.aval), numbers.setdefault(atom, len(numbers)))

        variables = tuple(map(name, [*jaxpr.constvars, *jaxpr.invars]))
        body = tuple(
            (tuple(map(name, eqn.invars)), tuple(map(name, eqn.outvars)), self._key(eqn))
            for eqn in jaxpr.eqns
        )
        return (variables, body, tuple(map(name, jaxpr.outvars)))


def _shape(aval: Any) -> Any:
    return (aval.shape, aval.dtype) if hasattr(aval, "shape") else aval


# -- the wiring of a run -------------------------------------------------------------------------------


class Fixed(NamedTuple):
    """A value from before the run, the same in every block."""

    value: int


class Scanned(NamedTuple):
    """Values from before the run, one for each block."""

    values: tuple[int, ...]


class Same(NamedTuple):
    """A value made earlier in the same block: result ``slot`` of a statement."""

    statement: int
    slot: int


class Delayed(NamedTuple):
    """A value made ``lag`` blocks before, kept in a line."""

    line: int
    lag: int


Source = Fixed | Scanned | Same | Delayed


class Line(NamedTuple):
    """The last values of one result of a statement, carried by the loop; the initial ones, oldest first."""

    statement: int
    slot: int
    initial: tuple[int, ...]


class Statement(NamedTuple):
    """One operation of the block.

    Attributes:
        equation: what it does.
        sources: where each value that it reads comes from.
        starts: of a slice that walks through an array, where it starts in each block ``(count, axis)``.
    """

    equation: JaxprEqn
    sources: tuple[Source, ...]
    starts: np.ndarray | None


class Wiring(NamedTuple):
    """A run as a loop.

    Attributes:
        statements: the body, by place in the block; those that nothing needs are left out.
        lines: what the loop carries.
        wanted: for each result ``(statement, slot)`` that is read after the loop, of which blocks.
        reads: the values from before the run.
    """

    statements: dict[int, Statement]
    lines: list[Line]
    wanted: dict[tuple[int, int], list[int]]
    reads: set[int]


def wire(program: FlatProgram, run: Run, needed: set[int]) -> Wiring:
    """A run as a loop that makes the values that are needed after it.

    Example:
        >>> import jax
        >>> from ppgen.program.jaxprs.flat import flatten
        >>> def decay(x):
        ...     for _ in range(100):
        ...         x = 0.5 * x
        ...     return x
        >>> flat = flatten(jax.make_jaxpr(decay)(1.0))
        >>> wiring = wire(flat, find_runs(flat)[0], set(flat.results))
        >>> wiring.statements[0].sources, wiring.wanted
        ((Fixed(value=1), Delayed(line=0, lag=1)), {(0, 0): [99]})
    """
    operations = [
        program.operations[run.start + j : run.stop : run.period] for j in range(run.period)
    ]  # of each statement, block by block
    made = {
        value: (b, j, slot)
        for j, column in enumerate(operations)
        for b, operation in enumerate(column)
        for slot, value in enumerate(operation.makes)
    }

    def origin(values: tuple[int, ...]) -> Source | Line:
        if values[-1] not in made:
            return Fixed(values[0]) if len(set(values)) == 1 else Scanned(values)
        block, j, slot = made[values[-1]]
        lag = run.blocks - 1 - block
        assert all(made[value] == (b, j, slot) for b, value in enumerate(values[lag:])), run
        return Line(j, slot, values[:lag]) if lag else Same(j, slot)

    wanted: dict[tuple[int, int], list[int]] = {}
    for value in needed.intersection(made):
        block, j, slot = made[value]
        wanted.setdefault((j, slot), []).append(block)
    origins: dict[int, list[Source | Line]] = {}
    waiting = [j for j, _ in wanted]
    while waiting:
        j = waiting.pop()
        if j not in origins:
            columns = zip(*(operation.reads for operation in operations[j]), strict=True)
            origins[j] = [origin(values) for values in columns]
            waiting.extend(o.statement for o in origins[j] if isinstance(o, Same | Line))

    lines = _share([line for found in origins.values() for line in found if isinstance(line, Line)])

    def source(origin: Source | Line) -> Source:
        if not isinstance(origin, Line):
            return origin
        return Delayed(next(i for i, line in enumerate(lines) if _holds(line, origin)), len(origin.initial))

    statements = {
        j: Statement(operations[j][0].equation, tuple(map(source, origins[j])), _walk(operations[j]))
        for j in sorted(origins)
    }
    reads = {value for j in origins for operation in operations[j] for value in operation.reads}
    return Wiring(statements, lines, wanted, reads.difference(made))


def _share(lines: list[Line]) -> list[Line]:
    """As few lines as will do: a long one holds the values of a short one too."""
    shared: list[Line] = []
    for line in sorted(set(lines), key=lambda line: -len(line.initial)):
        if not any(_holds(longer, line) for longer in shared):
            shared.append(line)
    return shared


def _holds(longer: Line, line: Line) -> bool:
    return longer[:2] == line[:2] and longer.initial[-len(line.initial) :] == line.initial


def _walk(operations: Any) -> np.ndarray | None:
    """Where the slices of the blocks start, if not all at the same place."""
    if operations[0].equation.primitive.name != "slice":
        return None
    starts = np.array(
        [op.equation.params["start_indices"] for op in operations], np.uint32
    )  # a signed start could be negative, and would be checked
    return starts if (starts != starts[0]).any() else None
