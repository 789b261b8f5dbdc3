"""Contrastive divergence: energies fall at the rows, and rise where chains of the model go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ppgen.errors import InvalidArgument, TrainingError
from ppgen.inference.training.objectives.objective import Batch
from ppgen.inference.training.objectives.score import sliced
from ppgen.inference.training.objectives.unnormalised import (
    as_points,
    held,
    langevin,
    log_density_of,
)
from ppgen.inference.training.settings import check_count, check_positive

__all__ = ["ContrastiveDivergence", "PersistentContrastiveDivergence"]


@dataclass(frozen=True)
class ContrastiveDivergence:
    r"""CD-k: minimise :math:`E(x) - E(x_k)`, where a chain took k steps from the row x to :math:`x_k`.

    The gradient is that of the log likelihood but for how far the chains are from the model's own
    draws; no gradient runs through them. The chains are a family's Gibbs steps (its ``transition``), or,
    where the density has a gradient, Metropolis-adjusted Langevin steps whose size follows the rate of
    acceptance: so a program of one's own can be trained, its density known up to a constant.

    The loss itself says little. What validation shows instead is minus the pseudo log likelihood of
    discrete rows, and for continuous ones the sliced score-matching loss, which is least for the true
    density and needs no constant either.

    Attributes:
        steps: k, of the chains before each update.
        step_size: the first of the Langevin steps; a family's in its standardised units.

    References:
        Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, Neural Computation
        2002, doi:10.1162/089976602760128018.
    """

    name: ClassVar[str] = "cd"

    steps: int = 1
    step_size: float = 0.01

    def __post_init__(self) -> None:
        check_count("steps", self.steps, example=1)
        check_positive("step_size", self.step_size, example=0.01)

    def begin(self, subject: Any, batch: Batch) -> Any:
        """The log step size."""
        _places(subject, batch)  # refuses what has no kernel
        return jnp.asarray(math.log(self.step_size))

    def advance(self, subject: Any, batch: Batch, memory: Any) -> tuple[Any, Any]:
        """The loss of each row ``(n,)``, and the log step size."""
        chains, log_step = _move(subject, batch, _places(subject, batch), memory, self.steps)
        return _contrast(subject, batch, chains), log_step

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)``, with Langevin steps of the first size."""
        return self.advance(subject, batch, self.begin(subject, batch))[0]

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """What validation shows of each row ``(n,)``."""
        return _monitor(subject, batch)


@dataclass(frozen=True)
class PersistentContrastiveDivergence:
    r"""Stochastic maximum likelihood: as ``"cd"``, but the chains go on from where the last update left them.

    As the parameters change slowly the chains stay close to the model's own draws, however far from the
    rows those are. What validation shows is as for ``"cd"``.

    Attributes:
        steps: of the chains before each update.
        chains: how many; as many as the minibatch has rows when not given.
        restart: the share of chains that begin anew at each update, which helps where modes are far apart
            (a replay buffer).
        step_size: the first of the Langevin steps; a family's in its standardised units.

    References:
        Younes, *On the convergence of Markovian stochastic algorithms with rapidly decreasing ergodicity
        rates*, 1999; Tieleman, *Training Restricted Boltzmann Machines using Approximations to the
        Likelihood Gradient*, ICML 2008; Du and Mordatch, *Implicit Generation and Generalization in
        Energy-Based Models*, 2019, arXiv:1903.08689, for the restarts.
    """

    name: ClassVar[str] = "pcd"

    steps: int = 1
    chains: int | None = None
    restart: float = 0.0
    step_size: float = 0.01

    def __post_init__(self) -> None:
        check_count("steps", self.steps, example=1)
        if self.chains is not None:
            check_count("chains", self.chains, example=100)
        if not 0 <= self.restart < 1:
            raise InvalidArgument(
                "restart",
                got=repr(self.restart),
                expected="a share from 0 up to but not 1",
                fix="Write restart=0.05, or 0 for chains that never begin anew.",
            )
        check_positive("step_size", self.step_size, example=0.01)

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
        """The loss of each row ``(n,)``, and the chains and log step size after the update."""
        chains, log_step = memory
        if self.restart:
            anew = jax.random.bernoulli(jax.random.fold_in(batch.key, 2), self.restart, (len(chains),))
            anew = anew.reshape(-1, *(1,) * (chains.ndim - 1))
            chains = jnp.where(anew, self._fresh(subject, batch), chains)
        chains, log_step = _move(subject, batch, chains, log_step, self.steps)
        return _contrast(subject, batch, chains), (chains, log_step)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)``, with chains that begin at the rows."""
        return ContrastiveDivergence(self.steps, self.step_size)(subject, batch)

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """What validation shows of each row ``(n,)``."""
        return _monitor(subject, batch)

    def _fresh(self, subject: Any, batch: Batch) -> jax.Array:
        """Chains at their start: a family's independent units or noise, or a program's rows."""
        n = self.chains or len(batch.x)
        key = jax.random.fold_in(batch.key, 1)
        family: Any = getattr(subject, "family", None)
        if hasattr(family, "transition"):
            return lax.stop_gradient(family.start(key, n))
        places = _places(subject, batch)
        if family is not None:
            return jax.random.normal(key, (n, *places.shape[1:]))
        return places[np.arange(n) % len(places)]


def _places(subject: Any, batch: Batch) -> jax.Array:
    """Where chains are that begin at the rows."""
    if hasattr(getattr(subject, "family", None), "transition"):
        return batch.x
    return as_points(subject, batch).z


def _move(
    subject: Any, batch: Batch, chains: jax.Array, log_step: Any, steps: int
) -> tuple[jax.Array, jax.Array]:
    fixed, key = held(subject), jax.random.fold_in(batch.key, 3)
    family: Any = getattr(fixed, "family", None)
    if hasattr(family, "transition"):
        moved = lax.fori_loop(0, steps, lambda k, x: family.transition(jax.random.fold_in(key, k), x), chains)
        return lax.stop_gradient(moved), log_step
    moved, log_step = langevin(as_points(fixed, batch).log_density, key, chains, log_step, steps)
    return lax.stop_gradient(moved), lax.stop_gradient(log_step)


def _contrast(subject: Any, batch: Batch, chains: jax.Array) -> jax.Array:
    if hasattr(getattr(subject, "family", None), "transition"):
        rows, log_density = batch.x, log_density_of(subject, batch)
    else:
        rows, log_density = as_points(subject, batch)
    return log_density(chains).mean() - log_density(rows)


def _monitor(subject: Any, batch: Batch) -> jax.Array:
    family: Any = getattr(subject, "family", None)
    if hasattr(family, "pseudo_log_prob") and family.levels is not None:
        return -family.pseudo_log_prob(batch.key, batch.x)
    return sliced(as_points(subject, batch), batch.key, projections=4)
