"""What an objective is: the loss of each row of a minibatch, read off whatever is trained."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

__all__ = ["Batch", "Objective", "StatefulObjective"]


class Batch(NamedTuple):
    """A minibatch in the arrays of one engine.

    Attributes:
        x: rows ``(n, *shape)``.
        label: the class of each row ``(n,)``; ``None`` where rows have none.
        key: JAX's key to the noise of this step; ``None`` on torch, whose generator is global.
    """

    x: Any
    label: Any = None
    key: Any = None


@runtime_checkable
class Objective(Protocol):
    """A loss with settings: a frozen dataclass, whose fields are the settings.

    Attributes:
        name: as ``ppgen.train(..., objective=name)`` calls it.
    """

    name: ClassVar[str]

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)`` under the subject with its trial parameters."""
        ...


@runtime_checkable
class StatefulObjective(Objective, Protocol):
    """A loss with a memory from step to step, such as persistent chains. (JAX.)"""

    def begin(self, subject: Any, batch: Batch) -> Any:
        """The memory before the first step: a tree of arrays, whose shapes never change."""
        ...

    def advance(self, subject: Any, batch: Batch, memory: Any) -> tuple[Any, Any]:
        """The loss of each row ``(n,)`` and the memory after the step."""
        ...
