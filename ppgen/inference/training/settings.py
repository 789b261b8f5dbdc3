"""How to train: the optimizer's settings, the plan of epochs, and the checks of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ppgen.errors import InvalidArgument, UnknownName

__all__ = ["Optimizer", "Plan", "Schedule", "check_count", "check_positive"]

Schedule = Literal["cosine", "constant"]

WARMUP = 0.05  # the share of all steps over which the learning rate rises


@dataclass(frozen=True)
class Optimizer:
    """AdamW's settings, the course of its learning rate, and the averaging of what it learns.

    Attributes:
        learning_rate: at its highest.
        weight_decay: decoupled.
        clip: the largest norm of a gradient.
        schedule: of the learning rate after a short rise.
        average: the decay of an exponential average of the parameters, which is what is validated and
            kept; 0 for none.
    """

    learning_rate: float
    weight_decay: float
    clip: float
    schedule: Schedule
    average: float = 0.0

    def __post_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate, example=1e-3)
        check_positive("clip", self.clip, example=1.0)
        if self.weight_decay != 0:
            check_positive("weight_decay", self.weight_decay, example=0.01)
        if self.schedule not in get_args(Schedule):
            raise UnknownName("schedule", self.schedule, get_args(Schedule))
        if not (isinstance(self.average, (int, float)) and 0 <= self.average < 1):
            raise InvalidArgument(
                "average",
                got=repr(self.average),
                expected="a decay from 0 up to but not 1",
                fix="Write average=0.999, or 0 to keep the last parameters themselves.",
            )

    def rate(self, progress: float) -> float:
        """The learning rate as a fraction of the full one: a short rise, then the schedule."""
        rise = min(1.0, progress / WARMUP)
        return rise if self.schedule == "constant" else rise * 0.5 * (1 + math.cos(math.pi * progress))

    def decay(self, step: int) -> float:
        """The decay of the average at a step, lower at first so that the start is soon forgotten."""
        return min(self.average, (1 + step) / (10 + step))


@dataclass(frozen=True)
class Plan:
    """How long to train: at most ``epochs``, until ``patience`` epochs have brought no better validation."""

    epochs: int
    batch_size: int
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs, example=100)
        check_count("batch_size", self.batch_size, example=64)
        if self.patience is not None:
            check_count("patience", self.patience, example=30)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InvalidArgument(
                "seed", got=repr(self.seed), expected="an integer from 0 up", fix="Write seed=0."
            )

    def steps_an_epoch(self, rows: int) -> int:
        """How many updates one pass over the rows makes."""
        return math.ceil(rows / self.batch_size)

    def steps(self, rows: int) -> int:
        """How many updates the whole plan makes."""
        return self.epochs * self.steps_an_epoch(rows)

    def order(self, rows: int, epoch: int) -> np.ndarray:
        """Which rows each minibatch of an epoch takes, ``(steps, batch_size)``.

        Every row is seen; the last minibatch is filled up with the epoch's first rows, so that all
        have one size.
        """
        shuffled = np.random.default_rng((self.seed, epoch)).permutation(rows)
        return np.resize(shuffled, (self.steps_an_epoch(rows), self.batch_size))


def check_count(name: str, value: Any, example: int) -> None:
    """Refuse what is no positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidArgument(
            name, got=repr(value), expected="a positive integer", fix=f"Write {name}={example}."
        )


def check_positive(name: str, value: Any, example: float) -> None:
    """Refuse what is no positive, finite number."""
    if not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise InvalidArgument(
            name, got=repr(value), expected="a positive number", fix=f"Write {name}={example}."
        )
