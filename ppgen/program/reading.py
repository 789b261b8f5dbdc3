"""A program, run once at some point, to see what it consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ppgen.errors import UnsupportedProgram
from ppgen.program.density import Latent, lay_out
from ppgen.program.discrete.enumeration import Discrete
from ppgen.program.family import Program
from ppgen.program.languages.language import Language
from ppgen.program.languages.statement import Place, Statement, step_name
from ppgen.program.sites import Site, check_log_prob_shape
from ppgen.program.subsampling import Subsampled, read_in_full

__all__ = ["Reading", "anywhere", "read_program"]


class Reading(NamedTuple):
    """A program on its data, and what one run of it shows.

    Attributes:
        language: of the program.
        program: the program, with the rows of its plates to read.
        data: its arguments.
        sites: its sites, each with its shapes checked.
        latents: where its continuous latent sites lie in an unconstrained vector.
        discrete: its discrete latent statements; in a scan each step is one.
        point: an unconstrained point ``(dim,)`` that it accepts.
    """

    language: Language
    program: Program
    data: Mapping[str, Any]
    sites: tuple[Site, ...]
    latents: tuple[Latent, ...]
    discrete: dict[str, Discrete]
    point: np.ndarray


def read_program(
    language: Language, program: Program, data: Mapping[str, Any]
) -> tuple[Reading, tuple[Subsampled, ...]]:
    """Read a program on all rows of its plates, and find those of them that subsample.

    Raises:
        ProgramError: if it fails on the data, or a site's parameters and value broadcast.
        UnsupportedProgram: for latent sites without a density, and discrete ones that cannot be listed.
    """
    subsampled: dict[str, Subsampled] = {}
    in_full = language.in_full(program, subsampled)
    with read_in_full(subsampled):
        return read(language, in_full, data), tuple(subsampled.values())


def read(language: Language, program: Program, data: Mapping[str, Any]) -> Reading:
    """Read a program with given rows of its plates, with the language's own checks."""
    readings: list[Reading] = []

    def run(arguments: Mapping[str, Any], near_zero: Callable[..., Any]) -> None:
        readings.append(_run_once(language, program, arguments, near_zero)._replace(data=data))

    with language.session(checked=True):
        language.explore(run, data)
    return readings[-1]


def anywhere(language: Language, near_zero: Callable[..., Any], parts: dict[str, Any] | None = None) -> Place:
    """Puts each latent statement at an image of a point near 0, or at the first of its values."""

    def place(statement: Statement) -> Any:
        if statement.discrete:
            first = statement.support_values()[0]
            return language.array(np.array(np.broadcast_to(first, statement.shape)))
        bijection = statement.bijection()
        part = near_zero(tuple(bijection.inverse_shape(statement.shape)))
        if parts is not None:
            parts[statement.name] = part
        return bijection(language.array(part))

    return place


def _run_once(
    language: Language, program: Program, arguments: Mapping[str, Any], near_zero: Callable[..., Any]
) -> Reading:
    parts: dict[str, Any] = {}
    in_scans: set[str] = set()
    listed: dict[str, np.ndarray] = {}
    place = anywhere(language, near_zero, parts)

    def recording(statement: Statement) -> Any:
        if statement.discrete:
            listed[statement.name] = statement.support_values()
        if statement.index is not None:
            in_scans.add(statement.name)
        return place(statement)

    statements = language.run(program, arguments, recording)
    sites = tuple(_site(language, statement) for statement in statements)
    layout: dict[str, tuple[int, ...]] = {}
    discrete: dict[str, Discrete] = {}
    point: list[np.ndarray] = []
    for statement, site in zip(statements, sites, strict=True):
        if site.role != "latent":
            continue
        if site.discrete:
            discrete |= _discrete(site, listed[site.name], site.name in in_scans)
            continue
        layout[site.name] = tuple(statement.bijection().inverse_shape(statement.shape))
        # In a scan one step was placed for all.
        point.append(np.broadcast_to(np.asarray(parts[site.name]), layout[site.name]).ravel())
    start = np.concatenate([*point, np.zeros(0)])
    return Reading(language, program, arguments, sites, lay_out(layout), discrete, start)


def _discrete(site: Site, values: np.ndarray, in_scan: bool) -> dict[str, Discrete]:
    """A discrete latent site as one statement, or as one a step."""
    batch = site.shape[: len(site.shape) - site.event_dim]
    if not in_scan:
        return {site.name: Discrete(values, batch)}
    return {step_name(site.name, step): Discrete(values, batch[1:]) for step in range(batch[0])}


def _site(language: Language, statement: Statement) -> Site:
    """A statement as a site, with its shapes checked."""
    name, role, shape = statement.name, statement.role, tuple(statement.shape)
    if role == "deterministic":
        return Site(name, role, "", shape, plates=statement.plates)
    if role == "latent" and statement.distribution == "Delta":
        raise UnsupportedProgram(
            f"site {name!r}",
            got="a latent Delta, which has no density",
            expected="a distribution with a density",
            fix=f'Write {language.name}.deterministic("{name}", value).',
        )
    if role != "factor":
        check_log_prob_shape(name, statement.log_prob_shape(), shape, statement.event_dim)
    return Site(
        name,
        role,
        statement.distribution,
        shape,
        statement.event_dim,
        statement.support,
        statement.plates,
        statement.discrete,
    )
