"""Memorisation: does the model generate new examples, or copy those that it was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppgen.evaluation.quality.checks import check_samples
from ppgen.evaluation.quality.jackknife import share_interval, share_stderr
from ppgen.evaluation.quality.measurement import Measurement

__all__ = ["Memorisation", "memorisation"]

_BLOCK = 1024  # rows whose distances to all training rows are computed at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Memorisation(Measurement):
    """How close generated examples are to the training set, compared with held-out examples.

    :attr:`value` is the authenticity: the share of generated examples that are not copies.

    Attributes:
        held_out: the authenticity of held-out examples, which a model of the true distribution reaches.
        z: the data-copying statistic, standard normal for a model of the true distribution. Below −3 the
            generated examples are closer to the training set than held-out ones are: copies. Above 3 they
            are farther: underfitting.
        copies: the share of generated examples that equal a training example.
        nearest: ``(n,)``, the index of the training example nearest to each generated one.
        distances: ``(n,)``, the distance to it.
        held_out_distances: ``(n_real,)``, the same for held-out examples.
    """

    held_out: float
    z: float
    copies: float
    nearest: np.ndarray
    distances: np.ndarray
    held_out_distances: np.ndarray

    @property
    def reading(self) -> str:
        """What was found, as a sentence."""
        if self.z < -3:
            verdict = "Generated rows are closer to training rows than held-out rows are: the model copies"
        elif self.z > 3:
            verdict = "Generated rows are farther from training rows than held-out rows are: it underfits"
        else:
            verdict = "Generated rows are as far from training rows as held-out rows are"
        return (
            f"{verdict} (z = {self.z:.1f}). {super().reading}; held-out rows reach {self.held_out:.2f}; "
            f"{self.copies:.1%} are exact copies"
        )

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The authenticity, with that of held-out examples in ``how``, and the data-copying statistic."""
        how = f"{self.how}; held-out rows reach {self.held_out:.2f}"
        interval = (self.z - 1.96, self.z + 1.96)
        return (
            replace(self.plain, how=how),
            replace(self.plain, name="data-copying z", value=self.z, interval=interval, stderr=1.0),
        )


def memorisation(*, train: Any, real: Any, generated: Any) -> Memorisation:
    r"""Compare the distances from generated and from held-out examples to their nearest training examples.

    An example y with nearest training example x is *authentic* if another training example is closer to x:

    .. math:: \lVert y - x \rVert > \min_{x' \ne x} \lVert x' - x \rVert

    The z statistic is that of the Mann–Whitney test between both sets of distances.

    (Alaa et al. 2022, "How faithful is your synthetic data?", arXiv:2102.08921; Meehan, Chaudhuri and
    Dasgupta 2020, "A non-parametric test to detect data-copying in generative models", arXiv:2004.05675,
    here without the partition into cells.)

    Args:
        train: features ``(k, d)`` of the model's training set.
        real: features of held-out examples. The features must not be fitted to ``train``, which would make
            the
            training set look special: use raw values, not a classifier trained on it.
        generated: features ``(n, d)`` of the same spec.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all constant.
        InvalidArgument: if they have features of different specs.

    Example:
        >>> train, real = np.random.default_rng(0).normal(size=(2, 300, 5))
        >>> found = memorisation(train=train, real=real, generated=train[:100] + 1e-3)
        >>> found.value, found.z < -3, bool((found.nearest == np.arange(100)).all())
        (0.0, True, True)
    """
    samples = check_samples(real, generated)
    known = check_samples(train, real).real
    own = _nearest(known, known, itself=True)[1]  # the distance of each training row to the nearest other
    nearest, distances = _nearest(samples.generated, known)
    nearest_held_out, held_out_distances = _nearest(samples.real, known)
    authentic = float((distances > own[nearest]).mean())
    n = len(distances)
    return Memorisation(
        name="authenticity",
        value=authentic,
        interval=share_interval(authentic, 0.0, n),
        stderr=share_stderr(authentic, n),
        better="neither",
        how=f"distances to the nearest of {len(known):,} training rows",
        held_out=float((held_out_distances > own[nearest_held_out]).mean()),
        z=_mann_whitney_z(distances, held_out_distances),
        copies=float((distances == 0).mean()),
        nearest=nearest,
        distances=distances,
        held_out_distances=held_out_distances,
        **samples.facts,
    )


def _nearest(rows: np.ndarray, known: np.ndarray, *, itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The index and distance of the nearest known row; ``itself`` excludes the row itself."""
    from scipy.spatial.distance import cdist

    indices, distances = np.empty(len(rows), np.int64), np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = cdist(rows[start : start + _BLOCK], known)
        if itself:
            block[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        indices[start : start + _BLOCK] = block.argmin(axis=1)
        distances[start : start + _BLOCK] = block.min(axis=1)
    return indices, distances


def _mann_whitney_z(x: np.ndarray, y: np.ndarray) -> float:
    """Negative where x tends to be smaller than y; ties are counted half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([x, y]))
    m, n = len(x), len(y)
    u = ranks[:m].sum() - m * (m + 1) / 2
    ties = np.unique(ranks, return_counts=True)[1]
    variance = m * n / 12 * (m + n + 1 - (ties**3 - ties).sum() / ((m + n) * (m + n - 1)))
    return float((u - m * n / 2) / math.sqrt(variance)) if variance > 0 else 0.0
