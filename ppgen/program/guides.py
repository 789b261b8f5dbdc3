"""A guide that a user wrote, as one JAX function of its parameters and of a random key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import ProgramError
from ppgen.program.arguments import ways_to_trace
from ppgen.program.density import Density, float64
from ppgen.program.explain import explained
from ppgen.program.family import Program
from ppgen.program.jaxprs.compiler import AT_ONCE
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.guide import GuideProgram
from ppgen.program.languages.language import Language, find_language
from ppgen.program.languages.statement import Statement
from ppgen.program.mismatch import check_names, check_shape, no_gradient
from ppgen.program.reading import anywhere

__all__ = ["GuideDraw", "ReadGuide", "read_guide"]

_TRIES = 64


class GuideDraw(NamedTuple):
    """One draw of a guide.

    Attributes:
        z: ``(dim,)``, in the program's unconstrained space.
        log_q: its log density in the program's own space. For a reparameterised guide, its gradient is that
            of the draw's path alone (where a flow has no inverse, of path and density); for one that is not,
            that of the density alone.
    """

    z: jax.Array
    log_q: jax.Array


class ReadGuide(NamedTuple):
    """A guide as a graph.

    Attributes:
        graph: ``(inputs, parameters, key) -> GuideDraw``.
        inputs: the arrays that it reads.
        initial: its parameters at first ``(p,)``, unconstrained and flat.
    """

    graph: Graph
    inputs: Inputs
    initial: np.ndarray


def read_guide(guide: Program, density: Density, *, path: bool, seed: int) -> ReadGuide:
    """Read a guide, and check that it is one for the program.

    Args:
        guide: a callable with the program's arguments, that samples its latent sites.
        density: the program's density.
        path: whether gradients go through the draws; else through log q alone.
        seed: of the parameters' random starts.

    Raises:
        ProgramError: if its sites are not the program's latent ones, in name, shape or support.
        UnsupportedProgram: if gradients are to go through the draws of a site that has none; if the language
            has no guides of a user's own, or this one cannot be read.
    """
    language = find_language(density.engine)
    with language.session(), explained("a guide that runs on the program's data", "guide(**data)"):
        pair = _Pair(language, language.read_guide(guide, density.data, seed), density)
        _check_sites(pair, path)
    with float64():
        graph, inputs = _trace(pair, path)
        keys = jax.random.split(jax.random.key(seed), _TRIES)
        draw = jax.jit(jax.vmap(graph, in_axes=(None, None, 0)), compiler_options=AT_ONCE)
        drawn = draw(inputs, jnp.asarray(pair.guide.initial), keys)
    _check_inside(np.asarray(drawn.z), density)
    return ReadGuide(graph, inputs, pair.guide.initial)


def _trace(pair: _Pair, path: bool) -> tuple[Graph, Inputs]:
    parameters, key = jnp.asarray(pair.guide.initial), jax.random.key(0)
    for arrays in ways_to_trace(pair.density.data):
        try:
            return trace(pair.draw(arrays, path), list(arrays.values()), parameters, key)
        except pair.language.needs_numbers:
            if not arrays:
                raise
    raise AssertionError("the last way to trace either returns or raises")


class _Pair(NamedTuple):
    """A guide and the density of its program."""

    language: Language
    guide: GuideProgram
    density: Density

    def draw(self, arrays: Mapping[str, np.ndarray], path: bool) -> Callable[..., GuideDraw]:
        """Draws from the guide and scores the draw, with gradients through one of the two alone."""
        sample = self.guide.lower(self._sample, arrays, {})
        try:
            log_prob = self.guide.lower(self._log_prob, arrays, _drawn(self.guide.statements))
        except ProgramError:
            # A flow without an inverse, such as Planar, can score nothing but its own draws.
            if not path:
                raise
            log_prob = None

        def draw(values: list[Any], parameters: jax.Array, key: jax.Array) -> GuideDraw:
            drawn, parts, own_log_q = sample(values, parameters, key, {})
            if log_prob is None:  # with the score's gradient in it, of expectation 0
                log_q = own_log_q
            elif path:
                log_q = log_prob(values, jax.lax.stop_gradient(parameters), key, drawn)
            else:
                parts, drawn = jax.lax.stop_gradient((parts, drawn))
                log_q = log_prob(values, parameters, key, drawn)
            return GuideDraw(jnp.concatenate([parts[part.name] for part in self.density.latents]), log_q)

        return draw

    def _sample(self, data: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        """What the guide draws, each latent site of the program in unconstrained space, flat, and log q."""
        statements = self.guide.run(data, lambda statement: None)
        values = {statement.name: statement.value for statement in statements}
        otherwise = anywhere(self.language, np.zeros)
        program = self.language.run(
            self.language.in_full(self.density.program, {}),
            data,
            lambda statement: values[statement.name] if statement.name in values else otherwise(statement),
        )
        sites = {statement.name: statement for statement in program}
        parts = {
            part.name: sites[part.name].bijection().inv(values[part.name]).reshape(-1)
            for part in self.density.latents
        }
        return _drawn(statements), parts, _log_q(statements)

    def _log_prob(self, data: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        return _log_q(self.guide.run(data, lambda statement: given.get(statement.name)))


def _log_q(statements: list[Statement]) -> Any:
    """The log density of what was drawn, scaled as the guide says."""
    terms = [
        statement.log_prob().sum() * (1 if statement.scale is None else statement.scale)
        for statement in statements
        if statement.role == "latent"
    ]
    return sum(terms[1:], terms[0])


def _drawn(statements: list[Statement]) -> dict[str, Any]:
    """What was drawn; a Delta says its value by itself."""
    return {
        statement.name: statement.value
        for statement in statements
        if statement.role == "latent" and statement.distribution != "Delta"
    }


# -- does it fit the program -----------------------------------------------------------------------------


# Classes of constraints, in any language, that mean the same kind of set.
_KINDS = {
    **dict.fromkeys(("real", "realvector"), "the real numbers"),
    **dict.fromkeys(
        (
            "positive",
            "nonnegative",
            "greaterthan",
            "greaterthaneq",
            "lessthan",
            "lessthaneq",
            "softplus_positive",
        ),
        "a half-line",
    ),
    **dict.fromkeys(
        ("interval", "openinterval", "halfopeninterval", "unitinterval", "circular"), "an interval"
    ),
}
_FIX = "Take a distribution with the same support, for example LogNormal for a positive site."


def _check_sites(pair: _Pair, path: bool) -> None:
    """Refuse a guide whose sites are not the program's latent ones, or lack a gradient that is needed."""
    names = [part.name for part in pair.density.latents]
    wanted = {site.name: site for site in pair.density.sites if site.name in names}
    drawn = [statement for statement in pair.guide.statements if statement.role == "latent"]
    given = {statement.name: statement for statement in drawn if not statement.auxiliary}
    sample = f"{pair.language.name}.sample"
    check_names(wanted.keys(), given.keys(), sample=sample, kind="continuous latent site")
    for name, statement in given.items():
        check_shape(name, wanted[name].shape, statement.shape)
        _check_support(statement, wanted[name].support)
    for statement in drawn:
        if path and not statement.has_rsample:
            raise no_gradient(statement.name, statement.distribution)


def _check_support(statement: Statement, wanted: str) -> None:
    given_kind, wanted_kind = (_KINDS.get(name, name) for name in (statement.support, wanted))
    if statement.support and given_kind != wanted_kind:
        raise ProgramError(
            f"site {statement.name!r}",
            got=f"a guide whose draws lie in {given_kind}",
            expected=f"{wanted_kind}, as in the program",
            fix=_FIX,
        )


def _check_inside(z: np.ndarray, density: Density) -> None:
    """Refuse a guide whose draws ``(n, dim)`` include values that the program cannot have."""
    for part in density.latents:
        bad = ~np.isfinite(z[:, part.start : part.stop]).all(axis=1)
        if bad.any():
            site = next(site for site in density.sites if site.name == part.name)
            raise ProgramError(
                f"site {part.name!r}",
                got=f"{int(bad.sum())} of {len(z)} draws of the guide outside its support ({site.support})",
                expected="a guide that draws values which the program can have",
                fix=_FIX,
            )
