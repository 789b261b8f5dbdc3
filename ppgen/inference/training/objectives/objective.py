"""The interface of objectives: a loss for each example of a minibatch."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from ppgen.errors import InvalidArgument, TrainingError
from ppgen.inference.training.subject import GuidedSubject, Subject
from ppgen.program.capabilities import HasGuide, HoldsProgram, lacking
from ppgen.program.languages.rows import Batch

__all__ = [
    "Batch",
    "BringsLearner",
    "HasMonitor",
    "Objective",
    "StatefulObjective",
    "check_requirements",
]


@runtime_checkable
class Objective(Protocol):
    """A loss with settings: a frozen dataclass, whose fields are the settings.

    It may declare what it needs: ``requires``, a capability of the subject, and ``arrays``, its array
    library.

    Attributes:
        name: its name in ``ppgen.train(..., objective=name)``.
    """

    name: ClassVar[str]

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)`` under the subject with its trial parameters."""


@runtime_checkable
class StatefulObjective(Objective, Protocol):
    """A loss with state from step to step, such as persistent chains. (JAX.)"""

    def begin(self, subject: Any, batch: Batch) -> Any:
        """The state before the first step: a tree of arrays, whose shapes never change."""

    def advance(self, subject: Any, batch: Batch, memory: Any) -> tuple[Any, Any]:
        """The loss of each example ``(n,)`` and the memory after the step."""


@runtime_checkable
class HasMonitor(Protocol):
    """A loss with a different validation measure. (JAX.)"""

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The validation loss of each example ``(n,)``."""


@runtime_checkable
class BringsLearner(Protocol):
    """A loss with its own learner, such as the two players of adversarial training. (torch.)"""

    def learner(self, subject: Any, job: Any) -> Any:
        """The learner."""


@runtime_checkable
class _Requires(Protocol):
    requires: ClassVar[type]


@runtime_checkable
class _OnArrays(Protocol):
    arrays: ClassVar[str]


def check_requirements(objective: Objective, subject: Subject) -> None:
    """Reject an objective that cannot train the subject.

    Raises:
        TrainingError: naming what the subject lacks.
        InvalidArgument: if a program comes with a guide that the objective does not read.
    """
    language, family = subject.language, subject.family
    trained = subject if family is None else family.program if isinstance(family, HoldsProgram) else family
    what = f"a program in {language.title}" if family is None else f"a {type(family).__name__}"
    if isinstance(objective, _OnArrays) and objective.arrays != language.arrays:
        raise TrainingError(
            "objective",
            got=f"{objective.name!r}, which computes with {objective.arrays}, for {what}",
            expected=f"an objective for {language.arrays}",
            fix=f"Write the program in a language on {objective.arrays}, or leave objective out.",
        )
    if not isinstance(objective, _Requires):
        return
    missing = lacking(trained, objective.requires)
    if missing:
        raise TrainingError(
            "objective",
            got=f"{objective.name!r}, for {what} without {', '.join(missing)}",
            expected=f"what has {', '.join(missing)}",
            fix="Write guide=..."
            if missing == ["guide"]
            else "Leave objective out, or train another family.",
        )
    if trained is subject and isinstance(subject, GuidedSubject) and objective.requires is not HasGuide:
        raise InvalidArgument(
            "guide",
            got=f"a guide, with objective={objective.name!r}",
            expected="nothing: it reads the program's own density",
            fix='Leave guide out, or write objective="elbo".',
        )
