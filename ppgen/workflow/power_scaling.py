"""How much a posterior owes to its prior, and how much to its data: power-scaling sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ppgen.checks import check_choice, check_number
from ppgen.errors import InferenceError, UnsupportedProgram
from ppgen.inference.arviz_compat import power_scaling
from ppgen.inference.diagnostics import scalars_of
from ppgen.inference.log_densities import log_densities
from ppgen.inference.pointwise import flatten_draws, pointwise, unflatten_draws
from ppgen.inference.posterior import Posterior
from ppgen.inference.weights import Weights, khat_threshold
from ppgen.workflow.dependence import parents_of

__all__ = ["Part", "ScaledParameter", "Sensitivity", "sensitivity"]

Part = Literal["prior", "likelihood"]

_PARTS: tuple[Part, Part] = ("prior", "likelihood")
_THRESHOLD = 0.05  # as in priorsense and ArviZ: what a normal mean moves by 0.3 sd when the power is doubled
_ADVICE = {
    "prior-data conflict": "prior and data both decide, and may be in conflict. Check that the prior says "
    "what you mean, on the right scale.",
    "strong prior or weak likelihood": "the prior decides, the data hardly do. Fine if the prior is real "
    "knowledge; else take a wider one, or say that the data leave this open.",
}
_POWERS = (0.5, 0.66, 0.8, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True, eq=False)
class ScaledParameter:
    r"""How one parameter responds to a weaker or stronger prior and likelihood.

    Attributes:
        name: the site, with the entry's index.
        prior, likelihood: the sensitivity: the slope of the cumulative Jensen-Shannon distance from the
            posterior, against the binary logarithm of the power; over 0.05 is sensitive.
        mean, sd: by part, ``(powers,)``: the parameter's posterior mean and standard deviation at each power.
    """

    name: str
    prior: float
    likelihood: float
    mean: Mapping[Part, np.ndarray]
    sd: Mapping[Part, np.ndarray]

    @property
    def diagnosis(self) -> Literal["", "prior-data conflict", "strong prior or weak likelihood"]:
        """What the two sensitivities mean together; empty if there is nothing to say."""
        if self.prior < _THRESHOLD:
            return ""
        return "prior-data conflict" if self.likelihood >= _THRESHOLD else "strong prior or weak likelihood"

    @property
    def reading(self) -> str:
        """The diagnosis in a plain sentence."""
        numbers = f"sensitivity to the prior {self.prior:.2f}, to the likelihood {self.likelihood:.2f}"
        words = (
            "the data decide." if self.likelihood >= _THRESHOLD else "neither prior nor data move it much."
        )
        return f"{self.name} ({numbers}): {_ADVICE.get(self.diagnosis, words)}"


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How each parameter responds to a weaker or stronger prior and likelihood.

    Attributes:
        parameters: one a scalar of a latent site.
        prior_sites: the sites whose priors were scaled.
        powers: ``(powers,)``, the powers behind each parameter's ``mean`` and ``sd``.
        khat: by part, ``(powers,)``: the Pareto shape of the weights at each power.
        threshold: the largest Pareto shape that can be trusted.
    """

    parameters: tuple[ScaledParameter, ...]
    prior_sites: tuple[str, ...]
    powers: tuple[float, ...]
    khat: Mapping[Part, np.ndarray]
    threshold: float

    def __getitem__(self, name: str) -> ScaledParameter:
        """One parameter, by name."""
        by_name = {each.name: each for each in self.parameters}
        return by_name[check_choice("parameter", name, by_name)]

    @property
    def ok(self) -> bool:
        """Whether no parameter is sensitive to its prior."""
        return not any(each.diagnosis for each in self.parameters)

    @property
    def reading(self) -> str:
        """The findings as plain sentences, the most sensitive parameters first."""
        scaled = ", ".join(self.prior_sites)
        found = sorted((each for each in self.parameters if each.diagnosis), key=lambda each: -each.prior)
        if not found:
            return f"No parameter is sensitive to the prior of {scaled}."
        sentences = []
        for diagnosis, words in _ADVICE.items():
            named = [each for each in found if each.diagnosis == diagnosis]
            if named:
                listed = ", ".join(
                    f"{each.name} ({each.prior:.2f}, {each.likelihood:.2f})" for each in named[:5]
                )
                more = f" and {len(named) - 5} more" if len(named) > 5 else ""
                sentences.append(f"{listed}{more}: {words}")
        return " ".join(
            [f"Sensitivities to the prior of {scaled}, and to the likelihood, in brackets.", *sentences]
        )

    def __str__(self) -> str:
        return "\n".join(each.reading for each in self.parameters)

    def frame(self) -> Any:
        """A pandas table with one row a parameter."""
        import pandas as pd

        columns = ("name", "prior", "likelihood", "diagnosis")
        rows = [{name: getattr(each, name) for name in columns} for each in self.parameters]
        return pd.DataFrame(rows).set_index("name")


def sensitivity(
    post: Posterior,
    *,
    prior: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    powers: Sequence[float] = _POWERS,
) -> Sensitivity:
    r"""Raise the prior or the likelihood to a power, and see how the posterior changes.

    .. math:: p_\alpha(\theta \mid y) \propto p(\theta)^\alpha\, p(y \mid \theta)
        \quad\text{or}\quad p(\theta)\, p(y \mid \theta)^\alpha

    Nothing is refitted: draws are reweighted by :math:`p(\theta)^{\alpha - 1}` or
    :math:`p(y \mid \theta)^{\alpha - 1}`, Pareto-smoothed. A prior that is written as a factor counts with
    the likelihood.

    Args:
        post: the posterior; draws with importance weights are resampled by them first.
        prior: the sites whose priors are scaled. By default those at the top of the hierarchy, whose priors
            depend on no other site and that are not one an observation: what stands below is part of the
            model rather than of the prior.
        names: the latent or deterministic sites to look at; by default all latent ones.
        powers: at which powers means and standard deviations are computed.

    Raises:
        UnknownName: if there is no such site.
        InvalidArgument: if a power is not positive.
        UnsupportedProgram: if no prior that is to be scaled has a density: all are flat.
        InferenceError: if the importance weights of the posterior cannot be trusted.

    References:
        Kallioinen, Paananen, Bürkner and Vehtari, *Detecting and diagnosing prior and likelihood sensitivity
        with power-scaling*, arXiv:2107.14054.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> far = ppgen.infer(program, {"y": [9.0, 10.0, 11.0]}, "laplace", progress=False)
        >>> sensitivity(far)["mu"].diagnosis
        'prior-data conflict'
    """
    powers = tuple(check_number("powers", power, above=0.0) for power in powers) or _POWERS
    post = _exact(post)
    positions, shape = flatten_draws(post.positions), post.positions.shape[:2]
    _, log_prior, _ = pointwise(post.density, post.positions)
    scaled = _prior_sites(post, prior, positions, log_prior)
    found = log_densities(post.density, positions)
    log_parts: dict[Part, np.ndarray] = {
        "prior": sum((log_prior[name].reshape(*shape, -1).sum(-1) for name in scaled), np.zeros(shape)),
        # As the difference it counts factors and scales in, too.
        "likelihood": unflatten_draws(found.log_joint - found.log_base, shape),
    }
    draws = _draws(post, names)
    scalars = dict(scalars_of(draws))
    slopes = {part: _slopes(scalars, log_parts[part], part) for part in _PARTS}
    weights = {part: [Weights((power - 1) * log_parts[part].ravel()) for power in powers] for part in _PARTS}
    parameters = tuple(
        ScaledParameter(
            name, slopes["prior"][name], slopes["likelihood"][name], *_moments(values.ravel(), weights)
        )
        for name, values in scalars.items()
    )
    khat = {part: np.array([each.khat for each in weights[part]]) for part in _PARTS}
    return Sensitivity(parameters, scaled, powers, khat, khat_threshold(len(positions)))


def _exact(post: Posterior) -> Posterior:
    weights = post.drawn.weights
    if weights is not None and not weights.usable:
        raise InferenceError(
            "post",
            got=f"draws whose importance weights have a Pareto k-hat of {weights.khat:.2f}",
            expected="draws of the posterior, or such that can be corrected",
            fix="Take a richer guide (guide='nsf'), or method='nuts'.",
        )
    return post.equally_weighted()


def _prior_sites(
    post: Posterior, prior: Sequence[str] | None, positions: np.ndarray, log_prior: Mapping[str, np.ndarray]
) -> tuple[str, ...]:
    if prior is not None:
        chosen = [check_choice("prior", name, log_prior) for name in prior]
    else:
        parents = parents_of(post.density, positions[:: max(1, len(positions) // 3)][:3])
        order = [part.name for part in post.density.latents]
        names = [*(name for name in order if name in log_prior), *(set(log_prior) - set(order))]
        top = [name for name in names if not parents.get(name)]
        chosen = [name for name in top if name not in _one_an_observation(post)] or top
    scaled = tuple(name for name in chosen if np.ptp(log_prior[name]) > 0)
    if not scaled:
        raise UnsupportedProgram(
            "prior",
            got="flat priors only, which no power changes",
            expected="at least one site with a prior density",
            fix="Give a site a proper prior, or name the sites to scale: prior=(...).",
        )
    return scaled


def _one_an_observation(post: Posterior) -> set[str]:
    """Latent sites that share a plate with an observed one."""
    sites = post.density.sites
    plates = {plate for site in sites if site.role == "observed" for plate in site.plates}
    return {site.name for site in sites if site.role == "latent" and plates & set(site.plates)}


def _draws(post: Posterior, names: Sequence[str] | None) -> dict[str, np.ndarray]:
    chosen = [part.name for part in post.density.latents] if names is None else names
    return {name: post.draws[check_choice("names", name, post.draws)] for name in chosen}


def _slopes(scalars: Mapping[str, np.ndarray], log_part: np.ndarray, part: Part) -> dict[str, float]:
    if np.ptp(log_part) == 0:
        return dict.fromkeys(scalars, 0.0)
    return {name: float(value) for name, value in power_scaling(scalars, log_part, part).items()}


def _moments(
    values: np.ndarray, weights: Mapping[Part, list[Weights]]
) -> tuple[dict[Part, np.ndarray], dict[Part, np.ndarray]]:
    mean: dict[Part, np.ndarray] = {}
    sd: dict[Part, np.ndarray] = {}
    for part, each in weights.items():
        shares = np.exp([one.smoothed for one in each])  # (powers, draws)
        mean[part] = shares @ values
        sd[part] = np.sqrt(shares @ np.square(values) - np.square(mean[part]))
    return mean, sd
