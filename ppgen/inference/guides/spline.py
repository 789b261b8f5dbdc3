"""A rational-quadratic spline as a flowjax bijection, without gathers.

flowjax's own looks each bin up by index, whose gradient is a scatter: on a CPU several times slower
than the products with a one-hot row that are used here.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from paramax import Parameterize

__all__ = ["Spline"]

_SMALLEST_BIN = 1e-3  # of the whole interval
_SMALLEST_SLOPE = 1e-2


class Spline(AbstractBijection):
    r"""A monotone map of the line: rational-quadratic on :math:`[-b, b]`, the identity outside.

    Durkan, Bekasov, Murray and Papamakarios, *Neural Spline Flows*, 2019, arXiv:1906.04032. Slopes are
    bounded below and bins have a smallest size, so that no fit can fold the space.

    Args:
        knots: number of bins.
        bound: b.

    Example:
        >>> from paramax import unwrap
        >>> spline = unwrap(Spline(knots=4, bound=3.0))
        >>> y, log_slope = spline.transform_and_log_det(jnp.array(0.7))       # starts as the identity
        >>> round(float(y), 5), abs(round(float(log_slope), 5))
        (0.7, 0.0)
    """

    widths: Any
    heights: Any
    slopes: Any
    bound: float = eqx.field(static=True)
    shape: ClassVar[tuple[int, ...]] = ()  # type: ignore[misc]
    cond_shape: ClassVar[None] = None  # type: ignore[misc]

    def __init__(self, *, knots: int, bound: float) -> None:
        def sizes(x: jax.Array) -> jax.Array:
            return 2 * bound * (_SMALLEST_BIN + (1 - _SMALLEST_BIN * knots) * jax.nn.softmax(x))

        def slopes(x: jax.Array) -> jax.Array:
            inner = _SMALLEST_SLOPE + jax.nn.softplus(x)
            ends = jnp.ones((*x.shape[:-1], 1), x.dtype)  # smooth into the identity
            return jnp.concatenate([ends, inner, ends], -1)

        self.widths = Parameterize(sizes, jnp.zeros(knots))
        self.heights = Parameterize(sizes, jnp.zeros(knots))
        self.slopes = Parameterize(slopes, jnp.full(knots - 1, jnp.log(jnp.expm1(1 - _SMALLEST_SLOPE))))
        self.bound = bound

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """y of x, and the logarithm of the slope there."""
        outside = jnp.abs(x) >= self.bound
        inside = jnp.where(outside, 0.0, x)
        left, bottom, width, height, first, second = self._bin(inside, self.widths)
        mean_slope, t = height / width, (inside - left) / width
        bend = first + second - 2 * mean_slope
        rise = mean_slope * t**2 + first * t * (1 - t)
        y = bottom + height * rise / (mean_slope + bend * t * (1 - t))
        slope = _slope(mean_slope, t, first, second)
        return jnp.where(outside, x, y), jnp.where(outside, 0.0, jnp.log(slope))

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Any, Any]:
        """x of y, and the logarithm of the inverse's slope there: the root of a quadratic."""
        outside = jnp.abs(y) >= self.bound
        inside = jnp.where(outside, 0.0, y)
        left, bottom, width, height, first, second = self._bin(inside, self.heights)
        mean_slope, above = height / width, inside - bottom
        bend = first + second - 2 * mean_slope
        a = height * (mean_slope - first) + above * bend
        b = height * first - above * bend
        c = -mean_slope * above
        # Rounding must not leave the bin, where the slope has no meaning.
        t = jnp.clip(2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 1e-30))), 0.0, 1.0)
        slope = _slope(mean_slope, t, first, second)
        return jnp.where(outside, y, left + t * width), jnp.where(outside, 0.0, -jnp.log(slope))

    def _bin(self, value: jax.Array, sizes: jax.Array) -> jax.Array:
        """Left, bottom, width, height and both slopes of the bin that a value lies in, by ``sizes``."""
        ends = jnp.cumsum(sizes) - self.bound
        starts = jnp.concatenate([jnp.full(1, -self.bound), ends[:-1]])
        one_hot = (value >= starts) & (value < ends.at[-1].set(jnp.inf))
        lefts = jnp.cumsum(self.widths) - self.widths - self.bound
        bottoms = jnp.cumsum(self.heights) - self.heights - self.bound
        table = [lefts, bottoms, self.widths, self.heights, self.slopes[:-1], self.slopes[1:]]
        return jnp.stack(table) @ one_hot.astype(value.dtype)


def _slope(mean_slope: Any, t: Any, first: Any, second: Any) -> jax.Array:
    top = mean_slope**2 * (second * t**2 + 2 * mean_slope * t * (1 - t) + first * (1 - t) ** 2)
    return top / (mean_slope + (first + second - 2 * mean_slope) * t * (1 - t)) ** 2
