"""The log density of each observation at the draws of a posterior, where single observations have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ppgen.errors import UnsupportedProgram
from ppgen.inference.log_densities import log_densities
from ppgen.inference.pointwise import flatten_draws, pointwise
from ppgen.inference.posterior import Posterior
from ppgen.program.density import Density
from ppgen.style.entries import entries_of

__all__ = ["Observations", "observations"]


@dataclass(frozen=True, eq=False)
class Observations:
    """The log density of each observation at each draw.

    Attributes:
        shapes: how many observations there are, by entry of the program's log likelihood: a site, or
            sites that a discrete latent ties together, in alphabetical order.
        log_likelihood: ``(draws, n)``, the entries one after the other, all chains together.
        observed: the observations by site.
    """

    shapes: Mapping[str, tuple[int, ...]]
    log_likelihood: np.ndarray
    observed: Mapping[str, np.ndarray]

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each observation, such as ``y[3]``."""
        return tuple(label for name, shape in self.shapes.items() for _, label in entries_of(name, shape))


def observations(post: Posterior) -> Observations:
    """The log density of each observation at each draw of a posterior, its raw draws if they have weights.

    Raises:
        UnsupportedProgram: if the program has no log density of one observation alone: it has no observed
            site, its likelihood is in a factor, a discrete latent ties all of a site's observations
            together, or a scale makes them count for more or less than one each.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": [1.0, 2.0, 3.0]}, method="laplace", progress=False)
        >>> found = observations(post)
        >>> found.log_likelihood.shape, found.labels
        ((4000, 3), ('y[0]', 'y[1]', 'y[2]'))
    """
    _check_observed(post.density)
    likelihood, _, observed = pointwise(post.density, post.positions)
    names = sorted(likelihood)
    _check_apart(post.density, {name: likelihood[name].shape[2:] for name in names})
    rows = [flatten_draws(likelihood[name]).reshape(post.positions[..., 0].size, -1) for name in names]
    values = np.concatenate(rows, axis=1)
    _check_unscaled(post, values)
    return Observations({name: likelihood[name].shape[2:] for name in names}, values, observed)


def _check_observed(density: Density) -> None:
    if any(site.role == "observed" for site in density.sites):
        return
    factors = [site.name for site in density.sites if site.role == "factor"]
    raise UnsupportedProgram(
        f"site {factors[0]!r}" if factors else "program",
        got="a factor, which says nothing of single observations" if factors else "no observed site",
        expected="an observed site, with one log density an observation",
        fix="Observe the data with a sample statement: sample(name, distribution, obs=y).",
    )


def _check_apart(density: Density, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """One number for a whole site of several observations leaves none of them out."""
    sizes = {
        site.name: int(np.prod(site.shape[: len(site.shape) - site.event_dim]))
        for site in density.sites
        if site.role == "observed"
    }
    for name, shape in shapes.items():
        tied = name.removesuffix("_marginal").split("+")
        count = max((sizes[site] for site in tied if site in sizes), default=2)
        if name not in sizes and int(np.prod(shape)) == 1 and count > 1:
            raise UnsupportedProgram(
                f"site {tied[0]!r}",
                got="one log density for all of its observations, which a discrete latent ties together",
                expected="one log density an observation",
                fix="Only what depends on a discrete latent of its own can be left out alone: a series of "
                "hidden states needs leave-future-out validation, a mixture a plate around its labels.",
            )


def _check_unscaled(post: Posterior, values: np.ndarray) -> None:
    """Observations that count for other than one each are not left out by leaving out their log density."""
    if any(site.role == "factor" for site in post.density.sites):
        return  # what is left over is theirs
    few = slice(0, 4)
    found = log_densities(post.density, flatten_draws(post.positions)[few])
    total = values[few].sum(1)
    over = found.log_joint - found.log_base - total
    if np.isfinite(over).all() and np.abs(over).max() > 1e-6 * (1 + np.abs(total).max()):
        observed = [site.name for site in post.density.sites if site.role == "observed"]
        raise UnsupportedProgram(
            f"site {observed[0]!r}",
            got="observations under a scale, so that each counts for more or less than one",
            expected="observations that count for one each",
            fix="Leave out the scale handler (or the plate's subsample_size) for a comparison.",
        )
