"""The deep energy-based model: a Gaussian whose density a network tilts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from jax.scipy.special import logsumexp

from ppgen.checks import check_integer
from ppgen.data.lazy import RowArray
from ppgen.kernels import mala
from ppgen.models.energy.family import CHAINS, TEMPERATURES, EnergyFamily, EnergyProgram, minus_energy
from ppgen.models.networks.energy import Architecture, energy_network
from ppgen.models.pytree_family import score_rows
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["EnergyModel", "TiltedGaussian"]

HIDDEN = {"mlp": (256, 256), "conv": (32, 64, 128)}

_FIRST_STEP = math.log(0.1)


class EnergyModel(EnergyFamily):
    r"""A deep energy-based model.

    .. math:: p(x) = \frac1Z\, N(x; \mu, \mathrm{diag}(\sigma^2)) \exp(-f(x))

    with the mean and standard deviation of the training set and a network f, so that the density is
    always integrable. Discrete data get uniform noise, :math:`y = x + u`, and the density is that of y: the
    probability of x is its integral over a cell, which the mean over u bounds.

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

    networks: Architecture = setting(default="mlp", doc="f, ``conv`` for images")
    hidden: tuple[int, ...] = setting(
        factory=lambda chosen: HIDDEN[chosen.networks],
        doc="widths of its hidden layers, or channels of its convolutions, each after the first at half the "
        "size; by default ``(256, 256)`` and ``(32, 64, 128)``",
    )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can train it: the edges of the cells of levels have no score."""
        more = () if self.levels else ("sliced_score_matching", "score_matching")
        return ("pcd", "cd", "nce", "denoising_score_matching", *more)

    def build(self) -> None:
        """Build the network."""
        network = energy_network(self.networks, self.shape, self.hidden, jax.random.key(self.seed))
        self.program = TiltedGaussian.initial(network, self.shape, self.levels)

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
        """The log density of each example ``(n, *shape)``, with an estimate of its constant.

        Args:
            x: examples in the data's own values.
            samples: draws of the noise on discrete data, the same for all of them.
            temperatures, chains, seed, progress: of the estimate, see :meth:`log_partition`.
        """
        log_z = self.log_partition(temperatures=temperatures, chains=chains, seed=seed, progress=progress)
        if self.levels is None:
            return self._likelihood(self.unnormalised_log_prob(x), log_z, "estimate", log_z.how)
        samples = check_integer("samples", samples)
        values = score_rows(self.program, x, _over_noise, samples=samples, seed=seed)
        how = f"importance-weighted bound over uniform noise, {samples} samples; {log_z.how}"
        return self._likelihood(values, log_z, "estimate", how)

    def unnormalised_log_prob(self, x: Any) -> np.ndarray:
        """The log density of each example ``(n,)`` up to a constant; of levels over 16 draws of noise."""
        if self.levels is None:
            return score_rows(self.program, x, minus_energy)
        return score_rows(self.program, x, _over_noise, samples=16, seed=0)


class TiltedGaussian(EnergyProgram):
    """The program of an :class:`EnergyModel`: a Gaussian, whose density a network tilts."""

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: a Gaussian site ``x``, and a factor that weighs it; levels are seen through ``y``.

        Args:
            x: examples ``(n, *shape)`` to observe; levels get uniform noise.
            n: how many examples to sample if ``x`` is not given.
        """
        program, n = self.registered(), n if x is None else len(x)
        if x is not None and self.levels is not None:
            x = self.dequantise(numpyro.prng_key(), x)
        with numpyro.plate("rows", n):
            gaussian = dist.Normal(self.loc, self.scale).to_event(len(self.shape))
            y = numpyro.sample("x" if self.levels is None else "y", gaussian, obs=x)  # (n, *shape)
            numpyro.factor("energy", -program.excess((y - self.loc) / self.scale))
        return y if self.levels is None else self.to_levels(y)

    def energy(self, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of examples ``(n, *shape)``, of levels with their noise, in JAX."""
        z = (x - self.loc) / self.scale
        return self.excess(z) - _log_normal(z) + jnp.log(self.scale).sum()

    def excess(self, z: jax.Array) -> jax.Array:
        """The network's part f of the energy ``(n,)``, at standardised data."""
        return jax.vmap(self.network)(z)

    def dequantise(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Levels with uniform noise in [0, 1); continuous data as they are."""
        if self.levels is None:
            return x
        return x + jax.random.uniform(key, x.shape)

    def standardised(self, rows: RowArray) -> TiltedGaussian:
        """The same program in units of the training set, of levels with their noise."""
        if self.levels is None:
            return super().standardised(rows)
        loc, scale = rows.mean(0) + 0.5, np.sqrt(rows.var(0) + 1 / 12)
        return replace(self, loc=jnp.asarray(loc, jnp.float32), scale=jnp.asarray(scale, jnp.float32))

    # -- Langevin chains, and the path that they follow --------------------------------------------------

    def run_chains(self, key: jax.Array, size: int, steps: int) -> jax.Array:
        """Where Langevin chains from Gaussian noise are; the network's part fades in over half of the steps.

        Proposals are accepted by Metropolis' rule, and sized by how often they are.
        """
        first, key = jax.random.split(key)
        betas = jnp.minimum(1.0, jnp.arange(1, steps + 1) / max(1, steps // 2))
        z, _ = self._tuned(betas, key, jax.random.normal(first, (size, *self.shape)))
        y = self.loc + self.scale * z
        return y if self.levels is None else self.to_levels(y)

    def path(
        self, key: jax.Array, rows: jax.Array | None, temperatures: int, chains: int
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array]:
        """Evenly spaced temperatures with a step size for each, standardised chains, and keys."""
        pilot, first, noise, main = jax.random.split(key, 4)
        beta = jnp.linspace(0.0, 1.0, temperatures + 1)
        gaussian = jax.random.normal(first, (2 * chains, *self.shape))
        # The step sizes are learnt from separate chains, so that the weights are unbiased.
        _, log_steps = self._tuned(beta, pilot, gaussian[chains:])
        keys = jax.random.split(main, temperatures)
        if rows is None:
            return (beta, log_steps), gaussian[:chains], keys
        start = (self.dequantise(noise, rows) - self.loc) / self.scale
        return (beta[::-1], log_steps[::-1]), start, keys

    def energy_at(self, place: tuple[Any, Any], x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of standardised data, up to a constant."""
        return -self._log_density_at(place[0], x)

    def move_at(self, place: tuple[Any, Any], key: jax.Array, x: jax.Array) -> jax.Array:
        """A Langevin step of standardised data."""
        return self._move(*place, key, x)[0]

    def _log_density_at(self, beta: Any, z: jax.Array) -> jax.Array:
        """The log density ``(n,)`` of standardised data at a point of the path, up to a constant."""
        return _log_normal(z) - beta * self.excess(z)

    def _move(
        self, beta: Any, log_step: Any, key: jax.Array, z: jax.Array
    ) -> tuple[jax.Array, mala.MALAInfo]:
        """A Langevin step at a point of the path."""
        log_density = partial(self._log_density_at, beta)
        state, info = mala.step(key, mala.init(z, log_density), log_density, jnp.exp(log_step))
        return state.position, info

    def _tuned(self, betas: jax.Array, key: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Chains after a step at each of the points, and the log step size that each step had."""

        def step(carry: Any, at: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            z, log_step = carry
            moved, info = self._move(at[0], log_step, at[1], z)
            return (moved, mala.adapt(log_step, info)), log_step

        start = (z, jnp.asarray(_FIRST_STEP))
        (z, _), log_steps = lax.scan(step, start, (betas, jax.random.split(key, len(betas))))
        return z, log_steps

    def to_levels(self, y: jax.Array) -> jax.Array:
        """The levels in whose cells continuous data are."""
        assert self.levels is not None
        return jnp.clip(jnp.floor(y), 0, self.levels - 1).astype(jnp.int32)


@eqx.filter_jit
def _over_noise(program: TiltedGaussian, rows: jax.Array, *, samples: int, seed: int) -> jax.Array:
    """The log of the mean of the unnormalised density over a cell ``(n,)``, from draws of noise."""
    # All examples share the noise, so that no value depends on the other examples.
    noise = jax.random.uniform(jax.random.key(seed), (samples, *program.shape))
    values = lax.map(lambda u: -program.energy(rows + u), noise)
    return logsumexp(values, 0) - math.log(samples)


def _log_normal(z: jax.Array) -> jax.Array:
    flat = z.reshape(len(z), -1)
    return -0.5 * (flat**2).sum(1) - flat.shape[1] / 2 * math.log(2 * math.pi)
