"""The No-U-Turn sampler, on BlackJAX's kernel, for any density.

Warm-up and sampling are one compiled loop with a single call to the kernel: compilation time grows
with the number of places where the density is inlined, and this has one. Chains that share a core
run as one vectorised batch; batches run in threads, one a core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.mass_matrix import mass_matrix_adaptation
from blackjax.adaptation.staged_adaptation import build_schedule
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jax.typing import ArrayLike

from ppgen.errors import DataError, InferenceError, InvalidArgument, UnknownName
from ppgen.inference.diagnostics import Diagnostics, diagnose_chains
from ppgen.inference.method import Drawn, Request
from ppgen.inference.progress import SamplingProgress
from ppgen.program.density import Density, float64
from ppgen.program.graph import Graph, Inputs

__all__ = ["NUTS", "sample_nuts"]

# A dense metric costs dim² a leapfrog step and needs a few draws a dimension to be estimated.
_LARGEST_DENSE_DIM = 100
_CHUNK = 256  # draws between two looks at the progress bar, at most
_START_TRIES = 100


@dataclass(frozen=True)
class NUTS:
    """Options of ``ppgen.infer(..., method="nuts")``.

    Attributes:
        target_accept: the acceptance rate that the step size is adapted to; nearer 1 means smaller
            steps and fewer divergences.
        max_tree_depth: a trajectory has at most ``2 ** max_tree_depth - 1`` leapfrog steps.
        metric: ``"dense"`` adapts a full covariance, ``"diagonal"`` its diagonal; ``"auto"`` takes
            dense up to 100 dimensions where the warm-up is long enough to estimate it.
    """

    name: ClassVar[str] = "nuts"

    target_accept: float = 0.8
    max_tree_depth: int = 10
    metric: Literal["auto", "dense", "diagonal"] = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.target_accept < 1:
            raise InvalidArgument(
                "target_accept",
                got=str(self.target_accept),
                expected="a rate between 0 and 1",
                fix="Write target_accept=0.9 for smaller steps than the default 0.8.",
            )
        if not 1 <= self.max_tree_depth <= 20:
            raise InvalidArgument(
                "max_tree_depth",
                got=str(self.max_tree_depth),
                expected="an integer from 1 to 20",
                fix="Write max_tree_depth=12 to allow 4095 leapfrog steps a draw.",
            )
        if self.metric not in ("auto", "dense", "diagonal"):
            raise UnknownName("metric", self.metric, ("auto", "dense", "diagonal"))

    def draw(self, density: Density, request: Request) -> Drawn:
        """Draw with the No-U-Turn sampler; see :func:`sample_nuts`."""
        total = request.chains * (request.tune + request.draws)
        with SamplingProgress("NUTS", total, show=request.progress) as bar:
            return sample_nuts(density, self, request, bar)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the chains."""
        return diagnose_chains(
            draws, drawn.stats, max_tree_depth=self.max_tree_depth, findings=drawn.findings
        )


class _Chain(NamedTuple):
    """Where one chain is, and what it has learnt about its target."""

    state: Any  # blackjax's HMCState: position, log density, gradient
    step_size: Any
    metric: Any


class _Record(NamedTuple):
    """What is kept of one draw, or of many: JAX arrays while sampling, NumPy arrays after."""

    position: Any
    lp: Any
    acceptance_rate: Any
    diverging: Any
    energy: Any
    tree_depth: Any
    n_steps: Any
    step_size: Any


class _Group(NamedTuple):
    """Chains that run as one batch, and a random key for each."""

    chains: _Chain
    keys: jax.Array


def sample_nuts(density: Density, options: NUTS, request: Request, progress: SamplingProgress) -> Drawn:
    """Draw from a density with the No-U-Turn sampler.

    Multinomial NUTS (Hoffman and Gelman 2014, arXiv:1111.4246; Betancourt 2017, arXiv:1701.02434) with
    Stan's windowed warm-up: the step size by dual averaging, the metric from the chain's own history.

    Args:
        density: the target.
        options: the sampler's options.
        request: how many draws, chains and warm-up steps, and the seed.
        progress: told how many draws are done.

    Raises:
        InferenceError: if no finite log density is found at any start.
        DataError: if an observation lies outside the support of its site.
    """
    draws, tune, chains = request.draws, request.tune, request.chains
    with float64():
        start_key, *chain_keys = jax.random.split(jax.random.key(request.seed), chains + 1)
        start = _find_start(density, start_key, chains)
        sampler = _compile(density.graph, _settings(options, density.dim, tune))
        schedule = np.concatenate([_schedule(tune), np.full(draws, _SAMPLE)])
        groups = [
            _Group(
                jax.tree.map(lambda leaf, rows=rows: leaf[rows], sampler.begin(start)),
                jnp.stack(chain_keys)[rows],
            )
            for rows in np.split(np.arange(chains), _batches(chains))
        ]
        sampler.compile(density.inputs, groups[0])

        def run(group: _Group) -> _Record:
            with float64():  # the setting is a thread's own
                return _run(sampler, density.inputs, group, schedule, tune, progress)

        with ThreadPoolExecutor(len(groups)) as pool:
            records = list(pool.map(run, groups))
    stats = _Record(*(np.concatenate(parts) for parts in zip(*records, strict=True)))._asdict()
    return Drawn(stats.pop("position"), stats, cites=("nuts", "blackjax"))


def _settings(options: NUTS, dim: int, tune: int) -> _Settings:
    dense = options.metric == "dense" or (
        options.metric == "auto" and dim <= _LARGEST_DENSE_DIM and tune >= 5 * dim
    )
    return _Settings(options.target_accept, options.max_tree_depth, dense)


def _batches(chains: int) -> int:
    """How many equal batches of chains run side by side: at most one a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(batches for batches in range(1, cores + 1) if chains % batches == 0)


# -- the schedule of the warm-up -----------------------------------------------------------------------

_FAST, _SLOW, _SLOW_END, _SAMPLE = range(4)


def _schedule(tune: int) -> np.ndarray:
    """Stan's windows: what each warm-up step adapts."""
    if tune == 0:
        return np.zeros(0, dtype=int)
    stages, window_ends = np.asarray(build_schedule(tune)).T
    return np.where(window_ends, _SLOW_END, stages)


# -- where to start ------------------------------------------------------------------------------------


def _find_start(density: Density, key: jax.Array, chains: int) -> Any:
    """A point with finite log density and gradient for each chain.

    Points are uniform on (-2, 2) in unconstrained space, as in Stan; later tries draw nearer to 0.
    """
    evaluate = _compile_start(density.graph)
    positions = jnp.zeros((chains, density.dim))
    found = np.zeros(chains, dtype=bool)
    for attempt, subkey in enumerate(jax.random.split(key, _START_TRIES)):
        radius = 2.0 * (1 - attempt / _START_TRIES)
        fresh = jax.random.uniform(subkey, positions.shape, positions.dtype, -radius, radius)
        positions = jnp.where(found[:, None], positions, fresh)
        log_prob, gradient = evaluate(density.inputs, positions)
        found = np.isfinite(log_prob) & np.isfinite(gradient).all(axis=1)
        if found.all():
            return blackjax.mcmc.hmc.HMCState(positions, log_prob, gradient)
    raise _no_start(density, positions[int(np.argmin(found))])


@lru_cache(maxsize=64)
def _compile_start(graph: Graph) -> Callable[..., Any]:
    def log_prob_and_gradient(inputs: Inputs, z: jax.Array) -> Any:
        return jax.value_and_grad(lambda z: graph(inputs, z).log_joint)(z)

    return jax.jit(jax.vmap(log_prob_and_gradient, in_axes=(None, 0)))


def _no_start(density: Density, z: jax.Array) -> InferenceError | DataError:
    """Name the sites that keep the log density from being finite."""
    point = density.evaluate(z)
    for name, possible in point.in_support.items():
        if not possible:
            return DataError(
                f"site {name!r}",
                got="observations outside the support of its distribution",
                expected="values that the distribution can produce",
                fix="Check the data, or the distribution, of this site.",
            )
    by_site = point.log_prior | point.log_likelihood
    bad = [name for name, value in by_site.items() if not np.isfinite(value).all()]
    return InferenceError(
        "program",
        got=f"no finite log density and gradient at any of {_START_TRIES} starts"
        + (f"; not finite at: {', '.join(bad)}" if bad else ""),
        expected="a finite log density near 0 in unconstrained space",
        fix="Check these sites for overflow, logs of 0 and priors that exclude the data; rescale the data "
        "or the parameters to the order of 1.",
    )


# -- the compiled loop ---------------------------------------------------------------------------------


class _Settings(NamedTuple):
    target_accept: float
    max_tree_depth: int
    dense: bool


@lru_cache(maxsize=64)
def _compile(graph: Graph, settings: _Settings) -> _Sampler:
    """The loop for one traced program; equal programs share it."""
    return _Sampler(graph, settings)


class _Sampler:
    """Warm-up and sampling of a batch of chains, as one compiled loop."""

    def __init__(self, graph: Graph, settings: _Settings) -> None:
        self.graph = graph
        self.settings = settings
        self.kernel = blackjax.mcmc.nuts.build_kernel()
        self.adapt_step_size = dual_averaging_adaptation(settings.target_accept)
        self.adapt_metric = mass_matrix_adaptation(not settings.dense)
        self.advance = jax.jit(self._advance)

    def begin(self, states: Any) -> _Chain:
        """Chains ``(chain, …)`` at their starts, with a unit metric and a unit step size."""
        dim = states.position.shape[1]

        def one(state: Any) -> _Chain:
            return _Chain(state, self.adapt_step_size[0](1.0), self.adapt_metric[0](dim))

        # Without weak types, the loop has one signature and is compiled once.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), jax.vmap(one)(states))

    def compile(self, inputs: Inputs, group: _Group) -> None:
        """Compile before threads start: two of them would each compile the same loop."""
        self.advance(inputs, group.chains, group.keys, jnp.zeros(_CHUNK, int), 0, 0)

    def _advance(
        self,
        inputs: Inputs,
        chains: _Chain,
        keys: jax.Array,
        stages: jax.Array,
        first: ArrayLike,
        count: ArrayLike,
    ) -> tuple[_Chain, _Record]:
        """Move every chain by ``count`` draws; draw t of a chain uses its key folded with t."""
        one_chain = jax.tree.map(lambda x: x[0], chains)
        empty = jax.eval_shape(self._step, inputs, one_chain, keys[0], _SAMPLE)[1]
        records = jax.tree.map(lambda x: jnp.zeros((_CHUNK, len(keys), *x.shape), x.dtype), empty)

        def body(i: Any, carry: tuple[_Chain, _Record]) -> tuple[_Chain, _Record]:
            chains, records = carry
            step_keys = jax.vmap(lambda key: jax.random.fold_in(key, first + i))(keys)
            chains, record = jax.vmap(self._step, in_axes=(None, 0, 0, None))(
                inputs, chains, step_keys, stages[i]
            )
            return chains, jax.tree.map(lambda all, one: all.at[i].set(one), records, record)

        return jax.lax.fori_loop(0, count, body, (chains, records))

    def _step(
        self, inputs: Inputs, chain: _Chain, key: jax.Array, stage: ArrayLike
    ) -> tuple[_Chain, _Record]:
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
        record = _Record(
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
        _, update_metric, end_metric = self.adapt_metric

        def fast(chain: _Chain) -> _Chain:
            return chain._replace(step_size=update_step_size(chain.step_size, acceptance_rate))

        def slow(chain: _Chain) -> _Chain:
            return fast(chain)._replace(metric=update_metric(chain.metric, chain.state.position))

        def slow_end(chain: _Chain) -> _Chain:
            chain = slow(chain)
            restart = begin_step_size(end_step_size(chain.step_size))
            return chain._replace(step_size=restart, metric=end_metric(chain.metric))

        return jax.lax.switch(stage, (fast, slow, slow_end, lambda chain: chain), chain)


def _run(
    sampler: _Sampler,
    inputs: Inputs,
    group: _Group,
    schedule: np.ndarray,
    tune: int,
    progress: SamplingProgress,
) -> _Record:
    """Drive the compiled loop chunk by chunk; keep what comes after the warm-up."""
    chains, kept = group.chains, []
    for first in range(0, len(schedule), _CHUNK):
        stages = jnp.asarray(np.resize(schedule[first : first + _CHUNK], _CHUNK))
        count = min(_CHUNK, len(schedule) - first)
        chains, chunk = sampler.advance(inputs, chains, group.keys, stages, first, count)
        warm_up = min(max(0, tune - first), count)
        kept.append(_Record(*(np.asarray(values)[warm_up:count] for values in chunk)))
        progress.advance(count * len(group.keys), int(kept[-1].diverging.sum()))
    # chunks (draw, chain, …) to (chain, draw, …)
    return _Record(*(np.concatenate(values).swapaxes(0, 1) for values in zip(*kept, strict=True)))
