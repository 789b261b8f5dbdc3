"""Many draws at once through a program: its sites in their own space, and its pointwise log densities."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = [
    "constrain_draws",
    "constrain_latents",
    "flatten_draws",
    "pointwise",
    "simulate_data",
    "unflatten_draws",
]


def constrain_draws(density: Density, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Latent and deterministic sites at unconstrained positions ``(chain, draw, dim)``."""
    with float64():
        sites = _compile_constrain(density.graph)(density.inputs, flatten_draws(positions))
    return {
        site.name: unflatten_draws(np.asarray(sites[site.name]), positions.shape[:2])
        for site in density.sites
        if site.name in sites
    }


def constrain_latents(density: Density, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The continuous latent sites alone at unconstrained positions ``(chain, draw, dim)``."""
    sites = constrain_draws(density, positions)
    return {part.name: sites[part.name] for part in density.latents}


def simulate_data(density: Density, positions: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Each observed site ``(n, *shape)``, resampled at ``positions (n, dim)`` as the program draws it.

    Discrete latents are drawn given each position alone, whatever was observed.
    """
    latent = {name: value[0] for name, value in constrain_latents(density, positions[None]).items()}
    latent |= density.infer_discrete(seed + 2, positions, given_data=False)
    return density.simulate(seed + 1, latent)


def pointwise(
    density: Density, positions: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Log likelihood and log prior by site at each position, and what was observed."""
    shape = positions.shape[:2]
    with float64():
        compiled = _compile_pointwise(density.graph)
        likelihood, prior, observed = compiled(density.inputs, flatten_draws(positions))
    return (
        {name: unflatten_draws(np.asarray(value), shape) for name, value in likelihood.items()},
        {name: unflatten_draws(np.asarray(value), shape) for name, value in prior.items()},
        {name: np.asarray(value) for name, value in observed.items()},
    )


def flatten_draws(values: np.ndarray) -> np.ndarray:
    """``(chain, draw, *event)`` to ``(chain * draw, *event)``."""
    return values.reshape(-1, *values.shape[2:])


def unflatten_draws(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``(chain * draw, *event)`` to ``(*shape, *event)``."""
    return values.reshape(*shape, *values.shape[1:])


@lru_cache(maxsize=64)
def _compile_constrain(graph: Graph) -> Any:
    def sites(inputs: Inputs, z: jax.Array) -> dict[str, jax.Array]:
        point = graph(inputs, z)
        return point.values | point.deterministics

    return jit(jax.vmap(sites, in_axes=(None, 0)))


@lru_cache(maxsize=64)
def _compile_pointwise(graph: Graph) -> Any:
    def one_point(inputs: Inputs, z: jax.Array) -> Any:
        point = graph(inputs, z)
        return point.log_likelihood, point.log_prior

    def all_points(inputs: Inputs, z: jax.Array) -> Any:
        likelihood, prior = jax.vmap(one_point, in_axes=(None, 0))(inputs, z)
        return likelihood, prior, graph(inputs, jnp.asarray(z)[0]).observed

    return jit(all_points)
