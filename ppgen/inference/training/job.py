"""A checked training job: the data, the plan and the settings that any language needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppgen.errors import TrainingError
from ppgen.inference.training.checkpoint import Checkpoint
from ppgen.inference.training.log import Log
from ppgen.inference.training.loop import Fit, Learner, fit
from ppgen.inference.training.objectives import Objective
from ppgen.inference.training.progress import TrainingProgress
from ppgen.inference.training.rows import Rows
from ppgen.inference.training.settings import Optimizer, Plan

__all__ = ["Job", "Trained", "no_parameters"]


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a training run needs.

    Attributes:
        title: the title of the progress bar.
        rows: the data to train on and to validate with.
        plan: how long to train.
        optimizer: its settings.
        objective: a name, an objective of the user's own, or ``None`` for the first choice.
        options: the settings of the objective.
        checkpoint: where to store the state of the run.
        log: where to write the history, epoch by epoch.
        progress: whether to show a bar.
        device, precision: where to compute, and how exactly.
        compile: whether a torch program's steps are lowered to JAX.
    """

    title: str
    rows: Rows
    plan: Plan
    optimizer: Optimizer
    objective: str | Objective | None
    options: Mapping[str, Any]
    checkpoint: Checkpoint
    log: Log
    progress: bool
    device: str | None = None
    precision: str = "float32"
    compile: str = "auto"

    @property
    def planned_steps(self) -> int:
        """How many updates the plan makes."""
        return self.plan.steps(len(self.rows.train))

    def example(self) -> tuple[np.ndarray, np.ndarray | None]:
        """A minibatch for trial runs: examples ``(batch, *shape)`` and labels ``(batch,)``."""
        x, label = self.rows.batches(np.arange(self.plan.batch_size)[None] % len(self.rows.train))
        return x[0], None if label is None else label[0]

    def fit(self, learner: Learner) -> Fit:
        """Run the loop, with its bar and its log."""
        bar = TrainingProgress(
            self.title, epochs=self.plan.epochs, steps=self.planned_steps, show=self.progress
        )
        with bar, self.log.reporting(bar) as reporter:
            return fit(learner, self.rows, self.plan, reporter, self.checkpoint)


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of a job: the fit, and the parameters of a user's own program."""

    objective: str
    fit: Fit
    params: Mapping[str, Any] = field(default_factory=dict)
    store: Any = None


def no_parameters(declare: str) -> TrainingError:
    """The error for a program without parameters."""
    return TrainingError(
        "program",
        got="no parameters",
        expected="at least one to learn",
        fix=f"Declare them in the program: {declare}.",
    )
