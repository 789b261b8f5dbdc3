"""Read a program of any language: its sites, and its density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ppgen.checks import check_choice
from ppgen.errors import UnsupportedProgram
from ppgen.program.arguments import check_data
from ppgen.program.density import Density
from ppgen.program.discrete.enumeration import drawer
from ppgen.program.family import Program
from ppgen.program.languages.detect import language_of
from ppgen.program.minibatches import read_minibatches
from ppgen.program.reading import Reading, read, read_program
from ppgen.program.runs import Runs
from ppgen.program.sites import Site, check_latents
from ppgen.program.subsampling import read_in_full
from ppgen.program.tracing import trace_density

__all__ = ["read_density", "read_sites"]


def read_sites(
    program: Program, data: Mapping[str, Any] | None = None, *, engine: str | None = None
) -> tuple[Site, ...]:
    """What a program samples, observes and computes, with every site's shapes checked.

    Args:
        program: a Pyro or NumPyro callable.
        data: its keyword arguments.
        engine: ``"pyro"`` or ``"numpyro"``, if it cannot be detected from the program.

    Raises:
        ProgramError: if the program fails on the data, or a site's parameters and value broadcast
            into more terms than it has values.
        DataError: if the data is empty or not finite.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     with numpyro.plate("row", len(y)):
        ...         numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> for site in read_sites(program, {"y": [0.5, 1.5]}):
        ...     print(site.name, site.role, site.distribution, site.shape, site.dims)
        mu latent Normal () ()
        y observed Normal (2,) ('row',)
    """
    checked = check_data(data)
    reading, _ = read_program(language_of(program, checked, engine), program, checked)
    return reading.sites


def read_density(
    program: Program,
    data: Mapping[str, Any] | None = None,
    *,
    engine: str | None = None,
    backend: str = "jax",
) -> Density:
    """The unconstrained log density of a program on this data, as one pure JAX function.

    Finite discrete latents are marginalised exactly: those in a plate element by element, chains step by
    step. No annotation is needed, and ``infer={"enumerate": "parallel"}`` does no harm. A mask makes a
    statement's log density 0, so that a masked discrete latent counts once for each of its values; a scale
    multiplies the marginal log density, and must be one number for all that a discrete latent ties
    together. Both are as in Pyro's ``TraceEnum_ELBO``.

    The density is that of all the data: plates that subsample are read in full.
    :attr:`Density.in_minibatches <ppgen.program.density.Density>` reads it on minibatches.

    Args:
        program: a Pyro or NumPyro callable; a Pyro program's torch operations are replayed in JAX.
        data: its keyword arguments.
        engine: ``"pyro"`` or ``"numpyro"``, if it cannot be detected from the program.
        backend: ``"jax"``, or ``"native"`` to have a Pyro program run by Pyro itself at every evaluation:
            milliseconds a gradient, but its control flow may depend on what is sampled.

    Raises:
        UnknownName: if there is no such backend.
        ProgramError: as :func:`read_sites`, and if nothing is latent.
        UnsupportedProgram: for discrete latents that have no finite support or cannot be marginalised, free
            parameters, and Pyro programs with operations or control flow that cannot be replayed in JAX.
        DataError: if the data is empty or not finite.
    """
    check_choice("backend", backend, ("jax", "native"))
    checked = check_data(data)
    language = language_of(program, checked, engine)
    native = backend == "native" and language.native
    reading, plates = read_program(language, program, checked)
    with read_in_full({plate.name: plate for plate in plates}):
        density = _density(reading, program, native)
    if not plates:
        return density

    def read_rows(data: Mapping[str, Any]) -> Density:
        if native:
            raise UnsupportedProgram(
                f"plate {plates[0].name!r}",
                got='minibatches under backend="native"',
                expected="a record of the program, in which the rows are an input",
                fix='Leave out backend="native", or subsample_size=.',
            )
        at_rows = language.at_rows(program)
        return _density(read(language, at_rows, data), at_rows, native)

    return replace(density, in_minibatches=lambda: read_minibatches(density, plates, read_rows))


def _density(reading: Reading, program: Program, native: bool) -> Density:
    """The density of a program that has been read, with given rows of its plates."""
    check_latents(reading.sites)
    traced = trace_density(reading, native=native)
    runs = Runs(reading, program)
    return Density(
        engine=reading.language.name,
        program=program,
        data=reading.data,
        sites=reading.sites,
        latents=reading.latents,
        graph=traced.graph,
        inputs=traced.inputs,
        invert=runs.invert,
        simulate=runs.simulate,
        draw_prior=runs.draw_prior,
        infer_discrete=drawer(traced.summed, traced.inputs.arrays),
    )
