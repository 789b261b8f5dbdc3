"""A Pyro program, with its guide if it has one, as a subject of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from ppgen.errors import ProgramError, TrainingError
from ppgen.inference.training.objectives import Batch
from ppgen.inference.training.torch_learner import as_tensor
from ppgen.program import bounds
from ppgen.program.family import Program
from ppgen.program.pairing import check_pair, latent_sites

__all__ = ["PyroSubject", "check_program"]

EXAMPLE = 3  # rows of the trial runs before any training


@dataclass(frozen=True)
class PyroSubject:
    """What the objectives ask of a Pyro program and its guide.

    Attributes:
        model: a program whose first argument is the minibatch, and whose ``label`` is its classes.
        guide: of the same arguments, with a site for each latent one of the program.
    """

    model: Program
    guide: Program | None = None

    def log_density(self, batch: Batch) -> Tensor:
        """The log density of each row ``(n,)``."""
        return bounds.log_density(self.model, batch.x, label=batch.label)

    def elbo(self, batch: Batch, samples: int) -> Tensor:
        """The evidence lower bound of each row ``(n,)``."""
        return bounds.elbo(self.model, self._guide, batch.x, samples, label=batch.label)

    def importance_weighted(self, batch: Batch, samples: int) -> Tensor:
        """The importance-weighted bound of each row ``(n,)``."""
        return bounds.importance_weighted(self.model, self._guide, batch.x, samples, label=batch.label)

    def renyi(self, batch: Batch, samples: int, alpha: float) -> Tensor:
        """Rényi's bound of each row ``(n,)``."""
        return bounds.renyi(self.model, self._guide, batch.x, samples, alpha, label=batch.label)

    def wake_sleep(self, batch: Batch, samples: int) -> Tensor:
        """The importance-weighted bound of each row ``(n,)``, with the gradients of wake-sleep."""
        return bounds.wake_sleep(self.model, self._guide, batch.x, samples, label=batch.label)

    def modules(self) -> tuple[nn.Module, ...]:
        """The modules behind the program, whose training mode is switched."""
        # A method's module is its owner; model and guide of one family are one module.
        owners = {
            id(owner): owner
            for owner in (getattr(part, "__self__", part) for part in (self.model, self.guide))
        }
        return tuple(owner for owner in owners.values() if isinstance(owner, nn.Module))

    @property
    def _guide(self) -> Program:
        if self.guide is None:
            raise TrainingError(
                "objective",
                got="a bound, for a program without a guide",
                expected="a guide",
                fix="Write guide=...",
            )
        return self.guide


def check_program(
    model: Program,
    guide: Program | None,
    x: np.ndarray,
    label: np.ndarray | None,
    *,
    reparameterised: bool = True,
) -> None:
    """Refuse a user's own program that cannot be trained, on a few rows before any training.

    Raises:
        ProgramError: if it has latent sites and no guide, or a guide that does not match.
    """
    rows = as_tensor(x[:EXAMPLE])
    context: dict[str, Any] = {} if label is None else {"label": torch.from_numpy(label[:EXAMPLE])}
    if guide is not None:
        check_pair(model, guide, rows, reparameterised=reparameterised, **context)
        return
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]), torch.no_grad():
        latent = sorted(latent_sites(model, rows, **context))
        if latent:
            raise ProgramError(
                "guide",
                got=f"none, and a program with the latent sites {', '.join(map(repr, latent))}",
                expected="a guide that samples them, given the minibatch",
                fix="Write guide=..., or ppgen.infer(program, data) for a posterior.",
            )
        bounds.log_density(model, rows, **context)
