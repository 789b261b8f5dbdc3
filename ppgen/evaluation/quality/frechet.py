"""The Fréchet distance between two sets of features, and its extrapolation to infinitely many samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppgen.evaluation.features.spec import FeatureSpec
from ppgen.evaluation.quality.checks import check_samples
from ppgen.evaluation.quality.jackknife import around, folds, jackknife
from ppgen.evaluation.quality.measurement import Measurement

__all__ = ["FID", "FrechetDistance", "frechet_distance"]

FID = "Inception-v3 as in the FID paper"
"""The only features whose Fréchet distance is called FID."""

_COARSER = (5, 2)  # leave out a fifth, or a half: sizes to extrapolate from


@dataclass(frozen=True, kw_only=True)
class FrechetDistance(Measurement):
    """A Fréchet distance; :attr:`value` is the textbook estimate, biased upward by finite samples.

    :attr:`interval` and :attr:`stderr` are those of :attr:`extrapolated`: they are about the distance of the
    two *distributions*. Where the bias is large, ``value`` lies above the interval; ``how`` says so.

    Attributes:
        extrapolated: the distance extrapolated to infinitely many samples.
    """

    extrapolated: float

    @property
    def at_infinity(self) -> Measurement:
        """The extrapolated distance as a separate measurement."""
        return replace(self.plain, name=f"{self.name}, infinite samples", value=self.extrapolated)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The extrapolated distance only: the plain one has no interval, and is not for comparison."""
        return (self.at_infinity,)

    @property
    def reading(self) -> str:
        """Both values, as a sentence."""
        return f"{self.at_infinity.reading}; without extrapolation, {self.value:.4g}"


def frechet_distance(*, real: Any, generated: Any, seed: int = 0) -> FrechetDistance:
    r"""The squared Fréchet distance between Gaussians with the samples' means and covariances.

    .. math:: d^2 = \lVert \mu_1 - \mu_2 \rVert^2 + \operatorname{tr} \Sigma_1
              + \operatorname{tr} \Sigma_2 - 2 \operatorname{tr} \sqrt{\Sigma_1 \Sigma_2}

    With :math:`\Sigma_i = R_i^\top R_i`, the last trace is the sum of the singular values of
    :math:`R_1 R_2^\top`: no matrix square root is taken, so that the distance is never complex or
    negative. The bias of finite samples shrinks like :math:`1/n`; the distances of subsamples are
    extrapolated along that line to :math:`1/n = 0`.

    (Dowson and Landau 1982; Heusel et al. 2017, arXiv:1706.08500; Chong and Forsyth 2020, "Effectively
    unbiased FID and Inception Score and where to find them", arXiv:1911.07023.)

    Args:
        real: features ``(n_real, d)``, an array or :class:`~ppgen.evaluation.features.Features`.
        generated: features ``(n, d)`` of the same spec.
        seed: the seed of the jackknife's random groups.

    Warns:
        EvaluationWarning: if there are fewer samples than features.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all constant.
        InvalidArgument: if the two have features of different specs.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 2000, 2))
        >>> found = frechet_distance(real=x, generated=y + [1.0, 0.0])  # the truth is 1
        >>> bool(found.interval[0] < 1 < found.interval[1])
        True
    """
    samples = check_samples(real, generated)
    x, y = samples.real, samples.generated
    scale = float(np.ptp(x, axis=0).max())  # keeps squares of very large or small features in range

    def distance(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return np.array([scale**2 * _distance(x[i] / scale, y[j] / scale)])

    spread = jackknife(distance, len(x), len(y), seed=seed)
    inverse_sizes, distances = [1.0], [spread.values[0]]
    for parts in _COARSER:
        kept = folds(len(x), len(y), parts, seed)
        # Leaving out one of G parts keeps a share (G - 1) / G of the rows.
        inverse_sizes.append(parts / (parts - 1))
        distances.append(np.mean([distance(*rows) for rows in kept]))
    slope = np.polyfit(inverse_sizes, distances, 1)[0]
    extrapolated = max(0.0, float(spread.values[0] - slope))
    stderr = float(spread.stderr[0])
    return FrechetDistance(
        name=_name(samples.spec),
        value=float(spread.values[0]),
        extrapolated=extrapolated,
        interval=around(extrapolated, stderr, spread.groups, least=0.0),
        stderr=stderr,
        better="lower",
        how="squared distance of Gaussian fits; the interval is of its extrapolation to infinite samples",
        **samples.facts,
    )


def _name(spec: FeatureSpec) -> str:
    return "FID" if spec.name == FID else "Fréchet distance"


def _distance(x: np.ndarray, y: np.ndarray) -> float:
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    r, s = _factor(x), _factor(y)
    shared = np.linalg.svd(r @ s.T, compute_uv=False).sum()
    return max(0.0, float(shift + (r**2).sum() + (s**2).sum() - 2 * shared))  # rounding may end below zero


def _factor(x: np.ndarray) -> np.ndarray:
    """A matrix R with as few rows as possible, such that RᵀR is the covariance."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    r: Any = np.linalg.qr(centred, mode="r")
    return r
