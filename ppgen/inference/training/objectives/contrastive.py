"""Contrastive divergence: energies fall at the data, and rise where chains of the model go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ppgen.checks import check_integer, check_number
from ppgen.errors import TrainingError
from ppgen.inference.training.objectives.score import sliced
from ppgen.inference.training.objectives.unnormalised import (
    LogDensity,
    Points,
    as_levels,
    as_points,
    log_density_of,
    stop_gradient,
)
from ppgen.kernels import mala
from ppgen.kernels.gibbs import gibbs_sweep
from ppgen.kernels.pseudo_likelihood import pseudo_log_prob
from ppgen.program.capabilities import HasPseudoLikelihood, HasTransition
from ppgen.program.languages.rows import Batch

__all__ = ["ContrastiveDivergence", "PersistentContrastiveDivergence", "gibbs"]


@dataclass(frozen=True)
class ContrastiveDivergence:
    r"""CD-k: minimise :math:`E(x) - E(x_k)`, where a chain takes k steps from the example x to :math:`x_k`.

    The gradient approximates that of the log likelihood, better the closer the chains are to draws from the
    model; no gradient flows through them. The chains are a family's Gibbs steps (its ``transition``). A
    user's own unnormalised program is trained with Metropolis-adjusted Langevin steps, whose size adapts to
    the acceptance rate, or on whole numbers with Gibbs sweeps over all entries.

    The loss itself says little. Validation instead reports minus the log pseudo-likelihood of discrete data,
    and for continuous data the sliced score-matching loss, which is minimal for the true density; neither
    needs the constant.

    Attributes:
        steps: k, of the chains before each update.
        step_size: the first of the Langevin steps; a family's in its standardised units.
        levels: how many values an entry can take, for programs of discrete data.

    References:
        Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, Neural Computation
        2002, doi:10.1162/089976602760128018.
    """

    name: ClassVar[str] = "cd"
    requires: ClassVar[type] = object
    arrays: ClassVar[str] = "jax"

    steps: int = 1
    step_size: float = 0.01
    levels: int | None = None

    def __post_init__(self) -> None:
        _check_chains(self.steps, self.step_size, self.levels)

    def begin(self, subject: Any, batch: Batch) -> Any:
        """The log step size."""
        _points(subject, batch, self.levels)  # rejects data without a kernel
        return jnp.asarray(math.log(self.step_size))

    def advance(self, subject: Any, batch: Batch, memory: Any) -> tuple[Any, Any]:
        """The loss of each example ``(n,)``, and the log step size."""
        points = _points(subject, batch, self.levels)
        chains, log_step = _move(subject, batch, points.z, memory, self.steps, self.levels)
        return _contrast(points, chains), log_step

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, with Langevin steps of the first size."""
        return self.advance(subject, batch, self.begin(subject, batch))[0]

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The validation loss of each example ``(n,)``."""
        return _monitor(subject, batch, self.levels)


@dataclass(frozen=True)
class PersistentContrastiveDivergence:
    r"""Stochastic maximum likelihood: as ``"cd"``, but the chains continue where the last update left them.

    As the parameters change slowly the chains stay close to the model's own draws, however far those are from
    the data. Validation is as for ``"cd"``.

    Attributes:
        steps: of the chains before each update.
        chains: how many; as many as the minibatch has rows when not given.
        restart: the share of chains that restart at each update, which helps where modes are far apart
            (a replay buffer).
        step_size: the first of the Langevin steps; a family's in its standardised units.
        levels: how many values an entry can take, for programs of discrete data.

    References:
        Younes, *On the convergence of Markovian stochastic algorithms with rapidly decreasing ergodicity
        rates*, 1999; Tieleman, *Training Restricted Boltzmann Machines using Approximations to the
        Likelihood Gradient*, ICML 2008; Du and Mordatch, *Implicit Generation and Generalization in
        Energy-Based Models*, 2019, arXiv:1903.08689, for the restarts.
    """

    name: ClassVar[str] = "pcd"
    requires: ClassVar[type] = object
    arrays: ClassVar[str] = "jax"

    steps: int = 1
    chains: int | None = None
    restart: float = 0.0
    step_size: float = 0.01
    levels: int | None = None

    def __post_init__(self) -> None:
        _check_chains(self.steps, self.step_size, self.levels)
        if self.chains is not None:
            check_integer("chains", self.chains, example=100)
        check_number("restart", self.restart, least=0.0, below=1.0, example=0.05)

    def begin(self, subject: Any, batch: Batch) -> Any:
        """The chains, and the log step size.

        Raises:
            TrainingError: if rows have labels: a chain keeps no label.
        """
        if batch.label is not None:
            raise TrainingError(
                "labels",
                got="labels, for chains that outlive the minibatch",
                expected="rows alone",
                fix='Write objective="cd", whose chains begin at rows with their labels.',
            )
        return self._fresh(subject, batch), jnp.asarray(math.log(self.step_size))

    def advance(self, subject: Any, batch: Batch, memory: Any) -> tuple[Any, Any]:
        """The loss of each example ``(n,)``, and the chains and log step size after the update."""
        chains, log_step = memory
        if self.restart:
            restarted = jax.random.bernoulli(jax.random.fold_in(batch.key, 2), self.restart, (len(chains),))
            restarted = restarted.reshape(-1, *(1,) * (chains.ndim - 1))
            chains = jnp.where(restarted, self._fresh(subject, batch), chains)
        chains, log_step = _move(subject, batch, chains, log_step, self.steps, self.levels)
        return _contrast(_points(subject, batch, self.levels), chains), (chains, log_step)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, with chains that begin at the rows."""
        return ContrastiveDivergence(self.steps, self.step_size, self.levels)(subject, batch)

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The validation loss of each example ``(n,)``."""
        return _monitor(subject, batch, self.levels)

    def _fresh(self, subject: Any, batch: Batch) -> jax.Array:
        """Chains at their start: a family's independent units or noise, or a program's rows."""
        n = self.chains or len(batch.x)
        key = jax.random.fold_in(batch.key, 1)
        if isinstance(subject.family, HasTransition):
            return lax.stop_gradient(subject.family.start(key, n))
        places = _points(subject, batch, self.levels).z
        if subject.family is not None:
            return jax.random.normal(key, (n, *places.shape[1:]))
        return places[np.arange(n) % len(places)]


def _check_chains(steps: int, step_size: float, levels: int | None) -> None:
    check_integer("steps", steps)
    check_number("step_size", step_size, above=0.0, example=0.01)
    if levels is not None:
        check_integer("levels", levels, example=2)


def _points(subject: Any, batch: Batch, levels: int | None) -> Points:
    """Rows as the chains see them: levels stay whole numbers where Gibbs steps move them."""
    if isinstance(subject.family, HasTransition):
        return Points(batch.x, log_density_of(subject, batch))
    if levels is None:
        return as_points(subject, batch)
    return as_levels(subject, batch, levels, "the chains then make Langevin steps")


def _move(
    subject: Any, batch: Batch, chains: jax.Array, log_step: Any, steps: int, levels: int | None
) -> tuple[jax.Array, jax.Array]:
    """Chains after some steps of the kernel that the subject has, and the log size of Langevin steps."""
    fixed, key = stop_gradient(subject), jax.random.fold_in(batch.key, 3)
    points = _points(fixed, batch, levels)
    if isinstance(fixed.family, HasTransition):
        chains = gibbs(fixed.family.transition, key, chains, steps)
    elif levels is not None:
        chains = gibbs(partial(_sweep, points.log_density, levels), key, chains, steps)
    else:
        chains, log_step = mala.run(key, chains, points.log_density, log_step, steps)
    return lax.stop_gradient(chains), lax.stop_gradient(log_step)


def gibbs(step: Callable[..., jax.Array], key: jax.Array, chains: jax.Array, steps: int) -> jax.Array:
    """Chains ``(n, *shape)`` after some steps of a kernel ``step(key, chains)``."""
    return lax.fori_loop(0, steps, lambda k, x: step(jax.random.fold_in(key, k), x), chains)


def _sweep(log_density: LogDensity, levels: int, key: jax.Array, x: jax.Array) -> jax.Array:
    return gibbs_sweep(log_density, key, x, levels)


def _contrast(points: Points, chains: jax.Array) -> jax.Array:
    return points.log_density(chains).mean() - points.log_density(points.z)


def _monitor(subject: Any, batch: Batch, levels: int | None) -> jax.Array:
    family = subject.family
    if isinstance(family, HasPseudoLikelihood) and family.levels is not None:
        return -family.pseudo_log_prob(batch.key, batch.x)
    points = _points(subject, batch, levels)
    if levels is not None:
        return -pseudo_log_prob(points.log_density, batch.key, points.z, levels)
    return sliced(points, batch.key, projections=4)
