"""The Boltzmann machine whose units are all visible: every pair of them is coupled."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from numpyro.contrib.module import eqx_module

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.kernels.pseudo_likelihood import pseudo_log_prob
from ppgen.models.checks import check_positive
from ppgen.models.energy.family import LARGEST_EXACT, BoltzmannFamily, every_state
from ppgen.models.energy.units import BinaryUnits, count_levels
from ppgen.models.networks.boltzmann import Pairwise

__all__ = ["BoltzmannMachine", "check_binary"]


class _Network(eqx.Module):
    """What the machine learns; the counts of the training rows, integers, are where its path begins."""

    couplings: Pairwise
    counts: jax.Array


class BoltzmannMachine(BoltzmannFamily):
    r"""A Boltzmann machine on binary rows, all units visible.

    .. math:: p(x) = \frac1Z \exp\big(b^\top x + \sum_{i < j} W_{ij} x_i x_j\big)

    It is the distribution of most entropy among those with the same means and pairwise moments. A Gibbs
    step goes through all units, each drawn given the others.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: 2.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or the levels are not 2.

    References:
        Ackley, Hinton and Sejnowski, *A Learning Algorithm for Boltzmann Machines*, Cognitive Science 1985.

    Example:
        >>> machine = BoltzmannMachine((2,), levels=2)
        >>> ll = machine.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 4)
        ('exact', 1.0)
    """

    name = "boltzmann"
    summary = "binary units, every pair coupled; likelihood up to a constant that AIS estimates"

    network: _Network

    def __init__(self, shape: tuple[int, ...], levels: int | None = 2, *, seed: int = 0) -> None:
        check_binary(levels, type(self).__name__)
        super().__init__(shape, levels, {"seed": seed}, ("pcd", "cd"))
        self.units = BinaryUnits(self.dims)
        key = jax.random.key(check_positive("seed", seed, least=0))
        self.network = _Network(Pairwise(self.dims, key), jnp.zeros((self.dims, 2), jnp.int32))

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: a site ``x`` of independent units, and a factor that couples them.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
        """
        network = eqx_module("network", self.network)
        bias = network.couplings.bias
        with numpyro.plate("rows", n if x is None else len(x)):
            alone = dist.Bernoulli(logits=bias.reshape(self.shape)).to_event(len(self.shape))
            x = numpyro.sample("x", alone, obs=x)  # (n, *shape)
            v = self.units.features(x.reshape(-1, self.dims))
            pairs = 0.5 * ((v @ network.couplings.weights) * v).sum(-1)
            numpyro.factor("coupling", pairs + jax.nn.softplus(bias).sum())
        return x

    def energy(self, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of rows ``(n, *shape)``, in JAX."""
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

    def pseudo_log_prob(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """The pseudo log likelihood ``(n,)`` of rows: :mod:`ppgen.kernels.pseudo_likelihood`."""
        return pseudo_log_prob(lambda rows: -self.energy(rows), key, x, 2)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Begin with the frequencies of the training rows ``(n, *shape)``."""
        counts = count_levels(rows, 2)
        bias = self.units.field_of(counts)
        self.network = _Network(
            eqx.tree_at(lambda c: c.bias, self.network.couplings, bias),
            counts,
        )

    # -- the path, and its ends --------------------------------------------------------------------------

    def start(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n rows of the start of the path, independent units."""
        units = dist.Bernoulli(logits=self._tempered(0.0).network.couplings.bias)
        return units.sample(key, (n,)).reshape(n, *self.shape)

    def _tempered(self, beta: Any) -> Any:
        couplings = self.network.couplings
        first = self.units.field_of(self.network.counts)
        changed = eqx.tree_at(
            lambda c: (c.triangle, c.bias),
            couplings,
            (beta * couplings.triangle, (1 - beta) * first + beta * couplings.bias),
        )
        return self.with_network(_Network(changed, self.network.counts))

    def _log_partition_at_start(self) -> jax.Array:
        return jax.nn.softplus(self._tempered(0.0).network.couplings.bias).sum()

    def _enumerable(self) -> bool:
        return self.dims <= LARGEST_EXACT

    def _log_partition_exact(self) -> jax.Array:
        return every_state(self.dims, lambda x: -self.energy(x))

    def _names(self) -> str:
        return f"2^{self.dims} states"


def check_binary(levels: int | None, name: str) -> None:
    """Refuse rows that are not binary."""
    if levels != 2:
        raise InvalidArgument(
            "levels",
            got=repr(levels),
            expected=f"2: the units of a {name} are binary",
            fix="Write levels=2 for binary rows; an RBM takes any levels, and continuous rows.",
        )
