"""Adversarial training as a learner: two players, each with its own optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from ppgen.data.lazy import RowArray
from ppgen.inference.training.game import Game
from ppgen.inference.training.loop import Steps
from ppgen.inference.training.settings import Optimizer
from ppgen.inference.training.torch_learner import Loss, TorchLearner, as_batch, device_of
from ppgen.program.languages.rows import Batch

__all__ = ["AdversarialLearner"]


class AdversarialLearner:
    """Trains a critic on every minibatch, and a program on every ``critic_steps``-th.

    The program's parameters are averaged if requested; the critic's are not.

    Args:
        objective: the players' losses, such as ``Adversarial``.
        game: the players. It must be used inside the parameter store that is to be trained.
        job: the rows, the plan and the optimizer's settings.

    Raises:
        InvalidArgument, ProgramError: if program or critic do not fit the data.
    """

    def __init__(self, objective: Any, game: Game, job: Any) -> None:
        self.objective, self.game, self.job = objective, game, job
        self._measures: dict[str, float] = {}
        with torch.no_grad():
            example = as_batch(device_of(game.modules()), *job.example())
            game.check(example)
            parameters = self._program_parameters(example)
        critics: list[Tensor] = [p for p in game.critic.parameters() if p.requires_grad]
        rate = job.optimizer.learning_rate * objective.critic_rate
        optimizer = replace(job.optimizer, learning_rate=rate, average=0.0)
        self.critic = self._player(self._critic_loss, critics, optimizer, job.planned_steps)
        self.program = None
        if parameters:
            steps = math.ceil(job.planned_steps / objective.critic_steps)
            self.program = self._player(
                self._program_loss, parameters, job.optimizer, steps, game.energy_distance
            )

    @property
    def keeps_last(self) -> bool:
        """Whether the last parameters are kept; a critic alone is validated by its own loss."""
        return self.program is not None

    def batches_per_call(self) -> int:
        """One, as for a single program."""
        return 1

    def steps(self, x: np.ndarray, label: np.ndarray | None) -> Steps:
        """Update the players on minibatches ``(k, batch, *shape)``, in their order."""
        measures = {name: np.full(len(x), math.nan) for name in ("divergence", "critic", "generator")}
        losses = np.full(len(x), math.nan)
        for i in range(len(x)):
            rows, labels = x[i : i + 1], None if label is None else label[i : i + 1]
            finite = math.isfinite(self.critic.steps(rows, labels).losses[0])
            for name, value in self._measures.items():
                measures[name][i] = value
            if finite and self.program is not None and self.critic.done % self.objective.critic_steps == 0:
                finite = math.isfinite(self.program.steps(rows, labels).losses[0])
            if not finite:
                break
            losses[i] = measures["divergence"][i]
        return Steps(losses, measures)

    def evaluate(self, x: RowArray, label: np.ndarray | None) -> float:
        """The energy distance of held-out examples; the critic's loss if there is no program to train."""
        if self.program is None:
            return self.critic.evaluate(x, label)
        return self.program.evaluate(x, label)

    def snapshot(self) -> dict[str, np.ndarray]:
        """A copy of both players' parameters, the program's averaged if they are."""
        return self._of_players(lambda player: player.snapshot())

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go back to a copy."""
        for name, player in self._players().items():
            player.restore(_under(name, snapshot))

    def state(self) -> dict[str, np.ndarray]:
        """Everything that either player's next step depends on."""
        return self._of_players(lambda player: player.state())

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Resume from such a state, bit for bit."""
        for name, player in self._players().items():
            player.resume(_under(name, state))

    # -- what the players want ---------------------------------------------------------------------------

    def _critic_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            real, fake = self.game.real(batch), self.game.fake(batch)

        def score(*rows: Tensor) -> Tensor:
            return self.game.score(rows, batch.label)

        of_real, of_fake = score(*real), score(*fake)
        value = self.objective.value(of_real, of_fake)
        loss, estimate = self.objective.critic_loss(score, real, fake, value)
        with torch.no_grad():
            theirs = self.objective.generator_loss(of_fake, None if self.game.guide is None else of_real)
        self._measures = {
            "divergence": estimate.item(),
            "critic": loss.mean().item(),
            "generator": theirs.mean().item(),
        }
        return loss

    def _program_loss(self, batch: Batch) -> Tensor:
        fake = self.game.fake(batch)
        # The critic's view of real examples depends on the program only through a guide.
        real = None if self.game.guide is None else self.game.real(batch)
        with _fixed(self.critic.parameters):
            return self.objective.generator_loss(
                self.game.score(fake, batch.label),
                None if real is None else self.game.score(real, batch.label),
            )

    def _program_parameters(self, example: Batch) -> list[Tensor]:
        self.game.fake(example)
        registered = [tensor for _, tensor in pyro.get_param_store().named_parameters()]
        owned = [tensor for module in self.game.modules() for tensor in module.parameters()]
        critics = {id(tensor) for tensor in self.game.critic.parameters()}
        found = {id(t): t for t in (*registered, *owned) if t.requires_grad and id(t) not in critics}
        return list(found.values())

    # -- the players -------------------------------------------------------------------------------------

    def _player(
        self,
        loss: Loss,
        parameters: list[Tensor],
        optimizer: Optimizer,
        steps: int,
        monitor: Loss | None = None,
    ) -> TorchLearner:
        return TorchLearner(
            loss,
            self.game.modules(),
            self.job.example(),
            optimizer,
            steps,
            self.job.plan.seed,
            bf16=self.job.precision == "bf16",
            parameters=parameters,
            monitor=monitor,
            betas=self.objective.betas,
        )

    def _players(self) -> dict[str, TorchLearner]:
        return {"critic": self.critic} | ({} if self.program is None else {"program": self.program})

    def _of_players(self, what: Callable[[TorchLearner], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {
            f"{name}/{key}": array
            for name, player in self._players().items()
            for key, array in what(player).items()
        }


@contextmanager
def _fixed(parameters: list[Tensor]) -> Iterator[None]:
    # The opponent's gradient is not needed, and takes a third of the time.
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _under(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
