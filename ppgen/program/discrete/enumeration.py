"""Finite discrete latents, marginalised in a program and drawn afterwards.

The program is traced with the discrete latents as arguments; its log densities are then tabulated over
all of their values, and the tables summed. The program itself never meets more than one value of each,
so it needs no dimensions to spare, and no hints.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from ppgen.errors import PpgenError, UnsupportedProgram
from ppgen.program.density import DrawDiscrete, Evaluation, float64
from ppgen.program.discrete.elimination import (
    LARGEST_TABLE,
    Factor,
    PlateAxis,
    Variable,
    aligned,
    choose,
    draw,
)
from ppgen.program.discrete.tables import Table, dependence, tabulate
from ppgen.program.discrete.terms import (
    Statements,
    Terms,
    eliminations,
    factors_of,
    plate_axes,
    stack_steps,
    sum_up,
)
from ppgen.program.jaxprs.compiler import AT_ONCE
from ppgen.program.jaxprs.graph import Graph, Inputs, trace

__all__ = [
    "At",
    "Discrete",
    "Summed",
    "TermsOf",
    "all_combinations",
    "drawer",
    "not_finite",
    "sum_out",
]

TermsOf = Callable[[list[Any], jax.Array, dict[str, Any]], Terms]
"""A program, to be traced: from arrays, a point and the values of its discrete latents to its terms."""

At = Callable[[np.ndarray, dict[str, np.ndarray]], Mapping[str, float]]
"""A program, run at a point and at values of its discrete latents: the log density of each statement."""

_CHECKS = 6  # random values at which the tables are compared with the program
_LARGEST_RESULT = 10 * LARGEST_TABLE  # of one operation on the way to a table


class Discrete(NamedTuple):
    """A discrete latent statement of a program.

    Attributes:
        values: every value that one element can have, ``(number of values, *event)``.
        batch_shape: the elements.
    """

    values: np.ndarray
    batch_shape: tuple[int, ...]


def sum_out(
    read: Callable[[dict[str, np.ndarray]], tuple[TermsOf, Statements]],
    at: At,
    arrays: list[Any],
    dim: int,
    discrete: Mapping[str, Discrete],
) -> Summed:
    """Find out how the discrete latents of a program can be marginalised.

    Three arrangements of them are tried in turn:

    1. Alike: one value for all elements of a site, as an array of length 1 in each dimension, which the
       program broadcasts. It is the least work: what depends on the value alone is computed once.
    2. Full: one value for all elements, as an array of the site's full shape; some programs need that.
    3. Apart: each element is a variable of its own. That is right for every program, and a large table
       if many elements meet in one statement.

    The first two are right where an element of a plate depends on its own element of the site alone.
    Whether that is so is seen by running the program itself at random values.

    Args:
        read: the program, for discrete values of the shapes of these examples, and what its statements
            are, which need not be known before it has been traced.
        at: the program at a point, and at discrete values of full shape.
        arrays: the arrays that the program reads.
        dim: the length of the point.
        discrete: the discrete latent statements, in order.

    Raises:
        UnsupportedProgram: if the discrete latents cannot be marginalised.
    """
    scalar = all(not plate_axes(site.batch_shape) for site in discrete.values())
    failures: list[Exception] = []
    for arrange in (_full,) if scalar else (_alike, _full, _apart):
        arrangement = arrange(discrete)
        try:
            summed = _summed(read, arrangement, arrays, dim)
            if arrange is not _apart and not scalar:
                _check(summed, at, arrays, dim, discrete)
            return summed
        except Exception as error:  # whatever a program makes of arrays that it did not expect
            failures.append(error)
    # The second arrangement is the program as it was written, only with equal elements.
    raise failures[1] if len(failures) > 1 and isinstance(failures[1], PpgenError) else failures[-1]


def drawer(summed: Summed | None, arrays: list[Any]) -> DrawDiscrete:
    """Joint draws of the discrete latents, one at each of many points.

    Nothing is traced or compiled before the first draw.
    """

    def draw_all(seed: int, positions: np.ndarray, *, given_data: bool = True) -> dict[str, np.ndarray]:
        if summed is None:
            return {}
        with float64():
            points, key = jnp.asarray(positions, jnp.float64), jax.random.key(seed)
            draw_one = partial(summed.draw, given_data=given_data)
            graph, inputs = trace(draw_one, arrays, points[0], key)
            at_once = max(1, LARGEST_TABLE // summed.entries)
            drawn = _compile_draws(graph, at_once)(inputs, points, jax.random.split(key, len(points)))
        return {name: np.asarray(value) for name, value in drawn.items()}

    return draw_all


@lru_cache(maxsize=64)
def _compile_draws(graph: Graph, at_once: int) -> Any:
    def one(inputs: Inputs, point: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        return graph(inputs, *point)

    def each(inputs: Inputs, points: jax.Array, keys: jax.Array) -> dict[str, jax.Array]:
        return jax.lax.map(partial(one, inputs), (points, keys), batch_size=min(at_once, len(points)))

    return jax.jit(each)


def all_combinations(values: np.ndarray, event_shape: tuple[int, ...]) -> np.ndarray:
    """All arrays of an event shape whose entries are among these values.

    Example:
        >>> all_combinations(np.array([0, 1]), (2,)).tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    entries = int(np.prod(event_shape))
    if len(values) ** entries > LARGEST_TABLE:
        raise UnsupportedProgram(
            "program",
            got=f"a discrete latent of {entries} entries in one event, with {len(values)} values each",
            expected=f"at most {LARGEST_TABLE:.0e} combinations",
            fix="Put the entries into a plate instead of .to_event(...), if they are independent.",
        )
    grid = np.array(list(itertools.product(range(len(values)), repeat=entries)), dtype=int)
    return values[grid].reshape(-1, *event_shape, *values.shape[1:])


def not_finite(name: str, distribution: str) -> UnsupportedProgram:
    """The error for a discrete latent whose values cannot be listed."""
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a discrete latent with a support that cannot be listed ({distribution})",
        expected="a finite support, the same for each element: Bernoulli, Categorical, Binomial with one "
        "total_count, DiscreteUniform in NumPyro",
        fix="Cut its tail off and write it as a Categorical over 0 … n, or sum it out in the program "
        "(a Poisson rate with a Gamma prior, say, is a negative binomial).",
    )


@dataclass(frozen=True, eq=False)
class Summed:
    """A program with its discrete latents marginalised.

    Attributes:
        closed: the program, traced: ``(*arrays, z, *discrete values) -> Terms``.
        structure: of its terms.
        wanted: which of them are computed.
        known: what its statements are.
        arrangement: how the discrete latents are laid out.
        entries: of the largest table.
    """

    closed: ClosedJaxpr
    structure: Any
    wanted: list[bool]
    known: Statements
    arrangement: _Arrangement
    entries: int

    def evaluate(self, arrays: list[Any], z: jax.Array) -> Evaluation:
        """The marginal density of the continuous latents, and all that goes with it."""
        return sum_up(self.tables(arrays, z), self.known)

    def draw(
        self, arrays: list[Any], z: jax.Array, key: jax.Array, *, given_data: bool = True
    ) -> dict[str, jax.Array]:
        """One joint draw of the discrete latents, given the continuous ones and maybe the data."""
        chosen: dict[int, Factor] = {}
        steps = eliminations(self.tables(arrays, z), self.known, given_data=given_data)
        for i, elimination in enumerate(steps):
            chosen |= draw(elimination.steps, jax.random.fold_in(key, i))
        return stack_steps(self.arrangement.place(chosen), self.known)

    def tables(self, arrays: list[Any], z: jax.Array) -> Terms:
        """The terms as tables over the discrete latents."""
        given = [Table((), array) for array in (*arrays, z)]
        given += [Table((i,), jnp.asarray(part)) for i, part in enumerate(self.arrangement.values)]
        results = tabulate(self.closed, given, self.wanted)
        # What is not wanted is a deterministic; as a table over a variable it will be left out.
        leaves = [Table((0,), None) if table is None else table for table in results]
        return jax.tree.unflatten(self.structure, leaves)


def _summed(
    read: Callable[[dict[str, np.ndarray]], tuple[TermsOf, Statements]],
    arrangement: _Arrangement,
    arrays: list[Any],
    dim: int,
) -> Summed:
    """Trace the program, and refuse what would need too much memory."""
    examples = [part[0] for part in arrangement.values]
    terms, known = read({name: np.asarray(v) for name, v in arrangement.assemble(examples).items()})

    def flat(arrays: list[Any], z: jax.Array, parts: list[jax.Array]) -> Terms:
        return terms(arrays, z, arrangement.assemble(parts))

    closed, shapes = jax.make_jaxpr(flat, return_shape=True)(arrays, jnp.zeros(dim), examples)
    known = known._replace(variables=dict(enumerate(arrangement.variables)))
    sizes = [variable.size for variable in arrangement.variables]
    given = [frozenset[int]()] * (len(arrays) + 1) + [frozenset({i}) for i in range(len(sizes))]
    found = dependence(closed, given, [True] * len(closed.out_avals), sizes).results
    by_leaf = jax.tree.unflatten(jax.tree.structure(shapes), found)
    for name, variables in by_leaf.log_prob.items():
        _check_size(name, shapes.log_prob[name].shape, [arrangement.variables[v] for v in sorted(variables)])
    free = [jax.tree.map(lambda _: True, leaf) for leaf in shapes]
    position = Terms._fields.index("deterministics")
    free[position] = {name: not variables for name, variables in by_leaf.deterministics.items()}
    wanted = jax.tree.leaves(Terms(*free))
    largest = dependence(closed, given, wanted, sizes).largest
    if largest > _LARGEST_RESULT:
        raise UnsupportedProgram(
            "program",
            got=f"an operation on discrete latents with {largest:.1e} results, over all of their values",
            expected=f"at most {_LARGEST_RESULT:.0e}",
            fix="Let fewer discrete latents meet in one operation, or give each fewer values.",
        )
    return Summed(closed, jax.tree.structure(shapes), wanted, known, arrangement, largest)


def _check_size(name: str, shape: Sequence[int], variables: Sequence[Variable]) -> None:
    entries = np.prod([float(size) for size in (*shape, *(variable.size for variable in variables))])
    if entries <= LARGEST_TABLE:
        return
    names = [repr(variable.name) for variable in variables]
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    raise UnsupportedProgram(
        f"site {name!r}",
        got=f"a log density that depends on {listed}: a table of {entries:.1e} entries",
        expected=f"at most {LARGEST_TABLE:.0e} entries",
        fix="Let fewer discrete latents meet in one statement, or give each fewer values; where each element "
        "of a plate depends on its own discrete latent alone, put both into that plate.",
    )


# -- arrangements --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Arrangement:
    """Discrete latents as variables.

    Attributes:
        discrete: the statements.
        variables: one or more a statement.
        values: of each variable, as the program takes them ``(number of values, *shape)``.
        owners: the statement of each variable.
        apart: whether each element of a statement is a variable.
    """

    discrete: Mapping[str, Discrete]
    variables: list[Variable]
    values: list[np.ndarray]
    owners: list[str]
    apart: bool

    def assemble(self, parts: Sequence[Any]) -> dict[str, Any]:
        """The array of each statement, from the value of each variable."""
        if not self.apart:
            return dict(zip(self.owners, parts, strict=True))
        return {
            name: jnp.stack(own).reshape(*site.batch_shape, *site.values.shape[1:])
            for name, site, own in self._by_statement(parts)
        }

    def place(self, numbers: Mapping[int, Factor]) -> dict[str, jax.Array]:
        """The values of each statement, from the number of each variable's value by element."""
        result: dict[str, jax.Array] = {}
        for name, site, own in self._by_statement([numbers[i] for i in range(len(self.variables))]):
            plates = () if self.apart else plate_axes(site.batch_shape)
            index = jnp.stack([aligned(number, plates) for number in own]).reshape(site.batch_shape)
            result[name] = jnp.asarray(site.values)[index]
        return result

    def _by_statement(self, parts: Sequence[Any]) -> Iterator[tuple[str, Discrete, list[Any]]]:
        owned: dict[str, list[Any]] = {name: [] for name in self.discrete}
        for owner, part in zip(self.owners, parts, strict=True):
            owned[owner].append(part)
        yield from ((name, site, owned[name]) for name, site in self.discrete.items())


def _alike(discrete: Mapping[str, Discrete]) -> _Arrangement:
    return _whole_sites(discrete, lambda site: (1,) * len(site.batch_shape))


def _full(discrete: Mapping[str, Discrete]) -> _Arrangement:
    return _whole_sites(discrete, lambda site: site.batch_shape)


def _whole_sites(
    discrete: Mapping[str, Discrete], shape: Callable[[Discrete], tuple[int, ...]]
) -> _Arrangement:
    """One variable a statement, in its plates."""
    variables, values = [], []
    for name, site in discrete.items():
        size, *event = site.values.shape
        variables.append(Variable(name, size, frozenset(plate_axes(site.batch_shape))))
        one = site.values.reshape(size, *(1,) * len(site.batch_shape), *event)
        values.append(np.broadcast_to(one, (size, *shape(site), *event)))
    return _Arrangement(discrete, variables, values, list(discrete), apart=False)


def _apart(discrete: Mapping[str, Discrete]) -> _Arrangement:
    """One variable an element."""
    variables, values, owners = [], [], []
    for name, site in discrete.items():
        for element in np.ndindex(site.batch_shape):
            label = ", ".join(map(str, element))
            variables.append(Variable(f"{name}[{label}]", len(site.values), frozenset[PlateAxis]()))
            values.append(site.values)
            owners.append(name)
    return _Arrangement(discrete, variables, values, owners, apart=True)


# -- is it right? --------------------------------------------------------------------------------------


def _check(summed: Summed, at: At, arrays: list[Any], dim: int, discrete: Mapping[str, Discrete]) -> None:
    """Compare the tables with the program at random values of the discrete latents."""
    plates = [plate_axes(site.batch_shape) for site in discrete.values()]
    variables: dict[str, list[int]] = {}

    def found(arrays: list[Any], z: jax.Array, numbers: list[jax.Array]) -> tuple[Any, Any]:
        chosen = {
            i: Factor(axes, number) for i, (axes, number) in enumerate(zip(plates, numbers, strict=True))
        }
        totals = {}
        for name, factor in factors_of(summed.tables(arrays, z), summed.known).items():
            variables[name] = sorted(factor.variables)
            for variable in variables[name]:
                factor = choose(factor, variable, chosen[variable])
            totals[name] = jnp.sum(factor.table)
        return totals, summed.arrangement.place(chosen)

    rng = np.random.default_rng(0)
    compiled = jax.jit(found, compiler_options=AT_ONCE)
    for check in range(_CHECKS):
        z = 0.1 * (check + 1) * np.cos(np.arange(dim) + check)  # at some points all may be impossible
        numbers = [
            _some_numbers(rng, len(site.values), [plate.size for plate in axes], mixed=check % 2 == 0)
            for site, axes in zip(discrete.values(), plates, strict=True)
        ]
        totals, values = compiled(arrays, z, numbers)
        expected = at(z, {name: np.asarray(value) for name, value in values.items()})
        for name, total in totals.items():
            if not np.isclose(total, expected[name], rtol=1e-7, atol=1e-7, equal_nan=True):
                raise _tied_elements(name, [summed.known.variables[v].name for v in variables[name]])


def _some_numbers(rng: np.random.Generator, values: int, shape: Sequence[int], *, mixed: bool) -> np.ndarray:
    """Numbers of values at random; mixed ones are never all alike, which would show no ties."""
    if not mixed:
        return rng.integers(values, size=shape)
    in_turn = (rng.integers(values) + np.arange(np.prod(shape, dtype=int))) % values
    return rng.permutation(in_turn).reshape(shape)


def _tied_elements(name: str, variables: list[str]) -> UnsupportedProgram:
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a log density that ties elements of {', '.join(map(repr, variables))} together",
        expected="each element of a plate to depend on its own discrete latent alone, or so few elements "
        "that all of their combinations can be summed",
        fix="Put the site into the same plate as the discrete latent, with parameters like locs[z]; write a "
        "chain as a Python loop with one scalar site a step.",
    )
