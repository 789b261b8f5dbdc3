"""Learning in JAX: many AdamW steps in one compiled loop on the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.inference.compilation import use_persistent_cache
from ppgen.inference.training.job import Job, Trained, no_parameters
from ppgen.inference.training.loop import Steps
from ppgen.inference.training.objectives import HasMonitor, Objective, StatefulObjective
from ppgen.inference.training.settings import WARMUP, Optimizer
from ppgen.inference.training.subject import Subject
from ppgen.program.languages.rows import Batch

__all__ = ["JaxLearner", "learn", "parameterised"]

CHUNK = 256  # held-out examples in one pass
MOST_STEPS = 256  # in one call of the compiled loop
MOST_BYTES = 2**25  # that its minibatches may take
SECONDS_A_CALL = 0.3  # so that the bar moves and Ctrl-C is handled


def learn(subject: Subject, objective: Objective, job: Job) -> Trained:
    """Train a family in place; the fitted parameters of a user's own program are in the result."""
    with _on_device(job):
        trial = parameterised(subject, job.example(), job.plan.seed)
        learner = JaxLearner(
            trial,
            objective,
            job.example(),
            job.optimizer,
            job.planned_steps,
            job.plan.steps_an_epoch(len(job.rows.train)),
            job.plan.seed,
        )
        fit = job.fit(learner)
        learned = learner.subject
    if subject.family is not None:
        subject.family.network = learned.family.network
        return Trained(objective.name, fit)
    return Trained(objective.name, fit, jax.tree.map(np.asarray, dict(learned.constrain(learned.parameters))))


def parameterised(subject: Subject, example: tuple[np.ndarray, np.ndarray | None], seed: int) -> Subject:
    """Split a subject from its parameters: the arrays of a family's network, or what a program declares.

    Raises:
        TrainingError: if a program declares none.
    """
    return _of_family(subject) if subject.family is not None else _of_program(subject, example, seed)


def _of_family(subject: Subject) -> Subject:
    program = subject.family.program
    parameters = eqx.filter(program.network, eqx.is_inexact_array)

    def put(arrays: Any) -> dict[str, Any]:
        trial = program.with_network(eqx.combine(arrays, program.network))
        return {"family": trial} | {name: getattr(trial, name) for name in subject.programs}

    return replace(subject, parameters=parameters, put=put, **put(parameters))


def _of_program(subject: Subject, example: tuple[np.ndarray, np.ndarray | None], seed: int) -> Subject:
    programs = subject.programs
    free = subject.language.rows.parameters(programs.values(), _batch(*example, jax.random.key(seed)))
    if not free.start:
        raise no_parameters("numpyro.param('w', jnp.zeros(3)), numpyro.contrib.module.eqx_module(...)")

    def put(parameters: Any) -> dict[str, Any]:
        return {name: free.put(program, parameters) for name, program in programs.items()}

    return replace(subject, parameters=free.start, put=put, constrain=free.constrain)


def _batch(x: np.ndarray, label: np.ndarray | None, key: jax.Array) -> Batch:
    return Batch(as_array(x), None if label is None else jnp.asarray(label), key)


def as_array(rows: np.ndarray) -> jax.Array:
    """Rows as a program takes them: floats in single precision, integers as they are."""
    return jnp.asarray(rows, jnp.float32) if rows.dtype.kind == "f" else jnp.asarray(rows)


def _on_device(job: Job) -> AbstractContextManager[Any]:
    use_persistent_cache()
    if job.precision != "float32":
        raise InvalidArgument(
            "precision",
            got=repr(job.precision),
            expected="'float32' for programs on JAX",
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


class _Carry(NamedTuple):
    """The state passed from one step to the next."""

    parameters: Any
    optimizer: Any
    average: Any
    memory: Any
    done: jax.Array
    alive: jax.Array


class JaxLearner:
    """AdamW steps on a loss of rows, for the parameters of a subject.

    Args:
        subject: has ``parameters``, and ``with_parameters`` to try others.
        objective: the loss of each example of a batch.
        example: a minibatch, from which a stateful objective makes its memory.
        optimizer: the optimizer's settings.
        steps: how many updates are planned; the learning rate's schedule runs over them.
        steps_an_epoch: the most steps per call.
        seed: seed of the noise.
    """

    keeps_last = False

    def __init__(
        self,
        subject: Any,
        objective: Any,
        example: tuple[np.ndarray, np.ndarray | None],
        optimizer: Optimizer,
        steps: int,
        steps_an_epoch: int,
        seed: int,
    ) -> None:
        self.subject = subject
        self.objective = objective
        self.averages = optimizer.average > 0
        self._key = jax.random.key(seed)
        transform = _transform(optimizer, steps)
        # Arrays of a numpyro.param may be weakly typed; the loop's carry may not change its types.
        parameters = jax.tree.map(lambda leaf: jnp.array(leaf, dtype=leaf.dtype), subject.parameters)
        self.carry = _Carry(
            parameters,
            transform.init(parameters),
            parameters if self.averages else (),
            self._begin(subject, example),
            jnp.zeros((), jnp.int32),
            jnp.ones((), bool),
        )
        self._loop = jax.jit(_make_loop(subject, objective, transform, optimizer))
        self._held_out = jax.jit(_make_held_out(subject, objective))
        self._room = int(np.clip(MOST_BYTES // max(1, example[0].nbytes), 1, min(MOST_STEPS, steps_an_epoch)))
        self._seconds_a_step: float | None = None
        self._calls = 0

    def batches_per_call(self) -> int:
        """As many as take a few tenths of a second; a few while the speed is unknown."""
        if self._seconds_a_step is None:
            return min(2, self._room)
        return int(np.clip(SECONDS_A_CALL / self._seconds_a_step, 1, self._room))

    def steps(self, x: np.ndarray, label: np.ndarray | None) -> Steps:
        """Update the parameters on minibatches ``(k, batch, *shape)``, in their order."""
        start = time.perf_counter()
        rows = as_array(_padded(x, self._room))
        labels = None if label is None else jnp.asarray(_padded(label, self._room))
        self.carry, losses = self._loop(self.carry, self._key, rows, labels, len(x))
        given = np.asarray(losses, dtype=np.float64)[: len(x)]
        self._calls += 1
        if self._calls > 1:  # the first call compiles
            self._seconds_a_step = (time.perf_counter() - start) / len(x)
        return Steps(given)

    def evaluate(self, x: RowArray, label: np.ndarray | None) -> float:
        """The mean loss of held-out examples, with the same noise at each call."""
        total = 0.0
        for i, (rows, labels, count) in enumerate(_chunks(x, label)):
            key = jax.random.fold_in(jax.random.fold_in(self._key, 2**31 - 1), i)
            losses = self._held_out(self._kept(), key, rows, labels)
            total += float(np.asarray(losses, dtype=np.float64)[:count].sum())
        return total / len(x)

    def snapshot(self) -> dict[str, np.ndarray]:
        """A copy of the parameters, averaged if they are."""
        return _arrays(self._kept())

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go back to a copy, and leave it in the subject."""
        parameters = _filled(self.carry.parameters, snapshot)
        self.carry = self.carry._replace(parameters=parameters)
        self.subject = self.subject.with_parameters(parameters)

    def state(self) -> dict[str, np.ndarray]:
        """Parameters, Adam's moments, averages, the objective's memory and the step (the noise's seed)."""
        return _arrays(self.carry)

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Resume from such a state, bit for bit."""
        self.carry = _filled(self.carry, state)

    def _kept(self) -> Any:
        return self.carry.average if self.averages else self.carry.parameters

    def _begin(self, subject: Any, example: tuple[np.ndarray, np.ndarray | None]) -> Any:
        if not isinstance(self.objective, StatefulObjective):
            return ()
        return self.objective.begin(subject, _batch(*example, jax.random.fold_in(self._key, 2**31 - 2)))


def _transform(optimizer: Optimizer, steps: int) -> optax.GradientTransformation:
    def rate(done: Any) -> Any:
        progress = jnp.minimum(1.0, (done + 1) / steps)
        rise = jnp.minimum(1.0, progress / WARMUP)
        course = 1.0 if optimizer.schedule == "constant" else 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return optimizer.learning_rate * rise * course

    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip),
        optax.adamw(rate, weight_decay=optimizer.weight_decay),
    )


def _make_loop(
    subject: Any, objective: Any, transform: optax.GradientTransformation, optimizer: Optimizer
) -> Callable[..., tuple[_Carry, jax.Array]]:
    """A loop over the first ``count`` of the minibatches that it is given."""

    def loss(parameters: Any, batch: Batch, memory: Any) -> tuple[jax.Array, Any]:
        trial = subject.with_parameters(parameters)
        if isinstance(objective, StatefulObjective):
            losses, memory = objective.advance(trial, batch, memory)
        else:
            losses = objective(trial, batch)
        return losses.mean(), memory

    def step(carry: _Carry, batch: Batch) -> tuple[_Carry, jax.Array]:
        (value, memory), gradient = jax.value_and_grad(loss, has_aux=True)(
            carry.parameters, batch, carry.memory
        )
        fine = carry.alive & jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))
        updates, moments = transform.update(gradient, carry.optimizer, carry.parameters)
        parameters = optax.apply_updates(carry.parameters, updates)
        average = carry.average
        if optimizer.average:
            done = carry.done + 1
            decay = jnp.minimum(optimizer.average, (1 + done) / (10 + done))
            average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, parameters)
        moved = _Carry(parameters, moments, average, memory, carry.done + 1, jnp.ones((), bool))
        # A non-finite step changes nothing, and is the last.
        still = carry._replace(alive=jnp.zeros((), bool))
        carry = jax.tree.map(lambda new, old: jnp.where(fine, new, old), moved, still)
        return carry, jnp.where(fine, value, jnp.nan)

    def loop(
        carry: _Carry, key: jax.Array, x: jax.Array, label: jax.Array | None, count: int | jax.Array
    ) -> tuple[_Carry, jax.Array]:
        def body(i: jax.Array, state: tuple[_Carry, jax.Array]) -> tuple[_Carry, jax.Array]:
            carry, losses = state
            batch = Batch(x[i], None if label is None else label[i], jax.random.fold_in(key, carry.done))
            carry, value = step(carry, batch)
            return carry, losses.at[i].set(value)

        return lax.fori_loop(0, count, body, (carry, jnp.full(len(x), jnp.nan)))

    return loop


def _make_held_out(subject: Any, objective: Any) -> Callable[..., jax.Array]:
    monitor = objective.monitor if isinstance(objective, HasMonitor) else objective

    def held_out(parameters: Any, key: jax.Array, x: jax.Array, label: jax.Array | None) -> jax.Array:
        return monitor(subject.with_parameters(parameters), Batch(x, label, key))

    return held_out


def _chunks(x: RowArray, label: np.ndarray | None) -> Iterator[tuple[jax.Array, jax.Array | None, int]]:
    """Chunks of one size, the last padded, with the number of real examples."""
    size = min(CHUNK, len(x))
    for start in range(0, len(x), size):
        rows = np.asarray(x[start : start + size])
        labels = None if label is None else jnp.asarray(_padded(label[start : start + size], size))
        yield as_array(_padded(rows, size)), labels, len(rows)


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) == size:
        return array
    padded = np.zeros((size, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    return {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _filled(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    filled = [jnp.asarray(arrays[str(i)], leaf.dtype) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, filled)
