"""Data under Gaussian noise: the noise and the score from a network's outputs. (JAX.)"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax

from ppgen.models.diffusion.family import DiffusionProgram
from ppgen.models.diffusion.levels import level_logits, noise_of_level

__all__ = ["GaussianNoise"]


class GaussianNoise(DiffusionProgram):
    r"""A program whose noisy rows are :math:`z_t = \alpha_t x + \sigma_t \epsilon`.

    Attributes:
        prediction: what the network predicts: the ``"noise"``; the ``"velocity"``,
            :math:`(z - \epsilon) / \alpha`; or the ``"levels"``: a
            prediction of an entry's level from the other entries, multiplied by the likelihood of the noisy
            entry under each level.
    """

    prediction: str = eqx.field(static=True)

    @abstractmethod
    def strength(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        r"""The share :math:`\alpha_t` of the data and the spread :math:`\sigma_t` of the noise.

        They broadcast against rows, for times ``t (n,)`` or one time ``()``.
        """

    @abstractmethod
    def input_scale(self, t: jax.Array) -> Any:
        """The divisor of noisy data before the network reads them."""

    def diffused(self, rows: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
        """Standardised examples ``(n, *shape)`` with the noise of times ``t (n,)``."""
        alpha, sigma = self.strength(t)
        return alpha * rows + sigma * noise

    def spread(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise ``(n,)`` at times ``t (n,)``."""
        return self.strength(t)[1].reshape(-1)

    def outputs(self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None) -> jax.Array:
        """The prediction ``(n, *shape)`` for noisy rows, or logits ``(n, *shape, levels)`` beneath them."""
        out = self.call_network((z / self.input_scale(t))[..., None], t, label, key)
        if self.prediction == "levels":
            return out + level_logits(z, *self.strength(t), out.shape[-1])
        return out[..., 0]

    def noise(
        self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None, guidance: float = 1.0
    ) -> jax.Array:
        """The noise ``(n, *shape)`` that is to be expected in noisy rows ``z (n, *shape)``."""
        out = self.guided(z, t, label, guidance, key)
        alpha, sigma = self.strength(t)
        if self.prediction == "levels":
            return noise_of_level(out, z, alpha, sigma)
        return out if self.prediction == "noise" else z - alpha * out

    def score(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """The gradient of the noisy rows' log density ``(n, *shape)``."""
        return -self.noise(z, t, label, key, guidance) / self.strength(t)[1]
