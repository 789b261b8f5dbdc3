"""What a guide and its program must have in common, whatever the guide is fitted for: sites and gradients."""

from __future__ import annotations

from collections.abc import Collection

from ppgen.errors import ProgramError, UnsupportedProgram

__all__ = ["check_names", "check_shape", "listed", "no_gradient"]


def check_names(
    wanted: Collection[str], given: Collection[str], *, sample: str, kind: str = "latent site"
) -> None:
    """Refuse a guide whose sites are not those of the program.

    Args:
        wanted: the program's.
        given: the guide's.
        sample: how the language writes a sample statement.
        kind: what a guide samples of a program.

    Raises:
        ProgramError: naming the sites that are missing, or too many.

    Example:
        >>> check_names(["z"], [], sample="pyro.sample")
        Traceback (most recent call last):
        ...
        ppgen.errors.ProgramError: guide: got no site 'z', expected ... in the guide.
    """
    missing, extra = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing:
        raise ProgramError(
            "guide",
            got=f"no site {listed(missing)}",
            expected=f"a site for each {kind} of the program: {listed(wanted)}",
            fix=f"Write {sample}({missing[0]!r}, ...) in the guide.",
        )
    if extra:
        raise ProgramError(
            "guide",
            got=f"a site {listed(extra)} that is no {kind} of the program",
            expected=f"a site for each of {listed(wanted)}, and no other",
            fix="Give it the name that it has in the program, or take it out of the guide.",
        )


def check_shape(name: str, wanted: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Refuse a site of a guide whose values have another shape than the program's.

    Raises:
        ProgramError: naming the site.
    """
    if tuple(wanted) != tuple(given):
        raise ProgramError(
            f"site {name!r}",
            got=f"values of shape {tuple(given)} in the guide",
            expected=f"{tuple(wanted)}, as in the program",
            fix="Give both the same plates and the same .to_event(...).",
        )


def no_gradient(name: str, distribution: str) -> UnsupportedProgram:
    """The error for a site of a guide that gradients do not go through."""
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a guide that draws it from {distribution}, which has no gradient through its draws",
        expected="a reparameterised distribution, such as Normal, for this objective",
        fix='Write objective="wake_sleep", which needs the gradient of its log density alone.',
    )


def listed(names: Collection[str]) -> str:
    """Names as a sentence lists them."""
    return ", ".join(map(repr, sorted(names)))
