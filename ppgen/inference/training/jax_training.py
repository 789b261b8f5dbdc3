"""Training on JAX: families written in NumPyro, and NumPyro programs of a user's own."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from ppgen.errors import InvalidArgument
from ppgen.inference.compilation import use_persistent_cache
from ppgen.inference.training.jax_learner import JaxLearner
from ppgen.inference.training.job import Job, Trained
from ppgen.inference.training.numpyro_subject import FamilySubject, read_program
from ppgen.inference.training.objectives import make_objective
from ppgen.program.family import Program, TrainableFamily

__all__ = ["train_numpyro_family", "train_numpyro_program"]

# What can be read off a log density that need not be normalised, whoever wrote the program.
_UNNORMALISED = (
    "likelihood",
    "cd",
    "pcd",
    "score_matching",
    "sliced_score_matching",
    "denoising_score_matching",
    "nce",
)
_WITH_GUIDE = ("elbo", "iwae", "renyi", "wake_sleep")


def train_numpyro_family(family: TrainableFamily, job: Job) -> Trained:
    """Train a family in place."""
    objective = make_objective(job.objective, family.objectives, job.options)
    # A family that was trained before goes on in the units that it learned in.
    if family.trained is None:
        family.standardise(job.rows.train, job.rows.train_labels)
    with _on_device(job):
        learner = _learner(FamilySubject.of(family), objective, job)
        fit = job.fit(learner)
    family.network = learner.subject.family.network  # type: ignore[attr-defined]
    return Trained(objective.name, fit)


def train_numpyro_program(program: Program, guide: Program | None, job: Job) -> Trained:
    """Train a user's own program; its fitted parameters are in the result."""
    objective = make_objective(job.objective, _UNNORMALISED if guide is None else _WITH_GUIDE, job.options)
    with _on_device(job):
        subject = read_program(program, guide, *job.example(), job.plan.seed)
        learner = _learner(subject, objective, job)
        fit = job.fit(learner)
        fitted = learner.subject.constrain(learner.subject.parameters)
    return Trained(objective.name, fit, jax.tree.map(_as_numpy, dict(fitted)))


def _learner(subject: Any, objective: Any, job: Job) -> JaxLearner:
    steps_an_epoch = job.plan.steps_an_epoch(len(job.rows.train))
    return JaxLearner(
        subject, objective, job.example(), job.optimizer, job.planned_steps, steps_an_epoch, job.plan.seed
    )


def _as_numpy(leaf: Any) -> Any:
    return np.asarray(leaf)


def _on_device(job: Job) -> AbstractContextManager[Any]:
    use_persistent_cache()
    if job.precision != "float32":
        raise InvalidArgument(
            "precision",
            got=repr(job.precision),
            expected="'float32' for programs in NumPyro",
            fix="Cast inside the network where that helps: equinox modules take their own dtype.",
        )
    if job.device is None:
        return nullcontext()
    try:
        return jax.default_device(jax.devices({"cuda": "gpu"}.get(job.device, job.device))[0])
    except RuntimeError as error:
        there = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise InvalidArgument(
            "device",
            got=repr(job.device),
            expected=f"a device that JAX finds here: {there}",
            fix="Write device='cpu', or install a CUDA build of JAX.",
        ) from error
