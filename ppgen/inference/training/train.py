"""``ppgen.train``: learn the parameters of a neural program from data."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np

from ppgen.checks import check_choice
from ppgen.errors import InvalidArgument, ProgramError, TrainingWarning
from ppgen.inference.training.checkpoint import Checkpoint, digest
from ppgen.inference.training.job import Job, Trained
from ppgen.inference.training.log import Log
from ppgen.inference.training.objectives import (
    OBJECTIVES,
    BringsLearner,
    Objective,
    check_requirements,
    make_objective,
)
from ppgen.inference.training.objectives.elbo import Bound
from ppgen.inference.training.rows import Rows, rows_for_family, rows_for_program
from ppgen.inference.training.run import TrainingRun
from ppgen.inference.training.settings import Optimizer, Plan, Schedule
from ppgen.inference.training.subject import GuidedSubject, Subject, subject_of
from ppgen.program.family import Engine, Program, TrainableFamily, TrainingFacts
from ppgen.program.languages.detect import detect_engine
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch
from ppgen.program.pairing import check_exact, check_pair

__all__ = ["train"]

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bf16"]
Compile = Literal["auto", "always", "never"]

_BATCH = 32  # default minibatch size
_EXAMPLE = 3  # examples in a trial run of a program
_LEARNERS = {
    "jax": "ppgen.inference.training.jax_learner",
    "torch": "ppgen.inference.training.torch_learner",
}  # by the library of a language's arrays; none is imported for programs of another


def train(
    program: Program | TrainableFamily,
    data: Any,
    *,
    labels: Any = None,
    guide: Program | None = None,
    objective: str | Objective | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    clip: float = 1.0,
    schedule: Schedule = "cosine",
    average: float = 0.0,
    patience: int | None = 30,
    seed: int = 0,
    progress: bool = True,
    log: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_minutes: float = 5.0,
    resume: bool = False,
    device: Device | None = None,
    precision: Precision = "float32",
    compile: Compile = "auto",
    engine: Engine | None = None,
    **options: Any,
) -> TrainingRun:
    r"""Fit the parameters of a program to data, by AdamW on minibatches.

    .. math:: \min_\theta \; \frac1n \sum_{i=1}^n \mathcal{L}_\theta(x_i)

    where :math:`\mathcal{L}` is the objective: minus the log likelihood, minus a lower bound on it for
    programs with a guide, or what else a family declares. A family is trained in place; the fitted
    parameters of a user's own program are in the result. Pyro's global parameter store is neither read
    nor changed.

    Ctrl-C ends training early and keeps the best parameters so far. A run with a ``checkpoint`` that was
    killed resumes with ``resume=True``, and ends with the same weights, bit for bit.

    Args:
        program: a family of ``ppgen.models``; or a Pyro or NumPyro program whose first argument is the
            minibatch.
        data: a :class:`ppgen.data.Dataset`; or an array ``(n, *shape)``, a tenth of which is held out.
        labels: the class of each example of an array ``(n,)``, for class-conditional families, and for
            programs with an argument ``label``.
        guide: for a user's own program with latent sites, the guide with the same sites.
        objective: the name of one; by default the first that the family declares (its ``objectives``), for
            a program ``"elbo"`` with a guide and ``"likelihood"`` without.
        epochs: the maximum number of passes over the training set.
        batch_size: examples per step; by default 32, or all if there are fewer.
        learning_rate: of AdamW at its highest.
        weight_decay: of AdamW.
        clip: the largest norm of a gradient.
        schedule: of the learning rate after a short rise: ``"cosine"`` falls to 0 at the last epoch.
        average: the decay of an exponential moving average of the parameters, such as 0.999, which is then
            validated and kept; 0 for none.
        patience: stop after this many epochs without a better validation loss; ``None`` never stops early.
        seed: of shuffling, noise and dropout.
        progress: show a bar with losses, speed and time left.
        log: write the history epoch by epoch: a path ending in ``.csv``, or a folder for TensorBoard.
        checkpoint: a folder in which to save what is needed to resume.
        checkpoint_minutes: the minutes between saves.
        resume: continue from the checkpoint, if there is one.
        device: ``"cpu"`` or ``"cuda"``; by default the array library's default.
        precision: ``"bf16"`` computes losses of torch programs in bfloat16 where autocast deems it safe.
        compile: whether to run the steps of a Pyro program on the CPU in JAX: ``"auto"`` when worthwhile
            (long runs, no convolutions) and possible, ``"always"``, or ``"never"``. The noise is then JAX's.
        engine: the language of a program, if it cannot be detected.
        options: settings of the objective, for example ``samples=8`` draws from the guide per example.

    Returns:
        The :class:`TrainingRun`, with the history.

    Raises:
        InvalidArgument: if a setting is out of range.
        DataError: if the data do not fit the family, or are too few.
        ProgramError: if guide and program do not match.
        StorageError: if checkpoint or log cannot be written, or belong to another run.
        TrainingError: if there is nothing to train, or the loss stops being finite.

    References:
        Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2017, arXiv:1711.05101; Polyak and
        Juditsky, *Acceleration of Stochastic Approximation by Averaging*, 1992.

    Example:
        >>> from ppgen.models import VAE
        >>> rows = np.random.default_rng(0).integers(0, 2, size=(64, 1)).repeat(4, axis=1)
        >>> vae = VAE((4,), levels=2, latent_dim=1, hidden=(16,))
        >>> run = train(vae, rows, epochs=40, learning_rate=0.01, progress=False)
        >>> run.objective, run.history[run.best_epoch - 1].valid < run.history[0].valid
        ('elbo', True)
    """
    # The settings are checked before the rows: they cost nothing.
    optimizer = Optimizer(learning_rate, weight_decay, clip, schedule, average)
    plan = Plan(epochs, _BATCH if batch_size is None else batch_size, patience, seed)
    if device is not None:
        check_choice("device", device, get_args(Device))
    check_choice("precision", precision, get_args(Precision))
    check_choice("compile", compile, get_args(Compile))
    history = Log(log)
    family = program if isinstance(program, TrainableFamily) else None
    if family is not None:
        _check_no_guide(guide)
        rows = rows_for_family(family, data, labels, seed)
        language = find_language(family.engine)
    else:
        rows = rows_for_program(data, labels, seed)
        language = find_language(_engine(program, rows, engine))
    plan = _with_batch(plan, batch_size, len(rows.train))
    run = _description(program, family, objective, options, plan, optimizer, precision, rows, checkpoint)
    job = Job(
        title=type(family).__name__ if family is not None else getattr(program, "__name__", "program"),
        rows=rows,
        plan=plan,
        optimizer=optimizer,
        objective=objective,
        options=options,
        checkpoint=Checkpoint(checkpoint, run, minutes=checkpoint_minutes, resume=resume),
        log=history,
        progress=progress,
        device=device,
        precision=precision,
        compile=compile,
    )
    trained = _train(subject_of(language, program, guide, family), job)
    if family is not None:
        family.trained = _facts(family.trained, trained, job)
    if trained.fit.stopped == "interrupted":
        _warn_interrupted(trained)
    return TrainingRun(trained.objective, **vars(trained.fit), params=trained.params, store=trained.store)


def _train(subject: Subject, job: Job) -> Trained:
    family = subject.family
    if family is not None:
        possible = family.objectives
    else:
        first = "elbo" if isinstance(subject, GuidedSubject) else "likelihood"
        possible = (first, *(name for name in OBJECTIVES if name != first))
    objective = make_objective(job.objective, possible, job.options)
    check_requirements(objective, subject)
    # A family that was trained before keeps the units that it was trained in.
    if family is not None and family.trained is None:
        family.standardise(job.rows.train, job.rows.train_labels)
    # Adversarial objectives need samples, not densities: their learner has its own checks.
    if family is None and not isinstance(objective, BringsLearner):
        _check_program(subject, objective, job)
    learn: Callable[..., Trained] = import_module(_LEARNERS[subject.language.arrays]).learn
    return learn(subject, objective, job)


def _check_program(subject: Subject, objective: Objective, job: Job) -> None:
    """Reject a user's own program that cannot be trained, by a trial run on a few examples."""
    rows, (x, label) = subject.language.rows, job.example()
    with rows.seeded(job.plan.seed) as key:
        few = Batch(
            rows.as_array(x[:_EXAMPLE]), None if label is None else rows.as_array(label[:_EXAMPLE]), key
        )
        if isinstance(subject, GuidedSubject):
            fixed = isinstance(objective, Bound) and objective.fixed_draws
            check_pair(rows, subject.model, subject.guide, few, reparameterised=not fixed)
        else:
            check_exact(rows, subject.model, few)


def _engine(program: Any, rows: Rows, engine: Engine | None) -> Engine:
    if not callable(program):
        return detect_engine(program, {})  # says what a program is
    # A torch module is called through its own (*args, **kwargs).
    called = program.forward if hasattr(program, "forward") else program
    argument = next(iter(inspect.signature(called).parameters), None)
    if argument is None:
        raise ProgramError(
            "program",
            got="a program without arguments",
            expected="one whose first argument is the minibatch",
            fix="Write def program(x): ... sample('x', ..., obs=x).",
        )
    example = {argument: np.asarray(rows.train[:_EXAMPLE])}
    if rows.train_labels is not None:
        example["label"] = rows.train_labels[:_EXAMPLE]
    return detect_engine(called, example, engine)


def _with_batch(plan: Plan, asked: int | None, rows: int) -> Plan:
    if asked is not None and asked > rows:
        raise InvalidArgument(
            "batch_size",
            got=f"{asked}, with {rows} rows to train on",
            expected="no more than there are rows",
            fix=f"Write batch_size={rows}, or leave it out.",
        )
    return Plan(plan.epochs, min(plan.batch_size, rows), plan.patience, plan.seed)


def _description(
    program: Any,
    family: TrainableFamily | None,
    objective: Any,
    options: dict[str, Any],
    plan: Plan,
    optimizer: Optimizer,
    precision: str,
    rows: Rows,
    checkpoint: Any,
) -> dict[str, Any]:
    """Everything that determines a training run, by which a checkpoint recognises it."""
    if checkpoint is None:
        return {}
    what = (
        {"program": getattr(program, "__qualname__", "program")}
        if family is None
        else {
            "family": type(family).__name__,
            "shape": list(family.shape),
            "config": repr(dict(family.config)),
        }
    )
    return {
        **what,
        "rows": digest(rows.train, rows.valid, rows.train_labels, rows.valid_labels),
        "objective": repr(objective),
        "options": repr(options),
        **vars(plan),
        **vars(optimizer),
        "precision": precision,
    }


def _facts(before: TrainingFacts | None, trained: Trained, job: Job) -> TrainingFacts:
    return TrainingFacts(
        trained.objective,
        epochs=len(trained.fit.history) + (before.epochs if before else 0),
        seconds=trained.fit.seconds + (before.seconds if before else 0.0),
        rows=len(job.rows.train),
        seed=job.plan.seed,
    )


def _warn_interrupted(trained: Trained) -> None:
    fit = trained.fit
    kept = f"epoch {fit.best_epoch}" if fit.best_epoch else "the unfinished first epoch"
    warnings.warn(
        f"training was interrupted after {len(fit.history)} epochs; the parameters of {kept} are kept",
        TrainingWarning,
        stacklevel=3,
    )


def _check_no_guide(guide: Program | None) -> None:
    if guide is not None:
        raise InvalidArgument(
            "guide",
            got="a guide for a family",
            expected="nothing: a family brings its own",
            fix="Leave guide out, or train the two as a program: train(family.model, data, guide=...).",
        )
