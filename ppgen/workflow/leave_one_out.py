r"""A program's density without one of its observations: :math:`\log \pi(z) - \log p(y_i \mid x(z))`.

The observation is taken out of the density, not out of the data. So it works for every program: no
argument has to be cut, and what the program computes from its data stays as it is. Which observation is
left out is an input of the graph, so that one compilation serves them all.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.log_densities import in_batches
from ppgen.inference.posterior import Posterior, make_posterior
from ppgen.program.density import Density, Evaluation, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs, trace

__all__ = ["LeftOut", "refit"]


class LeftOut:
    """A density, and those without one of its observations.

    Args:
        density: the program's.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from ppgen.program import read_density
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> density = read_density(program, {"y": [1.0, 2.0]})
        >>> without = LeftOut(density).density(1)
        >>> fewer, z = read_density(program, {"y": [1.0]}), np.array([0.3])
        >>> bool(np.isclose(without.log_prob(z), fewer.log_prob(z)))
        True
    """

    def __init__(self, density: Density) -> None:
        self._whole = density
        with float64():
            arrays = [*density.inputs.arrays, jnp.asarray(0)]
            place = jnp.zeros(density.dim)
            self._graph, self._inputs = trace(
                lambda arrays, z: _without(density.graph, density.inputs.constants, arrays, z), arrays, place
            )

    def density(self, index: int) -> Density:
        """The density without observation ``index``, counted over all sites in alphabetical order."""
        with float64():
            arrays = [*self._inputs.arrays[:-1], jnp.asarray(index)]
        return replace(self._whole, graph=self._graph, inputs=self._inputs._replace(arrays=arrays))

    def evaluate(self, positions: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The whole log joint and the log density of observation ``index``, at ``positions (n, dim)``."""
        compiled = _compile(self._whole.graph)
        log_joint, log_likelihood = in_batches(
            lambda batch: compiled(self._whole.inputs, batch, index), positions
        )
        return log_joint, log_likelihood


def refit(post: Posterior, without: Density) -> Posterior:
    """Refit by the same method, with the same options, to one observation less."""
    settings: Any = post.settings
    if getattr(settings, "checkpoint", None) is not None:  # that file belongs to the whole data
        settings = replace(settings, checkpoint=None)
    request = post.request._replace(progress=False)
    drawn = settings.draw(without, request)
    return make_posterior(
        without, post.data, settings, request, drawn, 0.0, coords=post.coords, dims=post.dims
    )


def _without(graph: Graph, constants: list[Any], arrays: list[jax.Array], z: jax.Array) -> Evaluation:
    point = graph(Inputs(constants, arrays[:-1]), z)
    return point._replace(log_joint=point.log_joint - _all(point)[arrays[-1]])


def _all(point: Evaluation) -> jax.Array:
    parts = [jnp.ravel(point.log_likelihood[name]) for name in sorted(point.log_likelihood)]
    return jnp.concatenate(parts)


@lru_cache(maxsize=64)
def _compile(graph: Graph) -> Any:
    def one(inputs: Inputs, z: jax.Array, index: jax.Array) -> jax.Array:
        point = graph(inputs, z)
        return jnp.stack([point.log_joint, _all(point)[index]])

    return jit(jax.vmap(one, in_axes=(None, 0, None), out_axes=1))
