"""A Pyro program that trains on JAX: its loss is recorded once, and its steps are one compiled loop.

Pyro's handlers cost a millisecond or more per step. Here they run once, while the loss is recorded; only
arithmetic remains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from ppgen.data.lazy import RowArray
from ppgen.errors import UnsupportedProgram
from ppgen.inference.compilation import use_persistent_cache
from ppgen.inference.training.jax_learner import CHUNK, JaxLearner
from ppgen.inference.training.job import Job
from ppgen.inference.training.loop import Steps
from ppgen.inference.training.settings import Optimizer
from ppgen.program.languages.rows import Batch
from ppgen.program.lowering.recording import Recording, open_draws, record_loss

__all__ = ["LoweredLearner"]

TOLERANCE = 1e-3  # of recorded gradients, relative to the largest entry, in single precision


@runtime_checkable
class _Eager(Protocol):
    """A learner in torch, which is to be lowered."""

    loss: Any
    parameters: list[Tensor]
    buffers: list[Tensor]
    optimizer: Optimizer
    seed: int

    def batch(self, x: np.ndarray, label: np.ndarray | None) -> Batch:
        """Data as the loss takes them."""

    def training(self, on: bool) -> None:
        """Switch the training mode."""


class LoweredLearner(JaxLearner):
    """The steps of a learner in torch, on JAX.

    Args:
        learner: holds the loss, the parameters to learn and the optimizer's settings.
        job: holds the rows and the plan.

    Raises:
        UnsupportedProgram: if the loss cannot be recorded, or the record does not reproduce it: the loss
            keeps state from step to step, or has gradients that its operations do not show.
    """

    def __init__(self, learner: _Eager, job: Job) -> None:
        use_persistent_cache()
        x, label, size = job.rows.train, job.rows.train_labels, job.plan.batch_size
        self.torch = learner
        self.learned = _learned(learner, _batch(learner, x, label, 0, size))
        with jax.enable_x64(True):  # each result has the dtype that torch gave it
            example = (x[:size], None if label is None else label[:size])
            recording = self._record(x, label, size)
            held_out = self._record_held_out(x, label, min(CHUNK, len(job.rows.valid)))
            super().__init__(
                _Subject(tuple(_to_jax(parameter) for parameter in self.learned)),
                _Replay(recording, held_out),
                example,
                learner.optimizer,
                job.planned_steps,
                len(x) // size + 1,
                learner.seed,
            )

    def steps(self, x: np.ndarray, label: np.ndarray | None) -> Steps:
        """Update the parameters on minibatches ``(k, batch, *shape)``, in their order."""
        with jax.enable_x64(True):
            return super().steps(x, label)

    def evaluate(self, x: RowArray, label: np.ndarray | None) -> float:
        """The mean loss of held-out examples, with the same noise at each call."""
        with jax.enable_x64(True):
            return super().evaluate(x, label)

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go back to a copy, and write it to torch's parameters."""
        with jax.enable_x64(True):
            super().restore(snapshot)
        with torch.no_grad():
            for parameter, array in zip(self.learned, self.subject.parameters, strict=True):
                parameter.copy_(torch.from_numpy(np.array(array)))

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Resume from such a state, bit for bit."""
        with jax.enable_x64(True):
            super().resume(state)

    # -- recording, and checking the record --------------------------------------------------------------

    def _record(self, x: RowArray, label: np.ndarray | None, size: int) -> Recording:
        """Record the loss of a minibatch in training mode, and compare it with torch."""
        self.torch.training(True)
        buffers = [buffer.clone() for buffer in self.torch.buffers]
        first, second = (_batch(self.torch, x, label, start, size) for start in (0, size))
        recording = self._recorded(first, seed=0)
        if not all(torch.equal(a, b) for a, b in zip(buffers, self.torch.buffers, strict=True)):
            with torch.no_grad():
                for buffer, kept in zip(self.torch.buffers, buffers, strict=True):
                    buffer.copy_(kept)
            raise _unlike("a loss that changes buffers of its module, as batch normalisation does")
        self._check_gradients(recording, first, seed=0)
        self._check_elsewhere(recording, second, seed=1)
        return recording

    def _record_held_out(self, x: RowArray, label: np.ndarray | None, size: int) -> Recording | None:
        if size == 0:
            return None
        self.torch.training(False)
        return self._recorded(_batch(self.torch, x, label, 0, size), seed=0)

    def _recorded(self, batch: Batch, seed: int) -> Recording:
        inputs = (batch.x,) if batch.label is None else (batch.x, batch.label)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return record_loss(
                lambda *tensors: self.torch.loss(Batch(*tensors)), *inputs, parameters=self.learned
            )

    def _check_gradients(self, recording: Recording, batch: Batch, seed: int) -> None:
        loss, gradients = self._in_torch(batch, seed)

        def replayed(parameters: tuple[jax.Array, ...]) -> jax.Array:
            return recording.in_jax(*_inputs(batch), *parameters, *map(_to_jax, recording.drawn)).mean()

        value, slopes = jax.value_and_grad(replayed)(tuple(map(_to_jax, self.learned)))
        if not np.isclose(loss, float(value), rtol=TOLERANCE, atol=1e-6):
            raise _unlike(f"a loss of {loss:.6g} that is {float(value):.6g} in its record")
        for gradient, slope in zip(gradients, slopes, strict=True):
            error = np.abs(gradient - np.asarray(slope)).max(initial=0)
            if error > TOLERANCE * max(np.abs(gradient).max(initial=0), 1e-6):
                raise _unlike("gradients that its operations do not show (autograd.Function, hooks)")

    def _check_elsewhere(self, recording: Recording, batch: Batch, seed: int) -> None:
        """A value silently converted to a Python number, or a state, stays frozen at the first call."""
        drawn = self._recorded(batch, seed).drawn
        with torch.no_grad():
            inputs = (batch.x,) if batch.label is None else (batch.x, batch.label)
            replayed = recording.in_torch(*inputs, *self.learned, *drawn).mean().item()
        loss, _ = self._in_torch(batch, seed)
        if not np.isclose(loss, replayed, rtol=TOLERANCE, atol=1e-6):
            raise _unlike("a loss that Python computes in part, or that changes from call to call")

    def _in_torch(self, batch: Batch, seed: int) -> tuple[float, list[np.ndarray]]:
        with torch.random.fork_rng(devices=[]), open_draws():
            torch.manual_seed(seed)
            loss = self.torch.loss(batch).mean()
        gradients = torch.autograd.grad(loss, self.learned)
        return loss.item(), [gradient.numpy() for gradient in gradients]


@dataclass(frozen=True, eq=False)
class _Subject:
    """The parameters of a trial replay."""

    parameters: tuple[jax.Array, ...]

    def with_parameters(self, parameters: Any) -> _Subject:
        return replace(self, parameters=parameters)


@dataclass(frozen=True, eq=False)
class _Replay:
    """The recorded loss as an objective; validation has a record of its own, without dropout."""

    training: Recording
    held_out: Recording | None

    def __call__(self, subject: Any, batch: Batch) -> jax.Array:
        return _replay(self.training, subject, batch)

    def monitor(self, subject: Any, batch: Batch) -> jax.Array:
        assert self.held_out is not None
        return _replay(self.held_out, subject, batch)


def _replay(recording: Recording, subject: _Subject, batch: Batch) -> jax.Array:
    return recording.in_jax(*_inputs(batch), *subject.parameters, *recording.draw_noise(batch.key))


def _inputs(batch: Batch) -> tuple[Any, ...]:
    return tuple(_to_jax(value) for value in (batch.x, batch.label) if value is not None)


def _to_jax(value: Any) -> Any:
    return jnp.asarray(value.detach().numpy()) if isinstance(value, Tensor) else value


def _batch(learner: _Eager, x: RowArray, label: np.ndarray | None, start: int, size: int) -> Batch:
    index = np.arange(start, start + size) % len(x)
    return learner.batch(x[index], None if label is None else label[index])


def _learned(learner: _Eager, batch: Batch) -> Sequence[Tensor]:
    """The parameters that the loss depends on; others stay as they are, as under torch's own optimizers."""
    learner.training(True)
    with torch.random.fork_rng(devices=[]):
        gradients = torch.autograd.grad(learner.loss(batch).mean(), learner.parameters, allow_unused=True)
    return [p for p, g in zip(learner.parameters, gradients, strict=True) if g is not None]


def _unlike(got: str) -> UnsupportedProgram:
    return UnsupportedProgram(
        "compile",
        got=got,
        expected="a loss that is the sum of its operations, the same at every step",
        fix='Write compile="never": torch then runs the program at every step.',
    )
