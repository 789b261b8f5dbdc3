"""What is trained: a family, or a Pyro program with its guide, by an objective that fits it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from ppgen.errors import InvalidArgument, ProgramError, UnknownName, UnsupportedProgram
from ppgen.inference.training.elbo import ELBO, ImportanceWeighted
from ppgen.inference.training.likelihood import MaximumLikelihood
from ppgen.inference.training.torch_learner import as_tensor
from ppgen.program.bounds import log_density
from ppgen.program.engine import detect_engine
from ppgen.program.family import Program, TorchFamily
from ppgen.program.pairing import check_pair, latent_sites

__all__ = ["Subject", "family_subject", "program_subject"]

EXAMPLE = 3  # rows of the trial runs before any training


@dataclass(frozen=True)
class Subject:
    """A loss with a name, and the modules behind it.

    Attributes:
        objective: ``"likelihood"``, ``"elbo"`` or ``"iwae"``.
        loss: takes a minibatch ``(n, *shape)`` to ``(n,)`` nats.
        modules: whose training mode is switched.
    """

    objective: str
    loss: Callable[[Tensor], Tensor]
    modules: tuple[nn.Module, ...]


def family_subject(family: TorchFamily, objective: str | None, samples: int | None) -> Subject:
    """A family with the objective that was asked for, or its own first choice."""
    return _subject(family.model, getattr(family, "guide", None), family.objectives, objective, samples)


def program_subject(
    program: Program, guide: Program | None, objective: str | None, samples: int | None, rows: np.ndarray
) -> Subject:
    """A user's own program, checked on a few rows before any training.

    Raises:
        ProgramError: if it has latent sites and no guide, or a guide that does not match.
        UnsupportedProgram: if it is written in NumPyro.
    """
    _check_engine(program, rows[:EXAMPLE])
    if guide is None:
        _check_exact(program, as_tensor(rows[:EXAMPLE]))
        return _subject(program, None, ("likelihood",), objective, samples)
    check_pair(program, guide, as_tensor(rows[:EXAMPLE]))
    return _subject(program, guide, ("elbo", "iwae"), objective, samples)


def _subject(
    model: Program,
    guide: Program | None,
    objectives: tuple[str, ...],
    objective: str | None,
    samples: int | None,
) -> Subject:
    objective = objectives[0] if objective is None else objective
    if objective not in objectives:
        raise UnknownName("objective", objective, objectives)
    # A family of several kinds, such as a flow, has a guide that the likelihood has no use for.
    used = None if objective == "likelihood" else guide
    return Subject(objective, _loss(objective, model, used, samples), _modules(model, used))


def _loss(
    objective: str, model: Program, guide: Program | None, samples: int | None
) -> Callable[[Tensor], Tensor]:
    if guide is not None and objective == "elbo":
        return ELBO(model, guide, samples or 1)
    if guide is not None:
        return ImportanceWeighted(model, guide, samples or 8)
    if samples is not None:
        raise InvalidArgument(
            "samples",
            got=repr(samples),
            expected="nothing: the likelihood is exact and draws no samples",
            fix="Leave samples out.",
        )
    return MaximumLikelihood(model)


def _modules(*programs: Program | None) -> tuple[nn.Module, ...]:
    # A method's module is its owner; model and guide of one family are one module.
    owners = {id(owner): owner for owner in (getattr(part, "__self__", part) for part in programs)}
    return tuple(owner for owner in owners.values() if isinstance(owner, nn.Module))


def _check_engine(program: Program, rows: np.ndarray) -> None:
    if not callable(program):
        detect_engine(program, {})  # says what a program is
    # A module is called through torch's own (*args, **kwargs).
    called = program.forward if isinstance(program, nn.Module) else program
    argument = next(iter(inspect.signature(called).parameters), None)
    if argument is None:
        raise ProgramError(
            "program",
            got="a program without arguments",
            expected="one whose first argument is the minibatch",
            fix="Write def program(x): ... pyro.sample('x', ..., obs=x).",
        )
    if detect_engine(called, {argument: rows}) == "numpyro":
        raise UnsupportedProgram(
            "program",
            got="a NumPyro program",
            expected="a Pyro program, or a family of ppgen.models",
            fix="Write it with pyro.sample, or take ppgen.infer for its posterior.",
        )


def _check_exact(program: Program, x: Tensor) -> None:
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]), torch.no_grad():
        latent = sorted(latent_sites(program, x))
        if latent:
            raise ProgramError(
                "guide",
                got=f"none, and a program with the latent sites {', '.join(map(repr, latent))}",
                expected="a guide that samples them, given the minibatch",
                fix="Write guide=..., or ppgen.infer(program, data) for a posterior.",
            )
        log_density(program, x)
