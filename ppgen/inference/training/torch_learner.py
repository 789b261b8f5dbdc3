"""Learning in torch: gradients by torch, parameters where Pyro keeps them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument, UnsupportedProgram
from ppgen.inference.training.job import Job, Trained, no_parameters
from ppgen.inference.training.loop import Learner, Steps
from ppgen.inference.training.objectives import BringsLearner, Objective
from ppgen.inference.training.settings import Optimizer
from ppgen.inference.training.subject import Subject
from ppgen.program.languages.rows import Batch
from ppgen.program.languages.rows.pyro import as_tensor, modules_of

__all__ = ["Loss", "TorchLearner", "as_batch", "device_of", "learn"]

Loss = Callable[[Batch], Tensor]

CHUNK = 512  # held-out examples in one pass
WORTH_COMPILING = 2000  # steps; compilation takes a few seconds, and saves a millisecond or two per step


def learn(subject: Subject, objective: Objective, job: Job) -> Trained:
    """Train a family in place, or a user's own program in a separate parameter store."""
    modules = modules_of(*subject.programs.values())
    if isinstance(subject.family, nn.Module):
        subject.family.to(_asked_device(job.device))
    # Pyro's checks ran on a few examples before; the loop reports NaNs.
    with (
        pyro.get_param_store().scope(),
        torch.random.fork_rng(devices=[]),
        pyro.validation_enabled(False),
    ):
        torch.manual_seed(job.plan.seed)
        try:
            fit = job.fit(_learner(subject, objective, modules, job))
        finally:
            for module in modules:
                module.eval()
        if subject.family is not None:
            return Trained(objective.name, fit)
        store = pyro.get_param_store()
        params = {name: _array(value) for name, value in store.items()}
        return Trained(objective.name, fit, params, store.get_state())


class TorchLearner:
    """AdamW steps on a loss of rows, for its modules' parameters and those that it registers with Pyro.

    Args:
        loss: the loss of each example of a batch ``(n,)``; it must be called inside the parameter store that
            is to be trained.
        modules: those whose training mode is switched on for steps, and off for evaluation.
        example: a minibatch, on which the loss is called once to find its parameters.
        optimizer: the optimizer's settings.
        steps: how many updates are planned; the learning rate's schedule runs over them.
        seed: seed of the noise in evaluation.
        bf16: compute the loss in bfloat16 where torch's autocast deems it safe.
        parameters: to learn; by default all that the loss has.
        monitor: the validation loss; by default the training loss.
        betas: Adam's.

    Raises:
        TrainingError: if the loss has no parameters.
    """

    keeps_last = False

    def __init__(
        self,
        loss: Loss,
        modules: Sequence[nn.Module],
        example: tuple[np.ndarray, np.ndarray | None],
        optimizer: Optimizer,
        steps: int,
        seed: int,
        bf16: bool = False,
        *,
        parameters: list[Tensor] | None = None,
        monitor: Loss | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.loss, self.monitor = loss, monitor or loss
        self.modules = modules
        self.seed = seed
        self.optimizer = optimizer
        self.bf16 = bf16
        self.device = device_of(modules)
        self.parameters = parameters or self._find_parameters(example)
        self.buffers = [buffer for module in modules for buffer in module.buffers()]
        self.average = [p.detach().clone() for p in self.parameters] if optimizer.average else None
        self.adam = torch.optim.AdamW(
            self.parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay, betas=betas
        )
        self._rate = lambda done: optimizer.rate(min(1.0, (done + 1) / steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adam, self._rate)
        self.done = 0

    def batches_per_call(self) -> int:
        """One: a torch step is enough work for a call."""
        return 1

    def steps(self, x: np.ndarray, label: np.ndarray | None) -> Steps:
        """Update the parameters on minibatches ``(k, batch, *shape)``, in their order."""
        losses = np.full(len(x), math.nan)
        for i, rows in enumerate(x):
            losses[i] = self._step(self.batch(rows, None if label is None else label[i]))
            if not math.isfinite(losses[i]):
                break
        return Steps(losses)

    def evaluate(self, x: RowArray, label: np.ndarray | None) -> float:
        """The mean loss of held-out examples, with the same noise at each call."""
        self.training(False)
        kept = self._swap(self.average)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), self._precision():
                torch.manual_seed(self.seed)
                return sum(self.monitor(batch).sum().item() for batch in self._chunks(x, label)) / len(x)
        finally:
            self._swap(kept)

    def snapshot(self) -> dict[str, np.ndarray]:
        """A copy of the parameters, averaged if they are, and of the buffers."""
        return _arrays("parameter", self.average or self.parameters) | _arrays("buffer", self.buffers)

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go back to a copy."""
        _fill("parameter", self.parameters, snapshot)
        _fill("buffer", self.buffers, snapshot)

    def state(self) -> dict[str, np.ndarray]:
        """Parameters, buffers, averages, Adam's moments, the step and the state of torch's noise."""
        state = _arrays("parameter", self.parameters) | _arrays("buffer", self.buffers)
        state |= _arrays("average", self.average or [])
        for i, memory in self.adam.state_dict()["state"].items():
            state |= {f"adam/{i}/{name}": _array(value) for name, value in memory.items()}
        state["noise"] = torch.get_rng_state().numpy()
        state["done"] = np.array(self.done)
        return state

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Resume from such a state, bit for bit."""
        self.restore(state)
        _fill("average", self.average or [], state)
        memory: dict[int, dict[str, Tensor]] = {}
        for name in state:
            if name.startswith("adam/"):
                _, i, field = name.split("/")
                memory.setdefault(int(i), {})[field] = torch.from_numpy(np.array(state[name]))
        self.adam.load_state_dict({**self.adam.state_dict(), "state": memory})
        self.done = int(state["done"])
        self.schedule.last_epoch = self.done
        for group in self.adam.param_groups:
            group["lr"] = self.optimizer.learning_rate * self._rate(self.done)
        torch.set_rng_state(torch.from_numpy(np.array(state["noise"])))

    def _step(self, batch: Batch) -> float:
        self.training(True)
        with self._precision():
            loss = self.loss(batch).mean()
        self.adam.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.optimizer.clip)
        if not torch.isfinite(loss + norm):
            return math.nan
        self.adam.step()
        self.schedule.step()
        self.done += 1
        if self.average is not None:
            decay = self.optimizer.decay(self.done)
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        return loss.item()

    def _find_parameters(self, example: tuple[np.ndarray, np.ndarray | None]) -> list[Tensor]:
        with torch.no_grad():
            self.loss(self.batch(*example))
        registered = [tensor for _, tensor in pyro.get_param_store().named_parameters()]
        # A PyroModule does not register what is inside its ordinary submodules.
        owned = [tensor for module in self.modules for tensor in module.parameters() if tensor.requires_grad]
        # Two names for one tensor, as of tied weights, are one parameter.
        found = {id(tensor): tensor for tensor in (*registered, *owned)}
        if not found:
            raise no_parameters("pyro.param('w', torch.zeros(3)), pyro.module('net', net)")
        return list(found.values())

    def batch(self, x: np.ndarray, label: np.ndarray | None) -> Batch:
        """Examples ``(n, *shape)`` and labels ``(n,)`` as the loss takes them."""
        return as_batch(self.device, x, label)

    def _chunks(self, x: RowArray, label: np.ndarray | None) -> Iterable[Batch]:
        for start in range(0, len(x), CHUNK):
            stop = start + CHUNK
            yield self.batch(np.asarray(x[start:stop]), None if label is None else label[start:stop])

    def _swap(self, values: list[Tensor] | None) -> list[Tensor] | None:
        """Replace the parameters' values, and return the old ones."""
        if values is None:
            return None
        with torch.no_grad():
            kept = [parameter.detach().clone() for parameter in self.parameters]
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
        return kept

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def training(self, on: bool) -> None:
        """Switch the training mode of the modules."""
        for module in self.modules:
            module.train(on)


def _learner(subject: Subject, objective: Objective, modules: Sequence[nn.Module], job: Job) -> Learner:
    if isinstance(objective, BringsLearner):  # adversarial training, with an optimizer for each player
        player: Learner = objective.learner(subject, job)
        return player
    learner = TorchLearner(
        lambda batch: objective(subject, batch),
        modules,
        job.example(),
        job.optimizer,
        job.planned_steps,
        job.plan.seed,
        bf16=job.precision == "bf16",
    )
    return _compiled(learner, job)


def _compiled(learner: TorchLearner, job: Job) -> Learner:
    """The same steps on JAX, if requested or worthwhile."""
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
    from ppgen.inference.training.lowered_learner import LoweredLearner  # JAX takes seconds to import

    try:
        return LoweredLearner(learner, job)
    except UnsupportedProgram:
        if job.compile == "always":
            raise
        return learner  # torch can run it; compilation was only for speed


def _pays(learner: TorchLearner, job: Job) -> bool:
    """Whether the planned steps save more than compilation costs.

    A fixed rule instead of a timing, so that the same call always makes the same choice.
    """
    convolutions = any(
        isinstance(part, nn.modules.conv._ConvNd) for module in learner.modules for part in module.modules()
    )
    return job.planned_steps >= WORTH_COMPILING and not convolutions


def _asked_device(name: str | None) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(
            "device",
            got="'cuda'",
            expected="a device that this machine has: torch finds no GPU",
            fix="Write device='cpu', or install a CUDA build of torch.",
        )
    return torch.device(name or "cpu")


def as_batch(device: torch.device, x: np.ndarray, label: np.ndarray | None) -> Batch:
    """Examples ``(n, *shape)`` and labels ``(n,)`` as a loss takes them."""
    return Batch(as_tensor(x).to(device), None if label is None else torch.from_numpy(label).to(device))


def device_of(modules: Sequence[nn.Module]) -> torch.device:
    """The device of the modules."""
    parameters = (parameter for module in modules for parameter in module.parameters())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _arrays(name: str, tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
    return {f"{name}/{i}": _array(tensor) for i, tensor in enumerate(tensors)}


def _fill(name: str, tensors: Sequence[Tensor], arrays: Mapping[str, np.ndarray]) -> None:
    with torch.no_grad():
        for i, tensor in enumerate(tensors):
            tensor.copy_(torch.from_numpy(np.array(arrays[f"{name}/{i}"])))
