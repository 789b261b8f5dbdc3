"""The fully visible Boltzmann machine: every pair of units is coupled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import lax

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.models.energy.boltzmann_family import BoltzmannFamily, BoltzmannProgram
from ppgen.models.energy.enumeration import every_state
from ppgen.models.energy.units import BinaryUnits, count_levels
from ppgen.models.networks.boltzmann import Pairwise
from ppgen.models.settings import setting

__all__ = ["BoltzmannMachine", "PairwiseBoltzmann", "check_binary"]


class _Network(eqx.Module):
    """What the machine learns; the counts of the training set, integers, are where its path begins."""

    couplings: Pairwise
    counts: jax.Array


class BoltzmannMachine(BoltzmannFamily):
    r"""A Boltzmann machine on binary data, all units visible.

    .. math:: p(x) = \frac1Z \exp\big(b^\top x + \sum_{i < j} W_{ij} x_i x_j\big)

    It is the maximum-entropy distribution with its means and pairwise moments. A Gibbs step redraws each unit
    in turn, given the others.

    Raises:
        InvalidArgument: if a setting is out of range, or the levels are not 2.

    References:
        Ackley, Hinton and Sejnowski, *A Learning Algorithm for Boltzmann Machines*, Cognitive Science 1985.

    Example:
        >>> import numpy as np
        >>> machine = BoltzmannMachine((2,), levels=2)
        >>> ll = machine.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 4)
        ('exact', 1.0)
    """

    name = "boltzmann"
    summary = "binary units, every pair coupled; likelihood up to a constant that AIS estimates"
    objectives: ClassVar[tuple[str, ...]] = ("pcd", "cd")

    levels: int | None = setting(default=2, kw_only=False, least=2, doc="2: the units are binary")

    def build(self) -> None:
        """Begin with weak random couplings."""
        check_binary(self.levels, type(self).__name__)
        couplings = Pairwise.random(self.dims, jax.random.key(self.seed))
        network = _Network(couplings, jnp.zeros((self.dims, 2), jnp.int32))
        self.program = PairwiseBoltzmann.initial(network, self.shape, 2)


class PairwiseBoltzmann(BoltzmannProgram):
    """The program of a :class:`BoltzmannMachine`, its energy and its Gibbs steps."""

    network: _Network

    @property
    def units(self) -> BinaryUnits:
        """All are binary."""
        return BinaryUnits(self.dims)

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: a site ``x`` of independent units, and a factor that couples them.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
        """
        couplings = self.registered().network.couplings
        bias = couplings.bias
        with numpyro.plate("rows", n if x is None else len(x)):
            alone = dist.Bernoulli(logits=bias.reshape(self.shape)).to_event(len(self.shape))
            x = numpyro.sample("x", alone, obs=x)  # (n, *shape)
            v = self.units.features(x.reshape(-1, self.dims))
            pairs = 0.5 * ((v @ couplings.weights) * v).sum(-1)
            numpyro.factor("coupling", pairs + jax.nn.softplus(bias).sum())
        return x

    def energy(self, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of examples ``(n, *shape)``, in JAX."""
        couplings, v = self.network.couplings, self.units.features(x.reshape(len(x), self.dims))
        return -v @ couplings.bias - 0.5 * ((v @ couplings.weights) * v).sum(-1)

    def transition(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """A Gibbs step of chains at ``x (n, *shape)``: every unit in turn, given all others."""
        couplings, n = self.network.couplings, len(x)
        weights, bias = couplings.weights, couplings.bias
        thresholds = jax.random.logistic(key, (self.dims, n))

        def visit(i: Any, v: jax.Array) -> jax.Array:
            field = v @ weights[i] + bias[i]
            return v.at[:, i].set((field > thresholds[i]).astype(v.dtype))

        v = lax.fori_loop(0, self.dims, visit, self.units.features(x.reshape(n, self.dims)))
        return v.astype(x.dtype).reshape(x.shape)

    def standardised(self, rows: RowArray) -> PairwiseBoltzmann:
        """The same machine, initialised with the frequencies of the training set ``(n, *shape)``."""
        counts = count_levels(rows, 2)
        couplings = replace(self.network.couplings, bias=self.units.field_of(counts))
        return self.with_network(_Network(couplings, counts))

    # -- the path, and its ends --------------------------------------------------------------------------

    def start(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n rows of the start of the path, independent units."""
        units = dist.Bernoulli(logits=self.tempered(0.0).network.couplings.bias)
        return units.sample(key, (n,)).reshape(n, *self.shape)

    def tempered(self, beta: Any) -> PairwiseBoltzmann:
        """The machine at a point of the path, from 0 at its start to 1."""
        couplings = self.network.couplings
        bias = (1 - beta) * self.units.field_of(self.network.counts) + beta * couplings.bias
        return self.with_network(_Network(Pairwise(beta * couplings.triangle, bias), self.network.counts))

    def log_partition_at_start(self) -> jax.Array:
        """The log of the constant of independent units."""
        return jax.nn.softplus(self.tempered(0.0).network.couplings.bias).sum()

    @property
    def log2_states(self) -> int:
        """How many units there are."""
        return self.dims

    @property
    def states(self) -> str:
        """A description of the states of the units."""
        return f"2^{self.dims} states"

    def log_partition_exact(self) -> jax.Array:
        """The log of the constant by enumeration of the rows."""
        return every_state(self.dims, lambda x: -self.energy(x))


def check_binary(levels: int | None, name: str) -> None:
    """Reject levels other than 2."""
    if levels != 2:
        raise InvalidArgument(
            "levels",
            got=repr(levels),
            expected=f"2: the units of a {name} are binary",
            fix="Write levels=2 for binary rows; an RBM takes any levels, and continuous rows.",
        )
