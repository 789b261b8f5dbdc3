"""R-hat and effective sample sizes of many quantities at once, for fits that are made by the hundred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import norm, rankdata

from ppgen.findings import Evidence, Finding

__all__ = ["check_chains", "effective_size", "split_rhat"]

# A short chain's R-hat is noisy: of good chains as long as these, many have more than the usual 1.01.
_LARGEST_RHAT = 1.05
_MOST_DIVERGING = 0.01
_MOST_CUT = 0.05


def check_chains(
    values: np.ndarray,
    stats: Mapping[str, np.ndarray],
    *,
    names: tuple[str, ...],
    wanted: int,
) -> Iterator[Finding]:
    """What is wrong with one fit's chains.

    Args:
        values: ``(chain, draw, quantity)``.
        stats: the sampler's, ``(chain, draw)``, under ArviZ's names; those that it lacks are not looked at.
        names: of the quantities.
        wanted: how many independent draws are ranked.
    """
    split = _split(values)  # (quantity, chain, draw)
    moving = np.ptp(split, axis=(1, 2)) > 0
    if not moving.all():
        site = names[int(np.argmin(moving))]
        what = f"The chains never move in {site}."
        yield Finding("chains that move", "problem", what, evidence={"site": site})
    scores = _normal_scores(split[moving])
    if len(scores):
        rhat, size = split_rhat(split[moving]), effective_size(scores)
        left = [name for name, moves in zip(names, moving, strict=True) if moves]
        site, largest = left[int(rhat.argmax())], float(rhat.max())
        if largest > _LARGEST_RHAT:
            what = f"R-hat of {site} is {largest:.2f}, more than {_LARGEST_RHAT}."
            numbers: Evidence = {"rhat": largest, "site": site}
            yield Finding("agreement of the chains", "problem", what, evidence=numbers)
        site, smallest = left[int(size.argmin())], float(size.min())
        if smallest < wanted:
            yield Finding(
                "number of draws",
                "problem",
                f"The draws of {site} are worth {smallest:.0f} independent ones, fewer than the {wanted} "
                "that are ranked: raise thin=.",
                evidence={"ess": smallest, "site": site, "threshold": wanted},
            )
    diverging, cut = (
        float(np.mean(stats.get(name, False))) for name in ("diverging", "reached_max_treedepth")
    )
    if diverging > _MOST_DIVERGING:
        what = f"{diverging:.0%} of the trajectories diverged."
        yield Finding("divergences", "problem", what, evidence={"share": diverging})
    if cut > _MOST_CUT:
        what = f"{cut:.0%} of the trajectories were cut off at the largest tree depth."
        yield Finding("length of trajectories", "problem", what, evidence={"cut": cut})


def split_rhat(split: np.ndarray) -> np.ndarray:
    """Rank-normalised R-hat, in the bulk and folded, of chains ``(quantity, chain, draw)``, split already.

    References:
        Vehtari, Gelman, Simpson, Carpenter and Bürkner, arXiv:1903.08008.
    """
    folded = np.abs(split - np.median(split, axis=(1, 2), keepdims=True))
    return np.maximum(*(_rhat(_normal_scores(part)) for part in (split, folded)))


def effective_size(scores: np.ndarray) -> np.ndarray:
    """The effective sample size of chains ``(quantity, chain, draw)``, by Geyer's monotone sequence.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(1, 4, 500))
        >>> 1500 < effective_size(draws)[0] < 2500
        np.True_
    """
    _, chains, n = scores.shape
    centred = scores - scores.mean(2, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * n, axis=2)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n, axis=2)[..., :n] / n  # (quantity, chain, lag)
    within = covariance[..., 0].mean(1) * n / (n - 1)
    total = within * (n - 1) / n + scores.mean(2).var(1, ddof=1)
    rho = 1 - (within[:, None] - covariance.mean(1) * n / (n - 1)) / total[:, None]
    rho[:, 0] = 1
    pairs = rho[:, : n // 2 * 2].reshape(len(rho), -1, 2).sum(2)
    positive = np.logical_and.accumulate(pairs > 0, axis=1)
    decreasing = np.minimum.accumulate(np.where(positive, pairs, 0), axis=1)
    time = np.maximum(2 * decreasing.sum(1) - 1, 1 / np.log10(chains * n))
    return chains * n / time


def _split(values: np.ndarray) -> np.ndarray:
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]]).transpose(2, 0, 1)


def _normal_scores(split: np.ndarray) -> np.ndarray:
    flat = split.reshape(len(split), -1)
    return norm.ppf((rankdata(flat, axis=1) - 0.375) / (flat.shape[1] + 0.25)).reshape(split.shape)


def _rhat(scores: np.ndarray) -> np.ndarray:
    n = scores.shape[2]
    within, between = scores.var(2, ddof=1).mean(1), scores.mean(2).var(1, ddof=1)
    return np.sqrt((n - 1) / n + between / within)
