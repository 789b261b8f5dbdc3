"""Data that a program makes, before and after it has seen any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppgen.checks import check_integer
from ppgen.errors import InvalidArgument, UnsupportedProgram
from ppgen.inference import arviz_compat
from ppgen.inference.pointwise import constrain_draws, pointwise, simulate_data, unflatten_draws
from ppgen.inference.posterior import Posterior
from ppgen.program.arguments import check_data, is_array
from ppgen.program.density import Density
from ppgen.program.family import Program
from ppgen.program.read import read_density
from ppgen.program.sites import Site

__all__ = ["posterior_predictive", "prior_predictive"]


def prior_predictive(
    program: Program,
    data: Mapping[str, Any] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    engine: str | None = None,
) -> Any:
    r"""Draw from the prior, and from it data like the observed.

    .. math:: \theta_s \sim p(\theta), \quad \tilde y_s \sim p(y \mid \theta_s)

    Args:
        program: a NumPyro or Pyro callable.
        data: its keyword arguments; of the observations only the shape matters here, but
            :func:`~ppgen.workflow.check` compares the draws with them.
        draws: how many.
        seed: the same seed gives the same draws.
        engine: ``"numpyro"`` or ``"pyro"``, where it cannot be told from the program.

    Returns:
        ArviZ data with the groups ``prior``, ``prior_predictive``, ``observed_data`` and ``constant_data``;
        all draws are one chain.

    Raises:
        UnsupportedProgram: if a prior is improper, naming the site.
        InvalidArgument: if nothing is observed, or the number of draws or the seed is not possible.
        ProgramError, DataError: as ``ppgen.infer``.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 3.0))
        ...     numpyro.sample("y", dist.Normal(mu, 4.0), obs=y)
        >>> found = prior_predictive(program, {"y": [1.0, 2.0]}, draws=4000)
        >>> found.prior_predictive["y"].shape, round(float(found.prior_predictive["y"].std()))  # √(3² + 4²)
        ((1, 4000, 2), 5)
    """
    check_integer("draws", draws, example=1000)
    check_integer("seed", seed, least=0)
    checked = check_data(data)
    density = read_density(program, checked, engine=engine)
    _check_observed(density.sites)
    positions = density.draw_prior(seed, draws)[None]  # (1, draws, dim)
    drawn = simulate_data(density, positions[0], seed)
    groups = {
        "prior": constrain_draws(density, positions),
        "prior_predictive": {name: unflatten_draws(value, (1, draws)) for name, value in drawn.items()},
        **_data_groups(density, checked, positions),
    }
    return arviz_compat.make_arviz(groups, coords=None, dims=_plates(density.sites))


def posterior_predictive(post: Posterior, *, seed: int = 0) -> Any:
    r"""Draw data like the observed from a posterior, once a draw.

    .. math:: \tilde y_s \sim p(y \mid \theta_s), \quad \theta_s \sim p(\theta \mid y)

    Draws with importance weights are resampled by them first, where their Pareto shape allows it.

    Args:
        post: the posterior.
        seed: the same seed gives the same draws.

    Returns:
        ArviZ data with the groups ``posterior``, ``posterior_predictive``, ``log_likelihood``,
        ``observed_data`` and ``constant_data``.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": [1.0, 2.0, 3.0]}, method="laplace", progress=False)
        >>> found = posterior_predictive(post)
        >>> found.posterior_predictive["y"].shape, round(float(found.posterior_predictive["y"].mean()), 1)
        ((4, 1000, 3), 1.5)
    """
    post = post.equally_weighted()
    likelihood, _, _ = pointwise(post.density, post.positions)
    groups = {
        "posterior": post.draws,
        "sample_stats": post.stats,
        "log_likelihood": likelihood,
        "posterior_predictive": post.predictive(seed),
        **_data_groups(post.density, post.data, post.positions),
    }
    return arviz_compat.make_arviz(groups, coords=post.coords, dims=post.dims)


def _data_groups(
    density: Density, data: Mapping[str, Any], positions: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    _, _, observed = pointwise(density, positions[:1, :1])
    constant = {name: value for name, value in data.items() if is_array(value) and name not in observed}
    return {"observed_data": observed, "constant_data": constant}


def _check_observed(sites: tuple[Site, ...]) -> None:
    if any(site.role == "observed" for site in sites):
        return
    if any(site.role == "factor" for site in sites):
        name = next(site.name for site in sites if site.role == "factor")
        raise UnsupportedProgram(
            f"site {name!r}",
            got="a factor, which has no data to draw",
            expected="an observed site: sample(name, distribution, obs=y)",
            fix="Write the likelihood as the distribution of the data.",
        )
    raise InvalidArgument(
        "data",
        got="no observations: no site of the program is observed",
        expected="the observations, of which only the shape matters for the draws",
        fix='Write data={"y": y}; before there are any, an array of zeros of the same shape.',
    )


def _plates(sites: tuple[Site, ...]) -> dict[str, list[str]]:
    return {
        site.name: [name or f"{site.name}_dim_{axis}" for axis, name in enumerate(site.dims)]
        for site in sites
        if any(site.dims)
    }
