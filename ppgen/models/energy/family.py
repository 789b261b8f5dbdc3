"""What the energy-based families have in common: an energy, its constant, and chains that draw rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

from ppgen.errors import InvalidArgument
from ppgen.kernels.annealed_importance import AISState, anneal
from ppgen.kernels.weights import log_mean_weight
from ppgen.models.checks import check_name, check_positive
from ppgen.models.energy.partition import LogPartition, LogPartitionBracket
from ppgen.models.numpyro_family import NumPyroFamily
from ppgen.program.likelihood import Kind, Likelihood
from ppgen.style.bar import ProgressBar

__all__ = ["LARGEST_EXACT", "BoltzmannFamily", "EnergyFamily", "GibbsChains", "Method", "every_state"]

Method = Literal["auto", "exact", "ais", "reverse_ais"]

LARGEST_EXACT = 20  # binary units whose states are enumerated, 2^20
TEMPERATURES = 1000
CHAINS = 256

_BLOCK = 12  # 2^12 states side by side
_PART = 100  # of the steps of annealing, between two signs of life

Begin = Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array, jax.Array]]
"""Of a family, a key and rows to go back from: path, chains at its beginning, a key for each step."""
Stage = Callable[[Any, Any, jax.Array, jax.Array], AISState]
"""Of a family, a part of the path, chains and keys: the chains after it, with what their log weights gain."""


class EnergyFamily(NumPyroFamily):
    r"""A density known up to a constant, :math:`p(x) = \exp(-E(x)) / Z`.

    The subclass has the energy, and says how to anneal along a path that ends at it.
    """

    _partitions: dict[Any, tuple[Any, LogPartition]]

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._partitions = {}

    @abstractmethod
    def energy(self, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of rows ``(n, *shape)``, in JAX, to differentiate."""

    @abstractmethod
    def _partition(
        self, method: Method, temperatures: int, chains: int, seed: int, rows: Any, progress: bool
    ) -> LogPartition: ...

    def unnormalised_log_prob(self, x: Any) -> np.ndarray:
        """Minus the energy of each row ``(n,)``: the log density without its constant, in nats."""
        return self._score(x, _minus_energy)

    def log_partition(
        self,
        method: Method = "auto",
        *,
        temperatures: int = TEMPERATURES,
        chains: int = CHAINS,
        seed: int = 0,
        rows: Any = None,
        progress: bool = False,
    ) -> LogPartition:
        r"""The log of the normalising constant, :math:`\log Z = \log \sum_x \exp(-E(x))`.

        Args:
            method: ``"exact"`` by enumeration; ``"ais"`` by annealed importance sampling, too low as a rule,
                since :math:`\mathbb{E}[\log \hat Z] \le \log Z`; ``"reverse_ais"`` by chains that go from the
                model back to the start, too high as a rule; ``"auto"`` exact where that is possible.
            temperatures: steps of the path, evenly spaced.
            chains: how many go along it.
            seed: of the chains.
            rows: for ``"reverse_ais"`` draws of the model ``(chains, *shape)``; by default those of
                :meth:`sample`, whose long chains stand in for exact draws.
            progress: show a progress bar.

        Returns:
            Value, standard error and method. It is kept until the parameters change.

        Raises:
            InvalidArgument: if a setting is out of range, or the model is too large to enumerate.

        References:
            Salakhutdinov and Murray, *On the Quantitative Analysis of Deep Belief Networks*, ICML 2008;
            Burda, Grosse and Salakhutdinov, *Accurate and Conservative Estimates of MRF Log-likelihood using
            Reverse Annealing*, 2014, arXiv:1412.8566; Grosse, Ghahramani and Adams, *Sandwiching the marginal
            likelihood using bidirectional Monte Carlo*, 2015, arXiv:1511.02543.
        """
        check_name("method", method, ("auto", "exact", "ais", "reverse_ais"))
        settings = (
            method,
            check_positive("temperatures", temperatures),
            check_positive("chains", chains, least=2),
            check_positive("seed", seed, least=0),
        )
        if rows is not None and method != "reverse_ais":
            raise InvalidArgument(
                "rows",
                got=f"rows beside method={method!r}",
                expected="rows for method='reverse_ais' alone",
                fix="Leave them out.",
            )
        if rows is not None:
            return self._partition(*settings, rows, progress)
        of, known = self._partitions.get(settings, (None, None))
        if known is None or of is not self.network:
            known = self._partition(*settings, None, progress)
            self._partitions[settings] = self.network, known
        return known

    def bracket_log_partition(
        self,
        *,
        temperatures: int = TEMPERATURES,
        chains: int = CHAINS,
        seed: int = 0,
        rows: Any = None,
        progress: bool = False,
    ) -> LogPartitionBracket:
        r"""The log of the normalising constant from both sides, to know how good an estimate of it is.

        .. math:: \mathbb{E}[\log \hat Z_{AIS}] \le \log Z \le \mathbb{E}[\log \hat Z_{reverse}]

        Args:
            temperatures, chains, seed, rows: as for :meth:`log_partition`. The upper side holds as far as the
                rows are draws of the model: by default they are the ends of long chains, and a mode that
                these never reach is missed by both sides.
            progress: show a progress bar.

        Raises:
            InvalidArgument: if a setting is out of range.

        References:
            Those of :meth:`log_partition`.
        """
        settings: dict[str, Any] = {"temperatures": temperatures, "chains": chains, "seed": seed}
        settings["progress"] = progress
        return LogPartitionBracket(
            self.log_partition("ais", **settings), self.log_partition("reverse_ais", rows=rows, **settings)
        )

    def with_network(self, network: Any) -> Any:
        """A shallow copy with another network, whose arrays may be JAX's tracers."""
        other = super().with_network(network)
        other._partitions = {}
        return other

    def _annealed(
        self, begin: Begin, stage: Stage, seed: int, rows: jax.Array, progress: bool
    ) -> tuple[float, float]:
        """The log mean weight of chains along a path, which they go part by part, and its standard error."""
        path, x, keys = self._compiled(begin)(jax.random.key(seed), rows)
        move, log_weights = self._compiled(stage), np.zeros(len(x))
        with ProgressBar("log Z by annealing", len(keys), show=progress) as bar:
            for first in range(0, len(keys), _PART):
                part = jax.tree.map(lambda places, i=first: places[i : i + _PART + 1], path)
                x, gains = move(part, x, keys[first : first + _PART])
                log_weights += np.asarray(gains, np.float64)
                bar.advance(_PART)
        value, stderr = log_mean_weight(log_weights)
        return float(value), float(stderr)

    def _likelihood(self, values: np.ndarray, log_z: LogPartition, kind: Kind, how: str) -> Likelihood:
        stderr = None if log_z.exact else np.full(len(values), log_z.stderr)
        return Likelihood(values - log_z.value, kind, self.space, self.dims, how, stderr)


class BoltzmannFamily(EnergyFamily):
    """Units with biases and couplings: Gibbs sampling, and a path from independent units.

    Along the path the couplings are scaled up from 0, and the biases of the units go from the frequencies in
    the training rows to the model's own.
    """

    @abstractmethod
    def transition(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """A Gibbs step of chains at ``x (n, *shape)``, which leaves the density invariant."""

    @abstractmethod
    def pseudo_log_prob(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """A figure ``(n,)`` that rises with the density and needs no constant."""

    @abstractmethod
    def start(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n rows of the start of the path, independent units."""

    @abstractmethod
    def _tempered(self, beta: Any) -> Any:
        """The model at a place of the path, from 0 at its start to 1."""

    @abstractmethod
    def _log_partition_at_start(self) -> jax.Array: ...

    @abstractmethod
    def _enumerable(self) -> bool: ...

    @abstractmethod
    def _log_partition_exact(self) -> jax.Array: ...

    @abstractmethod
    def _names(self) -> str:
        """What is enumerated, in words."""

    def log_prob(
        self,
        x: Any,
        *,
        temperatures: int = TEMPERATURES,
        chains: int = CHAINS,
        seed: int = 0,
        progress: bool = False,
    ) -> Likelihood:
        """The log density of each row ``(n, *shape)``.

        It is exact where the states of the smaller layer can be enumerated, at most 2^20 of them. Otherwise
        the constant is estimated by annealed importance sampling, see :meth:`log_partition`.

        Args:
            x: rows in the data's own values.
            temperatures, chains, seed, progress: of that estimate.
        """
        log_z = self.log_partition(temperatures=temperatures, chains=chains, seed=seed, progress=progress)
        kind: Kind = "exact" if log_z.exact else "estimate"
        return self._likelihood(self.unnormalised_log_prob(x), log_z, kind, log_z.how)

    def sample(self, n: int, *, seed: int = 0, steps: int = 1000) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values, each by a Gibbs chain of its own.

        The chains begin with independent units, and the first half of the steps follows the path.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            steps: of each chain.
        """
        return self._draw(n, seed, GibbsChains(check_positive("steps", steps)))

    def rough_log_partition(self, key: jax.Array) -> jax.Array:
        """A quick estimate of the log partition function, in JAX, by 100 temperatures and 64 chains."""
        _, log_weights = _stage(self, *_Begin(100, 64, backward=False)(self, key, jnp.zeros(())))
        return logsumexp(log_weights) - jnp.log(len(log_weights)) + self._log_partition_at_start()

    def _partition(
        self, method: Method, temperatures: int, chains: int, seed: int, rows: Any, progress: bool
    ) -> LogPartition:
        if method == "exact" or (method == "auto" and self._enumerable()):
            self._check_enumerable()
            exact = self._compiled(_exact)(jnp.zeros(()))
            return LogPartition(float(exact), 0.0, f"log Z by enumeration of {self._names()}")
        backward = method == "reverse_ais"
        if backward:
            start = self.rows(self.sample(chains, seed=seed) if rows is None else rows)
        else:
            start = jnp.zeros(())  # drawn by the path's own start
        begin = _Begin(temperatures, chains, backward)
        value, stderr = self._annealed(begin, _stage, seed, start, progress)
        first = float(self._compiled(_at_start)(jnp.zeros(())))
        name = "reverse AIS" if backward else "AIS"
        how = f"log Z by {name}, {temperatures} temperatures, {chains} chains, standard error {stderr:.3f}"
        return LogPartition(first + (-value if backward else value), stderr, how)

    def _check_enumerable(self) -> None:
        if not self._enumerable():
            raise InvalidArgument(
                "method",
                got="'exact', for a model with too many states",
                expected=f"at most 2^{LARGEST_EXACT} states of the smaller layer",
                fix="Write method='ais'.",
            )


@dataclass(frozen=True)
class GibbsChains:
    """Gibbs chains from independent units."""

    steps: int

    def __call__(self, family: BoltzmannFamily, key: jax.Array, size: int) -> jax.Array:
        """Where ``size`` chains are at last."""
        key, first = jax.random.split(key)

        def step(k: Any, x: jax.Array) -> jax.Array:
            beta = jnp.minimum(1.0, (k + 1) / max(1, self.steps // 2))
            return family._tempered(beta).transition(jax.random.fold_in(key, k), x)

        return lax.fori_loop(0, self.steps, step, family.start(first, size))


@dataclass(frozen=True)
class _Begin:
    """The path, or the way back, with chains at its beginning and a key for each of its steps."""

    temperatures: int
    chains: int
    backward: bool

    def __call__(
        self, family: BoltzmannFamily, key: jax.Array, rows: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        key, first = jax.random.split(key)
        beta = jnp.linspace(0.0, 1.0, self.temperatures + 1)
        keys = jax.random.split(key, self.temperatures)
        return (beta[::-1], rows, keys) if self.backward else (beta, family.start(first, self.chains), keys)


def _stage(family: BoltzmannFamily, path: jax.Array, x: jax.Array, keys: jax.Array) -> AISState:
    """Chains after a part of the path, with what it adds to their log weights."""
    return anneal(
        lambda beta, x: family._tempered(beta).energy(x),
        lambda beta, key, x: family._tempered(beta).transition(key, x),
        path,
        x,
        keys,
    )


def every_state(units: int, log_sum: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The log of a sum over all states of binary units, some thousands at a time.

    Args:
        units: how many.
        log_sum: the log of the term ``(m,)`` of each of the states ``(m, units)``.

    Example:
        >>> round(float(every_state(3, lambda h: h.sum(-1))), 4)          # (1 + e)^3
        3.9398
    """
    together = min(units, _BLOCK)
    few = _states(jnp.arange(2**together), together)

    def block(number: jax.Array) -> jax.Array:
        fixed = jnp.broadcast_to(_states(number, units - together), (len(few), units - together))
        return logsumexp(log_sum(jnp.concatenate([fixed, few], 1)))

    return logsumexp(lax.map(block, jnp.arange(2 ** (units - together))))


def _states(numbers: jax.Array, units: int) -> jax.Array:
    return ((numbers[..., None] >> jnp.arange(units)) & 1).astype(jnp.float32)


def _minus_energy(family: EnergyFamily, rows: jax.Array) -> jax.Array:
    return -family.energy(rows)


def _exact(family: BoltzmannFamily, _: jax.Array) -> jax.Array:
    return family._log_partition_exact()


def _at_start(family: BoltzmannFamily, _: jax.Array) -> jax.Array:
    return family._log_partition_at_start()
