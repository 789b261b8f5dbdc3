"""The deep energy-based model: a network says how much less likely a row is than under a Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from jax.scipy.special import logsumexp
from numpyro.contrib.module import eqx_module

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.kernels import mala
from ppgen.kernels.annealed_importance import AISState, anneal
from ppgen.models.checks import check_name, check_positive, check_sizes
from ppgen.models.energy.family import CHAINS, TEMPERATURES, EnergyFamily, Method
from ppgen.models.energy.partition import LogPartition
from ppgen.models.networks.energy import Architecture, energy_network
from ppgen.program.likelihood import Likelihood

__all__ = ["EnergyModel"]

HIDDEN = {"mlp": (256, 256), "conv": (32, 64, 128)}

_FIRST_STEP = math.log(0.1)


class EnergyModel(EnergyFamily):
    r"""A deep energy-based model.

    .. math:: p(x) = \frac1Z\, N(x; \mu, \mathrm{diag}(\sigma^2)) \exp(-f(x))

    with the mean and standard deviation of the training rows and a network f, so that the density always
    has an integral. Discrete rows get uniform noise, :math:`y = x + u`, and the density is that of y: the
    probability of x is its integral over a cell, which the mean over u bounds.

    Args:
        shape: the shape of one row, for example ``(2,)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        networks: f as ``"mlp"``, or as ``"conv"`` for images.
        hidden: widths of its hidden layers, or channels of its convolutions, each after the first at half
            the size; by default ``(256, 256)`` and ``(32, 64, 128)``.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or the image is too small.

    References:
        LeCun et al., *A Tutorial on Energy-Based Learning*, 2006; Xie, Lu, Zhu and Wu, *A Theory of
        Generative ConvNet*, 2016, arXiv:1602.03264; Du and Mordatch, *Implicit Generation and
        Generalization in Energy-Based Models*, 2019, arXiv:1903.08689.

    Example:
        >>> model = EnergyModel((2,), hidden=(16,))
        >>> model.sample(3, seed=0, steps=20).shape, model.log_prob(np.zeros((4, 2)), temperatures=20).kind
        ((3, 2), 'estimate')
    """

    name = "energy"
    summary = "deep energy-based model, sampled by Langevin chains; AIS estimates the likelihood's constant"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        networks: Architecture = "mlp",
        hidden: tuple[int, ...] | None = None,
        seed: int = 0,
    ) -> None:
        check_name("networks", networks, get_args(Architecture))
        hidden = HIDDEN[networks] if hidden is None else check_sizes("hidden", hidden)
        objectives: tuple[str, ...] = ("pcd", "cd", "nce", "denoising_score_matching")
        if levels is None:  # the edges of cells have no score
            objectives += ("sliced_score_matching", "score_matching")
        config = {"networks": networks, "hidden": hidden, "seed": seed}
        super().__init__(shape, levels, config, objectives)
        key = jax.random.key(check_positive("seed", seed, least=0))
        self.network = energy_network(networks, self.shape, hidden, key)

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: a Gaussian site ``x``, and a factor that weighs it; levels are seen through ``y``.

        Args:
            x: rows ``(n, *shape)`` to observe; levels get uniform noise.
            n: how many rows to sample, where none are given.
        """
        family = self.with_network(eqx_module("network", self.network))
        n = n if x is None else len(x)
        if x is not None and self.levels is not None:
            x = self.dequantise(numpyro.prng_key(), x)
        with numpyro.plate("rows", n):
            gaussian = dist.Normal(self.loc, self.scale).to_event(len(self.shape))
            y = numpyro.sample("x" if self.levels is None else "y", gaussian, obs=x)  # (n, *shape)
            numpyro.factor("energy", -family.excess((y - self.loc) / self.scale))
        return y if self.levels is None else self._to_levels(y)

    def energy(self, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of rows ``(n, *shape)``, of levels with their noise, in JAX."""
        z = (x - self.loc) / self.scale
        return self.excess(z) - _log_normal(z) + jnp.log(self.scale).sum()

    def excess(self, z: jax.Array) -> jax.Array:
        """The network's part f of the energy ``(n,)``, at standardised rows."""
        return jax.vmap(self.network)(z)

    def dequantise(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Levels with uniform noise in [0, 1); continuous rows as they are."""
        if self.levels is None:
            return x
        return x + jax.random.uniform(key, x.shape)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take location and scale of each entry of the training rows, of levels with their noise."""
        super().standardise(rows, labels)
        if self.levels is not None:
            self.loc = np.asarray(rows.mean(0) + 0.5, np.float32)
            self.scale = np.asarray(np.sqrt(rows.var(0) + 1 / 12), np.float32)

    def log_prob(
        self,
        x: Any,
        *,
        samples: int = 16,
        temperatures: int = TEMPERATURES,
        chains: int = CHAINS,
        seed: int = 0,
        progress: bool = False,
    ) -> Likelihood:
        """The log density of each row ``(n, *shape)``, with an estimate of its constant.

        Args:
            x: rows in the data's own values.
            samples: draws of the noise on discrete rows, the same for all of them.
            temperatures, chains, seed, progress: of the estimate, see :meth:`log_partition`.
        """
        log_z = self.log_partition(temperatures=temperatures, chains=chains, seed=seed, progress=progress)
        if self.levels is None:
            return self._likelihood(self.unnormalised_log_prob(x), log_z, "estimate", log_z.how)
        values = self._score(x, _OverNoise(check_positive("samples", samples), seed))
        how = f"importance-weighted bound over uniform noise, {samples} samples; {log_z.how}"
        return self._likelihood(values, log_z, "estimate", how)

    def unnormalised_log_prob(self, x: Any) -> np.ndarray:
        """The log density of each row ``(n,)`` without its constant; of levels over 16 draws of noise."""
        if self.levels is not None:
            return self._score(x, _OverNoise(16, 0))
        return super().unnormalised_log_prob(x)

    def sample(self, n: int, *, seed: int = 0, steps: int = 1000) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values, each by a Langevin chain of its own.

        The chains begin at Gaussian noise; the network's part of the energy fades in over the first half of
        the steps, whose proposals are accepted by Metropolis' rule and sized by how often they are.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            steps: of each chain.
        """
        return self._draw(n, seed, _Chains(check_positive("steps", steps)))

    def _partition(
        self, method: Method, temperatures: int, chains: int, seed: int, rows: Any, progress: bool
    ) -> LogPartition:
        if method == "exact":
            raise InvalidArgument(
                "method",
                got="'exact'",
                expected="'ais' or 'reverse_ais': the states of an EnergyModel cannot be enumerated",
                fix="Leave method out.",
            )
        backward = method == "reverse_ais"
        start = jnp.zeros(())
        if backward:
            start = self.rows(self.sample(chains, seed=seed) if rows is None else rows)
        begin = _Begin(temperatures, chains, backward)
        value, stderr = self._annealed(begin, _stage, seed, start, progress)
        name = "reverse AIS" if backward else "AIS"
        how = f"log Z by {name}, {temperatures} temperatures, {chains} chains, standard error {stderr:.3f}"
        return LogPartition(-value if backward else value, stderr, how)

    def _at(self, beta: Any, z: jax.Array) -> jax.Array:
        """The log density ``(n,)`` of standardised rows at a place of the path, but for its constant."""
        return _log_normal(z) - beta * self.excess(z)

    def _move(
        self, beta: Any, log_step: Any, key: jax.Array, z: jax.Array
    ) -> tuple[jax.Array, mala.MALAInfo]:
        """A Langevin step at a place of the path."""
        log_density = partial(self._at, beta)
        state, info = mala.step(key, mala.init(z, log_density), log_density, jnp.exp(log_step))
        return state.position, info

    def _tuned(self, betas: jax.Array, key: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Chains after a step at each of the places, and the log step size that each step had."""

        def step(carry: Any, at: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            z, log_step = carry
            moved, info = self._move(at[0], log_step, at[1], z)
            return (moved, mala.adapt(log_step, info)), log_step

        start = (z, jnp.asarray(_FIRST_STEP))
        (z, _), log_steps = lax.scan(step, start, (betas, jax.random.split(key, len(betas))))
        return z, log_steps

    def _to_levels(self, y: jax.Array) -> jax.Array:
        assert self.levels is not None
        return jnp.clip(jnp.floor(y), 0, self.levels - 1).astype(jnp.int32)


@dataclass(frozen=True)
class _Chains:
    """Langevin chains from Gaussian noise."""

    steps: int

    def __call__(self, family: EnergyModel, key: jax.Array, size: int) -> jax.Array:
        first, key = jax.random.split(key)
        betas = jnp.minimum(1.0, jnp.arange(1, self.steps + 1) / max(1, self.steps // 2))
        z, _ = family._tuned(betas, key, jax.random.normal(first, (size, *family.shape)))
        y = jnp.asarray(family.loc) + family.scale * z
        return y if family.levels is None else family._to_levels(y)


@dataclass(frozen=True)
class _Begin:
    """Places and step sizes along the path or back, with chains at its beginning and a key for each step."""

    temperatures: int
    chains: int
    backward: bool

    def __call__(
        self, family: EnergyModel, key: jax.Array, rows: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array]:
        pilot, first, noise, main = jax.random.split(key, 4)
        beta = jnp.linspace(0.0, 1.0, self.temperatures + 1)
        gaussian = jax.random.normal(first, (2 * self.chains, *family.shape))
        # The step sizes are learnt from other chains, so that the weights are unbiased.
        _, log_steps = family._tuned(beta, pilot, gaussian[self.chains :])
        keys = jax.random.split(main, self.temperatures)
        if self.backward:
            start = (family.dequantise(noise, rows) - family.loc) / family.scale
            return (beta[::-1], log_steps[::-1]), start, keys
        return (beta, log_steps), gaussian[: self.chains], keys


def _stage(family: EnergyModel, path: tuple[jax.Array, jax.Array], z: jax.Array, keys: jax.Array) -> AISState:
    """Chains after a part of the path, with what it adds to their log weights."""
    return anneal(
        lambda place, z: -family._at(place[0], z),
        lambda place, key, z: family._move(place[0], place[1], key, z)[0],
        path,
        z,
        keys,
    )


@dataclass(frozen=True)
class _OverNoise:
    """The log of the mean of the unnormalised density over a cell, from draws of noise."""

    samples: int
    seed: int

    def __call__(self, family: EnergyModel, rows: jax.Array) -> jax.Array:
        # The noise is the same for each row: no row's figure depends on its neighbours.
        noise = jax.random.uniform(jax.random.key(self.seed), (self.samples, *family.shape))
        values = lax.map(lambda u: -family.energy(rows + u), noise)
        return logsumexp(values, 0) - math.log(self.samples)


def _log_normal(z: jax.Array) -> jax.Array:
    flat = z.reshape(len(z), -1)
    return -0.5 * (flat**2).sum(1) - flat.shape[1] / 2 * math.log(2 * math.pi)
