r"""Annealing of many rows' latent vectors at once, along the path from a start to the joint density.

.. math:: \log f_\beta(u) = (1 - \beta) \log q(u) + \beta \log p(x, u)

with a move of Hamiltonian Monte Carlo at each of :math:`0 < \beta_1 < \dots < \beta_K = 1`. All of it is one
compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc.hmc import HMCState
from jax import lax

from ppgen.evaluation.likelihood.latent_rows import RowPair
from ppgen.program.density import float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph

__all__ = ["Block", "Pace", "Walk", "anneal", "blocks_of", "learn_pace"]

ACCEPT = 0.65  # of the moves, which the step sizes are adapted to (Beskos et al. 2013, arXiv:1001.4460)
BINS = 32  # places of the path that have a step size of their own
STEEPNESS = 4.0  # of the logistic curve of β: most of the steps are where the path is near one of its ends
FIRST_STEP = 0.2
_RATE = 0.5
_LARGEST_LOSS = 1000.0  # nats
_MOVES = 2**31 - 1
_SEGMENTS = 20  # of a walk, after each of which progress is reported


class Block(NamedTuple):
    """Rows that are annealed side by side.

    Attributes:
        x: ``(rows, *shape)``.
        start: draws of the start of the path ``(rows, chains, dim)``.
        scale: the standard deviation of the start of each entry, ``(rows, dim)``: the unit of the moves.
        seeds: ``(rows,)``; a row's own, so that its noise does not depend on its neighbours.
    """

    x: np.ndarray
    start: np.ndarray
    scale: np.ndarray
    seeds: np.ndarray


class Pace(NamedTuple):
    """The step sizes of each row along the path ``(rows, BINS)``."""

    step_size: np.ndarray


class Walk(NamedTuple):
    """What a walk along the path came to.

    Attributes:
        log_weights: ``(rows, chains)``, :math:`\\sum_k (\\beta_k - \\beta_{k-1}) (\\log p - \\log q)`; of a
            walk back the same sum, with the minus sign of its steps.
        acceptance: the mean rate of each row ``(rows,)``.
        end: where the chains are at last ``(rows, chains, dim)``.
    """

    log_weights: np.ndarray
    acceptance: np.ndarray
    end: np.ndarray


Report = Callable[[int], None]


def learn_pace(pair: RowPair, block: Block, *, steps: int, leapfrog: int, report: Report) -> Pace:
    """Step sizes at which about 65 % of the moves are accepted, from a pilot walk of other chains.

    They are fixed before the walk that counts, whose weights therefore stay unbiased.
    """
    settings = _Settings(steps, back=False, rate=_RATE)
    first = np.full((len(block.x), BINS), FIRST_STEP)
    state = _walk(pair, block, block.start, first, settings, leapfrog, report)
    return Pace(np.asarray(state.step_size))


def anneal(
    pair: RowPair,
    block: Block,
    pace: Pace,
    *,
    steps: int,
    leapfrog: int,
    report: Report,
    end: np.ndarray | None = None,
) -> Walk:
    """Walk from the start to the joint density; or back, from draws ``end (rows, chains, dim)`` of it.

    Args:
        pair: the ends of the path.
        block: the rows.
        pace: learnt from other draws than these.
        steps: K.
        leapfrog: steps of each Hamiltonian move.
        report: told how many steps of the path are done.
        end: exact draws from the posterior, to walk back from.

    References:
        Neal (2001), arXiv:physics/9803008; Sohl-Dickstein and Culpepper (2012), arXiv:1205.1925, for
        Hamiltonian moves; Wu, Burda, Salakhutdinov and Grosse (2017), arXiv:1611.04273, for decoders.
    """
    settings = _Settings(steps, back=end is not None, rate=0.0)
    positions = block.start if end is None else end
    state = _walk(pair, block, positions, pace.step_size, settings, leapfrog, report)
    return Walk(
        np.asarray(state.log_weights), np.asarray(state.accepted) / steps, np.asarray(state.positions)
    )


class _Settings(NamedTuple):
    """Numbers that the compiled loop is given, so that none of them is compiled in."""

    steps: Any
    back: Any
    rate: Any  # of adaptation; 0 keeps the step sizes


class _State(NamedTuple):
    positions: jax.Array  # (rows, chains, dim)
    log_weights: jax.Array  # (rows, chains)
    step_size: jax.Array  # (rows, BINS)
    log_step: jax.Array  # (rows,), of the walk that adapts
    accepted: jax.Array  # (rows,)


def _walk(
    pair: RowPair,
    block: Block,
    positions: np.ndarray,
    step_size: np.ndarray,
    settings: _Settings,
    leapfrog: int,
    report: Report,
) -> _State:
    rows, chains, _ = positions.shape
    with float64():
        advance, settle = _compile(pair.graph, leapfrog)
        # Folded, for the moves to share no noise with draws of the start by the same seeds.
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), _MOVES))(
            jnp.asarray(block.seeds, jnp.uint32)
        )
        state = _State(
            jnp.asarray(positions, jnp.float64),
            jnp.zeros((rows, chains)),
            jnp.asarray(step_size, jnp.float64),
            jnp.log(jnp.asarray(step_size[:, 0], jnp.float64)),
            jnp.zeros(rows),
        )
        numbers = _Settings(*map(jnp.asarray, settings))
        x = np.asarray(block.x, pair.dtype)
        stops = np.unique(np.linspace(0, settings.steps, _SEGMENTS + 1).astype(int))
        for first, last in pairwise(stops):
            state = advance(pair.inputs, state, keys, x, block.scale, numbers, first, last)
            state.accepted.block_until_ready()
            report(int(last - first))
        return settle(pair.inputs, state, x, numbers)


@lru_cache(maxsize=32)
def _compile(graph: Graph, leapfrog: int) -> tuple[Callable[..., _State], Callable[..., _State]]:
    """The loop over a part of the path, and what follows its last step. No number of steps is compiled in."""
    kernel = blackjax.mcmc.hmc.build_kernel()

    def ends(inputs: Any, x: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        base, joint = (jnp.asarray(value, u.dtype) for value in graph(inputs, u, x))
        return base, jnp.where(jnp.isnan(joint), -jnp.inf, joint) - base

    def move(
        inputs: Any, x: jax.Array, scale: jax.Array, key: Any, u: jax.Array, beta: Any, step_size: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """One chain's move, what its weight gains by a unit of β, and its acceptance rate."""

        def tempered(u: jax.Array) -> tuple[jax.Array, jax.Array]:
            base, gain = ends(inputs, x, u)
            value = base + jnp.where(beta == 0, 0.0, beta * gain)
            return jnp.where(jnp.isnan(value), -jnp.inf, value), gain

        (value, gain), slope = jax.value_and_grad(tempered, has_aux=True)(u)
        before = HMCState(u, value, slope)
        # Steps of unlike lengths, for no length to fit a whole period of some direction.
        jitter_key, key = jax.random.split(key)
        step_size = step_size * jax.random.uniform(jitter_key, minval=0.8, maxval=1.2)
        after, info = kernel(key, before, lambda u: tempered(u)[0], step_size, scale**2, leapfrog)
        # A trajectory that runs away can overflow to an energy of -inf, which the kernel would accept.
        sound = jnp.isfinite(info.energy) & (value - after.logdensity < _LARGEST_LOSS + len(u))
        position = jnp.where(sound, after.position, u)
        return position, gain, jnp.where(sound, info.acceptance_rate, 0.0)

    of_chains = jax.vmap(move, in_axes=(None, None, None, 0, 0, None, None))
    of_rows = jax.vmap(of_chains, in_axes=(None, 0, 0, 0, 0, None, 0))

    def step(i: Any, state: _State, inputs: Any, keys: Any, x: Any, scale: Any, how: _Settings) -> _State:
        beta, width = _beta(_place(i, how), how.steps), _width_before(i, how)
        place = (BINS * _place(i, how) - 1) // how.steps
        log_step = jnp.where(how.rate > 0, state.log_step, jnp.log(state.step_size[:, place]))
        of_row = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i), state.positions.shape[1]))
        positions, gain, rate = of_rows(
            inputs, x, scale, of_row(keys), state.positions, beta, jnp.exp(log_step)
        )
        rate = rate.mean(1)
        log_step = jnp.clip(log_step + how.rate * (rate - ACCEPT), -12.0, 1.0)
        return _State(
            positions,
            _weigh(state.log_weights, width, gain),
            state.step_size.at[:, place].set(jnp.exp(log_step)),
            log_step,
            state.accepted + rate,
        )

    def advance(
        inputs: Any, state: _State, keys: Any, x: Any, scale: Any, how: _Settings, first: Any, last: Any
    ) -> _State:
        return lax.fori_loop(first, last, lambda i, s: step(i, s, inputs, keys, x, scale, how), state)

    def settle(inputs: Any, state: _State, x: Any, how: _Settings) -> _State:
        gain = jax.vmap(lambda x, chains: jax.vmap(lambda u: ends(inputs, x, u)[1])(chains))(
            x, state.positions
        )
        return state._replace(log_weights=_weigh(state.log_weights, _width_before(how.steps, how), gain))

    return jit(advance), jit(settle)


def _weigh(log_weights: jax.Array, width: jax.Array, gain: jax.Array) -> jax.Array:
    return log_weights + jnp.where(width == 0, 0.0, width * gain)


def _place(i: Any, how: _Settings) -> Any:
    """The number k of the density that move i leaves invariant: 1 … K, or K … 1 on the way back."""
    return jnp.where(how.back, how.steps - i, i + 1)


def _width_before(i: Any, how: _Settings) -> Any:
    """How far β goes at the point that move i begins at; on the way back it goes after the move."""
    here = how.steps - i
    there = _beta(here + 1, how.steps) - _beta(here, how.steps)
    on = _beta(i + 1, how.steps) - _beta(i, how.steps)
    return jnp.where(how.back, jnp.where(i == 0, 0.0, there), jnp.where(i == how.steps, 0.0, on))


def _beta(k: Any, steps: Any) -> Any:
    """The inverse temperature k of ``steps``: 0 at 0, 1 at the last, and dense at both ends."""

    def curve(place: Any) -> Any:
        return jax.nn.sigmoid(STEEPNESS * (2 * place - 1))

    low, high = curve(0.0), curve(1.0)
    return (curve(k / steps) - low) / (high - low)


def blocks_of(n: int, chains: int) -> Sequence[slice]:
    """How n rows are cut up: into blocks of one size, however many rows there are.

    Trajectories magnify rounding, which is another in loops over another number of rows. With one size a
    row's value is the same to the last bit whatever rows come with it, and one compiled loop serves all.
    """
    size = max(1, _PARTICLES.get(jax.default_backend(), _PARTICLES["gpu"]) // chains)
    return [slice(first, first + size) for first in range(0, n, size)]


_PARTICLES = {"cpu": 256, "gpu": 16384}  # side by side; more only spill a processor's cache
