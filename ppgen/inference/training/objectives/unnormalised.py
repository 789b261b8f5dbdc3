"""An unnormalised density as the objectives use it: data as points, and the log density at any point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ppgen.errors import TrainingError
from ppgen.program.capabilities import HasDequantisation, HasEnergy
from ppgen.program.languages.rows import Batch

__all__ = [
    "LogDensity",
    "Points",
    "as_levels",
    "as_points",
    "log_density_of",
    "stop_gradient",
]

LogDensity = Callable[[jax.Array], jax.Array]
"""The log density ``(n,)`` of points ``(n, *shape)``, up to a constant."""


class Points(NamedTuple):
    """Data as points of a space in which the log density has a gradient.

    Attributes:
        z: ``(n, *shape)``; those of a family in its own standardised units.
        log_density: of such points.
    """

    z: jax.Array
    log_density: LogDensity


def log_density_of(subject: Any, batch: Batch) -> LogDensity:
    """The log density of rows up to a constant, of a family with an energy or of a program."""
    family = subject.family
    if isinstance(family, HasEnergy):
        return lambda x: -family.energy(x)
    return lambda x: subject.log_density(batch._replace(x=x))


def as_points(subject: Any, batch: Batch) -> Points:
    """The rows of a batch as points; levels get noise if the family has a ``dequantise``.

    Raises:
        TrainingError: if rows are whole numbers: then there is no gradient.
    """
    family = subject.family
    x, log_density = batch.x, log_density_of(subject, batch)
    if isinstance(family, HasDequantisation):
        x = family.dequantise(batch.key, x)
    _check_has_gradient(x)
    if family is None:
        return Points(x, log_density)
    loc, scale = family.loc, family.scale
    volume = jnp.log(scale).sum()
    return Points((x - loc) / scale, lambda z: log_density(loc + scale * z) + volume)


def as_levels(subject: Any, batch: Batch, levels: int, otherwise: str) -> Points:
    """The rows of a batch as points of a grid, for programs of discrete data.

    Args:
        subject, batch: what is trained, and the rows.
        levels: as it was given.
        otherwise: what the objective does without levels.

    Raises:
        TrainingError: if rows are floats.
    """
    if jnp.issubdtype(batch.x.dtype, jnp.floating):
        raise TrainingError(
            "levels",
            got=f"levels={levels}, and rows of dtype {batch.x.dtype}",
            expected="whole numbers, 0 … levels - 1",
            fix=f"Leave levels out: {otherwise}.",
        )
    return Points(batch.x, log_density_of(subject, batch))


def _check_has_gradient(x: jax.Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TrainingError(
            "objective",
            got=f"rows of dtype {x.dtype}, whole numbers",
            expected="continuous rows: the objective takes the gradient of the log density at them",
            fix='Write objective="cd", levels=2 for a program of discrete rows; train an RBM; give floats.',
        )


def stop_gradient(subject: Any) -> Any:
    """The same subject with its parameters as constants."""
    return subject.with_parameters(lax.stop_gradient(subject.parameters))
