r"""Hamiltonian Monte Carlo on the path from a density that is easy to draw from to another.

.. math:: \log \pi_\beta(z) = (1 - \beta) \log q(z) + \beta \log \pi(z), \quad 0 \le \beta \le 1

The kernel is compiled once for all β, step sizes and metrics. Any pair of densities can define a path;
:mod:`ppgen.inference.annealing.bases` has those that end at a posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from inspect import unwrap
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from ppgen.inference.batch import data_axes
from ppgen.kernels import tempered_hmc
from ppgen.kernels.weights import log_ratio
from ppgen.program.density import float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Inputs

__all__ = ["BLOCK", "Ends", "Moved", "Pair", "Path", "Tuning"]

_TARGET_ACCEPT = 0.8
_TRAJECTORY = 1.5  # in units of the particles' own sd: a quarter of a Gaussian's period is π / 2
_MOST_LEAPFROGS = 32
_LARGEST_DENSE_DIM = 100
_JITTER = (0.6, 1.2)  # of step sizes
BLOCK = 256  # particles that move at once; more would overflow the cache


@runtime_checkable
class Pair(Protocol):
    """Two log densities at ``z (dim,)``: where a path begins, normalised, and where it ends.

    Hashable and equal for equal operations: compiled code is cached by it.
    """

    def __call__(self, inputs: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The two log densities, from the arrays that they read and ``z``."""
        ...

    def __hash__(self) -> int: ...


class Ends(NamedTuple):
    """The log densities of both ends of the path at the particles, ``(run, particle)``."""

    base: np.ndarray
    target: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """log π − log q, ``-inf`` where the target has no density."""
        return log_ratio(self.target, self.base)


class Moved(NamedTuple):
    """The result of one trajectory of every particle.

    Attributes:
        positions: ``(run, particle, dim)``, where it ended.
        log_ratio: ``(run, particle)``, log π − log q where it began.
        acceptance: the rate of each run ``(run,)``.
    """

    positions: np.ndarray
    log_ratio: np.ndarray
    acceptance: np.ndarray


class Tuning(NamedTuple):
    """How the particles of each run move.

    Attributes:
        step_size: ``(run,)``, in units of the metric.
        covariance: the metric of each half of the particles: ``(run, half, dim, dim)``, or its diagonal
            ``(run, half, dim)`` in high dimensions; one half stands for both.
    """

    step_size: np.ndarray
    covariance: np.ndarray

    @classmethod
    def learn(cls, positions: np.ndarray, step_size: np.ndarray) -> Tuning:
        """The metric of each half is the covariance of the other, ``positions (run, particle, dim)``.

        Its own covariance would be small where its particles happen to be close, and move them least there:
        1000 particles in 30 dimensions stayed too close together, and the log evidence was 0.6 too low.
        """
        halves = _in_halves(positions)[:, ::-1]
        return cls(step_size, np.stack([[_covariance(half) for half in run] for run in halves]))

    def after(self, acceptance: np.ndarray) -> Tuning:
        """The step size after a move that was accepted at the rates ``acceptance (run,)``."""
        factor = np.exp(np.clip(acceptance - _TARGET_ACCEPT, -1.0, 1.0))
        return self._replace(step_size=np.clip(self.step_size * factor, 1e-4, 1.5))

    @property
    def leapfrogs(self) -> int:
        """So many steps make a trajectory; all runs share the number."""
        return int(np.clip(np.ceil(_TRAJECTORY / np.min(self.step_size)), 1, _MOST_LEAPFROGS))


class Path:
    """A path for a population of particles ``(run, particle, dim)`` between two densities.

    Args:
        pair: the two densities.
        inputs: the arrays that they read.
        seed: seed of the moves.
        at_once: how many threads share the particles, at most. The numbers are the same for any.
        varies: which of the input arrays are ``(data set, *shape)``: equal shares of the runs read their own.

    Example:
        >>> from scipy.stats import norm
        >>> def normals(scale, z):                               # from N(0, 1) to N(0, scale)
        ...     logpdf = jax.scipy.stats.norm.logpdf
        ...     return logpdf(z, 0.0, 1.0).sum(), logpdf(z, 0.0, scale).sum()
        >>> path = Path(normals, np.array(2.0), seed=0)
        >>> z = np.random.default_rng(0).normal(size=(1, 1000, 1))
        >>> tuning = Tuning.learn(z, step_size=np.array([0.8]))
        >>> for _ in range(10):
        ...     z = path.move(z, np.array([1.0]), tuning).positions
        >>> print(f"{z.std():.1f}")
        2.0
    """

    def __init__(
        self, pair: Pair, inputs: Any, seed: int, at_once: int = 1, varies: tuple[bool, ...] = ()
    ) -> None:
        self._inputs = inputs
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once)
        self._compiled: set[Any] = set()
        self._evaluate, self._move = _compile_together(pair, varies) if any(varies) else _compile(pair)
        with float64():
            self._key = jax.random.key(seed)
        self._moves = 0

    def ends(self, positions: np.ndarray) -> Ends:
        """Both log densities at the particles."""
        runs, particles, _ = positions.shape
        found = self._in_shares(self._evaluate, _in_blocks(positions))
        return Ends(*(_out_of_blocks(value, runs, particles) for value in found))

    def move(self, positions: np.ndarray, beta: np.ndarray, tuning: Tuning) -> Moved:
        """One trajectory of every particle at its run's ``beta (run,)``."""
        runs, particles, _ = positions.shape
        self._moves += 1
        halves = _in_halves(positions)
        blocks = _in_blocks(halves.reshape(2 * runs, *halves.shape[2:]))
        with float64():
            key = jax.random.fold_in(self._key, self._moves)
            keys = np.asarray(jax.random.key_data(jax.random.split(key, len(blocks))))
        covariance = np.broadcast_to(tuning.covariance, (runs, 2, *tuning.covariance.shape[2:]))
        of_halves = (np.repeat(beta, 2), np.repeat(tuning.step_size, 2), np.concatenate(covariance))
        how = (np.repeat(x, len(blocks) // (2 * runs), 0) for x in of_halves)
        moved = self._in_shares(self._move, (keys, blocks, *how), tuning.leapfrogs)
        new, log_ratio, acceptance = (
            _out_of_halves(_out_of_blocks(value, 2 * runs, halves.shape[2]), particles) for value in moved
        )
        return Moved(new, log_ratio, acceptance.mean(1))

    def _in_shares(self, function: Callable[..., Any], blocks: Any, *more: Any) -> tuple[np.ndarray, ...]:
        """What a function of blocks returns, called on equal shares of them, one a thread."""

        def run(share: Any) -> Any:
            with float64():  # the setting is per thread
                return jax.tree.map(np.array, function(self._inputs, share, *more))

        count = len(jax.tree.leaves(blocks)[0])
        shares = max(number for number in range(1, self._at_once + 1) if count % number == 0)
        if shares == 1:
            return tuple(run(blocks))
        size = count // shares
        parts = [jax.tree.map(lambda x, i=i: x[i : i + size], blocks) for i in range(0, count, size)]
        alone = 0 if (function, size) in self._compiled else 1  # else each thread would compile the same
        self._compiled.add((function, size))
        found = [*map(run, parts[:alone]), *self._pool.map(run, parts[alone:])]
        return tuple(np.concatenate(values) for values in zip(*found, strict=True))


def _in_halves(positions: np.ndarray) -> np.ndarray:
    """From ``(run, particle, dim)`` to ``(run, 2, half, dim)``; of an odd number the last is doubled."""
    runs, particles, dim = positions.shape
    if particles % 2:
        positions = np.concatenate([positions, positions[:, -1:]], 1)
    return positions.reshape(runs, 2, -1, dim)


def _out_of_halves(values: np.ndarray, particles: int) -> np.ndarray:
    return values.reshape(len(values) // 2, -1, *values.shape[2:])[:, :particles]


def _in_blocks(positions: np.ndarray) -> np.ndarray:
    """From ``(run, particle, dim)`` to blocks of one run each; the last is filled up with its end."""
    _, particles, dim = positions.shape
    size = min(particles, BLOCK)
    missing = -particles % size
    filled = np.concatenate([positions, np.repeat(positions[:, -1:], missing, 1)], 1)
    return filled.reshape(-1, size, dim)


def _out_of_blocks(values: np.ndarray, runs: int, particles: int) -> np.ndarray:
    return values.reshape(runs, -1, *values.shape[2:])[:, :particles]


def _covariance(particles: np.ndarray) -> np.ndarray:
    """The covariance of ``(particle, dim)`` without its outliers, shrunk to its diagonal.

    It only sets the scale of the moves, which one particle far out in a heavy tail would otherwise dominate.
    """
    n, dim = particles.shape
    inner = np.clip(particles, *np.quantile(particles, [0.01, 0.99], axis=0))
    variance = np.maximum(inner.var(0), 1e-20)
    if dim > _LARGEST_DENSE_DIM:
        return variance
    share = n / (n + 2.0 * dim)
    return share * np.cov(inner.T, bias=True).reshape(dim, dim) + (1 - share) * np.diag(variance)


@lru_cache(maxsize=64)
def _compile(pair: Pair) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Both log densities, and one move, of blocks of particles."""

    def evaluate(inputs: Any, blocks: jax.Array) -> Any:
        return jax.lax.map(jax.vmap(lambda z: pair(inputs, z)), blocks)

    def move(inputs: Any, blocks: Any, leapfrogs: Any) -> Any:
        def one_particle(key: Any, z: Any, beta: Any, step_size: Any, covariance: Any) -> Any:
            z, info = tempered_hmc.step(
                key, z, partial(pair, inputs), beta, step_size, covariance, leapfrogs, _JITTER
            )
            return z, info.log_ratio, info.acceptance_rate

        def one_block(block: Any) -> Any:
            key, z, *how = block
            keys = jax.random.split(jax.random.wrap_key_data(key), len(z))
            return jax.vmap(one_particle, in_axes=(0, 0, None, None, None))(keys, z, *how)

        return jax.lax.map(one_block, blocks)

    return jit(evaluate), jit(move)


@lru_cache(maxsize=16)
def _compile_together(pair: Pair, varies: tuple[bool, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The same of blocks of many data sets, each of which reads arrays of its own."""
    axes = data_axes(varies)

    def together(function: Callable[..., Any], *shared: None) -> Callable[..., Any]:
        of_all = jax.vmap(function, in_axes=(axes, 0, *shared))

        def run(inputs: Inputs, blocks: Any, *more: Any) -> Any:
            count = next(len(array) for array, differs in zip(inputs.arrays, varies, strict=True) if differs)
            divided = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), blocks)
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), of_all(inputs, divided, *more))

        return jit(run)

    evaluate, move = (unwrap(function) for function in _compile(pair))
    return together(evaluate), together(move, None)
