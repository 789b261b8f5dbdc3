"""Predicting at other arguments than those of the fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ppgen.errors import InvalidArgument, UnknownName
from ppgen.program.arguments import check_data
from ppgen.program.density import Density
from ppgen.program.read import read_sites

__all__ = ["check_anew", "new_arguments"]


def new_arguments(density: Density, data: Mapping[str, Any], anew: Collection[str]) -> dict[str, Any]:
    """All arguments of the program, some of them new, if the posterior's draws are draws of its sites there.

    Args:
        density: what the posterior is of.
        data: the new ones, by name.
        anew: the latent sites that are not to be taken from the posterior.

    Raises:
        InvalidArgument: if a latent site has another shape there, or an observed one is not observed.
        ProgramError: if the program fails at them.
    """
    arguments = {**density.data, **check_data(data)}
    there = {site.name: site for site in read_sites(density.program, arguments, engine=density.engine)}
    for site in density.sites:
        if site.role not in ("latent", "observed") or site.name in anew:
            continue
        found = there.get(site.name)
        if found is None or found.role != site.role:
            raise InvalidArgument(
                "data",
                got=f"arguments at which site {site.name!r} is not {site.role}",
                expected="the same sites as in the fit",
                fix="Give what is observed in its new shape; its values do not matter: y=np.zeros(len(x)).",
            )
        if site.role == "latent" and found.shape != site.shape:
            raise InvalidArgument(
                "data",
                got=f"arguments at which site {site.name!r} has the shape {found.shape}, not {site.shape}",
                expected="latent sites of the shapes that the posterior has draws of",
                fix=f"Write anew=[{site.name!r}] to draw it from its prior given the others: new groups.",
            )
    return arguments


def check_anew(density: Density, anew: Collection[str]) -> None:
    """Refuse names that are no latent sites, and all of them.

    Raises:
        UnknownName: naming the latent sites.
        InvalidArgument: for a name that is not in a list, or if nothing is taken from the posterior.
    """
    if isinstance(anew, str):
        raise InvalidArgument(
            "anew", got=repr(anew), expected="names in a list", fix=f"Write anew=[{anew!r}]."
        )
    latents = [site.name for site in density.sites if site.role == "latent"]
    for name in anew:
        if name not in latents:
            raise UnknownName("anew", name, latents)
    if set(latents) <= set(anew):
        raise InvalidArgument(
            "anew",
            got="all latent sites",
            expected="some of them, the others being taken from the posterior",
            fix="Write ppgen.workflow.prior_predictive(program, data).",
        )
