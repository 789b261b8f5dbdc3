r"""The Metropolis-adjusted Langevin algorithm, on a batch of chains. (JAX.)

.. math:: z' = z + \epsilon \nabla \log p(z) + \sqrt{2 \epsilon}\, \xi, \qquad \xi \sim N(0, I)

accepted with the probability that leaves p invariant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["MALAInfo", "MALAState", "adapt", "init", "run", "step"]

LogDensity = Callable[[jax.Array], jax.Array]
"""The unnormalised log density ``(n,)`` of points ``(n, *shape)``."""

_TARGET_ACCEPT = 0.574  # optimal for Langevin proposals (Roberts and Rosenthal 1998)
_ADAPTATION_RATE = 0.1


class MALAState(NamedTuple):
    """Chains at ``position (n, *shape)``, with the log density ``(n,)`` and its gradient there."""

    position: jax.Array
    log_density: jax.Array
    gradient: jax.Array


class MALAInfo(NamedTuple):
    """The acceptance probability ``(n,)`` of each chain's proposal."""

    acceptance_rate: jax.Array


def init(position: jax.Array, log_density: LogDensity) -> MALAState:
    """Return the state of chains at a position.

    The chains are one batch, not vmapped: a density may pair its points with labels.
    """
    value, pull = jax.vjp(log_density, position)
    return MALAState(position, value, pull(jnp.ones_like(value))[0])


def step(
    key: jax.Array, state: MALAState, log_density: LogDensity, step_size: jax.Array
) -> tuple[MALAState, MALAInfo]:
    r"""Propose one move for each chain and accept or reject it; the step size is :math:`\epsilon`.

    References:
        Roberts and Tweedie, *Exponential convergence of Langevin distributions and their discrete
        approximations*, Bernoulli 1996.
    """
    noise_key, accept_key = jax.random.split(key)
    z = state.position
    noise = jax.random.normal(noise_key, z.shape, z.dtype)
    proposal = init(z + step_size * state.gradient + jnp.sqrt(2 * step_size) * noise, log_density)
    log_ratio = proposal.log_density - state.log_density
    log_ratio += _log_proposal(proposal, z, step_size) - _log_proposal(state, proposal.position, step_size)
    rate = jnp.where(jnp.isfinite(log_ratio), jnp.exp(jnp.minimum(0.0, log_ratio)), 0.0)
    accepted = jax.random.uniform(accept_key, rate.shape) < rate

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(accepted.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, proposal, state), MALAInfo(rate)


def adapt(log_step: jax.Array, info: MALAInfo) -> jax.Array:
    """Return the log step size, adapted towards accepting 57 % of the proposals."""
    return log_step + _ADAPTATION_RATE * (info.acceptance_rate.mean() - _TARGET_ACCEPT)


def run(
    key: jax.Array, position: jax.Array, log_density: LogDensity, log_step: jax.Array | float, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Move chains by ``steps`` steps, adapting the step size at each.

    Returns:
        The final positions ``(n, *shape)``, and the adapted log step size.

    Example:
        >>> z, _ = run(jax.random.key(0), jnp.zeros((4000, 1)), lambda z: -2 * (z**2).sum(1), -2.0, 40)
        >>> f"{z.std():.1f}"
        '0.5'
    """

    def advance(
        carry: tuple[MALAState, jax.Array], key: jax.Array
    ) -> tuple[tuple[MALAState, jax.Array], None]:
        state, log_step = carry
        state, info = step(key, state, log_density, jnp.exp(log_step))
        return (state, adapt(log_step, info)), None

    start = init(position, log_density), jnp.asarray(log_step, position.dtype)
    (state, log_step), _ = lax.scan(advance, start, jax.random.split(key, steps))
    return state.position, log_step


def _log_proposal(state: MALAState, to: jax.Array, step_size: jax.Array) -> jax.Array:
    """The log density ``(n,)`` of proposing ``to`` from a state, up to a constant."""
    away = to - state.position - step_size * state.gradient
    return -(away**2).reshape(len(away), -1).sum(1) / (4 * step_size)
