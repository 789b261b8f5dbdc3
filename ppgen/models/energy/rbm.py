"""The restricted Boltzmann machine: visible and hidden units, coupled across and not within."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from ppgen.data.lazy import RowArray
from ppgen.models.energy.boltzmann_family import BoltzmannFamily, BoltzmannProgram
from ppgen.models.energy.enumeration import every_state
from ppgen.models.energy.units import Units, count_levels, units_of
from ppgen.models.networks.boltzmann import Bipartite
from ppgen.models.settings import setting

__all__ = ["RBM", "RestrictedBoltzmann"]


class _Network(eqx.Module):
    """What an RBM learns; the counts of the training set, integers, are where its path begins."""

    couplings: Bipartite
    log_precision: jax.Array | None
    counts: jax.Array | None


class RBM(BoltzmannFamily):
    r"""A restricted Boltzmann machine.

    .. math:: p(x, h) = \frac1Z \exp\big(b^\top \phi(x) + c^\top h + \phi(x)^\top W h - g(x)\big),
        \qquad h \in \{0, 1\}^m

    The visible units are binary (2 levels), softmax units (more levels, :math:`\phi` one-hot) or Gaussian
    (continuous data, standardised; :math:`g(x) = \frac12 \sum_i \lambda_i x_i^2` with a learned precision).
    Given one layer the units of the other are independent: ``rbm.program.hidden_given(x)`` and
    ``rbm.program.visible_given(h)``.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Smolensky, *Information processing in dynamical systems: foundations of harmony theory*, 1986; Hinton,
        *Training Products of Experts by Minimizing Contrastive Divergence*, 2002; Welling, Rosen-Zvi and
        Hinton, *Exponential Family Harmoniums*, NIPS 2004; Hinton, *A Practical Guide to Training Restricted
        Boltzmann Machines*, 2010.

    Example:
        >>> import numpy as np
        >>> rbm = RBM((2,), levels=2, hidden=3)
        >>> ll = rbm.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 4)
        ('exact', 1.0)
    """

    name = "rbm"
    summary = "restricted Boltzmann machine; exact up to 20 hidden units, else AIS estimates the constant"

    hidden: int = setting(default=128, doc="m, how many hidden units")

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can train it: continuous data have a density with a gradient."""
        more = () if self.levels else ("sliced_score_matching", "score_matching", "denoising_score_matching")
        return ("pcd", "cd", *more)

    def build(self) -> None:
        """Begin with weak random couplings."""
        key = jax.random.key(self.seed)
        self.program = RestrictedBoltzmann.random(self.shape, self.levels, self.hidden, key)


class RestrictedBoltzmann(BoltzmannProgram):
    """The program of an :class:`RBM`, its energies and its conditional distributions."""

    network: _Network

    @classmethod
    def random(
        cls, shape: tuple[int, ...], levels: int | None, hidden: int, key: jax.Array
    ) -> RestrictedBoltzmann:
        """A machine with weak random couplings, whose path begins at units without bias."""
        dims = math.prod(shape)
        couplings = Bipartite.random(units_of(dims, levels).width, hidden, key)
        return cls.of(couplings, shape, levels)

    @classmethod
    def of(cls, couplings: Bipartite, shape: tuple[int, ...], levels: int | None) -> RestrictedBoltzmann:
        """A machine with some couplings, whose path begins at units without bias."""
        dims = math.prod(shape)
        if levels is None:
            return cls.initial(_Network(couplings, jnp.zeros(dims), None), shape, None)
        return cls.initial(_Network(couplings, None, jnp.zeros((dims, levels), jnp.int32)), shape, levels)

    @property
    def hidden(self) -> int:
        """How many hidden units there are."""
        return len(self.network.couplings.upper)

    @property
    def units(self) -> Units:
        """The kind of the visible units."""
        return units_of(self.dims, self.levels)

    # -- the program -------------------------------------------------------------------------------------

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: sites ``x`` and ``h`` as if independent, and a factor that couples them.

        The log density of the trace is :math:`-E(x, h)`; only the factor makes it unnormalised.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
        """
        self = self.registered()
        couplings, n = self.network.couplings, n if x is None else len(x)
        with numpyro.plate("rows", n):
            v = numpyro.sample("x", self._rows_of(couplings.lower), obs=x)  # (n, *shape)
            h = numpyro.sample("h", dist.Bernoulli(logits=couplings.upper).to_event(1))  # (n, hidden)
            alone = self._log_normaliser(couplings.lower) + jax.nn.softplus(couplings.upper).sum()
            numpyro.factor("coupling", ((self._features(v) @ couplings.weights) * h).sum(-1) + alone)
        return v

    def hidden_given(self, x: jax.Array) -> dist.Distribution:
        """The hidden units' distribution given examples ``(n, *shape)``."""
        return dist.Bernoulli(logits=self.network.couplings.up(self._features(x))).to_event(1)

    def visible_given(self, h: jax.Array) -> dist.Distribution:
        """The rows' distribution given hidden units ``(n, hidden)``."""
        return self._rows_of(self.network.couplings.down(h))

    def transition(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """A Gibbs step of chains at ``x (n, *shape)``: hidden units, then rows."""
        up, down = jax.random.split(key)
        h = self.hidden_given(x).sample(up)
        return self.visible_given(h).sample(down)

    # -- energies ----------------------------------------------------------------------------------------

    def energy(self, x: jax.Array) -> jax.Array:
        r"""The free energy ``(n,)`` of rows: :math:`-\log \sum_h \exp(-E(x, h))`."""
        couplings, features = self.network.couplings, self._features(x)
        hidden = jax.nn.softplus(couplings.up(features)).sum(-1)
        return self._penalty(x) - features @ couplings.lower - hidden

    def joint_energy(self, x: jax.Array, h: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of rows with their hidden units ``(n, hidden)``."""
        couplings, features = self.network.couplings, self._features(x)
        coupled = (couplings.up(features) * h).sum(-1)
        return self._penalty(x) - features @ couplings.lower - coupled

    def standardised(self, rows: RowArray) -> RestrictedBoltzmann:
        """The same machine that begins with the frequencies of the training set, or in their units."""
        if self.levels is None:
            return super().standardised(rows)
        counts = count_levels(rows, self.levels)
        couplings = replace(self.network.couplings, lower=self.units.field_of(counts))
        return self.with_network(replace(self.network, couplings=couplings, counts=counts))

    # -- the path, and its ends --------------------------------------------------------------------------

    def start(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n rows of the start of the path, independent units."""
        return self.tempered(0.0).visible_given(jnp.zeros((n, self.hidden))).sample(key)

    def tempered(self, beta: Any) -> RestrictedBoltzmann:
        """The machine at a point of the path, from 0 at its start to 1."""
        network = self.network
        couplings = network.couplings
        first = self.units.field_of(network.counts)
        lower = (1 - beta) * first + beta * couplings.lower
        weakened = Bipartite(beta * couplings.weights, lower, beta * couplings.upper)
        precision = None if network.log_precision is None else jnp.log(1 - beta + beta * self._precision)
        return self.with_network(_Network(weakened, precision, network.counts))

    def log_partition_at_start(self) -> jax.Array:
        """The log of the constant of independent units."""
        at_start = self.tempered(0.0)
        return at_start._log_normaliser(at_start.network.couplings.lower) + self.hidden * math.log(2)

    @property
    def log2_states(self) -> int:
        """How many binary units the smaller layer has; only that of rows may have others."""
        return min(self.hidden, self.dims) if self.levels == 2 else self.hidden

    @property
    def states(self) -> str:
        """A description of the states of the smaller layer."""
        layer = "visible" if self.log2_states < self.hidden else "hidden"
        return f"2^{self.log2_states} {layer} states"

    def log_partition_exact(self) -> jax.Array:
        """The log of the constant by enumeration of the smaller layer."""
        couplings = self.network.couplings
        if self.log2_states < self.hidden:
            return every_state(self.dims, lambda x: -self.energy(x.reshape(-1, *self.shape)))
        return every_state(
            self.hidden, lambda h: h @ couplings.upper + self._log_normaliser(couplings.down(h))
        )

    # -- rows of the data's shape, and layers of units ---------------------------------------------------

    @property
    def _precision(self) -> jax.Array:
        log_precision = self.network.log_precision
        return jnp.ones(()) if log_precision is None else jnp.exp(log_precision)

    def _layer(self, x: jax.Array) -> jax.Array:
        units = (x - self.loc) / self.scale if self.levels is None else x
        return units.reshape(len(x), self.dims)

    def _features(self, x: jax.Array) -> jax.Array:
        return self.units.features(self._layer(x))

    def _penalty(self, x: jax.Array) -> jax.Array:
        return self.units.penalty(self._layer(x), self._precision)

    def _log_normaliser(self, field: jax.Array) -> jax.Array:
        volume = jnp.log(self.scale).sum() if self.levels is None else 0.0
        return self.units.log_normaliser(field, self._precision) + volume

    def _rows_of(self, field: jax.Array) -> dist.Distribution:
        """Units under a field ``(n, width)`` as a distribution of examples ``(n, *shape)``."""
        transforms = [dist.transforms.ReshapeTransform(self.shape, (self.dims,))]
        if self.levels is None:
            transforms.append(dist.transforms.AffineTransform(self.loc, self.scale))
        units = self.units.given(field, self._precision)
        if self.shape == (self.dims,) and self.levels is not None:
            return units
        return dist.TransformedDistribution(units, transforms)
