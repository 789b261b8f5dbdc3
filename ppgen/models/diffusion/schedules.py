"""How fast data turn into noise: the mean's share and the noise's spread at each time in [0, 1]. (JAX.)"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["CosineSchedule", "LogLinearSchedule", "Process", "VarianceExploding", "VariancePreserving"]


class VariancePreserving(NamedTuple):
    r"""Data shrink while noise grows; rows of variance 1 keep it.

    .. math:: \alpha_t = \exp\Big(-\tfrac14 t^2 (\beta_1 - \beta_0) - \tfrac12 t \beta_0\Big), \qquad
        \sigma_t^2 = 1 - \alpha_t^2, \qquad \beta_t = \beta_0 + t (\beta_1 - \beta_0)

    It is the DDPM's linear schedule in the limit of many steps.

    References:
        Song et al., *Score-Based Generative Modeling through Stochastic Differential Equations*, 2020,
        arXiv:2011.13456, equation 33.

    Example:
        >>> schedule = VariancePreserving()
        >>> float(schedule.alpha(jnp.array(0.0))), round(float(schedule.sigma(jnp.array(1.0))), 4)
        (1.0, 1.0)
    """

    beta_0: float = 0.1
    beta_1: float = 20.0

    def alpha(self, t: jax.Array) -> jax.Array:
        """The share of the data that is left."""
        return jnp.exp(self._log_alpha(t))

    def sigma(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise."""
        return jnp.sqrt(-jnp.expm1(2 * self._log_alpha(t)))

    def drift(self, t: jax.Array) -> jax.Array:
        r"""The rate f at which rows shrink, :math:`dz = f(t) z\,dt + g(t)\,dw`."""
        return -0.5 * (self.beta_0 + t * (self.beta_1 - self.beta_0))

    def diffusion(self, t: jax.Array) -> jax.Array:
        """The strength g with which noise comes in."""
        return jnp.sqrt(self.beta_0 + t * (self.beta_1 - self.beta_0))

    def time_of(self, noise: float) -> float:
        r"""When the noise is that strong, in units of the data: :math:`\sigma_t / \alpha_t`."""
        slope, level = 0.5 * (self.beta_1 - self.beta_0), 0.5 * self.beta_0
        return (math.sqrt(level**2 + slope * math.log1p(noise**2)) - level) / slope

    def _log_alpha(self, t: jax.Array) -> jax.Array:
        return -0.25 * t**2 * (self.beta_1 - self.beta_0) - 0.5 * t * self.beta_0


class VarianceExploding(NamedTuple):
    r"""Data stay while noise grows: :math:`\alpha_t = 1`, :math:`\sigma_t = s_0 (s_1 / s_0)^t`.

    References:
        Song et al., 2020, arXiv:2011.13456, equation 31; Song and Ermon, 2019, arXiv:1907.05600.

    Example:
        >>> schedule = VarianceExploding(0.01, 50.0)
        >>> round(float(schedule.sigma(jnp.array(1.0))), 4)
        50.0
    """

    smallest: float = 0.01
    largest: float = 50.0

    def alpha(self, t: jax.Array) -> jax.Array:
        """The share of the data that is left: all."""
        return jnp.ones_like(t)

    def sigma(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise."""
        return self.smallest * (self.largest / self.smallest) ** t

    def drift(self, t: jax.Array) -> jax.Array:
        """The rate f at which rows shrink: none."""
        return jnp.zeros_like(t)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """The strength g with which noise comes in."""
        return self.sigma(t) * jnp.sqrt(2 * jnp.log(self.largest / self.smallest))


class CosineSchedule(NamedTuple):
    r"""The share of the data falls as :math:`\alpha_t \propto \cos(\frac\pi2 \frac{t + s}{1 + s})`.

    It is cut off at the end, where nothing of the data would be left at all.

    References:
        Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, 2021, arXiv:2102.09672.

    Example:
        >>> schedule = CosineSchedule()
        >>> float(schedule.alpha(jnp.array(0.0))), round(float(schedule.sigma(jnp.array(0.5))), 3)
        (1.0, 0.709)
    """

    offset: float = 0.008
    end: float = 0.995

    def alpha(self, t: jax.Array) -> jax.Array:
        """The share of the data that is left."""
        return jnp.cos(self._angle(t)) / jnp.cos(self._angle(0.0))

    def sigma(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise."""
        return jnp.sqrt(1 - self.alpha(t) ** 2)

    def _angle(self, t: jax.Array | float) -> jax.Array:
        return jnp.pi / 2 * (self.end * jnp.asarray(t) + self.offset) / (1 + self.offset)


class LogLinearSchedule(NamedTuple):
    r"""The log signal-to-noise ratio :math:`\log \alpha_t^2 / \sigma_t^2` falls evenly.

    All strengths of noise are passed at the same pace, so that few steps lose little of the bound.

    References:
        Kingma, Salimans, Poole and Ho, *Variational Diffusion Models*, 2021, arXiv:2107.00630.

    Example:
        >>> schedule = LogLinearSchedule(9.0, -9.0)
        >>> round(float(schedule.sigma(jnp.array(0.5)) ** 2), 4)
        0.5
    """

    begin: float = 9.0
    end: float = -9.0

    def alpha(self, t: jax.Array) -> jax.Array:
        """The share of the data that is left."""
        return jnp.sqrt(jax.nn.sigmoid(self._ratio(t)))

    def sigma(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise."""
        return jnp.sqrt(jax.nn.sigmoid(-self._ratio(t)))

    def _ratio(self, t: jax.Array) -> jax.Array:
        return self.begin + t * (self.end - self.begin)


Process = VariancePreserving | VarianceExploding
"""Those that are a differential equation too, with a drift and a diffusion."""
