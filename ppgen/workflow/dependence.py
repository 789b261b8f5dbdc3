"""Which latent sites' priors depend on which others: the hierarchy, read off the density itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["parents_of"]


def parents_of(density: Density, positions: np.ndarray) -> dict[str, tuple[str, ...]]:
    """For each continuous latent site, the other ones that its prior's log density changes with.

    It is the gradient that tells, so that the program may be written in any way. Sites that a discrete
    latent ties together have no log prior of their own, and no parents here.

    Args:
        density: the program's.
        positions: ``(n, dim)``, a few points in unconstrained space; a gradient may be zero at one by chance.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from ppgen.program import read_density
        >>> def program(y):
        ...     scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        ...     mean = numpyro.sample("mean", dist.Normal(0.0, scale))
        ...     numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)
        >>> parents_of(read_density(program, {"y": 1.0}), np.array([[0.1, 0.2]]))
        {'scale': (), 'mean': ('scale',)}
    """
    with float64():
        gradients = _compile(density.graph)(density.inputs, positions)
    changes = {name: (np.asarray(value) != 0).any(axis=0) for name, value in gradients.items()}  # (dim,)
    return {
        part.name: tuple(
            other.name
            for other in density.latents
            if other.name != part.name and changes[part.name][other.start : other.stop].any()
        )
        if part.name in changes
        else ()
        for part in density.latents
    }


@lru_cache(maxsize=64)
def _compile(graph: Graph) -> Any:
    def totals(inputs: Inputs, z: jax.Array) -> dict[str, jax.Array]:
        return {name: jnp.sum(value) for name, value in graph(inputs, z).log_prior.items()}

    return jit(jax.vmap(jax.jacrev(totals, argnums=1), in_axes=(None, 0)))
