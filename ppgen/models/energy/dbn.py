"""The deep belief network: an RBM on top of layers that are sampled downwards."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpyro
import numpyro.distributions as dist

from ppgen.checks import check_integer
from ppgen.data.lazy import RowArray
from ppgen.models.energy.boltzmann import check_binary
from ppgen.models.energy.family import CHAINS, TEMPERATURES, EnergyFamily
from ppgen.models.energy.rbm import RestrictedBoltzmann
from ppgen.models.energy.units import BinaryUnits, count_levels
from ppgen.models.networks.boltzmann import Bipartite
from ppgen.models.pytree_family import PytreeProgram, score_rows
from ppgen.models.settings import setting
from ppgen.program.bounds import elbo, importance_weighted, log_joints
from ppgen.program.languages.rows import Batch
from ppgen.program.languages.rows.numpyro import NumPyroRows
from ppgen.program.likelihood import Kind, Likelihood

__all__ = ["DBN", "DeepBelief"]


class _Layer(eqx.Module):
    """Weights ``(below, above)`` upwards (inference) and downwards (generation), with biases for each."""

    up_weights: jax.Array
    up_bias: jax.Array
    down_weights: jax.Array
    down_bias: jax.Array

    @classmethod
    def tied(cls, couplings: Bipartite) -> _Layer:
        """Both directions with the weights of an RBM."""
        return cls(couplings.weights, couplings.upper, couplings.weights, couplings.lower)


class _Network(eqx.Module):
    layers: tuple[_Layer, ...]
    top: Bipartite


class DBN(EnergyFamily):
    r"""A deep belief network on binary data.

    .. math:: p(x, h_1, \dots, h_{L-1}) = p(x \mid h_1) \cdots p(h_{L-2} \mid h_{L-1})\, p(h_{L-1}),
        \qquad p(h_{L-1}) = \sum_{h_L} \mathrm{RBM}(h_{L-1}, h_L)

    It trains in two stages. ``objective="greedy"`` trains each pair of layers as an RBM on the states
    inferred by the one below; ``objective="up_down"`` then unties the upward weights, which infer, from the
    downward weights, which generate.

    Raises:
        InvalidArgument: if a setting is out of range, or the levels are not 2.

    References:
        Hinton, Osindero and Teh, *A Fast Learning Algorithm for Deep Belief Nets*, Neural Computation 2006,
        doi:10.1162/neco.2006.18.7.1527; Salakhutdinov and Murray, *On the Quantitative Analysis of Deep
        Belief Networks*, ICML 2008, for the bound.

    Example:
        >>> import numpy as np
        >>> dbn = DBN((2, 2), levels=2, hidden=(4, 3))
        >>> dbn.log_prob(np.ones((1, 2, 2), int)).kind, dbn.sample(5, seed=0, steps=10).shape
        ('lower_bound', (5, 2, 2))
    """

    name = "dbn"
    summary = (
        "deep belief network on binary data, an RBM above directed layers; bound, its constant estimated"
    )
    objectives: ClassVar[tuple[str, ...]] = ("greedy", "up_down")

    levels: int | None = setting(default=2, kw_only=False, least=2, doc="2: the units are binary")
    hidden: tuple[int, ...] = setting(
        default=(128, 128),
        expected="at least two layers, such as (128, 128): with one it is an RBM",
        at_least=2,
        example=(128, 128),
        doc="how many units each hidden layer has, from the lowest to the top",
    )

    def build(self) -> None:
        """Begin with an RBM for each pair of layers."""
        check_binary(self.levels, type(self).__name__)
        couplings = [
            Bipartite.random(below, above, jax.random.key(self.seed + i))
            for i, (below, above) in enumerate(pairwise((self.dims, *self.hidden)))
        ]
        network = _Network(tuple(map(_Layer.tied, couplings[:-1])), couplings[-1])
        self.program = DeepBelief.initial(network, self.shape, 2)

    @property
    def unnormalised(self) -> RestrictedBoltzmann:
        """The RBM on top."""
        return self.program.machines()[-1]

    def guide(self, x: jax.Array) -> jax.Array:
        """The guide: layer above layer from examples ``(n, *shape)``."""
        return self.program.guide(x)

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
        """A lower bound on the log density of each example ``(n, *shape)``, importance-weighted.

        Where the RBM on top is too large to enumerate its constant is an estimate, and so is the bound.

        Args:
            x: examples in the data's own values.
            samples: how often the guide infers the layers of each example.
            temperatures, chains, seed, progress: of the estimate, see :meth:`log_partition`.
        """
        log_z = self.log_partition(temperatures=temperatures, chains=chains, seed=seed, progress=progress)
        samples = check_integer("samples", samples)
        values = score_rows(self.program, x, _bounds, samples=samples, seed=seed)
        kind: Kind = "lower_bound" if log_z.exact else "estimate"
        how = f"importance-weighted bound, {samples} samples; {log_z.how} of the RBM on top"
        return self._likelihood(values, log_z, kind, how)


class DeepBelief(PytreeProgram):
    """The program of a :class:`DBN`, its guide, and its passes up and down."""

    network: _Network

    # -- the program, and its guide ----------------------------------------------------------------------

    def model(self, x: Any = None, n: int = 1) -> jax.Array:
        """The program: the RBM's lower layer, weighed by a factor, then layer below layer to site ``x``.

        The top layer is marginalised.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
        """
        program = self.registered()
        top, depth = program.network.top, len(self.network.layers)
        with numpyro.plate("rows", n if x is None else len(x)):
            h = numpyro.sample(f"h{depth}", dist.Bernoulli(logits=top.lower).to_event(1))
            weight = jax.nn.softplus(top.up(h)).sum(-1) + jax.nn.softplus(top.lower).sum()
            numpyro.factor("top", weight)
            for i in reversed(range(1, depth)):
                h = numpyro.sample(f"h{i}", program.below(i, h))
            return numpyro.sample("x", program.below(0, h), obs=x)  # (n, *shape)

    def guide(self, x: jax.Array) -> jax.Array:
        """The guide: layer above layer from examples ``(n, *shape)``."""
        program = self.registered()
        h = x
        with numpyro.plate("rows", len(x)):
            for i in range(len(self.network.layers)):
                h = numpyro.sample(f"h{i + 1}", program.above(i, h))
        return h

    def below(self, i: int, h: jax.Array) -> dist.Distribution:
        """Layer i given the states ``(n, width)`` of the one above; layer 0 are the rows."""
        layer = self.network.layers[i]
        logits = h @ layer.down_weights.T + layer.down_bias
        shape = self.shape if i == 0 else logits.shape[-1:]
        return dist.Bernoulli(logits=logits.reshape(*logits.shape[:-1], *shape)).to_event(len(shape))

    def above(self, i: int, h: jax.Array) -> dist.Distribution:
        """Layer i + 1 as inferred from the states of layer i, ``(n, width)`` or rows."""
        layer = self.network.layers[i]
        flat = h.reshape(len(h), -1)
        return dist.Bernoulli(logits=flat @ layer.up_weights + layer.up_bias).to_event(1)

    # -- what its objectives read ------------------------------------------------------------------------

    def machines(self) -> tuple[RestrictedBoltzmann, ...]:
        """The RBM of each pair of layers, from the lowest to the top."""
        # As long as both ways are equal they get equal gradients, half of the RBM's each.
        tied = [
            Bipartite(0.5 * (layer.up_weights + layer.down_weights), layer.down_bias, layer.up_bias)
            for layer in self.network.layers
        ]
        couplings = (*tied, self.network.top)
        shapes = (self.shape, *((len(below.upper),) for below in tied))
        return tuple(RestrictedBoltzmann.of(*each, 2) for each in zip(couplings, shapes, strict=True))

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

    def standardised(self, rows: RowArray) -> DeepBelief:
        """The same network that begins with the frequencies of the training set ``(n, *shape)``."""
        bias = BinaryUnits(self.dims).field_of(count_levels(rows, 2))
        first, *others = self.network.layers
        return self.with_network(replace(self.network, layers=(replace(first, down_bias=bias), *others)))

    def run_chains(self, key: jax.Array, size: int, steps: int) -> jax.Array:
        """Rows ``(size, *shape)``: Gibbs chains of the RBM on top, then one pass down."""
        chains, down = jax.random.split(key)
        return self.fall(down, self.machines()[-1].run_chains(chains, size, steps))[0]


@eqx.filter_jit
def _bounds(program: DeepBelief, rows: jax.Array, *, samples: int, seed: int) -> jax.Array:
    """The importance-weighted bound of each example ``(n,)``, up to a constant."""

    # One example at a time with the same noise: no bound depends on the other examples.
    def of_one(row: jax.Array) -> jax.Array:
        batch = Batch(row[None], key=jax.random.key(seed))
        return importance_weighted(log_joints(NumPyroRows(), program.model, program.guide, batch, samples))[0]

    return jax.vmap(of_one)(rows)
