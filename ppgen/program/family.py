"""The protocols that models and inference both speak, so that neither imports the other.

A *family* is a model of data rows: a program, perhaps with a guide, that can sample and say how
likely data is. What it declares here decides what the training loop may do with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ppgen.data.lazy import RowArray
from ppgen.program.likelihood import Likelihood

__all__ = ["Engine", "Family", "HasLogProb", "Program", "TrainableFamily", "TrainingFacts"]

Engine = str
"""The name of the language that a program is written in."""

Program = Callable[..., Any]
"""A callable with ``sample`` statements, in Pyro or NumPyro."""


@runtime_checkable
class HasLogProb(Protocol):
    """Anything that gives test rows a log density: a family or a baseline."""

    def log_prob(self, x: Any) -> Likelihood:
        """The log density of each row of ``x (n, *shape)``."""


@runtime_checkable
class Family(HasLogProb, Protocol):
    """A generative model of rows of one shape, written as a program.

    Attributes:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        engine: the language of the program.
        config: the constructor's arguments after ``shape``, JSON values only: what it takes to build
            the same family again.
        objectives: what can train it, the default first: ``"likelihood"``, ``"elbo"``, ``"iwae"``, …
    """

    shape: tuple[int, ...]
    levels: int | None
    engine: Engine
    objectives: tuple[str, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        """What it takes to build the same family again."""

    def model(self, x: Any = None) -> Any:
        """The program: rows are observed where ``x`` is given and sampled where it is not."""

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values."""


@dataclass(frozen=True)
class TrainingFacts:
    """How a family came by its parameters, over all of its training so far.

    Attributes:
        objective: the name of the last objective.
        epochs, seconds: in all.
        rows: how many training rows the last run saw.
        seed: the last run's seed.
    """

    objective: str
    epochs: int
    seconds: float
    rows: int
    seed: int


@runtime_checkable
class TrainableFamily(Family, Protocol):
    """A family that ``ppgen.train`` trains in place and ``ppgen.save`` keeps.

    Attributes:
        classes: how many classes its rows have, if it is class-conditional; ``None`` if it is not.
        trained: the facts of its training; ``None`` before the first.
    """

    classes: int | None
    trained: TrainingFacts | None

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Fit whatever is computed from the training rows once, before the first step."""

    def tensors(self) -> Mapping[str, np.ndarray]:
        """Everything that training changed, by name."""

    def load_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`tensors` of another family of the same settings gave."""
