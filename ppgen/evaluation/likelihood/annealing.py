r"""Annealing of many latent vectors at once, along the path from a start to the joint density.

.. math:: \log f_\beta(u) = (1 - \beta) \log q(u) + \beta \log p(x, u)

with a Hamiltonian Monte Carlo move at each of :math:`0 < \beta_1 < \dots < \beta_K = 1`, in one
compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ppgen.evaluation.likelihood.latent_rows import RowPair
from ppgen.kernels import tempered_hmc
from ppgen.kernels.annealed_importance import sigmoid_schedule
from ppgen.program.density import float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph

__all__ = ["BINS", "Block", "Report", "anneal", "blocks_of", "learn_step_sizes"]

BINS = 32  # segments of the path, each with its own step size
_TARGET_ACCEPT = 0.65  # of the moves (Beskos et al. 2013, arXiv:1001.4460)
_FIRST_STEP = 0.2
_ADAPTATION_RATE = 0.5
_JITTER = (0.8, 1.2)  # of step sizes
_MOVES = 2**31 - 1
_SEGMENTS = 20  # of a path, after each of which progress is reported
_PARTICLES = {"cpu": 256, "gpu": 16384}  # at once; more would overflow the processor's cache


class Block(NamedTuple):
    """Examples that are annealed together.

    Attributes:
        x: ``(rows, *shape)``.
        start: draws from the start of the path ``(rows, chains, dim)``.
        scale: the standard deviation of the start in each dimension, ``(rows, dim)``: the unit of the moves.
        seeds: ``(rows,)``; one per example, so that its noise does not depend on the others.
    """

    x: np.ndarray
    start: np.ndarray
    scale: np.ndarray
    seeds: np.ndarray


Report = Callable[[int], None]


def learn_step_sizes(pair: RowPair, block: Block, *, steps: int, leapfrog: int, report: Report) -> np.ndarray:
    """Find step sizes ``(rows, BINS)`` at which about 65 % of the moves are accepted, in a pilot run.

    The pilot uses separate chains, so that the weights of the final run stay unbiased.
    """
    first = np.full((len(block.x), BINS), _FIRST_STEP)
    path = _Path(steps, back=False, adaptation_rate=_ADAPTATION_RATE)
    return np.asarray(_run(pair, block, block.start, first, path, leapfrog, report).step_sizes)


def anneal(
    pair: RowPair,
    block: Block,
    step_sizes: np.ndarray,
    *,
    steps: int,
    leapfrog: int,
    report: Report,
    end: np.ndarray | None = None,
) -> np.ndarray:
    r"""Return the log weights ``(rows, chains)`` of chains along the path, or back from draws of its end.

    The mean weight is :math:`p(x)` in expectation; on the reverse path it is :math:`1 / p(x)`.

    Args:
        pair: the ends of the path.
        block: the examples.
        step_sizes: ``(rows, BINS)``, learnt from separate draws.
        steps: K.
        leapfrog: the number of leapfrog steps of each move.
        report: receives how many steps of the path are done.
        end: exact draws ``(rows, chains, dim)`` from the posterior, where the reverse path starts.

    References:
        Neal (2001), arXiv:physics/9803008; Sohl-Dickstein and Culpepper (2012), arXiv:1205.1925, for
        Hamiltonian moves; Wu, Burda, Salakhutdinov and Grosse (2017), arXiv:1611.04273, for decoders.
    """
    path = _Path(steps, back=end is not None, adaptation_rate=0.0)
    start = block.start if end is None else end
    return np.asarray(_run(pair, block, start, step_sizes, path, leapfrog, report).log_weights)


def blocks_of(n: int, chains: int) -> Sequence[slice]:
    """Cut n examples into blocks of one size, which does not depend on n.

    Trajectories magnify rounding, which differs between batch sizes. With one size an example's value is the
    same to the last bit whatever the other examples are, and one compiled loop serves all.
    """
    size = max(1, _PARTICLES.get(jax.default_backend(), _PARTICLES["gpu"]) // chains)
    return [slice(first, first + size) for first in range(0, n, size)]


class _Path(NamedTuple):
    """Numbers passed to the compiled loop, so that none of them is compiled in."""

    steps: Any
    back: Any
    adaptation_rate: Any  # of the step sizes; 0 keeps them

    def place(self, i: Any) -> Any:
        """The index k of the density that the chains have reached after i moves."""
        return jnp.where(self.back, self.steps - i, i)


class _State(NamedTuple):
    position: jax.Array  # (rows, chains, dim)
    log_weights: jax.Array  # (rows, chains)
    step_sizes: jax.Array  # (rows, BINS)
    log_step: jax.Array  # (rows,), of the last move, where step sizes adapt


def _run(
    pair: RowPair,
    block: Block,
    start: np.ndarray,
    step_sizes: np.ndarray,
    path: _Path,
    leapfrog: int,
    report: Report,
) -> _State:
    with float64():
        advance = _compile(pair.graph, leapfrog)
        # Folded, so that the moves share no noise with the draws of the start, which use the same seeds.
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), _MOVES))(
            jnp.asarray(block.seeds, jnp.uint32)
        )
        sizes = jnp.asarray(step_sizes, jnp.float64)
        state = _State(
            jnp.asarray(start, jnp.float64), jnp.zeros(start.shape[:2]), sizes, jnp.log(sizes[:, 0])
        )
        x, numbers = np.asarray(block.x, pair.dtype), _Path(*map(jnp.asarray, path))
        stops = np.unique(np.linspace(0, path.steps, _SEGMENTS + 1).astype(int))
        for first, last in pairwise(stops):
            state = advance(pair.inputs, state, keys, x, block.scale, numbers, first, last)
            state.log_weights.block_until_ready()
            report(int(last - first))
        return state


@lru_cache(maxsize=32)
def _compile(graph: Graph, leapfrog: int) -> Callable[..., _State]:
    """Compile the loop over a part of the path, for any number of steps."""

    def move(
        inputs: Any, x: jax.Array, scale: jax.Array, key: Any, u: jax.Array, beta: Any, step_size: Any
    ) -> tuple[jax.Array, tempered_hmc.TemperedInfo]:
        def ends(u: jax.Array) -> tuple[jax.Array, jax.Array]:
            base, joint = (jnp.asarray(value, u.dtype) for value in graph(inputs, u, x))
            return base, joint

        return tempered_hmc.step(key, u, ends, beta, step_size, scale**2, leapfrog, _JITTER)

    of_chains = jax.vmap(move, in_axes=(None, None, None, 0, 0, None, None))
    of_rows = jax.vmap(of_chains, in_axes=(None, 0, 0, 0, 0, None, 0))

    def step(i: Any, state: _State, inputs: Any, keys: Any, x: Any, scale: Any, path: _Path) -> _State:
        k = path.place(i + 1)
        before, beta = (sigmoid_schedule(place, path.steps) for place in (path.place(i), k))
        part = jnp.maximum(BINS * k - 1, 0) // path.steps
        adapting = path.adaptation_rate > 0
        log_step = jnp.where(adapting, state.log_step, jnp.log(state.step_sizes[:, part]))
        chains = state.log_weights.shape[1]
        of_row = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i), chains))
        position, info = of_rows(inputs, x, scale, of_row(keys), state.position, beta, jnp.exp(log_step))
        surplus = info.acceptance_rate.mean(1) - _TARGET_ACCEPT
        log_step = jnp.clip(log_step + path.adaptation_rate * surplus, -12.0, 1.0)
        return _State(
            position,
            state.log_weights + (beta - before) * info.log_ratio,
            state.step_sizes.at[:, part].set(jnp.exp(log_step)),
            log_step,
        )

    def advance(
        inputs: Any, state: _State, keys: Any, x: Any, scale: Any, path: _Path, first: Any, last: Any
    ) -> _State:
        return lax.fori_loop(first, last, lambda i, s: step(i, s, inputs, keys, x, scale, path), state)

    return jit(advance)
