"""Does a guide that a user wrote fit its program: the same latent sites, shapes and supports?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.program.density import Density

__all__ = ["GuideSite", "check_guide", "check_inside", "no_gradient"]


class GuideSite(NamedTuple):
    """A sample statement of a guide: its name, the shape of its value, the class of its support.

    The support is empty where it says nothing, as that of a Delta.
    """

    name: str
    shape: tuple[int, ...]
    support: str


# Classes of constraints, in either language, that mean the same kind of set.
_KINDS = {
    "real": "the real numbers",
    "realvector": "the real numbers",
    "positive": "a half-line",
    "nonnegative": "a half-line",
    "greaterthan": "a half-line",
    "greaterthaneq": "a half-line",
    "lessthan": "a half-line",
    "lessthaneq": "a half-line",
    "softplus_positive": "a half-line",
    "interval": "an interval",
    "openinterval": "an interval",
    "halfopeninterval": "an interval",
    "unitinterval": "an interval",
    "circular": "an interval",
}


def check_guide(sites: Sequence[GuideSite], density: Density) -> None:
    """Refuse a guide whose sites are not the latent ones of the program.

    Raises:
        ProgramError: naming the site that is missing, too many, or of another shape or support.
    """
    wanted = {
        site.name: site for site in density.sites if site.name in {part.name for part in density.latents}
    }
    given = {site.name: site for site in sites}
    missing, extra = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing:
        raise ProgramError(
            "guide",
            got=f"no site {', '.join(map(repr, missing))}",
            expected=f"a site for each latent site of the program: {', '.join(map(repr, wanted))}",
            fix=f"Write sample({missing[0]!r}, ...) in the guide.",
        )
    if extra:
        raise ProgramError(
            "guide",
            got=f"a site {', '.join(map(repr, extra))} that is no continuous latent site of the program",
            expected=f"those alone: {', '.join(map(repr, wanted))}; discrete ones are summed out",
            fix="Give it the name that it has in the program, or take it out of the guide.",
        )
    for name, site in given.items():
        if site.shape != wanted[name].shape:
            raise ProgramError(
                f"site {name!r}",
                got=f"values of shape {site.shape} in the guide",
                expected=f"{wanted[name].shape}, as in the program",
                fix="Give both the same plates and the same .to_event(...).",
            )
        _check_support(site, wanted[name].support)


def check_inside(z: np.ndarray, density: Density) -> None:
    """Refuse a guide that draws values that the program cannot have.

    Args:
        z: draws ``(n, dim)`` of the guide, brought to the program's unconstrained space.
        density: the program's.

    Raises:
        ProgramError: naming the first site that does.
    """
    for part in density.latents:
        bad = ~np.isfinite(z[:, part.start : part.stop]).all(axis=1)
        if bad.any():
            site = next(site for site in density.sites if site.name == part.name)
            raise ProgramError(
                f"site {part.name!r}",
                got=f"{int(bad.sum())} of {len(z)} draws of the guide outside its support ({site.support})",
                expected="a guide that draws values which the program can have",
                fix="Take a distribution with the same support, for example LogNormal for a positive site.",
            )


def no_gradient(name: str, distribution: str) -> UnsupportedProgram:
    """The error for a site of a guide that gradients do not go through."""
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a guide that draws it from {distribution}, which has no gradient through its draws",
        expected="a reparameterised distribution, such as Normal, for this objective",
        fix='Write objective="wake", which needs the gradient of its log density alone.',
    )


def _check_support(site: GuideSite, wanted: str) -> None:
    given_kind, wanted_kind = (_KINDS.get(name, name) for name in (site.support, wanted))
    if site.support and wanted != "independentconstraint" and given_kind != wanted_kind:
        raise ProgramError(
            f"site {site.name!r}",
            got=f"a guide whose draws lie in {given_kind}",
            expected=f"{wanted_kind}, as in the program",
            fix="Take a distribution with the same support, for example LogNormal for a positive site.",
        )
