"""Levels spread over [-1, 1]: their posterior given noisy values, and Gaussians in their cells. (JAX.)"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from ppgen.errors import InvalidArgument

__all__ = ["cell_logits", "default_prediction", "level_logits", "level_mean", "noise_of_level", "outputs_of"]


def level_logits(z: jax.Array, alpha: jax.Array, sigma: jax.Array, levels: int) -> jax.Array:
    """How likely each level makes entries ``z (...)`` under noise: logits ``(..., levels)``."""
    distance = (z[..., None] - alpha[..., None] * _grid(levels)) / sigma[..., None]
    return -0.5 * distance**2


def level_mean(logits: jax.Array) -> jax.Array:
    """The mean ``(...)`` of levels in [-1, 1] with these logits ``(..., levels)``."""
    return jax.nn.softmax(logits) @ _grid(logits.shape[-1])


def noise_of_level(
    logits: jax.Array, z: jax.Array, alpha: jax.Array | float, sigma: jax.Array | float
) -> jax.Array:
    """The noise ``(...)`` in entries ``z (...)``, beneath which are levels with logits ``(..., levels)``."""
    return (z - alpha * level_mean(logits)) / sigma


def default_prediction(levels: int | None, own: str) -> str:
    """What a network predicts by default: the levels if there are any, else the model's own default."""
    return own if levels is None else "levels"


def outputs_of(prediction: str, levels: int | None) -> int:
    """How many numbers per entry a network returns.

    Raises:
        InvalidArgument: if it should predict the levels of continuous data.
    """
    if prediction != "levels":
        return 1
    if levels is None:
        raise InvalidArgument(
            "prediction",
            got="'levels' for continuous data",
            expected="what the model predicts otherwise",
            fix="Leave prediction out, or write levels=....",
        )
    return levels


def cell_logits(mean: jax.Array, spread: float, levels: int) -> jax.Array:
    """Log probabilities ``(..., levels)`` that a Gaussian around ``mean (...)`` is nearest to each level.

    The first and the last level take the tails.

    Example:
        >>> [round(float(p), 3) for p in jnp.exp(cell_logits(jnp.array(0.0), 0.5, 3))]
        [0.159, 0.683, 0.159]
    """
    half = 1 / (levels - 1)
    below = (_grid(levels) - half - mean[..., None]) / spread
    above = below + 2 * half / spread
    # In the upper half use the upper tail, which avoids differences of numbers close to 1.
    flip = below + above > 0
    low, high = jnp.where(flip, -above, below), jnp.where(flip, -below, above)
    level = jnp.arange(levels)
    low = jnp.where(level == jnp.where(flip, levels - 1, 0), -jnp.inf, low)
    high = jnp.where(level == jnp.where(flip, 0, levels - 1), jnp.inf, high)
    finite_low = jnp.maximum(low, -1e4)
    log_high = jnp.where(jnp.isinf(high), 0.0, log_ndtr(jnp.where(jnp.isinf(high), 0.0, high)))
    return log_high + jnp.log1p(-jnp.exp(jnp.minimum(log_ndtr(finite_low) - log_high, -1e-6)))


def _grid(levels: int) -> jax.Array:
    return jnp.linspace(-1.0, 1.0, levels)
