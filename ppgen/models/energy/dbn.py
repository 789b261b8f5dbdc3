"""The deep belief network: an RBM on top, and below it layers that are sampled downwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.module import eqx_module

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_positive, check_sizes
from ppgen.models.energy.boltzmann import check_binary
from ppgen.models.energy.family import CHAINS, TEMPERATURES, GibbsChains, Method
from ppgen.models.energy.partition import LogPartition, LogPartitionBracket
from ppgen.models.energy.rbm import RBM
from ppgen.models.networks.boltzmann import Bipartite
from ppgen.models.numpyro_family import NumPyroFamily
from ppgen.program.bounds import elbo, importance_weighted, log_joints
from ppgen.program.languages.rows import Batch
from ppgen.program.languages.rows.numpyro import NumPyroRows
from ppgen.program.likelihood import Kind, Likelihood

__all__ = ["DBN"]


class _Layer(eqx.Module):
    """Weights ``(below, above)`` for the way up and for the way down, with a bias for each."""

    up_weights: jax.Array
    up_bias: jax.Array
    down_weights: jax.Array
    down_bias: jax.Array

    @classmethod
    def tied(cls, couplings: Bipartite) -> _Layer:
        """Both ways with the weights of an RBM."""
        return cls(couplings.weights, couplings.upper, couplings.weights, couplings.lower)


class _Network(eqx.Module):
    layers: tuple[_Layer, ...]
    top: Bipartite


class DBN(NumPyroFamily):
    r"""A deep belief network on binary rows.

    .. math:: p(x, h_1, \dots, h_{L-1}) = p(x \mid h_1) \cdots p(h_{L-2} \mid h_{L-1})\, p(h_{L-1}),
        \qquad p(h_{L-1}) = \sum_{h_L} \mathrm{RBM}(h_{L-1}, h_L)

    It learns in two trainings. ``objective="greedy"`` takes each pair of layers for an RBM and the states
    that the one below infers for its rows; ``objective="up_down"`` then lets go of the tie between the
    weights of the way up, which infer, and of the way down, which generate.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: 2.
        hidden: how many units each hidden layer has, from the lowest to the top; at least two layers.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or the levels are not 2.

    References:
        Hinton, Osindero and Teh, *A Fast Learning Algorithm for Deep Belief Nets*, Neural Computation 2006,
        doi:10.1162/neco.2006.18.7.1527; Salakhutdinov and Murray, *On the Quantitative Analysis of Deep
        Belief Networks*, ICML 2008, for the bound.

    Example:
        >>> dbn = DBN((2, 2), levels=2, hidden=(4, 3))
        >>> dbn.log_prob(np.ones((1, 2, 2), int)).kind, dbn.sample(5, seed=0, steps=10).shape
        ('lower_bound', (5, 2, 2))
    """

    name = "dbn"
    summary = (
        "deep belief network on binary data, an RBM above directed layers; bound, its constant estimated"
    )

    network: _Network

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = 2,
        *,
        hidden: tuple[int, ...] = (128, 128),
        seed: int = 0,
    ) -> None:
        check_binary(levels, type(self).__name__)
        hidden = check_sizes("hidden", hidden)
        _check_deep(hidden)
        super().__init__(shape, levels, {"hidden": hidden, "seed": seed}, ("greedy", "up_down"))
        shapes = (self.shape, *((width,) for width in hidden))
        self._machines = tuple(
            RBM(below, 2, hidden=above, seed=check_positive("seed", seed, least=0) + i)
            for i, (below, above) in enumerate(zip(shapes, hidden, strict=False))
        )
        couplings = [machine.network.couplings for machine in self._machines]
        self.network = _Network(tuple(map(_Layer.tied, couplings[:-1])), couplings[-1])
        self._top: tuple[Any, RBM] | None = None

    # -- the program, and its guide ----------------------------------------------------------------------

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: the RBM's lower layer, weighed by a factor, then layer below layer to site ``x``.

        The top layer is summed out.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
        """
        family = self.with_network(eqx_module("network", self.network))
        top, depth = family.network.top, len(self.network.layers)
        with numpyro.plate("rows", n if x is None else len(x)):
            h = numpyro.sample(f"h{depth}", dist.Bernoulli(logits=top.lower).to_event(1))
            weight = jax.nn.softplus(top.up(h)).sum(-1) + jax.nn.softplus(top.lower).sum()
            numpyro.factor("top", weight)
            for i in reversed(range(1, depth)):
                h = numpyro.sample(f"h{i}", family.below(i, h))
            return numpyro.sample("x", family.below(0, h), obs=x)  # (n, *shape)

    def guide(self, x: jax.Array) -> jax.Array:
        """The guide: layer above layer from rows ``(n, *shape)``."""
        family = self.with_network(eqx_module("network", self.network))
        h = x
        with numpyro.plate("rows", len(x)):
            for i in range(len(self.network.layers)):
                h = numpyro.sample(f"h{i + 1}", family.above(i, h))
        return h

    def below(self, i: int, h: jax.Array) -> dist.Distribution:
        """Layer i given the states ``(n, width)`` of the one above; layer 0 are the rows."""
        layer = self.network.layers[i]
        logits = h @ layer.down_weights.T + layer.down_bias
        shape = self._machines[i].shape
        return dist.Bernoulli(logits=logits.reshape(*logits.shape[:-1], *shape)).to_event(len(shape))

    def above(self, i: int, h: jax.Array) -> dist.Distribution:
        """Layer i + 1 as inferred from the states of layer i, ``(n, width)`` or rows."""
        layer = self.network.layers[i]
        flat = h.reshape(len(h), -1)
        return dist.Bernoulli(logits=flat @ layer.up_weights + layer.up_bias).to_event(1)

    # -- what its objectives read ------------------------------------------------------------------------

    def machines(self) -> tuple[RBM, ...]:
        """The RBM of each pair of layers, from the lowest to the top."""
        tied = [
            # As long as both ways are equal they get equal gradients, half of the RBM's each.
            _couplings(0.5 * (layer.up_weights + layer.down_weights), layer.down_bias, layer.up_bias)
            for layer in self.network.layers
        ]
        return tuple(
            machine.with_network(eqx.tree_at(lambda net: net.couplings, machine.network, couplings))
            for machine, couplings in zip(self._machines, (*tied, self.network.top), strict=True)
        )

    def rise(self, key: jax.Array, x: jax.Array) -> list[jax.Array]:
        """Infer the layers from rows: the rows, then the states of each up to the RBM's lower layer."""
        states = [x]
        for i in range(len(self.network.layers)):
            states.append(self.above(i, states[-1]).sample(jax.random.fold_in(key, i)))
        return states

    def fall(self, key: jax.Array, h: jax.Array) -> list[jax.Array]:
        """Generate from the states of the RBM's lower layer: as :meth:`rise`, the rows first."""
        states = [h]
        for i in reversed(range(len(self.network.layers))):
            states.insert(0, self.below(i, states[0]).sample(jax.random.fold_in(key, i)))
        return states

    def rough_log_prob(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """The bound ``(n,)`` with a quick estimate of the constant, in JAX, to follow a training by."""
        noise, chains = jax.random.split(key)
        log_z = self.machines()[-1].rough_log_partition(chains)
        return elbo(log_joints(NumPyroRows(), self.model, self.guide, Batch(x, key=noise))) - log_z

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Begin with the frequencies of the training rows ``(n, *shape)``."""
        lowest = self._machines[0]
        lowest.standardise(rows)
        bias = lowest.network.couplings.lower
        self.network = eqx.tree_at(lambda net: net.layers[0].down_bias, self.network, bias)

    # -- densities and draws -----------------------------------------------------------------------------

    def log_partition(self, method: Method = "auto", **settings: Any) -> LogPartition:
        """The log of the normalising constant, that of the RBM on top.

        Arguments, result and errors are those of :meth:`RBM.log_partition`.
        """
        return self._top_machine().log_partition(method, **settings)

    def bracket_log_partition(self, **settings: Any) -> LogPartitionBracket:
        """The log of the normalising constant from both sides; arguments as of the RBM's method.

        ``rows`` are states of the RBM's lower layer ``(chains, hidden[-2])``.
        """
        return self._top_machine().bracket_log_partition(**settings)

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
        """A lower bound on the log density of each row ``(n, *shape)``, importance-weighted.

        Where the RBM on top is too large to enumerate its constant is an estimate, and so is the bound.

        Args:
            x: rows in the data's own values.
            samples: how often the guide infers the layers of each row.
            temperatures, chains, seed, progress: of the estimate, see :meth:`log_partition`.
        """
        log_z = self.log_partition(temperatures=temperatures, chains=chains, seed=seed, progress=progress)
        values = self._score(x, _Bound(check_positive("samples", samples), seed)) - log_z.value
        kind: Kind = "lower_bound" if log_z.exact else "estimate"
        stderr = None if log_z.exact else np.full(len(values), log_z.stderr)
        how = f"importance-weighted bound, {samples} samples; {log_z.how} of the RBM on top"
        return Likelihood(values, kind, self.space, self.dims, how, stderr)

    def sample(self, n: int, *, seed: int = 0, steps: int = 1000) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values, from the top down.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            steps: of the Gibbs chains of the RBM on top.
        """
        return self._draw(n, seed, _Falling(check_positive("steps", steps)))

    def _top_machine(self) -> RBM:
        """The RBM on top, kept with its constants until the parameters change."""
        if self._top is None or self._top[0] is not self.network:
            self._top = self.network, self.machines()[-1]
        return self._top[1]


@dataclass(frozen=True)
class _Bound:
    """The importance-weighted bound of each row, but for the constant."""

    samples: int
    seed: int

    def __call__(self, family: DBN, rows: jax.Array) -> jax.Array:
        # One row at a time with the same noise: no row's bound depends on its neighbours.
        def of_one(row: jax.Array) -> jax.Array:
            batch = Batch(row[None], key=jax.random.key(self.seed))
            return importance_weighted(
                log_joints(NumPyroRows(), family.model, family.guide, batch, self.samples)
            )[0]

        return jax.vmap(of_one)(rows)


@dataclass(frozen=True)
class _Falling:
    """Gibbs chains on top, then one pass down."""

    steps: int

    def __call__(self, family: DBN, key: jax.Array, size: int) -> jax.Array:
        chains, down = jax.random.split(key)
        return family.fall(down, GibbsChains(self.steps)(family.machines()[-1], chains, size))[0]


def _couplings(weights: jax.Array, lower: jax.Array, upper: jax.Array) -> Bipartite:
    # The shapes alone make the module; its first weights are not computed.
    like = eqx.filter_eval_shape(Bipartite, *weights.shape, jax.random.key(0))
    return eqx.tree_at(lambda c: (c.weights, c.lower, c.upper), like, (weights, lower, upper))


def _check_deep(hidden: tuple[int, ...]) -> None:
    if len(hidden) < 2:
        raise InvalidArgument(
            "hidden",
            got=repr(hidden),
            expected="at least two layers",
            fix="Write hidden=(128, 128), or build an RBM.",
        )
