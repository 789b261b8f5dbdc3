"""The training loop: epochs of minibatches, validation, early stopping, the best parameters kept.

It is independent of the array library; a :class:`Learner` is not: there is one file for each library.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ppgen.data.lazy import RowArray
from ppgen.errors import TrainingError
from ppgen.inference.training.checkpoint import Checkpoint
from ppgen.inference.training.rows import Rows
from ppgen.inference.training.run import EpochRecord, Stopped
from ppgen.inference.training.settings import Plan

__all__ = ["Fit", "Learner", "Reporter", "Steps", "fit"]


class Steps(NamedTuple):
    """The results of some updates.

    Attributes:
        losses: ``(k,)``, the loss before each; NaN at a skipped update, and after it.
        measures: further figures ``(k,)`` by name, such as an estimated divergence.
    """

    losses: np.ndarray
    measures: Mapping[str, np.ndarray] = {}


@runtime_checkable
class Learner(Protocol):
    """A program with its parameters and optimizer, in one array library."""

    @property
    def keeps_last(self) -> bool:
        """Whether to keep the last parameters, not the best: adversarial training has no best epoch."""

    def batches_per_call(self) -> int:
        """How many minibatches it takes per call: a few tenths of a second's worth."""

    def steps(self, x: np.ndarray, label: np.ndarray | None) -> Steps:
        """Update the parameters on minibatches ``(k, batch, *shape)``, labels ``(k, batch)``, in their order.

        An update whose loss or gradient is not finite is skipped, and so are those after it.
        """

    def evaluate(self, x: RowArray, label: np.ndarray | None) -> float:
        """The mean loss of held-out examples, with the same noise at each call."""

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """A copy of the parameters that are validated."""

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go back to a copy."""

    def state(self) -> Mapping[str, np.ndarray]:
        """Everything that the next step depends on: parameters, the optimizer's state, the noise's state."""

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Resume from such a state, bit for bit."""


@runtime_checkable
class Reporter(Protocol):
    """Receives progress events."""

    def step(self, count: int) -> None:
        """Report that this many minibatches are done."""

    def epoch(self, record: EpochRecord) -> None:
        """Report that an epoch is done."""


@dataclass(frozen=True)
class Fit:
    """The result of the loop; the learner holds the parameters of ``best_epoch``."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    seconds: float
    stopped: Stopped


@dataclass
class _Best:
    """The parameters to fall back on."""

    snapshot: Mapping[str, np.ndarray]
    epoch: int = 0
    loss: float = math.inf


@dataclass
class _Epoch:
    """The position within an epoch, and the sums of its steps' results."""

    number: int = 1
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, steps: Steps) -> None:
        self.step += len(steps.losses)
        for name, values in {"loss": steps.losses, **steps.measures}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(np.sum(values, dtype=np.float64))

    def means(self) -> dict[str, float]:
        return {name: total / self.step for name, total in self.sums.items()}


def fit(learner: Learner, rows: Rows, plan: Plan, reporter: Reporter, checkpoint: Checkpoint) -> Fit:
    """Train until the plan is done, patience runs out, or the user interrupts.

    Args:
        learner: the program to train.
        rows: the data to train on; ``rows.valid`` may be empty.
        plan: how long to train.
        reporter: receives each step and epoch.
        checkpoint: stores what is needed to resume, and may hold an earlier run's state.

    Raises:
        TrainingError: if a loss is not finite; the learner is back at its last good parameters.
    """
    run = _Run(learner, rows, plan, reporter, checkpoint)
    try:
        run.go()
    except KeyboardInterrupt:
        run.stopped = "interrupted"
    except TrainingError:
        learner.restore(run.best.snapshot)
        raise
    # An interrupted first epoch has no better parameters than those it stopped at.
    learner.restore(run.best.snapshot if run.best.epoch else learner.snapshot())
    return Fit(tuple(run.history), run.best.epoch, run.seconds(), run.stopped)


class _Run:
    """A run of the loop, with its state."""

    def __init__(
        self, learner: Learner, rows: Rows, plan: Plan, reporter: Reporter, checkpoint: Checkpoint
    ) -> None:
        self.learner, self.rows, self.plan = learner, rows, plan
        self.reporter, self.checkpoint = reporter, checkpoint
        self.history: list[EpochRecord] = []
        self.best = _Best(learner.snapshot())
        self.epoch = _Epoch()
        self.stopped: Stopped = "epochs"
        self._seconds_before = 0.0
        self._start = time.perf_counter()
        self._resume()

    def seconds(self) -> float:
        """Seconds of this call and of those that it resumes."""
        return self._seconds_before + time.perf_counter() - self._start

    def go(self) -> None:
        while self.epoch.number <= self.plan.epochs and not self._out_of_patience():
            self._finish_epoch()
            self._validate()
            self.epoch = _Epoch(self.epoch.number + 1)
        if self._out_of_patience():
            self.stopped = "early"
        self.checkpoint.save(self._state)

    def _finish_epoch(self) -> None:
        order = self.plan.order(len(self.rows.train), self.epoch.number)
        while self.epoch.step < len(order):
            take = order[self.epoch.step : self.epoch.step + self.learner.batches_per_call()]
            steps = self.learner.steps(*self.rows.batches(take))
            self._check_steps(steps)
            self.epoch.add(steps)
            self.reporter.step(len(steps.losses))
            if self.checkpoint.is_due():
                self.checkpoint.save(self._state)

    def _validate(self) -> None:
        means = self.epoch.means()
        loss = means.pop("loss")
        valid = None
        if len(self.rows.valid):
            valid = self.learner.evaluate(self.rows.valid, self.rows.valid_labels)
            if not math.isfinite(valid):
                raise _not_finite(valid, self.epoch.number, "its validation")
        record = EpochRecord(self.epoch.number, loss, valid, self.seconds(), means)
        self.history.append(record)
        self.reporter.epoch(record)
        if valid is None or self.learner.keeps_last or valid < self.best.loss:
            loss = math.inf if valid is None else valid
            self.best = _Best(self.learner.snapshot(), self.epoch.number, loss)

    def _out_of_patience(self) -> bool:
        waited = len(self.history) - self.best.epoch
        return self.plan.patience is not None and bool(self.history) and waited >= self.plan.patience

    def _check_steps(self, steps: Steps) -> None:
        bad = np.flatnonzero(~np.isfinite(steps.losses))
        if bad.size:
            where = f"step {self.epoch.step + int(bad[0]) + 1}"
            raise _not_finite(float(steps.losses[bad[0]]), self.epoch.number, where)

    # -- what a checkpoint holds -------------------------------------------------------------------------

    def _state(self) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        arrays = {f"learner/{name}": array for name, array in self.learner.state().items()}
        arrays |= {f"best/{name}": array for name, array in self.best.snapshot.items()}
        document = {
            "history": [asdict(record) for record in self.history],
            "best_epoch": self.best.epoch,
            "best_loss": None if math.isinf(self.best.loss) else self.best.loss,
            "epoch": self.epoch.number,
            "step": self.epoch.step,
            "sums": self.epoch.sums,
            "seconds": self.seconds(),
        }
        return arrays, document

    def _resume(self) -> None:
        stored = self.checkpoint.load()
        if stored is None:
            return
        arrays, document = stored.tensors, stored.document
        self.learner.resume(_under("learner/", arrays))
        self.history = [EpochRecord(**record) for record in document["history"]]
        loss = math.inf if document["best_loss"] is None else document["best_loss"]
        self.best = _Best(_under("best/", arrays), document["best_epoch"], loss)
        self.epoch = _Epoch(document["epoch"], document["step"], dict(document["sums"]))
        self._seconds_before = document["seconds"]
        self.reporter.step(
            (self.epoch.number - 1) * self.plan.steps_an_epoch(len(self.rows.train)) + self.epoch.step
        )
        for record in self.history[-1:]:
            self.reporter.epoch(record)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _not_finite(loss: float, epoch: int, where: str) -> TrainingError:
    return TrainingError(
        "loss",
        got=f"{loss} in epoch {epoch}, at {where}",
        expected="a finite number",
        fix="Lower learning_rate, or scale the data; the model keeps its last good parameters.",
    )
