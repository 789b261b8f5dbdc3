"""Funnels: where a scale pinches the sites below it, so that no step size fits everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, spearmanr

from ppgen.inference.pointwise import flatten_draws
from ppgen.inference.posterior import Posterior
from ppgen.program.density import Latent
from ppgen.program.languages.language import Language
from ppgen.program.sites import Site
from ppgen.workflow.dependence import parents_of

__all__ = ["Funnel", "find_funnels"]

_SMALLEST_CORRELATION = 0.4
_MOST_ENTRIES = 20
_LOCATION_SCALE = ("Normal", "StudentT", "Cauchy", "Laplace", "Logistic", "Gumbel", "MultivariateNormal")


@dataclass(frozen=True)
class Funnel:
    """A scale, and a site whose spread it sets.

    Attributes:
        scale: the parameter at the neck, such as ``tau``, with its index where it is one of several.
        site: what it pinches, such as ``theta``.
        location: the other site that the prior of ``site`` depends on, if there is just one; else empty.
        correlation: Spearman's, between the scale and the log spread of the site's entries over the draws.
        divergent_share: how many of the divergences lie in the half of the draws nearer to the neck;
            NaN where there are none.
        neck: the scale's mean over divergent draws; NaN where there are none.
        body: its mean over all draws.
        shifts: whether the site's distribution is shifted and scaled, so that it has a non-centred form.
    """

    scale: str
    site: str
    location: str
    correlation: float
    divergent_share: float
    neck: float
    body: float
    shifts: bool

    @property
    def what(self) -> str:
        """The funnel and what shows it, in sentences."""
        shown = (
            f"The funnel between {self.scale} and {self.site} is the cause: where {self.scale} is "
            f"{'small' if self.correlation > 0 else 'large'}, {self.site} is pinched into a neck that is too "
            f"narrow for the step size that suits the rest. Over the draws, {self.scale} and the spread of "
            f"{self.site} rise and fall together (rank correlation {self.correlation:.2f})"
        )
        if np.isnan(self.divergent_share):
            return f"{shown}."
        return (
            f"{shown}; {self.divergent_share:.0%} of the divergences lie in the half nearer to the neck, at "
            f"a mean {self.scale} of {self.neck:.2g}, where all draws have {self.body:.2g}."
        )

    def cure(self, language: Language) -> str:
        """What to write instead, in the program's language."""
        if not self.shifts:
            return (
                f"Write {self.site} as a function of a site whose prior does not depend on {self.scale}: "
                "a non-centred form."
            )
        base = self.scale.split("[")[0]
        formula = f"{self.location or 'location'} + {base} * z"
        words = (
            f"Write {self.site} non-centred: sample z from the standard form of its distribution and let "
            f"{self.site} = {formula}"
        )
        if not language.reparam:
            return f"{words}."
        return (
            f'{words}; {language.reparam}(program, config={{"{self.site}": LocScaleReparam(0)}}) does it '
            "without a change of the program."
        )


def find_funnels(post: Posterior) -> tuple[Funnel, ...]:
    """Pairs of a scale and a site below it whose spread follows the scale over the draws, worst first.

    The hierarchy is read off the density: the prior of the site must change with the scale. A site in
    non-centred form has a prior of its own, so that it is never one.

    Args:
        post: the draws of a Markov chain.

    References:
        Betancourt and Girolami, *Hamiltonian Monte Carlo for hierarchical models*, arXiv:1312.0906.
    """
    flat = flatten_draws(post.positions)
    few = flat[:: max(1, len(flat) // 3)][:3]
    sites = {site.name: site for site in post.density.sites}
    layout = {part.name: part for part in post.density.latents}
    parents = parents_of(post.density, few)
    found = [
        funnel
        for name, above in parents.items()
        for parent in above
        for funnel in _between(post, layout[parent], layout[name], sites[name], above)
    ]
    return tuple(sorted(found, key=lambda funnel: -abs(funnel.correlation)))


def _between(
    post: Posterior, scale: Latent, site: Latent, about: Site, above: tuple[str, ...]
) -> Iterator[Funnel]:
    flat = flatten_draws(post.positions)
    entries = flat[:, site.start : site.stop]
    spread = _log_spread(entries)
    own = flatten_draws(post.draws[scale.name]).reshape(len(flat), -1)
    for k in range(scale.start, min(scale.stop, scale.start + _MOST_ENTRIES)):
        z = flat[:, k]  # of a positive site it is the logarithm
        if np.ptp(z) == 0 or np.ptp(spread) == 0:
            continue
        correlation = float(spearmanr(z, spread).statistic)
        if not abs(correlation) > _SMALLEST_CORRELATION:
            continue
        single = scale.stop - scale.start == 1
        value = own[:, k - scale.start] if own.shape[1] == scale.stop - scale.start else z
        share, neck = _at_the_neck(post, z if correlation > 0 else -z, value)
        others = [name for name in above if name != scale.name]
        yield Funnel(
            scale=scale.name if single else f"{scale.name}[{k - scale.start}]",
            site=site.name,
            location=others[0] if len(others) == 1 else "",
            correlation=correlation,
            divergent_share=share,
            neck=neck,
            body=float(value.mean()),
            shifts=about.distribution in _LOCATION_SCALE,
        )


def _log_spread(entries: np.ndarray) -> np.ndarray:
    """The log spread ``(draws,)`` of a site's entries ``(draws, n)``: about their mean, which may move."""
    if entries.shape[1] >= 3:
        spread = entries.std(axis=1)
    else:
        spread = np.abs(entries - np.median(entries, axis=0)).mean(axis=1)
    return np.log(np.maximum(spread, 1e-300))


def _at_the_neck(post: Posterior, z: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    diverging = np.asarray(post.stats.get("diverging", np.zeros(len(z), bool))).ravel().astype(bool)
    if not diverging.any():
        return float("nan"), float("nan")
    ranks = rankdata(z) / len(z)
    return float((ranks[diverging] <= 0.5).mean()), float(value[diverging].mean())
