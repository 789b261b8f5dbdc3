r"""Score matching: the gradient of the log density in x is fitted, which needs no constant.

Half the expected squared distance between the model's score :math:`s(x) = \nabla_x \log p(x)` and that of
the data is, up to a term that the model cannot change, an expectation over the data alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ppgen.checks import check_integer, check_number
from ppgen.inference.training.objectives.unnormalised import LogDensity, Points, as_points
from ppgen.program.languages.rows import Batch

__all__ = ["DenoisingScoreMatching", "ScoreMatching", "SlicedScoreMatching", "sliced"]


@dataclass(frozen=True)
class ScoreMatching:
    r"""Minimise :math:`\tfrac12 \lVert s(x) \rVert^2 + \operatorname{tr} \nabla s(x)`.

    The trace takes one Jacobian-vector product per entry: for data with some tens of entries. A family's data
    are in its standardised units. The data's density must vanish smoothly at the boundary of its support.

    References:
        Hyvärinen, *Estimation of Non-Normalized Statistical Models by Score Matching*, JMLR 2005.
    """

    name: ClassVar[str] = "score_matching"
    requires: ClassVar[type] = object
    arrays: ClassVar[str] = "jax"

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``."""
        z, log_density = as_points(subject, batch)
        score = _score(log_density)

        def curvature(axis: jax.Array) -> jax.Array:
            along = jnp.broadcast_to(axis, z.shape)
            return _dot(along, jax.jvp(score, (z,), (along,))[1])

        axes = jnp.eye(z[0].size, dtype=z.dtype).reshape(-1, *z.shape[1:])
        trace = jax.vmap(curvature)(axes).sum(0)
        return 0.5 * _dot(score(z), score(z)) + trace


@dataclass(frozen=True)
class SlicedScoreMatching:
    r"""Minimise :math:`\tfrac12 \lVert s(x) \rVert^2 + v^\top \nabla s(x)\, v` for random directions v.

    In expectation over v, whose entries are ±1, it is score matching; a direction costs one
    Jacobian-vector product, however many entries a row has.

    Attributes:
        projections: directions for each example and step.

    References:
        Song, Garg, Shi and Ermon, *Sliced Score Matching: A Scalable Approach to Density and Score
        Estimation*, 2019, arXiv:1905.07088 (with reduced variance).
    """

    name: ClassVar[str] = "sliced_score_matching"
    requires: ClassVar[type] = object
    arrays: ClassVar[str] = "jax"

    projections: int = 1

    def __post_init__(self) -> None:
        check_integer("projections", self.projections)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``."""
        return sliced(as_points(subject, batch), batch.key, self.projections)

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The same ``(n,)`` along eight directions at least, so that validation is less noisy."""
        return sliced(as_points(subject, batch), batch.key, max(8, self.projections))


@dataclass(frozen=True)
class DenoisingScoreMatching:
    r"""Minimise :math:`\tfrac12 \lVert \sigma s(x + \sigma \epsilon) + \epsilon \rVert^2` over noise.

    This learns the density of the noisy data, smoothed by :math:`\sigma`.

    Attributes:
        noise: :math:`\sigma`, in the data's units; for a family in standard deviations of each entry.

    References:
        Vincent, *A Connection Between Score Matching and Denoising Autoencoders*, Neural Computation 2011,
        doi:10.1162/NECO_a_00142.
    """

    name: ClassVar[str] = "denoising_score_matching"
    requires: ClassVar[type] = object
    arrays: ClassVar[str] = "jax"

    noise: float = 0.1

    def __post_init__(self) -> None:
        check_number("noise", self.noise, above=0.0, example=0.1)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``."""
        z, log_density = as_points(subject, batch)
        epsilon = jax.random.normal(jax.random.fold_in(batch.key, 4), z.shape, z.dtype)
        wrong = self.noise * _score(log_density)(z + self.noise * epsilon) + epsilon
        return 0.5 * _dot(wrong, wrong)


def sliced(points: Points, key: jax.Array, projections: int) -> jax.Array:
    """The sliced score-matching loss ``(n,)`` at points, along random directions."""
    z, log_density = points
    score = _score(log_density)

    def along(direction: jax.Array) -> jax.Array:
        at, change = jax.jvp(score, (z,), (direction,))
        return 0.5 * _dot(at, at) + _dot(direction, change)

    signs = jax.random.rademacher(jax.random.fold_in(key, 5), (projections, *z.shape), z.dtype)
    return jax.vmap(along)(signs).mean(0)


def _score(log_density: LogDensity) -> LogDensity:
    # Rows do not depend on each other: the gradient of the sum holds the gradient of each.
    return jax.grad(lambda z: log_density(z).sum())


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The inner products ``(n,)`` of examples ``(n, *shape)``."""
    return (a * b).reshape(len(a), -1).sum(1)
