"""Read a program of either language: its sites, and its density.

The engines are imported only here and only when a program of theirs is read, so that a NumPyro
program never loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ppgen.errors import UnknownName
from ppgen.program.arguments import check_data
from ppgen.program.family import Program
from ppgen.program.languages.detect import detect_engine
from ppgen.program.sites import Site

if TYPE_CHECKING:
    from ppgen.program.density import Density

__all__ = ["read_density", "read_sites"]


def read_sites(
    program: Program, data: Mapping[str, Any] | None = None, *, engine: str | None = None
) -> tuple[Site, ...]:
    """What a program samples, observes and computes, with every site's shapes checked.

    Args:
        program: a Pyro or NumPyro callable.
        data: its keyword arguments.
        engine: ``"pyro"`` or ``"numpyro"``, where it cannot be told from the program.

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
    if detect_engine(program, checked, engine) == "numpyro":
        from ppgen.program.languages.numpyro.program import numpyro_sites

        return numpyro_sites(program, checked)
    from ppgen.program.languages.pyro.program import pyro_sites

    return pyro_sites(program, checked)


def read_density(
    program: Program,
    data: Mapping[str, Any] | None = None,
    *,
    engine: str | None = None,
    backend: str = "jax",
) -> Density:
    """The unconstrained log density of a program on this data, as one pure JAX function.

    Finite discrete latents are summed out exactly: those in a plate element by element, chains step by
    step. No annotation is needed, and ``infer={"enumerate": "parallel"}`` does no harm. A mask makes a
    statement's log density 0, so that a masked discrete latent counts once for each of its values; a scale
    multiplies the marginal log density, and must be one number for all that a discrete latent ties
    together. Both are as in Pyro's ``TraceEnum_ELBO``.

    The density is that of all the data: plates that subsample are read in full.
    :attr:`Density.in_minibatches <ppgen.program.density.Density>` reads it on minibatches.

    Args:
        program: a Pyro or NumPyro callable; a Pyro program's torch operations are replayed in JAX.
        data: its keyword arguments.
        engine: ``"pyro"`` or ``"numpyro"``, where it cannot be told from the program.
        backend: ``"jax"``, or ``"native"`` to have a Pyro program run by Pyro itself at every evaluation:
            milliseconds a gradient, but its control flow may depend on what is sampled.

    Raises:
        UnknownName: if there is no such backend.
        ProgramError: as :func:`read_sites`, and if nothing is latent.
        UnsupportedProgram: for discrete latents that have no finite support or cannot be summed out, free
            parameters, and Pyro programs with operations or control flow that cannot be replayed in JAX.
        DataError: if the data is empty or not finite.
    """
    if backend not in ("jax", "native"):
        raise UnknownName("backend", backend, ("jax", "native"))
    checked = check_data(data)
    if detect_engine(program, checked, engine) == "numpyro":
        from ppgen.program.languages.numpyro.program import numpyro_density

        return numpyro_density(program, checked)
    from ppgen.program.languages.pyro.density import pyro_density

    return pyro_density(program, checked, native=backend == "native")
