"""What the Boltzmann machines have in common: units with biases and couplings, and Gibbs steps."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

from ppgen.kernels.annealed_importance import anneal
from ppgen.kernels.pseudo_likelihood import pseudo_log_prob
from ppgen.models.energy.family import CHAINS, TEMPERATURES, EnergyFamily, EnergyProgram, minus_energy
from ppgen.models.pytree_family import score_rows
from ppgen.program.likelihood import Kind, Likelihood

__all__ = ["BoltzmannFamily", "BoltzmannProgram"]


class BoltzmannProgram(EnergyProgram):
    """Units with biases and couplings: Gibbs sampling, and a path from independent units.

    Along the path the couplings are scaled up from 0, and the biases of the units go from the frequencies in
    the training set to the model's own.
    """

    @abstractmethod
    def transition(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """A Gibbs step of chains at ``x (n, *shape)``, which leaves the density invariant."""

    @abstractmethod
    def start(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n rows of the start of the path, independent units."""

    @abstractmethod
    def tempered(self, beta: Any) -> Any:
        """The program at a point of the path, from 0 at its start to 1."""

    def pseudo_log_prob(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """The pseudo log likelihood ``(n,)`` of rows: :mod:`ppgen.kernels.pseudo_likelihood`."""
        assert self.levels is not None
        return pseudo_log_prob(lambda rows: -self.energy(rows), key, x, self.levels)

    def rough_log_partition(self, key: jax.Array) -> jax.Array:
        """A quick estimate of the log partition function by 100 temperatures and 64 chains."""
        _, log_weights = anneal(self.energy_at, self.move_at, *self.path(key, None, 100, 64))
        return logsumexp(log_weights) - jnp.log(len(log_weights)) + self.log_partition_at_start()

    def run_chains(self, key: jax.Array, size: int, steps: int) -> jax.Array:
        """Where Gibbs chains from independent units are; the first half of the steps follows the path."""
        key, first = jax.random.split(key)

        def step(k: Any, x: jax.Array) -> jax.Array:
            beta = jnp.minimum(1.0, (k + 1) / max(1, steps // 2))
            return self.move_at(beta, jax.random.fold_in(key, k), x)

        return lax.fori_loop(0, steps, step, self.start(first, size))

    def path(
        self, key: jax.Array, rows: jax.Array | None, temperatures: int, chains: int
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Evenly spaced temperatures, chains at the beginning, and a key for each step."""
        key, first = jax.random.split(key)
        beta, keys = jnp.linspace(0.0, 1.0, temperatures + 1), jax.random.split(key, temperatures)
        return (beta, self.start(first, chains), keys) if rows is None else (beta[::-1], rows, keys)

    def energy_at(self, place: Any, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` at an inverse temperature."""
        return self.tempered(place).energy(x)

    def move_at(self, place: Any, key: jax.Array, x: jax.Array) -> jax.Array:
        """A Gibbs step at an inverse temperature."""
        return self.tempered(place).transition(key, x)


class BoltzmannFamily(EnergyFamily):
    """A Boltzmann machine: its density is exact where the states of the smaller layer can be enumerated."""

    def unnormalised_log_prob(self, x: Any) -> np.ndarray:
        """Minus the energy of each example ``(n,)``: the log density up to a constant, in nats."""
        return score_rows(self.program, x, minus_energy)

    def log_prob(
        self,
        x: Any,
        *,
        temperatures: int = TEMPERATURES,
        chains: int = CHAINS,
        seed: int = 0,
        progress: bool = False,
    ) -> Likelihood:
        """The log density of each example ``(n, *shape)``.

        It is exact where the states of the smaller layer can be enumerated, at most 2^20 of them. Otherwise
        the constant is estimated by annealed importance sampling, see :meth:`log_partition`.

        Args:
            x: examples in the data's own values.
            temperatures, chains, seed, progress: of that estimate.
        """
        log_z = self.log_partition(temperatures=temperatures, chains=chains, seed=seed, progress=progress)
        kind: Kind = "exact" if log_z.exact else "estimate"
        return self._likelihood(self.unnormalised_log_prob(x), log_z, kind, log_z.how)
