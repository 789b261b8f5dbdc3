"""Whether each observation falls where the others predict it: the probability integral transform."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ppgen.errors import UnsupportedProgram
from ppgen.inference.pointwise import flatten_draws
from ppgen.inference.posterior import Posterior
from ppgen.inference.weights import khat_threshold
from ppgen.workflow.arguments import choose_site
from ppgen.workflow.calibration.uniformity import Band, p_value, simultaneous_band
from ppgen.workflow.cross_validation import leave_one_out_weights
from ppgen.workflow.likelihoods import observations

__all__ = ["LooPit", "loo_pit"]

_BINS = 99  # the values are judged as ranks on 0 … 99
_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class LooPit:
    """Where each observation lies in its predictive distribution from the others.

    Attributes:
        site: the observed site.
        values: ``(n,)``, from 0 to 1; uniform if the model predicts as it should.
        khat: ``(n,)``, the Pareto shapes of the importance weights behind them.
        threshold: the largest Pareto shape that can be trusted.
        p_value: the probability that uniform values leave as wide a band as these do.
    """

    site: str
    values: np.ndarray
    khat: np.ndarray
    threshold: float
    p_value: float

    @property
    def band(self) -> Band:
        """The bounds of the ECDF of uniform values, which hold at all points together in 95 % of cases."""
        return simultaneous_band(len(self.values), _BINS, _LEVEL)

    @property
    def ok(self) -> bool:
        """Whether the values pass for uniform."""
        return self.p_value >= 1 - _LEVEL

    @property
    def bad(self) -> int:
        """How many observations have a Pareto shape that is too large."""
        return int((~(self.khat <= self.threshold)).sum())

    @property
    def reading(self) -> str:
        """The result in plain sentences."""
        words = f"The leave-one-out predictions of {self.site} "
        if self.ok:
            words += f"are calibrated, as far as {len(self.values)} observations show"
        else:
            words += _shape(self.values)
        words += f" (p = {self.p_value:.2g})."
        if self.bad:
            words += (
                f" {self.bad} of the values rest on importance weights that cannot be trusted (Pareto k over "
                f"{self.threshold:.2f})."
            )
        return words

    def __str__(self) -> str:
        return self.reading


def loo_pit(post: Posterior, site: str | None = None, *, seed: int = 0) -> LooPit:
    r"""The probability integral transform of each observation, predicted from all others.

    .. math:: u_i = P(\tilde y_i \le y_i \mid y_{-i})

    It is estimated by posterior predictive draws under leave-one-out importance weights. Discrete
    observations are spread over the mass of their value, :math:`P(\tilde y_i < y_i) + v P(\tilde y_i = y_i)`
    with v uniform, so that they are uniform under the right model as well.

    Args:
        post: the posterior.
        site: the observed site; needed only if there are several.
        seed: of the predictive draws.

    Raises:
        UnsupportedProgram: if the site has no log density of single observations, or its observations are
            vectors, which have no order.
        InvalidArgument, UnknownName: if ``site`` is missing where there are several, or is none of them.

    References:
        Gelfand, Dey and Chang (1992), "Model determination using predictive distributions"; Säilynoja,
        Bürkner and Vehtari, arXiv:2103.10522; of counts: Czado, Gneiting and Held (2009), "Predictive model
        assessment for count data".

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def narrow(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 0.4), obs=y)
        >>> y = np.random.default_rng(0).normal(size=100)
        >>> print(loo_pit(ppgen.infer(narrow, {"y": y}, "laplace", progress=False)).reading[:65])
        The leave-one-out predictions of y are too narrow (p = ...
    """
    seen = observations(post)
    name = choose_site(site, list(seen.observed))
    entry = next((entry for entry in (name, f"{name}_marginal") if entry in seen.shapes), None)
    shape = seen.observed[name].shape
    if entry is None or seen.shapes[entry] != shape:
        raise UnsupportedProgram(
            f"site {name!r}",
            got=f"observations of shape {shape}, but other log densities",
            expected="one log density a number that was observed",
            fix="Take a site of single numbers: vectors, and what discrete latents tie together, have no "
            "order to be ranked in.",
        )
    log_weights, khat = leave_one_out_weights(post, seen)
    start = sum(math.prod(seen.shapes[other]) for other in seen.shapes if other < entry)
    rows = slice(start, start + math.prod(shape))
    predicted = flatten_draws(post.predictive(seed)[name]).reshape(len(seen.log_likelihood), -1)  # (draws, n)
    observed = seen.observed[name].ravel()
    weights = np.exp(log_weights[rows])  # (n, draws)
    below = (weights * (predicted < observed).T).sum(1)
    equal = (weights * (predicted == observed).T).sum(1)
    spread = np.random.default_rng(seed).uniform(size=len(observed))
    values = np.clip(below + spread * equal, 0.0, 1.0)
    ranks = np.minimum((values * (_BINS + 1)).astype(int), _BINS)
    return LooPit(name, values, khat[rows], khat_threshold(len(seen.log_likelihood)), p_value(ranks, _BINS))


def _shape(values: np.ndarray) -> str:
    """In words, how values differ from uniform ones."""
    n = len(values)
    shift = (values.mean() - 0.5) * math.sqrt(12 * n)
    stretch = (values.var() - 1 / 12) * math.sqrt(180 * n)
    words = []
    if abs(shift) > 2:
        words.append("too low" if shift > 0 else "too high")
    if abs(stretch) > 2:
        words.append("too narrow" if stretch > 0 else "too wide")
    return f"are {' and '.join(words)}" if words else "do not have the right shape"
