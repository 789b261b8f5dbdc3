"""Training on torch: families written in Pyro, and Pyro programs of a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import nn

from ppgen.errors import InvalidArgument, UnsupportedProgram
from ppgen.inference.training.job import Job, Trained
from ppgen.inference.training.loop import Fit, Learner
from ppgen.inference.training.lowered_learner import LoweredLearner
from ppgen.inference.training.objectives import Objective, make_objective
from ppgen.inference.training.pyro_subject import PyroSubject, check_program
from ppgen.inference.training.torch_learner import TorchLearner
from ppgen.program.family import Program, TrainableFamily

__all__ = ["train_pyro_family", "train_pyro_program"]

WORTH_COMPILING = 2000  # steps; a compilation takes some seconds, and saves a millisecond or two a step


def train_pyro_family(family: TrainableFamily, job: Job) -> Trained:
    """Train a family in place."""
    objective = make_objective(job.objective, family.objectives, job.options)
    if isinstance(family, nn.Module):
        family.to(_device(job.device))
    # A family that was trained before goes on in the units that it learned in.
    if family.trained is None:
        family.standardise(job.rows.train, job.rows.train_labels)
    # A family of several kinds, such as a flow, has a guide that the likelihood has no use for.
    guide = None if objective.name == "likelihood" else getattr(family, "guide", None)
    with pyro.get_param_store().scope():
        fit = _fit(PyroSubject(family.model, guide), family, objective, job)
    return Trained(objective.name, fit)


def train_pyro_program(program: Program, guide: Program | None, job: Job) -> Trained:
    """Train a user's own program in a parameter store of its own."""
    possible = ("likelihood",) if guide is None else ("elbo", "iwae", "renyi", "wake_sleep")
    objective = make_objective(job.objective, (*possible, "adversarial", "wasserstein"), job.options)
    # A game asks for samples, not for densities: its learner makes checks of its own.
    if not hasattr(objective, "learner"):
        check_program(program, guide, *job.example(), reparameterised=objective.name != "wake_sleep")
    with pyro.get_param_store().scope() as store:
        fit = _fit(PyroSubject(program, guide), None, objective, job)
        fitted = {name: value.detach().cpu().numpy().copy() for name, value in pyro.get_param_store().items()}
    return Trained(objective.name, fit, fitted, store)


def _fit(subject: PyroSubject, family: Any, objective: Objective, job: Job) -> Fit:
    modules = subject.modules()
    # Pyro's checks were made on a few rows before; a NaN is the loop's to report.
    with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        torch.manual_seed(job.plan.seed)
        try:
            return job.fit(_learner(subject, family, objective, job))
        finally:
            for module in modules:
                module.eval()


def _learner(subject: PyroSubject, family: Any, objective: Objective, job: Job) -> Learner:
    # An adversarial objective plays with two optimizers, and brings a learner of its own.
    build: Callable[..., Learner] | None = getattr(objective, "learner", None)
    if build is not None:
        return build(subject if family is None else family, job)
    learner = TorchLearner(
        lambda batch: objective(subject, batch),
        subject.modules(),
        job.example(),
        job.optimizer,
        job.planned_steps,
        job.plan.seed,
        bf16=job.precision == "bf16",
    )
    return _compiled(learner, job)


def _compiled(learner: TorchLearner, job: Job) -> Learner:
    """The same steps on JAX, where that was asked for or pays."""
    possible = learner.device.type == "cpu" and not learner.bf16
    if job.compile == "never" or (job.compile == "auto" and not (possible and _pays(learner, job))):
        return learner
    if not possible:
        raise InvalidArgument(
            "compile",
            got=f"'always', on {learner.device.type} in {job.precision}",
            expected="training on the CPU in single precision",
            fix="Leave compile out.",
        )
    try:
        return LoweredLearner(
            learner,
            job.rows.train,
            job.rows.train_labels,
            batch_size=job.plan.batch_size,
            held_out=len(job.rows.valid),
            steps=job.planned_steps,
        )
    except UnsupportedProgram:
        if job.compile == "always":
            raise
        return learner  # torch can do it; compilation was only for speed


def _pays(learner: TorchLearner, job: Job) -> bool:
    """Whether the steps that are planned save more than a compilation costs.

    A rule of the plan and the network, not a race: the same call must make the same choice.
    """
    convolutions = any(
        isinstance(part, nn.modules.conv._ConvNd) for module in learner.modules for part in module.modules()
    )
    return job.planned_steps >= WORTH_COMPILING and not convolutions


def _device(name: str | None) -> torch.device:
    if name in (None, "cpu"):
        return torch.device("cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(
            "device",
            got="'cuda'",
            expected="a device that this machine has: torch finds no GPU",
            fix="Write device='cpu', or install a CUDA build of torch.",
        )
    return torch.device(str(name))
