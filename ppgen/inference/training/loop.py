"""The training loop: epochs of minibatches, validation, early stopping, the best parameters kept.

It knows nothing of engines. A :class:`Learner` does: one file an engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ppgen.errors import TrainingError
from ppgen.inference.training.run import EpochRecord, Stopped

__all__ = ["Fit", "Learner", "Plan", "Reporter", "fit"]


@runtime_checkable
class Learner(Protocol):
    """A program with its parameters and optimizer, in whatever engine."""

    def step(self, batch: np.ndarray) -> float:
        """Update the parameters on a minibatch; the loss before it, NaN if the update had to be skipped."""
        ...

    def evaluate(self, rows: np.ndarray) -> float:
        """The mean loss of held-out rows, with the same noise at each call."""
        ...

    def snapshot(self) -> Any:
        """A copy of the parameters."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Go back to a copy."""
        ...


@runtime_checkable
class Reporter(Protocol):
    """Who hears how training goes."""

    def step(self) -> None:
        """A minibatch is done."""
        ...

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long to train: at most ``epochs``, until ``patience`` epochs have brought no better validation."""

    epochs: int
    batch_size: int
    patience: int | None
    seed: int

    def steps(self, rows: int) -> int:
        """How many updates the whole plan makes."""
        return self.epochs * math.ceil(rows / self.batch_size)


@dataclass(frozen=True)
class Fit:
    """What the loop did; the learner holds the parameters of ``best_epoch``."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    seconds: float
    stopped: Stopped


@dataclass
class _Best:
    """The parameters to fall back on."""

    snapshot: Any
    epoch: int = 0
    loss: float = math.inf


def fit(
    learner: Learner,
    train: np.ndarray,
    valid: np.ndarray,
    plan: Plan,
    reporter: Reporter,
) -> Fit:
    """Train until the plan is done, patience runs out, or the user interrupts.

    Args:
        learner: the program to train.
        train, valid: rows ``(n, *shape)``; valid may be empty.
        plan: how long.
        reporter: hears of each step and epoch.

    Raises:
        TrainingError: if a loss is not finite; the learner is back at its last good parameters.
    """
    start = time.perf_counter()
    history: list[EpochRecord] = []
    best = _Best(learner.snapshot())
    stopped: Stopped = "epochs"
    try:
        for epoch in range(1, plan.epochs + 1):
            loss = _epoch(learner, train, plan, epoch, reporter)
            held_out = learner.evaluate(valid) if len(valid) else None
            _check_finite(loss if held_out is None else held_out, epoch, step=None)
            history.append(EpochRecord(epoch, loss, held_out, time.perf_counter() - start))
            reporter.epoch(history[-1])
            if held_out is None or held_out < best.loss:
                best = _Best(learner.snapshot(), epoch, math.inf if held_out is None else held_out)
            elif plan.patience is not None and epoch - best.epoch >= plan.patience:
                stopped = "early"
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    except TrainingError:
        learner.restore(best.snapshot)
        raise
    # An interrupted first epoch has no better parameters than those it stopped at.
    if best.epoch:
        learner.restore(best.snapshot)
    return Fit(tuple(history), best.epoch, time.perf_counter() - start, stopped)


def _epoch(learner: Learner, rows: np.ndarray, plan: Plan, epoch: int, reporter: Reporter) -> float:
    total = 0.0
    for step, batch in enumerate(_batches(rows, plan, epoch), start=1):
        loss = learner.step(batch)
        _check_finite(loss, epoch, step)
        total += loss * len(batch)
        reporter.step()
    return total / len(rows)


def _batches(rows: np.ndarray, plan: Plan, epoch: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng((plan.seed, epoch)).permutation(len(rows))
    for start in range(0, len(rows), plan.batch_size):
        yield rows[order[start : start + plan.batch_size]]


def _check_finite(loss: float, epoch: int, step: int | None) -> None:
    if not math.isfinite(loss):
        where = "its validation" if step is None else f"step {step}"
        raise TrainingError(
            "loss",
            got=f"{loss} in epoch {epoch}, at {where}",
            expected="a finite number",
            fix="Lower learning_rate, or scale the data; the model keeps its last good parameters.",
        )
