"""``ppgen.train``: learn the parameters of a neural program from rows of data."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pyro
import torch

from ppgen.errors import InvalidArgument, TrainingWarning, UnknownName
from ppgen.inference.training.loop import Fit, Plan, fit
from ppgen.inference.training.progress import TrainingProgress
from ppgen.inference.training.rows import Rows, rows_for_family, rows_for_program
from ppgen.inference.training.run import TrainingRun
from ppgen.inference.training.subject import Subject, family_subject, program_subject
from ppgen.inference.training.torch_learner import Optimizer, Schedule, TorchLearner
from ppgen.program.family import Program, TorchFamily, TrainingFacts

__all__ = ["train"]


def train(
    program: Program | TorchFamily,
    data: Any,
    *,
    guide: Program | None = None,
    objective: str | None = None,
    samples: int | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    clip: float = 1.0,
    schedule: Schedule = "cosine",
    patience: int | None = 30,
    seed: int = 0,
    progress: bool = True,
) -> TrainingRun:
    r"""Fit the parameters of a program to rows of data, by AdamW on minibatches.

    .. math:: \min_\theta \; -\frac1n \sum_{i=1}^n \mathcal{L}_\theta(x_i)

    where :math:`\mathcal{L}` is the log likelihood, or a lower bound on it for programs with a guide. A
    family is trained in place; the fitted parameters of a user's own program are in the result. Pyro's
    global parameter store is neither read nor changed.

    Ctrl-C ends training early and keeps the best parameters so far.

    Args:
        program: a family of ``ppgen.models``; or a Pyro program whose first argument is the minibatch.
        data: a :class:`ppgen.data.Dataset`; or an array ``(n, *shape)``, a tenth of which is held out.
        guide: for a user's own program with latent sites, the guide with the same sites.
        objective: ``"likelihood"``, ``"elbo"`` or ``"iwae"``; by default the first that the family declares.
        samples: draws from the guide for each row and step; by default 1 for elbo, 8 for iwae.
        epochs: at most so many passes over the training rows.
        batch_size: rows a step.
        learning_rate: of AdamW at its highest.
        weight_decay: of AdamW.
        clip: the largest norm of a gradient.
        schedule: of the learning rate after a short rise: ``"cosine"`` falls to 0 at the last epoch.
        patience: stop after so many epochs without a better validation loss; ``None`` never does.
        seed: of shuffling, noise and dropout.
        progress: show a bar with losses, speed and time left.

    Returns:
        The :class:`TrainingRun`, with the history.

    Raises:
        InvalidArgument: if a setting is out of range.
        DataError: if the rows do not fit the family, or are too few.
        ProgramError: if guide and program do not match.
        TrainingError: if there is nothing to train, or the loss stops being finite.

    References:
        Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2017, arXiv:1711.05101.

    Example:
        >>> from ppgen.models import VAE
        >>> rows = np.random.default_rng(0).integers(0, 2, size=(64, 1)).repeat(4, axis=1)
        >>> vae = VAE((4,), levels=2, latent_dim=1, hidden=(16,))
        >>> run = train(vae, rows, epochs=40, learning_rate=0.01, progress=False)
        >>> run.objective, run.history[run.best_epoch - 1].valid < run.history[0].valid
        ('elbo', True)
    """
    plan = _plan(epochs, batch_size, patience, seed)
    optimizer = _optimizer(learning_rate, weight_decay, clip, schedule)
    if samples is not None:
        _check_count("samples", samples, example=8)
    if isinstance(program, TorchFamily):
        _check_no_guide(guide)
        rows = rows_for_family(program, data, seed)
        subject = family_subject(program, objective, samples)
        return _train_family(program, _Job(type(program).__name__, subject, rows, plan, optimizer, progress))
    rows = rows_for_program(data, seed)
    subject = program_subject(program, guide, objective, samples, rows.train)
    return _train_program(_Job("program", subject, rows, plan, optimizer, progress))


@dataclass(frozen=True)
class _Job:
    """Everything that one training needs, checked."""

    title: str
    subject: Subject
    rows: Rows
    plan: Plan
    optimizer: Optimizer
    progress: bool


def _train_family(family: TorchFamily, job: _Job) -> TrainingRun:
    # A family that was trained before goes on in the units that it learned in.
    if family.trained is None:
        family.standardise(job.rows.train)
    with pyro.get_param_store().scope():
        result = _fit(job)
    before = family.trained
    family.trained = TrainingFacts(
        job.subject.objective,
        epochs=len(result.history) + (before.epochs if before else 0),
        seconds=result.seconds + (before.seconds if before else 0.0),
        rows=len(job.rows.train),
        seed=job.plan.seed,
    )
    return _run(job, result)


def _train_program(job: _Job) -> TrainingRun:
    with pyro.get_param_store().scope() as store:
        result = _fit(job)
        fitted = {name: value.detach().cpu().numpy().copy() for name, value in pyro.get_param_store().items()}
    return replace(_run(job, result), params=fitted, store=store)


def _run(job: _Job, result: Fit) -> TrainingRun:
    return TrainingRun(
        job.subject.objective, result.history, result.best_epoch, result.seconds, result.stopped
    )


def _fit(job: _Job) -> Fit:
    rows, plan, subject = job.rows, job.plan, job.subject
    steps = plan.steps(len(rows.train))
    # Pyro's checks were made on a few rows before; a NaN is the loop's to report.
    with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        torch.manual_seed(plan.seed)
        try:
            example = rows.train[: plan.batch_size]
            learner = TorchLearner(subject.loss, subject.modules, example, job.optimizer, steps, plan.seed)
            with TrainingProgress(job.title, epochs=plan.epochs, steps=steps, show=job.progress) as bar:
                result = fit(learner, rows.train, rows.valid, plan, bar)
        finally:
            for module in subject.modules:
                module.eval()
    if result.stopped == "interrupted":
        _warn_interrupted(result)
    return result


def _warn_interrupted(result: Fit) -> None:
    kept = f"epoch {result.best_epoch}" if result.best_epoch else "the unfinished first epoch"
    warnings.warn(
        f"training was interrupted after {len(result.history)} epochs; the parameters of {kept} are kept",
        TrainingWarning,
        stacklevel=5,
    )


def _plan(epochs: int, batch_size: int, patience: int | None, seed: int) -> Plan:
    _check_count("epochs", epochs, example=100)
    _check_count("batch_size", batch_size, example=64)
    if patience is not None:
        _check_count("patience", patience, example=30)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InvalidArgument("seed", got=repr(seed), expected="an integer from 0 up", fix="Write seed=0.")
    return Plan(epochs, batch_size, patience, seed)


def _optimizer(learning_rate: float, weight_decay: float, clip: float, schedule: Schedule) -> Optimizer:
    _check_positive("learning_rate", learning_rate, example=1e-3)
    _check_positive("clip", clip, example=1.0)
    if weight_decay != 0:
        _check_positive("weight_decay", weight_decay, example=0.01)
    if schedule not in get_args(Schedule):
        raise UnknownName("schedule", schedule, get_args(Schedule))
    return Optimizer(learning_rate, weight_decay, clip, schedule)


def _check_count(name: str, value: Any, example: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidArgument(
            name, got=repr(value), expected="a positive integer", fix=f"Write {name}={example}."
        )


def _check_positive(name: str, value: Any, example: float) -> None:
    if not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise InvalidArgument(
            name, got=repr(value), expected="a positive number", fix=f"Write {name}={example}."
        )


def _check_no_guide(guide: Program | None) -> None:
    if guide is not None:
        raise InvalidArgument(
            "guide",
            got="a guide for a family",
            expected="nothing: a family brings its own",
            fix="Leave guide out, or train the two as a program: train(family.model, data, guide=...).",
        )
