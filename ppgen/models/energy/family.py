"""The base of the energy-based families: an energy, its constant, and chains that draw samples."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.errors import InvalidArgument
from ppgen.kernels.annealed_importance import AISState, anneal
from ppgen.kernels.weights import log_mean_weight
from ppgen.models.energy.enumeration import LARGEST_EXACT
from ppgen.models.energy.partition import LogPartition, LogPartitionBracket
from ppgen.models.pytree_family import PytreeFamily, PytreeProgram, draw_rows
from ppgen.program.likelihood import Kind, Likelihood
from ppgen.style.bar import ProgressBar

__all__ = ["CHAINS", "TEMPERATURES", "EnergyFamily", "EnergyProgram", "Method", "minus_energy", "run_chains"]

Method = Literal["auto", "exact", "ais", "reverse_ais"]

TEMPERATURES = 1000
CHAINS = 256
STEPS = 1000  # of chains that draw samples

_PART = 100  # annealing steps between two progress reports


class EnergyProgram(PytreeProgram):
    r"""A density known up to a constant, :math:`p(x) = \exp(-E(x)) / Z`.

    A subclass defines the energy, chains that draw samples, and a path of densities that ends at its own.
    """

    @abstractmethod
    def energy(self, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of examples ``(n, *shape)``, to differentiate."""

    @abstractmethod
    def run_chains(self, key: jax.Array, size: int, steps: int) -> jax.Array:
        """Run ``size`` chains along the path and at its end, and return ``(size, *shape)``."""

    @abstractmethod
    def path(
        self, key: jax.Array, rows: jax.Array | None, temperatures: int, chains: int
    ) -> tuple[Any, jax.Array, jax.Array]:
        """The points of the path, chains at its beginning, and a key for each step.

        With samples of the model, the reverse path: the points from last to first, and chains at the samples.
        """

    @abstractmethod
    def energy_at(self, place: Any, x: jax.Array) -> jax.Array:
        """The energy ``(n,)`` of chains at a point of the path."""

    @abstractmethod
    def move_at(self, place: Any, key: jax.Array, x: jax.Array) -> jax.Array:
        """A step of chains, which leaves the density at a point of the path invariant."""

    def log_partition_at_start(self) -> jax.Array:
        """The log of the normalising constant at the beginning of the path."""
        return jnp.zeros(())

    @property
    def log2_states(self) -> float:
        """The log2 of the number of states that the constant sums over."""
        return math.inf

    @property
    def states(self) -> str:
        """A description of these states."""
        return "infinitely many states"

    def log_partition_exact(self) -> jax.Array:
        """The log of the normalising constant by enumeration."""
        raise NotImplementedError


class EnergyFamily(PytreeFamily):
    """A family whose density is known up to a constant."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._constants: dict[Any, LogPartition] = {}
        self._constants_of: PytreeProgram | None = None

    @property
    def unnormalised(self) -> EnergyProgram:
        """The program whose constant is computed."""
        return self.program

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

        That of a deep belief network is the constant of the RBM on top.

        Args:
            method: ``"exact"`` by enumeration; ``"ais"`` by annealed importance sampling, biased low, since
                :math:`\mathbb{E}[\log \hat Z] \le \log Z`; ``"reverse_ais"`` by chains from the model back to
                the start, biased high; ``"auto"`` exact where possible.
            temperatures: steps of the path, evenly spaced.
            chains: how many go along it.
            seed: of the chains.
            rows: for ``"reverse_ais"`` draws of the model ``(chains, *shape)``, or of a deep belief network's
                RBM ``(chains, hidden[-2])``; by default the ends of long chains, in place of exact draws.
            progress: show a progress bar.

        Returns:
            Value, standard error and method. It is cached until the parameters change.

        Raises:
            InvalidArgument: if a setting is out of range, or the model is too large to enumerate.

        References:
            Salakhutdinov and Murray, *On the Quantitative Analysis of Deep Belief Networks*, ICML 2008;
            Burda, Grosse and Salakhutdinov, *Accurate and Conservative Estimates of MRF Log-likelihood using
            Reverse Annealing*, 2014, arXiv:1412.8566; Grosse, Ghahramani and Adams, *Sandwiching the marginal
            likelihood using bidirectional Monte Carlo*, 2015, arXiv:1511.02543.
        """
        settings = (
            check_choice("method", method, ("auto", "exact", "ais", "reverse_ais")),
            check_integer("temperatures", temperatures),
            check_integer("chains", chains, least=2),
            check_integer("seed", seed, least=0),
        )
        if rows is not None:
            _check_backward(method)
            return _log_partition(self.unnormalised, *settings, rows, progress)
        if self._constants_of is not self.program:
            self._constants_of, self._constants = self.program, {}
        if settings not in self._constants:
            self._constants[settings] = _log_partition(self.unnormalised, *settings, None, progress)
        return self._constants[settings]

    def bracket_log_partition(
        self,
        *,
        temperatures: int = TEMPERATURES,
        chains: int = CHAINS,
        seed: int = 0,
        rows: Any = None,
        progress: bool = False,
    ) -> LogPartitionBracket:
        r"""Bracket the log normalising constant from both sides, to see how good the estimate is.

        .. math:: \mathbb{E}[\log \hat Z_{AIS}] \le \log Z \le \mathbb{E}[\log \hat Z_{reverse}]

        Args:
            temperatures, chains, seed, rows: as for :meth:`log_partition`. The upper side is valid if the
                rows are
                draws from the model: by default they are the ends of long chains, and both sides miss a mode
                that these never reach.
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

    def sample(self, n: int, *, seed: int = 0, steps: int = STEPS) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values, each from its own chain.

        The chains are those of the program: Gibbs steps from independent units, or Langevin steps from
        Gaussian noise. The first half of the steps follows the path to the model's own density.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            steps: of each chain.
        """
        return draw_rows(self.program, n, seed, run_chains, steps=check_integer("steps", steps))

    def _likelihood(self, values: np.ndarray, log_z: LogPartition, kind: Kind, how: str) -> Likelihood:
        stderr = None if log_z.exact else np.full(len(values), log_z.stderr)
        return Likelihood(values - log_z.value, kind, self.space, self.dims, how, stderr)


def _log_partition(
    program: EnergyProgram,
    method: Method,
    temperatures: int,
    chains: int,
    seed: int,
    rows: Any,
    progress: bool,
) -> LogPartition:
    if method == "exact":
        _check_enumerable(program)
    if method == "exact" or (method == "auto" and program.log2_states <= LARGEST_EXACT):
        return LogPartition(float(_exact(program)), 0.0, f"log Z by enumeration of {program.states}")
    backward = method == "reverse_ais"
    if backward:
        draws = draw_rows(program, chains, seed, run_chains, steps=STEPS) if rows is None else rows
        start = program.rows(draws)
    else:
        start = None  # drawn by the path's own start
    value, stderr = _annealed(program, start, temperatures, chains, seed, progress)
    name = "reverse AIS" if backward else "AIS"
    how = f"log Z by {name}, {temperatures} temperatures, {chains} chains, standard error {stderr:.3f}"
    return LogPartition(float(_at_start(program)) + (-value if backward else value), stderr, how)


def _annealed(
    program: EnergyProgram, rows: Any, temperatures: int, chains: int, seed: int, progress: bool
) -> tuple[float, float]:
    """The log mean weight of chains along the path, run part by part, and its standard error."""
    path, x, keys = _begin(program, jax.random.key(seed), rows, temperatures, chains)
    log_weights = np.zeros(len(x))
    with ProgressBar("log Z by annealing", len(keys), show=progress) as bar:
        for first in range(0, len(keys), _PART):
            part = jax.tree.map(lambda places, i=first: places[i : i + _PART + 1], path)
            x, gains = _stage(program, part, x, keys[first : first + _PART])
            log_weights += np.asarray(gains, np.float64)
            bar.advance(_PART)
    value, stderr = log_mean_weight(log_weights)
    return float(value), float(stderr)


@eqx.filter_jit
def _begin(
    program: EnergyProgram, key: jax.Array, rows: jax.Array | None, temperatures: int, chains: int
) -> tuple[Any, jax.Array, jax.Array]:
    return program.path(key, rows, temperatures, chains)


@eqx.filter_jit
def _stage(program: EnergyProgram, path: Any, x: jax.Array, keys: jax.Array) -> AISState:
    return anneal(program.energy_at, program.move_at, path, x, keys)


@eqx.filter_jit
def _exact(program: EnergyProgram) -> jax.Array:
    return program.log_partition_exact()


@eqx.filter_jit
def _at_start(program: EnergyProgram) -> jax.Array:
    return program.log_partition_at_start()


@eqx.filter_jit
def run_chains(program: Any, key: jax.Array, size: int, steps: int) -> jax.Array:
    """Draw ``(size, *shape)`` samples by the chains of a program."""
    return program.run_chains(key, size, steps)


@eqx.filter_jit
def minus_energy(program: EnergyProgram, rows: jax.Array) -> jax.Array:
    """The log density of rows ``(n,)`` up to a constant."""
    return -program.energy(rows)


def _check_backward(method: Method) -> None:
    if method != "reverse_ais":
        raise InvalidArgument(
            "rows",
            got=f"rows, with method={method!r}",
            expected="rows for method='reverse_ais' alone",
            fix="Leave them out.",
        )


def _check_enumerable(program: EnergyProgram) -> None:
    if program.log2_states > LARGEST_EXACT:
        raise InvalidArgument(
            "method",
            got=f"'exact', for a model with {program.states}",
            expected=f"'ais' or 'reverse_ais': more than 2^{LARGEST_EXACT} states cannot be enumerated",
            fix="Write method='ais'.",
        )
