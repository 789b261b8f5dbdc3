"""Leave-one-out cross-validation: how well a fitted program predicts each observation from the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ppgen.inference.convergence import ess_mean
from ppgen.inference.diagnostics import scalars_of
from ppgen.inference.pointwise import flatten_draws
from ppgen.inference.posterior import Posterior
from ppgen.inference.weights import khat_threshold, smooth_rows
from ppgen.style.numbers import as_sure_as
from ppgen.workflow.leave_one_out import LeftOut, refit
from ppgen.workflow.likelihoods import Observations, observations
from ppgen.workflow.moment_matching import match_moments

__all__ = ["CrossValidation", "leave_one_out_weights", "loo"]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    r"""What leave-one-out cross-validation says of one posterior.

    Attributes:
        elpd_i: ``(n,)``, :math:`\log p(y_i \mid y_{-i})` of each observation, in nats.
        lpd_i: ``(n,)``, :math:`\log p(y_i \mid y)`, which has seen the observation.
        khat: ``(n,)``, the Pareto shape behind each: how far the posterior is from the one without it;
            0 after an exact refit.
        how: ``(n,)``, ``"psis"``, ``"moment matching"`` or ``"refit"``.
        labels: a name for each observation.
        observed: the observations by site.
        threshold: the largest Pareto shape that can be trusted.
        note: what else there is to know; else empty.
    """

    elpd_i: np.ndarray
    lpd_i: np.ndarray
    khat: np.ndarray
    how: tuple[str, ...]
    labels: tuple[str, ...]
    observed: Mapping[str, np.ndarray]
    threshold: float
    note: str = ""

    @property
    def elpd(self) -> float:
        """The expected log predictive density: the sum of :attr:`elpd_i`, in nats; higher is better."""
        return float(self.elpd_i.sum())

    @property
    def stderr(self) -> float:
        """The standard error of :attr:`elpd` over data sets of this size."""
        return float(math.sqrt(len(self.elpd_i)) * self.elpd_i.std())

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of :attr:`elpd`."""
        return self.elpd - 1.96 * self.stderr, self.elpd + 1.96 * self.stderr

    @property
    def p_loo(self) -> float:
        """The effective number of parameters: how much of the fit is lost when a point is left out."""
        return float((self.lpd_i - self.elpd_i).sum())

    @property
    def bad(self) -> tuple[int, ...]:
        """Which observations have a Pareto shape that is too large."""
        return tuple(int(i) for i in np.flatnonzero(~(self.khat <= self.threshold)))

    @property
    def ok(self) -> bool:
        """Whether every observation's figure can be trusted."""
        return not self.bad

    @property
    def reading(self) -> str:
        """The result as plain sentences."""
        words = [
            f"The expected log predictive density of the {len(self.elpd_i)} observations is "
            f"{as_sure_as(self.elpd, self.stderr or None)} ± {self.stderr:.1f} nats, with {self.p_loo:.1f} "
            "effective parameters."
        ]
        for how, doing in (("moment matching", "by moment matching"), ("refit", "by refitting")):
            if count := self.how.count(how):
                words.append(f"{count} of them {'was' if count == 1 else 'were'} computed {doing}.")
        if self.bad:
            listed = ", ".join(self.labels[i] for i in self.bad[:5]) + (", …" if len(self.bad) > 5 else "")
            words.append(
                f"{len(self.bad)} cannot be trusted (Pareto k over {self.threshold:.2f}: {listed}): the "
                "model hardly expects what was observed there, or has a parameter for each of them. "
                "Write refit=True to compute them exactly."
            )
        return " ".join([*words, *([self.note] if self.note else [])])

    def __str__(self) -> str:
        return self.reading

    def frame(self) -> Any:
        """A pandas table with one row an observation."""
        import pandas as pd

        columns = {"elpd": self.elpd_i, "lpd": self.lpd_i, "khat": self.khat, "how": self.how}
        return pd.DataFrame(columns, index=pd.Index(self.labels, name="observation"))


def loo(post: Posterior, *, moment_match: bool = True, refit: bool = False) -> CrossValidation:
    r"""Leave-one-out cross-validation by Pareto-smoothed importance sampling.

    .. math::
        \mathrm{elpd} = \sum_i \log p(y_i \mid y_{-i}), \quad
        p(y_i \mid y_{-i}) \approx \frac{\sum_s w_{is}\, p(y_i \mid \theta_s)}{\sum_s w_{is}}, \quad
        w_{is} = \frac{\pi(\theta_s)}{q(\theta_s)} \frac{1}{p(y_i \mid \theta_s)}

    Draws of another density q than the posterior (a guide's) count by their importance ratio as well. Where
    the Pareto shape of the weights is too large, the draws are moved by moment matching, and what is still
    bad after that is refitted without the observation, if ``refit`` is true. Observations of all sites
    count; missing ones that a mask leaves out count 0.

    Args:
        post: the posterior.
        moment_match: whether to match moments where weights alone do not suffice.
        refit: whether to refit without the observation where nothing else works; one fit each.

    Raises:
        UnsupportedProgram: if the program has no log density of single observations; the site is named.

    References:
        Vehtari, Gelman and Gabry, arXiv:1507.04544; Vehtari, Simpson, Gelman, Yao and Gabry,
        arXiv:1507.02646; of approximate posteriors: Magnusson, Andersen, Jonasson and Vehtari,
        arXiv:1904.10679; moment matching: Paananen, Piironen, Bürkner and Vehtari, arXiv:1906.08850.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = loo(ppgen.infer(program, {"y": [1.0, 2.0, 3.0]}, method="laplace", progress=False))
        >>> found.ok, round(found.elpd, 1)           # y[0] is N(5/3, 4/3) given the others, and so on
        (True, -5.0)
    """
    seen = observations(post)
    found = _by_importance(post, seen)
    if moment_match and found.bad:
        found = _by_moment_matching(post, found)
    return _by_refits(post, found) if refit and found.bad else found


def leave_one_out_weights(post: Posterior, seen: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed log weights ``(n, draws)`` that make the draws those without each observation.

    Returns:
        The log weights, whose exponentials sum to 1 in each row, and the ``n`` Pareto shapes.
    """
    raw = -seen.log_likelihood.T
    if post.drawn.weights is not None:
        raw = raw + post.drawn.weights.raw
    return smooth_rows(raw, _efficiency(post))


def _by_importance(post: Posterior, seen: Observations) -> CrossValidation:
    log_weights, khat = leave_one_out_weights(post, seen)
    weights = post.drawn.weights
    draws = seen.log_likelihood.shape[0]
    whole = weights.smoothed if weights is not None else np.full(draws, -math.log(draws))
    note = ""
    if weights is not None and not weights.usable:
        note = (
            f"The draws are not those of the posterior, and too far from it to be corrected (Pareto k-hat "
            f"{weights.khat:.2f}): take method='nuts'."
        )
        khat = np.maximum(khat, weights.khat)
    return CrossValidation(
        elpd_i=logsumexp(log_weights + seen.log_likelihood.T, axis=1),
        lpd_i=logsumexp(whole + seen.log_likelihood.T, axis=1),
        khat=khat,
        how=("psis",) * len(khat),
        labels=seen.labels,
        observed=seen.observed,
        threshold=khat_threshold(draws),
        note=note,
    )


def _by_moment_matching(post: Posterior, found: CrossValidation) -> CrossValidation:
    if post.drawn.weights is not None and not post.drawn.weights.usable:
        return found  # there are no draws of the posterior that could be moved
    post = post.equally_weighted()
    positions, left_out = flatten_draws(post.positions), LeftOut(post.density)
    efficiency = _efficiency(post)

    def match(i: int) -> tuple[float, float]:
        matched = match_moments(lambda z: left_out.evaluate(z, i), positions, efficiency=efficiency)
        return matched.elpd, matched.khat

    return _improved(found, "moment matching", match)


def _by_refits(post: Posterior, found: CrossValidation) -> CrossValidation:
    left_out = LeftOut(post.density)
    troubled: list[str] = []

    def fit_without(i: int) -> tuple[float, float]:
        fitted = refit(post, left_out.density(i))
        if not fitted.diagnostics.ok:
            troubled.append(found.labels[i])
        _, log_likelihood = left_out.evaluate(flatten_draws(fitted.positions), i)
        weights = fitted.drawn.weights
        if weights is None or not weights.usable:
            khat = 0.0 if weights is None else weights.khat
            return float(logsumexp(log_likelihood) - math.log(len(log_likelihood))), khat
        return float(logsumexp(weights.smoothed + log_likelihood)), 0.0

    found = _improved(found, "refit", fit_without)
    if not troubled:
        return found
    words = f"The fits without {', '.join(troubled[:5])} have problems of their own."
    return replace(found, note=f"{found.note} {words}".strip())


def _improved(
    found: CrossValidation, how: str, estimate: Callable[[int], tuple[float, float]]
) -> CrossValidation:
    """The bad observations by another estimate of elpd and Pareto shape, where that has a smaller shape."""
    elpd, khat, ways = found.elpd_i.copy(), found.khat.copy(), list(found.how)
    for i in found.bad:
        value, shape = estimate(i)
        if shape < khat[i]:
            elpd[i], khat[i], ways[i] = value, shape, how
    return replace(found, elpd_i=elpd, khat=khat, how=tuple(ways))


def _efficiency(post: Posterior) -> float:
    """How many independent draws each draw is worth: of a Markov chain, the mean over all quantities."""
    chains, draws = post.positions.shape[:2]
    if math.isnan(post.diagnostics.rhat_max) or chains == 1:
        return 1.0
    sizes = [ess_mean(values) for _, values in scalars_of(post.draws)]
    return float(np.mean(sizes)) / (chains * draws)
