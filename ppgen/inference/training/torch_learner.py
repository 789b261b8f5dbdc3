"""A Pyro program as a learner: gradients by torch, parameters where Pyro keeps them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from ppgen.errors import TrainingError

__all__ = ["Optimizer", "Schedule", "TorchLearner", "as_tensor"]

Schedule = Literal["cosine", "constant"]
Loss = Callable[[Tensor], Tensor]

CHUNK = 512  # held-out rows in one pass
WARMUP = 0.05  # the share of all steps over which the learning rate rises


@dataclass(frozen=True)
class Optimizer:
    """AdamW's settings, and the course of its learning rate."""

    learning_rate: float
    weight_decay: float
    clip: float
    schedule: Schedule

    def rate(self, progress: float) -> float:
        """The learning rate as a fraction of the full one: a short rise, then the schedule."""
        rise = min(1.0, progress / WARMUP)
        return rise if self.schedule == "constant" else rise * 0.5 * (1 + math.cos(math.pi * progress))


class TorchLearner:
    """Adam steps on a loss of rows, for its modules' parameters and those that it registers with Pyro.

    Args:
        loss: the loss of each row; it must be called inside the parameter store that is to be trained.
        modules: whose training mode to switch on for steps, and off for evaluation.
        example: a minibatch, on which the loss is called once to find its parameters.
        optimizer: the optimizer's settings.
        steps: how many updates are planned; the learning rate's schedule runs over them.
        seed: seed of the noise in evaluation.

    Raises:
        TrainingError: if the loss has no parameters.
    """

    def __init__(
        self,
        loss: Loss,
        modules: Sequence[nn.Module],
        example: np.ndarray,
        optimizer: Optimizer,
        steps: int,
        seed: int,
    ) -> None:
        self.loss = loss
        self.modules = modules
        self.seed = seed
        self.clip = optimizer.clip
        self.parameters = self._find_parameters(example)
        self.adam = torch.optim.AdamW(
            self.parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adam, lambda step: optimizer.rate(min(1.0, (step + 1) / steps))
        )

    def step(self, batch: np.ndarray) -> float:
        """Update the parameters on a minibatch; the loss before it, NaN if the update had to be skipped."""
        self._training(True)
        loss = self.loss(self._tensor(batch)).mean()
        self.adam.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if not torch.isfinite(loss + norm):
            return math.nan
        self.adam.step()
        self.schedule.step()
        return loss.item()

    def evaluate(self, rows: np.ndarray) -> float:
        """The mean loss of held-out rows, with the same noise at each call."""
        self._training(False)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            total = sum(self.loss(self._tensor(chunk)).sum().item() for chunk in _chunks(rows))
        return total / len(rows)

    def snapshot(self) -> list[Tensor]:
        """A copy of the parameters."""
        return [parameter.detach().clone() for parameter in self.parameters]

    def restore(self, snapshot: list[Tensor]) -> None:
        """Go back to a copy."""
        with torch.no_grad():
            for parameter, value in zip(self.parameters, snapshot, strict=True):
                parameter.copy_(value)

    def _find_parameters(self, example: np.ndarray) -> list[Tensor]:
        with torch.no_grad():
            self.loss(self._tensor(example))
        registered = [tensor for _, tensor in pyro.get_param_store().named_parameters()]
        # A PyroModule does not register what is inside its ordinary submodules.
        owned = [tensor for module in self.modules for tensor in module.parameters() if tensor.requires_grad]
        # Two names for one tensor, as of tied weights, are one parameter.
        found = {id(tensor): tensor for tensor in (*registered, *owned)}
        if not found:
            raise TrainingError(
                "program",
                got="no parameters",
                expected="at least one to learn",
                fix="Declare them in the program: pyro.param('w', torch.zeros(3)), pyro.module('net', net).",
            )
        return list(found.values())

    def _tensor(self, rows: np.ndarray) -> Tensor:
        parameters = (parameter for module in self.modules for parameter in module.parameters())
        device = next((parameter.device for parameter in parameters), torch.device("cpu"))
        return as_tensor(rows).to(device)

    def _training(self, on: bool) -> None:
        for module in self.modules:
            module.train(on)


def as_tensor(rows: np.ndarray) -> Tensor:
    """Rows as a program takes them: floats in the default precision, integers as they are."""
    tensor = torch.from_numpy(rows)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
