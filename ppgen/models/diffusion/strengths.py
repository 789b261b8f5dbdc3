"""The noise levels of a discrete-time diffusion, and the reverse steps between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = ["NoiseStrengths", "Transition", "Variance"]

Variance = Literal["lower", "upper"]


@dataclass(frozen=True)
class NoiseStrengths:
    """The noise levels of a chain, weakest first.

    They are constants of the chain, and hashable, as JAX requires of static arguments.

    Attributes:
        shares: of the data that are left, one per step.
        spreads: of the noise.
        variance: of the steps back, see :meth:`Transition.between`.

    Example:
        >>> strengths = NoiseStrengths((1.0, 1.0), (0.5, 2.0), "lower")
        >>> [round(float(known), 3) for known in strengths.transitions.known]
        [0.484]
    """

    shares: tuple[float, ...]
    spreads: tuple[float, ...]
    variance: Variance

    @cached_property
    def alphas(self) -> np.ndarray:
        """The shares as an array ``(steps,)``."""
        return np.array(self.shares)

    @cached_property
    def sigmas(self) -> np.ndarray:
        """The spreads as an array ``(steps,)``."""
        return np.array(self.spreads)

    @cached_property
    def prior_spread(self) -> float:
        """The standard deviation of rows under the strongest noise, if that of the data is 1."""
        return float(np.hypot(self.alphas[-1], self.sigmas[-1]))

    @cached_property
    def transitions(self) -> Transition:
        """The steps between neighbours."""
        return Transition.between(self.alphas, self.sigmas, self.variance)

    @cached_property
    def chances(self) -> np.ndarray:
        """The probability ``(steps - 1,)`` of evaluating each step, when a few are sampled.

        Half uniform; half in proportion to the fall of the log signal-to-noise ratio, which is
        about what the step adds to the bound where the noise is weak.
        """
        falls = -np.diff(2 * np.log(self.alphas / self.sigmas))
        return 0.5 / np.maximum(len(falls), 1) + 0.5 * falls / falls.sum()


class Transition(NamedTuple):
    r"""Coefficients of one step back from :math:`z_t` to :math:`z_s`, where the data x are known or guessed.

    .. math:: q(z_s \mid z_t, x) = N(\text{keep} \cdot z_t + \text{data} \cdot x, \text{known}^2), \qquad
        p(z_s \mid z_t) = N(\text{keep} \cdot z_t + \text{data} \cdot \hat x, \text{spread}^2)

    The divergence from the first to the second is ``offset`` for each entry, and ``weight`` times the squared
    error of the guess :math:`\hat x`. Where both have the variance of q the weight is
    :math:`\frac12 (\mathrm{SNR}_s - \mathrm{SNR}_t)`.
    """

    keep: Any
    data: Any
    known: Any
    spread: Any
    weight: Any
    offset: Any

    @classmethod
    def between(cls, alpha: np.ndarray, sigma: np.ndarray, variance: Variance) -> Transition:
        """The steps between neighbouring strengths of noise ``(k,)``, weakest first; arrays ``(k - 1,)``."""
        shrink = alpha[1:] / alpha[:-1]
        added = sigma[1:] ** 2 - (shrink * sigma[:-1]) ** 2  # variance of q(z_t | z_s)
        part = (sigma[:-1] / sigma[1:]) ** 2
        snr = (alpha / sigma) ** 2
        ratio = np.ones_like(part) if variance == "lower" else part  # of the variance of q to that of p
        return cls(
            keep=np.float32(shrink * part),
            data=np.float32(alpha[:-1] * added / sigma[1:] ** 2),
            known=np.float32(np.sqrt(added * part)),
            spread=np.float32(np.sqrt(added * part / ratio)),
            weight=np.float32(0.5 * (snr[:-1] - snr[1:]) * ratio),
            offset=np.float32(0.5 * (ratio - 1 - np.log(ratio))),
        )
