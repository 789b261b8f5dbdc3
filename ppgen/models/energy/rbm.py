"""The restricted Boltzmann machine: visible and hidden units, coupled across and not within."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.module import eqx_module

from ppgen.data.lazy import RowArray
from ppgen.kernels.pseudo_likelihood import pseudo_log_prob
from ppgen.models.checks import check_positive
from ppgen.models.energy.family import LARGEST_EXACT, BoltzmannFamily, every_state
from ppgen.models.energy.units import BinaryUnits, Units, count_levels, units_of
from ppgen.models.networks.boltzmann import Bipartite

__all__ = ["RBM"]


class _Network(eqx.Module):
    """What an RBM learns; the counts of the training rows, integers, are where its path begins."""

    couplings: Bipartite
    log_precision: jax.Array | None
    counts: jax.Array | None


class RBM(BoltzmannFamily):
    r"""A restricted Boltzmann machine.

    .. math:: p(x, h) = \frac1Z \exp\big(b^\top \phi(x) + c^\top h + \phi(x)^\top W h - g(x)\big),
        \qquad h \in \{0, 1\}^m

    The visible units are binary (2 levels), softmax units (more levels, :math:`\phi` one-hot) or Gaussian
    (continuous rows, standardised; :math:`g(x) = \frac12 \sum_i \lambda_i x_i^2` with a learned precision).
    Given one layer the units of the other are independent: :meth:`hidden_given`, :meth:`visible_given`.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        hidden: m, how many hidden units.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Smolensky, *Information processing in dynamical systems: foundations of harmony theory*, 1986; Hinton,
        *Training Products of Experts by Minimizing Contrastive Divergence*, 2002; Welling, Rosen-Zvi and
        Hinton, *Exponential Family Harmoniums*, NIPS 2004; Hinton, *A Practical Guide to Training Restricted
        Boltzmann Machines*, 2010.

    Example:
        >>> rbm = RBM((2,), levels=2, hidden=3)
        >>> ll = rbm.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 4)
        ('exact', 1.0)
    """

    name = "rbm"
    summary = "restricted Boltzmann machine; exact up to 20 hidden units, else AIS estimates the constant"

    network: _Network

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        hidden: int = 128,
        seed: int = 0,
    ) -> None:
        objectives: tuple[str, ...] = ("pcd", "cd")
        if levels is None:  # then the density has a gradient
            objectives += ("sliced_score_matching", "score_matching", "denoising_score_matching")
        config = {"hidden": check_positive("hidden", hidden), "seed": seed}
        super().__init__(shape, levels, config, objectives)
        self.hidden = hidden
        self.units: Units = units_of(self.dims, self.levels)
        key = jax.random.key(check_positive("seed", seed, least=0))
        self.network = _Network(
            Bipartite(self.units.width, hidden, key),
            jnp.zeros(self.dims) if levels is None else None,
            None if levels is None else jnp.zeros((self.dims, self.levels), jnp.int32),
        )

    # -- the program -------------------------------------------------------------------------------------

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: sites ``x`` and ``h`` as if independent, and a factor that couples them.

        The log density of the trace is :math:`-E(x, h)`; only the factor makes it unnormalised.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
        """
        self = self.with_network(eqx_module("network", self.network))
        couplings, n = self.network.couplings, n if x is None else len(x)
        with numpyro.plate("rows", n):
            v = numpyro.sample("x", self._rows_of(couplings.lower), obs=x)  # (n, *shape)
            h = numpyro.sample("h", dist.Bernoulli(logits=couplings.upper).to_event(1))  # (n, hidden)
            alone = self._log_normaliser(couplings.lower) + jax.nn.softplus(couplings.upper).sum()
            numpyro.factor("coupling", ((self._features(v) @ couplings.weights) * h).sum(-1) + alone)
        return v

    def hidden_given(self, x: jax.Array) -> dist.Distribution:
        """The hidden units' distribution given rows ``(n, *shape)``."""
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

    def pseudo_log_prob(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """The pseudo log likelihood ``(n,)`` of rows: :mod:`ppgen.kernels.pseudo_likelihood`."""
        assert self.levels is not None
        return pseudo_log_prob(lambda rows: -self.energy(rows), key, x, self.levels)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Begin with the frequencies of the training rows ``(n, *shape)``, or in their units."""
        super().standardise(rows, labels)
        if self.levels is None:
            return
        counts = count_levels(rows, self.levels)
        where = (lambda net: net.counts, lambda net: net.couplings.lower)
        for leaf, value in zip(where, (counts, self.units.field_of(counts)), strict=True):
            self.network = eqx.tree_at(leaf, self.network, value)

    # -- the path, and its ends --------------------------------------------------------------------------

    def start(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n rows of the start of the path, independent units."""
        return self._tempered(0.0).visible_given(jnp.zeros((n, self.hidden))).sample(key)

    def _tempered(self, beta: Any) -> Any:
        network = self.network
        couplings = network.couplings
        first = self.units.field_of(network.counts)
        weakened = eqx.tree_at(
            lambda c: (c.weights, c.lower, c.upper),
            couplings,
            (beta * couplings.weights, (1 - beta) * first + beta * couplings.lower, beta * couplings.upper),
        )
        precision = None if network.log_precision is None else jnp.log(1 - beta + beta * self._precision)
        return self.with_network(_Network(weakened, precision, network.counts))

    def _log_partition_at_start(self) -> jax.Array:
        at_start = self._tempered(0.0)
        return at_start._log_normaliser(at_start.network.couplings.lower) + self.hidden * math.log(2)

    def _enumerable(self) -> bool:
        return min(self.hidden, self._visible_bits) <= LARGEST_EXACT

    def _log_partition_exact(self) -> jax.Array:
        couplings = self.network.couplings
        if isinstance(self.units, BinaryUnits) and self.dims < self.hidden:
            return every_state(self.dims, lambda x: -self.energy(x.reshape(-1, *self.shape)))
        return every_state(
            self.hidden, lambda h: h @ couplings.upper + self._log_normaliser(couplings.down(h))
        )

    def _names(self) -> str:
        layer = "visible" if self._visible_bits < self.hidden else "hidden"
        return f"2^{min(self.hidden, self._visible_bits)} {layer} states"

    @property
    def _visible_bits(self) -> int:
        """How many binary units would have as many states as the rows that can be enumerated."""
        return self.dims if self.levels == 2 else 2**30

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
        """Units under a field ``(n, width)`` as a distribution of rows ``(n, *shape)``."""
        transforms = [dist.transforms.ReshapeTransform(self.shape, (self.dims,))]
        if self.levels is None:
            transforms.append(dist.transforms.AffineTransform(self.loc, self.scale))
        units = self.units.given(field, self._precision)
        if self.shape == (self.dims,) and self.levels is not None:
            return units
        return dist.TransformedDistribution(units, transforms)
