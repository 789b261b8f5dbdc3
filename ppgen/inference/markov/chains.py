"""Markov chains of the No-U-Turn sampler, on BlackJAX's kernel, as one compiled loop.

Warm-up and sampling share a single call to the kernel: compilation time grows with the number of
places where the density is inlined, and this has one. Chains that share a core run as one vectorised
batch; batches run in threads, one per core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.metric_recipes import lookup_recipe
from blackjax.adaptation.staged_adaptation import build_schedule
from blackjax.adaptation.step_size import dual_averaging_adaptation
from blackjax.mcmc.hmc import HMCState
from jax.typing import ArrayLike

from ppgen.inference.batch import data_axes
from ppgen.inference.cores import available_cores, concurrent_runs
from ppgen.inference.markov.covariance import covariance_metric
from ppgen.inference.markov.space import Space
from ppgen.program.density import float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = [
    "CHUNK",
    "Chains",
    "LoopSettings",
    "Metric",
    "Record",
    "compile_loop",
    "longest_window",
    "metric_rows",
]

CHUNK = 256
"""The most draws that one call of the compiled loop makes."""

Metric = Literal["dense", "diagonal", "low_rank"]

# What a step of the loop adapts: the step size; it and the metric; both, at the end of a window; nothing.
_FAST, _SLOW, _SLOW_END, _SAMPLE = range(4)


class LoopSettings(NamedTuple):
    """What is compiled into the loop.

    Attributes:
        target_accept: the acceptance rate that the step size is adapted to.
        max_tree_depth: a trajectory has at most ``2 ** max_tree_depth - 1`` leapfrog steps.
        metric: what the warm-up learns of the posterior's covariance.
        memory: how many draws a low-rank metric is learnt from, :func:`longest_window`; 0 for others.
    """

    target_accept: float
    max_tree_depth: int
    metric: Metric
    memory: int


class Record(NamedTuple):
    """The record of one draw, or of many: JAX arrays while sampling, NumPy arrays after."""

    position: Any
    lp: Any
    acceptance_rate: Any
    diverging: Any
    energy: Any
    tree_depth: Any
    n_steps: Any
    step_size: Any

    def part(self, first: int, last: int | None = None) -> Record:
        """The draws from one step to another."""
        return Record(*(values[:, first:last] for values in self))

    def split(self, count: int) -> list[Record]:
        """Equal shares of the chains, in their order."""
        return [Record(*shares) for shares in zip(*(np.split(values, count) for values in self), strict=True)]


class _Chain(NamedTuple):
    """The position of one chain, and what it has learnt about its target."""

    state: HMCState  # position, log density, gradient
    step_size: Any
    metric: Any


class _Batch(NamedTuple):
    """Chains that run as one vectorised batch, and a random key for each."""

    chains: _Chain
    keys: jax.Array


class Chains:
    """Running chains: their positions, and everything needed to resume.

    Args:
        space: the target density; of several data sets, each chain reads the arrays of its own.
        settings: how the chains move and learn.
        tune: length of the warm-up.
        starts: ``(chain, …)`` states to start from.
        keys: a random key for each data set.

    Attributes:
        done: how many steps each chain has made.
        restarts: ``(chain,)`` how many times another chain has taken its place.
    """

    def __init__(
        self, space: Space, settings: LoopSettings, *, tune: int, starts: HMCState, keys: jax.Array
    ) -> None:
        self.inputs = space.inputs
        self.tune = tune
        self.done = 0
        self.restarts = np.zeros(len(starts.position), int)
        self._loop = compile_loop(space.graph, settings, space.varies)
        self._at_once = 1  # whoever draws from many data sets runs many such batches
        if not space.varies:
            rows = max(space.graph.largest_matrix, metric_rows(settings.metric, space.dim))
            self._at_once = concurrent_runs(rows, batch=-(-len(starts.position) // available_cores()))
        self._batches = _split(self._loop.begin(starts, keys), self._at_once)
        self._pool = ThreadPoolExecutor(len(self._batches))
        # Before threads start: two of them would each compile the same loop.
        self._loop.advance(self.inputs, *self._batches[0], jnp.zeros(CHUNK, int), 0, 0)

    @property
    def number(self) -> int:
        """How many chains there are."""
        return sum(len(batch.keys) for batch in self._batches)

    def advance(self, count: int) -> Record:
        """Move every chain by ``count`` draws, at most :data:`CHUNK`; ``(chain, draw, …)`` arrays."""
        stages = np.full(CHUNK, _SAMPLE)
        stages[:count] = _stages(self.tune, self.done, count)

        def run(batch: _Batch) -> tuple[_Batch, Record]:
            with float64():  # the setting is a thread's own
                chains, record = self._loop.advance(
                    self.inputs, batch.chains, batch.keys, jnp.asarray(stages), self.done, count
                )
                return batch._replace(chains=chains), jax.tree.map(np.asarray, record)

        moved = list(self._pool.map(run, self._batches))
        self._batches = [batch for batch, _ in moved]
        self.done += count
        parts = zip(*(record for _, record in moved), strict=True)
        return Record(*(np.concatenate(part, 1)[:count].swapaxes(0, 1) for part in parts))

    def save(self) -> dict[str, np.ndarray]:
        """Everything needed to resume, as arrays."""
        leaves = zip(*(jax.tree.leaves(batch.chains) for batch in self._batches), strict=True)
        state = {f"leaf_{i}": np.concatenate(parts) for i, parts in enumerate(leaves)}
        state["keys"] = np.concatenate([jax.random.key_data(batch.keys) for batch in self._batches])
        return state | {"done": np.array(self.done), "restarts": self.restarts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Resume where :meth:`save` was called."""
        leaves, structure = jax.tree.flatten(self._batches[0].chains)
        leaves = [jnp.asarray(state[f"leaf_{i}"]) for i in range(len(leaves))]
        keys = jax.random.wrap_key_data(jnp.asarray(state["keys"]))
        self._batches = _split(_Batch(jax.tree.unflatten(structure, leaves), keys), self._at_once)
        self.done = int(state["done"])
        self.restarts = np.asarray(state.get("restarts", np.zeros(len(keys), int)))

    def adopt(self, places: np.ndarray, other: Chains, which: np.ndarray) -> None:
        """Replace some chains by the other's, which are as far along."""
        assert other.done == self.done
        state, theirs = self.save(), other.save()
        for name in state.keys() - {"done", "restarts"}:
            state[name][places] = theirs[name][which]
        self.restore(state)
        self.restarts = self.restarts + np.isin(np.arange(self.number), places)


@partial(jax.jit, static_argnums=1)  # each slice alone would be compiled alone
def _split(batch: _Batch, runs: int) -> list[_Batch]:
    """Equal batches, at most one per run."""
    chains = len(batch.keys)
    count = max(batches for batches in range(1, runs + 1) if chains % batches == 0)
    size = chains // count
    return [jax.tree.map(lambda x, i=i: x[i * size : (i + 1) * size], batch) for i in range(count)]


def metric_rows(metric: Metric, dim: int) -> int:
    """The rows of the largest matrix that learning and using a metric takes; 0 for none."""
    return 0 if metric == "diagonal" else dim


def _stages(tune: int, first: int, count: int) -> np.ndarray:
    """What each of the next steps adapts: Stan's windows during the warm-up, nothing after."""
    stages = _schedule(tune)[first : first + count]
    return np.concatenate([stages, np.full(count - len(stages), _SAMPLE)])


@lru_cache(maxsize=64)
def _schedule(tune: int) -> np.ndarray:
    """What each step of the warm-up adapts. It is kept: JAX takes 20 ms to make an array of a list."""
    if tune == 0:
        return np.zeros(0, int)
    adapted, window_ends = np.asarray(build_schedule(tune)).T
    return np.where(window_ends, _SLOW_END, adapted)


def longest_window(tune: int) -> int:
    """The most draws of one window of the warm-up, at the end of which the metric is learnt."""
    window_ends = np.flatnonzero(_stages(tune, 0, tune) == _SLOW_END)
    return int(np.diff(window_ends, prepend=0).max(initial=1))


@lru_cache(maxsize=64)
def compile_loop(graph: Graph, settings: LoopSettings, varies: tuple[bool, ...] = ()) -> _Loop:
    """The loop for one traced program; equal programs share it."""
    return _Loop(graph, settings, varies)


class _Loop:
    """Warm-up and sampling of a batch of chains."""

    def __init__(self, graph: Graph, settings: LoopSettings, varies: tuple[bool, ...]) -> None:
        self.graph = graph
        self.settings = settings
        self.kernel = blackjax.mcmc.nuts.build_kernel()
        self.adapt_step_size = dual_averaging_adaptation(settings.target_accept)
        self.adapt_metric = _metric(settings)
        self.step = jax.vmap(self._step, in_axes=(data_axes(varies), 0, 0, None))
        self.begin = jit(self._begin)
        self.advance = jit(self._advance)

    def _begin(self, states: HMCState, keys: jax.Array) -> _Batch:
        """Chains ``(chain, …)`` at their starts, with a unit metric and a unit step size."""
        count, dim = states.position.shape
        each = count // len(keys)

        def one(state: Any) -> _Chain:
            return _Chain(state, self.adapt_step_size[0](1.0), self.adapt_metric.init(dim))

        # Without weak types, the loop has one signature and is compiled once.
        chains = jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), jax.vmap(one)(states))
        return _Batch(chains, jax.vmap(lambda key: jax.random.split(key, each))(keys).ravel())

    def _advance(
        self,
        inputs: Inputs,
        chains: _Chain,
        keys: jax.Array,
        stages: jax.Array,
        first: ArrayLike,
        count: ArrayLike,
    ) -> tuple[_Chain, Record]:
        """Move every chain by ``count`` draws; draw t of a chain uses its key folded with t."""
        size = (CHUNK, len(keys))
        position, number = jnp.zeros((CHUNK, *chains.state.position.shape)), jnp.zeros(size)
        flag, whole = jnp.zeros(size, bool), jnp.zeros(size, int)
        records = Record(position, number, number, flag, number, whole, whole, number)

        def body(i: Any, carry: tuple[_Chain, Record]) -> tuple[_Chain, Record]:
            chains, records = carry
            step_keys = jax.vmap(lambda key: jax.random.fold_in(key, first + i))(keys)
            chains, record = self.step(inputs, chains, step_keys, stages[i])
            return chains, jax.tree.map(lambda all, one: all.at[i].set(one), records, record)

        return jax.lax.fori_loop(0, count, body, (chains, records))

    def _step(self, inputs: Inputs, chain: _Chain, key: jax.Array, stage: ArrayLike) -> tuple[_Chain, Record]:
        """One draw of one chain, and what the warm-up learns from it."""
        step_size = jnp.where(
            stage == _SAMPLE,
            jnp.exp(chain.step_size.log_step_size_avg),
            jnp.exp(chain.step_size.log_step_size),
        )
        state, info = self.kernel(
            key,
            chain.state,
            lambda z: self.graph(inputs, z).log_joint,
            step_size,
            chain.metric.inverse_mass_matrix,
            self.settings.max_tree_depth,
        )
        record = Record(
            state.position,
            state.logdensity,
            info.acceptance_rate,
            info.is_divergent,
            info.energy,
            info.num_trajectory_expansions,
            info.num_integration_steps,
            step_size,
        )
        return self._learn(chain._replace(state=state), info.acceptance_rate, stage), record

    def _learn(self, chain: _Chain, acceptance_rate: jax.Array, stage: ArrayLike) -> _Chain:
        """Adapt the step size always, the metric in slow windows, and neither while sampling."""
        begin_step_size, update_step_size, end_step_size = self.adapt_step_size

        def fast(chain: _Chain) -> _Chain:
            return chain._replace(step_size=update_step_size(chain.step_size, acceptance_rate))

        def slow(chain: _Chain) -> _Chain:
            state = chain.state
            metric = self.adapt_metric.update(chain.metric, state.position, state.logdensity_grad)
            return fast(chain)._replace(metric=metric)

        def slow_end(chain: _Chain) -> _Chain:
            chain = slow(chain)
            restart = begin_step_size(end_step_size(chain.step_size))
            return chain._replace(step_size=restart, metric=self.adapt_metric.final(chain.metric))

        branches = (fast, slow, slow_end, lambda chain: chain)
        return jax.lax.switch(stage, [_keep_types(branch) for branch in branches], chain)


def _metric(settings: LoopSettings) -> Any:
    """How the metric is learnt: from the covariance, or by the low-rank Fisher estimate of nutpie."""
    if settings.metric == "low_rank":
        return lookup_recipe("fisher_low_rank").build_core(buffer_size=settings.memory)
    return covariance_metric(dense=settings.metric == "dense")


def _keep_types(branch: Callable[[_Chain], _Chain]) -> Callable[[_Chain], _Chain]:
    """All branches of a switch must agree in dtypes, and Python numbers in a recipe's state do not."""

    def same(chain: _Chain) -> _Chain:
        return jax.tree.map(lambda new, old: jnp.asarray(new, jnp.asarray(old).dtype), branch(chain), chain)

    return same
