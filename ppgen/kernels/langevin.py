"""Langevin dynamics for any score. (JAX.)"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["annealed_langevin", "corrected"]

_State = tuple[jax.Array, jax.Array]  # positions and a key


def annealed_langevin(
    score: Callable[[jax.Array, jax.Array], jax.Array],
    start: jax.Array,
    key: jax.Array,
    sigmas: jax.Array,
    steps: int,
    step_size: float,
) -> jax.Array:
    r"""Run Langevin steps at each noise level, in the order given.

    .. math:: z \leftarrow z + \frac{a_i}{2} s(z, i) + \sqrt{a_i} \, \epsilon, \qquad a_i = r \sigma_i^2

    Args:
        score: of positions ``(n, *shape)`` under noise level i ``()``.
        start: initial positions.
        key: random key of the noise.
        sigmas: the noise levels, in the order in which they are visited.
        steps: how many at each level.
        step_size: r, at most about 1. At r = 1 the variance of a Gaussian as wide as the noise comes out
            1/3 too large; at 0.2, one twentieth.

    Returns:
        Positions ``(n, *shape)`` at the last noise level.

    References:
        Song and Ermon, 2019, arXiv:1907.05600, algorithm 1.

    Example:
        >>> normal = lambda z, i: -z / (1 + jnp.array([2.0, 1.0, 0.5])[i] ** 2)
        >>> rows = annealed_langevin(
        ...     normal, jnp.zeros((4, 2)), jax.random.key(0), jnp.array([2.0, 1.0, 0.5]), 10, 0.2
        ... )
        >>> rows.shape
        (4, 2)
    """
    sigmas = jnp.asarray(sigmas)

    def move(state: _State, place: jax.Array) -> tuple[_State, None]:
        z, key = state
        key, noise_key = jax.random.split(key)
        size = step_size * sigmas[place] ** 2
        z = z + 0.5 * size * score(z, place) + jnp.sqrt(size) * jax.random.normal(noise_key, z.shape)
        return (z, key), None

    places = jnp.repeat(jnp.arange(len(sigmas)), steps)
    return lax.scan(move, (start, key), places)[0][0]


def corrected(
    score: Callable[[jax.Array], jax.Array], z: jax.Array, key: jax.Array, ratio: float
) -> jax.Array:
    r"""One Langevin step with its size set by the signal-to-noise ratio.

    .. math:: a = 2 \left( r \, \frac{\sqrt d}{\lVert s(z) \rVert} \right)^2, \qquad
        z \leftarrow z + a \, s(z) + \sqrt{2 a} \, \epsilon

    Args:
        score: of positions ``(n, *shape)``.
        z: the positions.
        key: random key of the noise.
        ratio: r, the signal-to-noise ratio.

    References:
        Song et al., 2020, arXiv:2011.13456, algorithms 4 and 5.
    """
    slope = score(z)
    noise = jax.random.normal(key, z.shape)
    # One size for the whole batch: a size of its own for each position would depend on that position.
    strength = jnp.sqrt((slope**2).reshape(len(z), -1).sum(-1).mean())
    size = 2 * (ratio * jnp.sqrt(z[0].size) / strength) ** 2
    return z + size * slope + jnp.sqrt(2 * size) * noise
