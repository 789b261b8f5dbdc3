"""A density known up to a constant, as the objectives read it: rows as points, and its log at any point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ppgen.errors import TrainingError
from ppgen.inference.training.objectives.objective import Batch

__all__ = ["LogDensity", "Points", "as_points", "check_has_gradient", "held", "langevin", "log_density_of"]

LogDensity = Callable[[jax.Array], jax.Array]
"""The log density ``(n,)`` of points ``(n, *shape)``, without its constant."""

_ACCEPT = 0.574  # of Langevin proposals, where they go farthest (Roberts and Rosenthal 1998)
_ADAPT = 0.1


class Points(NamedTuple):
    """Rows as points of a space in which the log density has a gradient.

    Attributes:
        z: ``(n, *shape)``; those of a family in its own standardised units.
        log_density: of such points.
    """

    z: jax.Array
    log_density: LogDensity


def log_density_of(subject: Any, batch: Batch) -> LogDensity:
    """The log density of rows without its constant, of a family with an energy or of a program."""
    family: Any = getattr(subject, "family", None)
    if family is not None and hasattr(family, "energy"):
        return lambda x: -family.energy(x)
    return lambda x: subject.log_density(batch._replace(x=x))


def as_points(subject: Any, batch: Batch) -> Points:
    """The rows of a batch as points; levels get noise if the family has a ``dequantise``.

    Raises:
        TrainingError: if rows are whole numbers: then there is no gradient.
    """
    family: Any = getattr(subject, "family", None)
    x, log_density = batch.x, log_density_of(subject, batch)
    if hasattr(family, "dequantise"):
        x = family.dequantise(batch.key, x)
    check_has_gradient(x)
    if family is None:
        return Points(x, log_density)
    loc, scale = family.loc, family.scale
    volume = jnp.log(scale).sum()
    return Points((x - loc) / scale, lambda z: log_density(loc + scale * z) + volume)


def check_has_gradient(x: jax.Array) -> None:
    """Refuse rows of whole numbers."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TrainingError(
            "objective",
            got=f"rows of dtype {x.dtype}, whole numbers",
            expected="continuous rows: the objective takes the gradient of the log density at them",
            fix='Write objective="cd", levels=2 for a program of discrete rows; train an RBM; give floats.',
        )


def held(subject: Any) -> Any:
    """The same subject, through which no gradient runs."""
    return subject.with_parameters(lax.stop_gradient(subject.parameters))


def langevin(
    log_density: LogDensity, key: jax.Array, z: jax.Array, log_step: jax.Array | float, steps: int
) -> tuple[jax.Array, jax.Array]:
    r"""Move chains ``(n, *shape)`` by Metropolis-adjusted Langevin steps.

    .. math:: z' = z + \epsilon \nabla \log p(z) + \sqrt{2 \epsilon}\, \xi, \qquad \xi \sim N(0, I)

    Args:
        log_density: of points, without its constant.
        key: of the noise.
        z: where the chains are.
        log_step: :math:`\log \epsilon`, which follows the rate of acceptance from step to step.
        steps: how many.

    Returns:
        Where the chains are then, and the new log step size.

    References:
        Roberts and Tweedie, *Exponential convergence of Langevin distributions and their discrete
        approximations*, Bernoulli 1996.

    Example:
        >>> z, _ = langevin(lambda z: -2 * (z**2).sum(1), jax.random.key(0), jnp.zeros((4000, 1)), -2.0, 40)
        >>> f"{z.std():.1f}"
        '0.5'
    """

    # The chains move as one batch, not each by itself: a program may pair its rows with labels.
    def climb(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, pull = jax.vjp(log_density, z)
        return value, pull(jnp.ones_like(value))[0]

    def step(
        carry: tuple[jax.Array, jax.Array, jax.Array, jax.Array], key: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array, jax.Array], None]:
        z, value, slope, log_step = carry
        noise_key, accept_key = jax.random.split(key)
        size = jnp.exp(log_step)
        proposed = z + size * slope + jnp.sqrt(2 * size) * jax.random.normal(noise_key, z.shape, z.dtype)
        there, back = climb(proposed)
        log_ratio = there - value
        log_ratio += _log_proposal(z, proposed, back, size) - _log_proposal(proposed, z, slope, size)
        rate = jnp.where(jnp.isfinite(log_ratio), jnp.exp(jnp.minimum(0.0, log_ratio)), 0.0)
        accepted = jax.random.uniform(accept_key, rate.shape) < rate
        of_rows = accepted.reshape(-1, *(1,) * (z.ndim - 1))
        log_step = log_step + _ADAPT * (rate.mean() - _ACCEPT)
        return (
            jnp.where(of_rows, proposed, z),
            jnp.where(accepted, there, value),
            jnp.where(of_rows, back, slope),
            log_step,
        ), None

    value, slope = climb(z)
    start = (z, value, slope, jnp.asarray(log_step, z.dtype))
    end, _ = lax.scan(step, start, jax.random.split(key, steps))
    return end[0], end[3]


def _log_proposal(to: jax.Array, start: jax.Array, slope: jax.Array, size: jax.Array) -> jax.Array:
    """The log density ``(n,)`` of Langevin proposals, but for a constant."""
    away = to - start - size * slope
    return -(away**2).reshape(len(away), -1).sum(1) / (4 * size)
