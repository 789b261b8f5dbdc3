"""A density known up to a constant, as the objectives read it: rows as points, and its log at any point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ppgen.errors import TrainingError
from ppgen.inference.training.objectives.objective import Batch

__all__ = ["LogDensity", "Points", "as_points", "check_has_gradient", "held", "log_density_of"]

LogDensity = Callable[[jax.Array], jax.Array]
"""The log density ``(n,)`` of points ``(n, *shape)``, without its constant."""


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
