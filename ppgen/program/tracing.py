"""The unconstrained log density of a program as a graph: latent sites are images of their slices of z."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import UnsupportedProgram
from ppgen.program.arguments import ways_to_trace
from ppgen.program.density import Evaluation, float64
from ppgen.program.discrete.enumeration import Summed, TermsOf, sum_out
from ppgen.program.discrete.tables import Table
from ppgen.program.discrete.terms import Statements, Terms, same_scale, sum_up
from ppgen.program.explain import at_site
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.statement import Place, RunOptions, Statement, step_name
from ppgen.program.reading import Reading

__all__ = ["Traced", "trace_density"]

_CALLS = itertools.count()


class Traced(NamedTuple):
    """The program as a graph of ``(inputs, z)``, its inputs, and how its discrete latents are handled."""

    graph: Graph
    inputs: Inputs
    summed: Summed | None


def trace_density(reading: Reading, *, native: bool = False) -> Traced:
    """Trace a program's log density, with as many of its data as can be as inputs of the graph.

    Args:
        reading: the program.
        native: have the language run the program at each evaluation.

    Raises:
        UnsupportedProgram: if it cannot be traced or lowered, or its discrete latents cannot be marginalised.
    """
    if native and reading.discrete:
        raise UnsupportedProgram(
            f"site {next(iter(reading.discrete))!r}",
            got='a discrete latent under backend="native"',
            expected="continuous latents alone: discrete ones are summed out of a record of the program",
            fix='Leave out backend="native", or sum it out in the program.',
        )
    with reading.language.session(), float64():
        if native:
            traced = _trace(reading, {}, reading.language.call)
            # Two programs look alike in a graph that only says that something is called.
            text = f"{traced.graph.text}\ncalls the program, {next(_CALLS)}"
            return traced._replace(graph=replace(traced.graph, text=text))
        for arrays in ways_to_trace(reading.data):
            try:
                return _trace(reading, arrays, reading.language.lower)
            except reading.language.needs_numbers:
                if not arrays:
                    raise
    raise AssertionError("the last way to trace either returns or raises")


def _trace(reading: Reading, arrays: Mapping[str, Any], lower: Callable[..., Any]) -> Traced:
    """The program as a graph, these of its data as inputs."""
    language, discrete, point = reading.language, reading.discrete, reading.point
    constants, values = language.arguments(reading.data), list(arrays.values())
    known = Statements({}, {}, {}, {})

    def evaluate(values: list[Any], z: Any, given: list[Any]) -> Terms:
        arguments = constants | dict(zip(arrays, values, strict=True))
        return _terms(reading, arguments, z, dict(zip(discrete, given, strict=True)), known)

    def read(examples: Mapping[str, np.ndarray]) -> tuple[TermsOf, Statements]:
        """The program as a JAX function, for discrete values of these shapes."""
        others = [np.broadcast_to(discrete[name].values[-1], v.shape).copy() for name, v in examples.items()]
        lowered = lower(evaluate, values, point, list(examples.values()), others)
        return lambda values, z, given: lowered(values, z, [given[name] for name in discrete]), known

    def totals(values: list[Any], z: Any, given: list[Any]) -> dict[str, Any]:
        return {name: log_prob.sum() for name, log_prob in evaluate(values, z, given).log_prob.items()}

    run = language.concrete(totals)

    def at(z: np.ndarray, given: Mapping[str, np.ndarray]) -> dict[str, float]:
        found = run(values, z, [given[name] for name in discrete])
        return {name: float(total) for name, total in found.items()}

    if discrete:
        summed = sum_out(read, at, values, len(point), discrete)
        return Traced(*trace(summed.evaluate, values, jnp.zeros(len(point))), summed)
    terms, _ = read({})

    def total(values: list[Any], z: jax.Array) -> Evaluation:
        return sum_up(jax.tree.map(lambda array: Table((), array), terms(values, z, {})), known)

    return Traced(*trace(total, values, jnp.zeros(len(point))), None)


def _terms(
    reading: Reading, arguments: Mapping[str, Any], z: Any, discrete: Mapping[str, Any], known: Statements
) -> Terms:
    """What each statement says; what kind of statement it is goes into ``known``."""
    language = reading.language
    parts = {latent.name: z[latent.start : latent.stop].reshape(latent.shape) for latent in reading.latents}
    terms = Terms(language.array(np.zeros(())), {}, {}, {}, {}, {}, {})
    jacobian = terms.jacobian
    options = RunOptions(unroll=any(name.endswith("]") for name in discrete))
    for statement in language.run(reading.program, arguments, _placing(parts, discrete), options):
        name, role = statement.name, "discrete" if statement.name in discrete else statement.role
        if statement.step is not None:
            known.steps[name] = statement.step
        with at_site(name):
            if role == "deterministic":
                terms.deterministics[name] = language.array(statement.value)
                continue
            if role == "latent":
                site, step = statement.step or (name, None)
                part = parts[site] if step is None else parts[site][step]
                terms.values[name] = language.array(statement.value)
                jacobian = jacobian + statement.bijection().log_abs_det_jacobian(part, statement.value).sum()
            elif role == "observed":
                terms.observed[name] = language.array(statement.value)
                terms.possible[name] = statement.possible()
            terms.log_prob[name] = statement.log_prob()
            known.roles[name] = role
            if statement.scale is not None:
                known.scales[name] = same_scale(statement.scale)
                if known.scales[name] != 1:
                    terms.scale[name] = language.array(statement.scale)
    return terms._replace(jacobian=jacobian)


def _placing(parts: Mapping[str, Any], discrete: Mapping[str, Any]) -> Place:
    """Puts each latent statement at the image of its part of z, or at its discrete value."""

    def place(statement: Statement) -> Any:
        name, index = statement.name, statement.index
        if name not in parts:
            # Only steps of an unrolled scan have discrete latents of their own.
            return discrete.get(step_name(name, index) if isinstance(index, int) else name)
        bijection, part = statement.bijection(), parts[name]
        if index is not None and part.ndim > len(bijection.inverse_shape(statement.shape)):
            part = part[index]  # inside a scan, one step of the whole series
        return bijection(part)

    return place
