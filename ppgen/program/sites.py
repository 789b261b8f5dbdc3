"""What a program samples: its sites, and the checks that every site must pass before any fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ppgen.errors import ProgramError, UnsupportedProgram

__all__ = [
    "Plate",
    "Role",
    "Site",
    "check_latents",
    "check_log_prob_shape",
    "free_parameter",
    "no_bijection",
    "no_prior_draws",
]

Role = Literal["latent", "observed", "deterministic", "factor"]


@dataclass(frozen=True)
class Plate:
    """A dimension of independent repetitions: its name, its position from the right, its length."""

    name: str
    dim: int
    size: int


@dataclass(frozen=True)
class Site:
    """One named statement of a program.

    Attributes:
        name: the name in the program.
        role: ``"latent"``, ``"observed"``, ``"deterministic"`` or ``"factor"``.
        distribution: the class of its distribution; empty where it has none.
        shape: the shape of its value, ``(*batch_shape, *event_shape)``.
        event_dim: how many trailing dimensions are one event.
        support: the set of possible values, by name.
        plates: the plates around it, outermost first.
        discrete: whether its values are counts or categories.
    """

    name: str
    role: Role
    distribution: str
    shape: tuple[int, ...]
    event_dim: int = 0
    support: str = "real"
    plates: tuple[Plate, ...] = ()
    discrete: bool = False

    @property
    def dims(self) -> tuple[str | None, ...]:
        """A name for each dimension of :attr:`shape`: its plate's, or ``None``.

        Example:
            >>> Site("y", "observed", "Normal", (3, 8), plates=(Plate("school", -1, 8),)).dims
            (None, 'school')
        """
        batch_dims = len(self.shape) - self.event_dim
        names: list[str | None] = [None] * len(self.shape)
        for plate in self.plates:
            axis = batch_dims + plate.dim
            if 0 <= axis < batch_dims and self.shape[axis] == plate.size:
                names[axis] = plate.name
        return tuple(names)


def check_latents(sites: Iterable[Site]) -> None:
    """Refuse programs that leave nothing to infer, or nothing with a density to follow.

    Raises:
        ProgramError: if no site is latent.
        UnsupportedProgram: if every latent site is discrete.
    """
    latents = [site for site in sites if site.role == "latent"]
    if not latents:
        raise ProgramError(
            "program",
            got="no latent site: every sample statement is observed",
            expected="at least one unobserved sample statement to infer",
            fix="Give a prior to what is unknown, or leave out obs= there.",
        )
    if all(site.discrete for site in latents):
        raise UnsupportedProgram(
            f"site {latents[0].name!r}",
            got=f"discrete latents alone (the first is a {latents[0].distribution})",
            expected="at least one continuous latent: the discrete ones are summed out",
            fix="Give a parameter of the program a prior, or compute the few probabilities directly.",
        )


def no_prior_draws(name: str, distribution: str) -> UnsupportedProgram:
    """The error for a latent site that nothing can be drawn from, such as one with a flat prior."""
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a prior that cannot be drawn from ({distribution})",
        expected="a proper prior for each latent site, where draws from the prior are needed",
        fix="Give it a proper prior, for example a wide Normal, or take a method that starts elsewhere: "
        "nuts, svi, laplace or pathfinder.",
    )


def no_bijection(name: str, distribution: str, support: object, engine: str) -> UnsupportedProgram:
    """The error for a latent site whose support no bijection reaches from unconstrained space."""
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a latent {distribution} on the support {support}",
        expected="a support that has a bijection from unconstrained space",
        fix=f"Sample an unconstrained value and compute this one from it, with {engine}.deterministic.",
    )


def free_parameter(name: str, engine: str, hold_fixed: str) -> UnsupportedProgram:
    """The error for what a posterior has no place for: a parameter without a prior."""
    return UnsupportedProgram(
        f"site {name!r}",
        got=f"a {engine}.param without a prior",
        expected="sample sites only: a posterior method draws what has a prior",
        fix=f"Give it a prior with {engine}.sample, or hold it fixed: {hold_fixed}.",
    )


def check_log_prob_shape(
    name: str, log_prob_shape: tuple[int, ...], value_shape: tuple[int, ...], event_dim: int
) -> None:
    """Refuse a site whose distribution and value broadcast to more terms than there are values.

    Parameters ``(5,)`` and observations ``(5, 1)`` give 25 log densities without a word from either
    language: every observation would count five times.

    Raises:
        ProgramError: naming the site and both shapes.

    Example:
        >>> check_log_prob_shape("y", (5,), (5,), event_dim=0)
        >>> check_log_prob_shape("y", (5, 5), (5, 1), event_dim=0)
        Traceback (most recent call last):
        ppgen.errors.ProgramError: site 'y': got 25 log densities of shape (5, 5) for values of ...
    """
    value_batch = value_shape[: len(value_shape) - event_dim]
    if log_prob_shape == value_batch:
        return
    terms = 1
    for size in log_prob_shape:
        terms *= size
    raise ProgramError(
        f"site {name!r}",
        got=f"{terms} log densities of shape {log_prob_shape} for values of shape {value_shape}",
        expected=f"one log density a value, shape {value_batch}",
        fix="Give the parameters and the observations the same shape: the distribution's parameters and "
        "obs= broadcast against each other here (reshape one of them, or use .to_event).",
    )
