"""How to train: the optimizer's settings, the plan of epochs, and the checks of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ppgen.checks import check_choice, check_integer, check_number

__all__ = ["Optimizer", "Plan", "Schedule"]

Schedule = Literal["cosine", "constant"]

WARMUP = 0.05  # the share of all steps over which the learning rate rises


@dataclass(frozen=True)
class Optimizer:
    """AdamW's settings, its learning-rate schedule, and parameter averaging.

    Attributes:
        learning_rate: at its highest.
        weight_decay: decoupled.
        clip: the largest norm of a gradient.
        schedule: of the learning rate after a short rise.
        average: the decay of an exponential moving average of the parameters, which is then validated and
            kept; 0 for none.
    """

    learning_rate: float
    weight_decay: float
    clip: float
    schedule: Schedule
    average: float = 0.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0.0, example=1e-3)
        check_number("clip", self.clip, above=0.0, example=1.0)
        check_number("weight_decay", self.weight_decay, least=0.0, example=0.01)
        check_choice("schedule", self.schedule, get_args(Schedule))
        check_number("average", self.average, least=0.0, below=1.0, example=0.999)

    def rate(self, progress: float) -> float:
        """The learning rate as a fraction of the full one: a short rise, then the schedule."""
        rise = min(1.0, progress / WARMUP)
        return rise if self.schedule == "constant" else rise * 0.5 * (1 + math.cos(math.pi * progress))

    def decay(self, step: int) -> float:
        """The decay of the average at a step, lower at first to forget the start quickly."""
        return min(self.average, (1 + step) / (10 + step))


@dataclass(frozen=True)
class Plan:
    """How long to train: at most ``epochs``, or until ``patience`` epochs without improvement."""

    epochs: int
    batch_size: int
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, example=100)
        check_integer("batch_size", self.batch_size, example=64)
        if self.patience is not None:
            check_integer("patience", self.patience, example=30)
        check_integer("seed", self.seed, least=0)

    def steps_an_epoch(self, rows: int) -> int:
        """How many updates one pass over the data makes."""
        return math.ceil(rows / self.batch_size)

    def steps(self, rows: int) -> int:
        """How many updates the whole plan makes."""
        return self.epochs * self.steps_an_epoch(rows)

    def order(self, rows: int, epoch: int) -> np.ndarray:
        """The indices of each minibatch of an epoch, ``(steps, batch_size)``.

        Every example is used; the last minibatch is padded with the epoch's first examples, so that all have
        one size.
        """
        shuffled = np.random.default_rng((self.seed, epoch)).permutation(rows)
        return np.resize(shuffled, (self.steps_an_epoch(rows), self.batch_size))
