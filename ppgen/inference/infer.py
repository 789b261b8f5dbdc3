"""The front door to the posterior methods."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ppgen.errors import InferenceWarning, InvalidArgument, UnknownName
from ppgen.inference.compilation import use_persistent_cache
from ppgen.inference.diagnostics import diagnose_chains
from ppgen.inference.nuts import NUTS, sample_nuts
from ppgen.inference.posterior import Posterior, constrain_draws
from ppgen.inference.progress import SamplingProgress
from ppgen.program.arguments import check_data
from ppgen.program.family import Program
from ppgen.program.read import read_density
from ppgen.program.sites import Site

__all__ = ["infer"]

_METHODS = {"nuts": NUTS}


def infer(
    program: Program,
    data: Mapping[str, Any] | None = None,
    method: str = "nuts",
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 0,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    engine: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Posterior:
    r"""Draw from the posterior of a program.

    The program is read once as an unconstrained log density
    :math:`\log \pi(z) = \log p(y, x(z)) + \log |\det \partial x / \partial z|`, in double precision, and
    the method draws from that.

    Args:
        program: a NumPyro or Pyro callable with ``sample`` statements.
        data: its keyword arguments; arrays, lists and pandas columns become arrays.
        method: ``"nuts"``, the No-U-Turn sampler.
        draws, tune, chains: draws a chain after warm-up, length of the warm-up, number of chains.
        seed: the same seed gives the same draws on the same machine.
        coords, dims: names for the entries of sites, as ArviZ takes them; plates give theirs.
        engine: ``"numpyro"`` or ``"pyro"``, where it cannot be told from the program.
        progress: show a progress bar.
        **options: the method's own; for NUTS see :class:`ppgen.inference.NUTS`.

    Returns:
        A :class:`Posterior`. What its diagnostics find wrong is also raised as an
        :class:`~ppgen.errors.InferenceWarning`.

    Raises:
        ProgramError, UnsupportedProgram: if the program is wrong or cannot be fitted.
        DataError: if the data is empty, not finite, or outside a site's support.
        InvalidArgument, UnknownName: if an argument, option or method is not possible.
        InferenceError: if the log density is not finite anywhere near 0.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = infer(program, {"y": [1.0, 2.0, 3.0]}, progress=False)   # exact: N(1.5, 0.5)
        >>> print(f"{post.draws['mu'].mean():.1f} ± {post.draws['mu'].std():.1f}")
        1.5 ± 0.5
    """
    settings = _settings(method, options)
    _check_counts(draws=draws, tune=tune, chains=chains, seed=seed)
    begin = time.perf_counter()
    use_persistent_cache()
    checked = check_data(data)
    density = read_density(program, checked, engine=engine)
    with SamplingProgress("NUTS", chains * (tune + draws), show=progress) as bar:
        drawn = sample_nuts(density, settings, draws=draws, tune=tune, chains=chains, seed=seed, progress=bar)
    sites = constrain_draws(density, drawn.positions)
    latent = {part.name: sites[part.name] for part in density.latents}
    posterior = Posterior(
        draws=sites,
        log_weights=None,
        log_evidence=None,
        diagnostics=diagnose_chains(latent, drawn.stats, max_tree_depth=settings.max_tree_depth),
        method=method,
        seed=seed,
        seconds=time.perf_counter() - begin,
        density=density,
        data=checked,
        positions=drawn.positions,
        stats=drawn.stats,
        coords=coords or {},
        dims={**_plate_dims(density.sites), **(dims or {})},
    )
    for problem in posterior.diagnostics.problems:
        warnings.warn(problem, InferenceWarning, stacklevel=2)
    return posterior


def _settings(method: str, options: Mapping[str, Any]) -> NUTS:
    """The method's options, each name checked."""
    if method not in _METHODS:
        raise UnknownName("method", method, _METHODS)
    known = [field.name for field in fields(_METHODS[method])]
    for name in options:
        if name not in known:
            raise UnknownName(f"option of method {method!r}", name, known)
    return _METHODS[method](**options)


def _check_counts(**counts: int) -> None:
    smallest = {"draws": 4, "tune": 0, "chains": 1, "seed": 0}
    usual = {"draws": 1000, "tune": 1000, "chains": 4, "seed": 0}
    for name, count in counts.items():
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not whole or count < smallest[name]:
            raise InvalidArgument(
                name,
                got=repr(count),
                expected=f"an integer of at least {smallest[name]}",
                fix=f"Write {name}={usual[name]}.",
            )


def _plate_dims(sites: tuple[Site, ...]) -> dict[str, list[str]]:
    """ArviZ's dimension names from the plates around each site."""
    return {
        site.name: [name or f"{site.name}_dim_{axis}" for axis, name in enumerate(site.dims)]
        for site in sites
        if any(site.dims)
    }
