"""What an objective evaluates: a program with its guide, and the family they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ppgen.program import bounds
from ppgen.program.capabilities import HasGuide
from ppgen.program.family import Program
from ppgen.program.languages.language import Language
from ppgen.program.languages.rows import Batch

__all__ = ["GuidedSubject", "Subject", "subject_of"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A program that is trained.

    Attributes:
        language: the language it is written in.
        model: a program whose first argument is the minibatch, and whose ``label`` is its classes.
        family: the family it belongs to; ``None`` for a user's own program.
        parameters: in JAX, the learned parameters: a tree of unconstrained arrays.
        put: in JAX, from parameters to the attributes of the subject that has them.
        constrain: in JAX, from unconstrained parameters to those that the program declares.
    """

    language: Language
    model: Program
    family: Any = None
    parameters: Any = None
    put: Callable[[Any], Mapping[str, Any]] | None = None
    constrain: Callable[[Any], Mapping[str, Any]] | None = None

    @property
    def programs(self) -> dict[str, Program]:
        """Its programs by what they are."""
        return {"model": self.model}

    def log_density(self, batch: Batch) -> Any:
        """The log density of each example ``(n,)``, up to a constant if the program is unnormalised."""
        return bounds.log_density(self.language.rows, self.model, batch)

    def with_parameters(self, parameters: Any) -> Any:
        """The same subject with other parameters."""
        assert self.put is not None
        return replace(self, parameters=parameters, **self.put(parameters))


@dataclass(frozen=True, eq=False)
class GuidedSubject(Subject):
    """A program that is trained with its guide.

    Attributes:
        guide: of the same arguments, with a site for each latent one of the program.
    """

    guide: Program = field(kw_only=True)

    @property
    def programs(self) -> dict[str, Program]:
        """Its programs by what they are."""
        return {"model": self.model, "guide": self.guide}

    def log_joints(self, batch: Batch, samples: int, *, fixed_draws: bool = False) -> bounds.LogJoints:
        """The log densities of program and guide at draws of the guide, ``(samples, n)``."""
        return bounds.log_joints(
            self.language.rows, self.model, self.guide, batch, samples, fixed_draws=fixed_draws
        )


def subject_of(language: Language, program: Any, guide: Program | None, family: Any) -> Subject:
    """A family, or a user's own program with its guide, as a subject."""
    model = program if family is None else family.model
    guide = family.guide if isinstance(family, HasGuide) else guide
    if guide is None:
        return Subject(language, model, family)
    return GuidedSubject(language, model, family, guide=guide)
