r"""Hamiltonian Monte Carlo on the geometric path between two densities.

.. math:: \log \pi_\beta(z) = (1 - \beta) \log q(z) + \beta \log \pi(z), \quad 0 \le \beta \le 1

One kernel, BlackJAX's, serves annealed importance sampling and sequential Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc.hmc import HMCState

__all__ = ["TemperedInfo", "step"]

Ends = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
"""From a position ``(dim,)`` to log q, normalised, and log π."""

_LARGEST_LOSS = 1000.0  # nats


class TemperedInfo(NamedTuple):
    """The result of one move.

    Attributes:
        log_ratio: :math:`\\log \\pi - \\log q` at the start of the move, for the annealing weights.
        log_density: :math:`\\log \\pi_\\beta` at its end.
        acceptance_rate: the probability of accepting the end of the trajectory.
    """

    log_ratio: jax.Array
    log_density: jax.Array
    acceptance_rate: jax.Array


def step(
    key: jax.Array,
    position: jax.Array,
    ends: Ends,
    beta: Any,
    step_size: Any,
    inverse_mass: Any,
    leapfrogs: Any,
    jitter: tuple[float, float],
) -> tuple[jax.Array, TemperedInfo]:
    r"""Run one trajectory, which leaves :math:`\pi_\beta` invariant.

    Args:
        key: random key of momentum, step size and acceptance.
        position: ``(dim,)``, of one chain.
        ends: the two log densities.
        beta: the inverse temperature.
        step_size: in units of the metric.
        inverse_mass: the covariance ``(dim, dim)`` or variances ``(dim,)`` that set the scale of the moves.
        leapfrogs: how many leapfrog steps make a trajectory.
        jitter: the range of a random factor on each trajectory's step size, so that no trajectory length is
            a whole period of some direction.

    References:
        Neal, *MCMC using Hamiltonian dynamics*, 2011, arXiv:1206.1901.
    """

    def tempered(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        base, target = ends(z)
        log_ratio = jnp.where(
            jnp.isfinite(target), target - jnp.where(jnp.isfinite(base), base, 0.0), -jnp.inf
        )
        value = base + jnp.where(beta == 0, 0.0, beta * log_ratio)
        return jnp.where(jnp.isnan(value), -jnp.inf, value), log_ratio

    jitter_key, key = jax.random.split(key)
    low, high = jitter
    step_size = step_size * jax.random.uniform(jitter_key, minval=low, maxval=high)
    (value, log_ratio), gradient = jax.value_and_grad(tempered, has_aux=True)(position)
    before = HMCState(position, value, gradient)
    kernel = blackjax.mcmc.hmc.build_kernel()
    after, info = kernel(key, before, lambda z: tempered(z)[0], step_size, inverse_mass, leapfrogs)
    # A diverging trajectory can overflow to an energy of -inf, which the kernel would accept.
    # As kinetic energy is positive, no valid move loses this much log density.
    sound = jnp.isfinite(info.energy) & (value - after.logdensity < _LARGEST_LOSS + len(position))
    return jnp.where(sound, after.position, position), TemperedInfo(
        log_ratio,
        jnp.where(sound, after.logdensity, value),
        jnp.where(sound, info.acceptance_rate, 0.0),
    )
