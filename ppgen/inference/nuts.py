"""The No-U-Turn sampler, for any density, and for those of many data sets together.

Chains that run as one batch wait for the longest trajectory among them at every draw, but share the cost of
each operation. On eight schools (17 leapfrog steps per draw on average, heavy tails), with 128 data sets and
two cores, batches of 2, 8, 32 and 128 chains took 19.2, 17.6, 11.9 and 16.6 s for two chains a data set;
batches of 16, 32 and 64 took 7.0, 7.1 and 13.4 s for one. So a batch has 32 chains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.checks import check_choice, check_integer, check_number
from ppgen.errors import PpgenError
from ppgen.inference.batch import Batch, Batching, draw_or_error, one_by_one
from ppgen.inference.convergence import ess_bulk, ess_tail
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.diagnostics import Diagnostics, diagnose_chains, drifting_sites, scalars_of
from ppgen.inference.guides import GUIDES
from ppgen.inference.markov.chains import Chains, LoopSettings, Metric, Record, longest_window, metric_rows
from ppgen.inference.markov.checkpoint import Checkpoint, fingerprint
from ppgen.inference.markov.sampling import Sampling
from ppgen.inference.markov.space import Space, batch_space, own_space
from ppgen.inference.markov.starts import find_start, try_starts
from ppgen.inference.markov.stuck_chains import looking_points, restart_lost, was_lost
from ppgen.inference.method import Drawn, Request
from ppgen.inference.pointwise import constrain_latents
from ppgen.program.density import Density, float64
from ppgen.style.bar import ProgressBar

__all__ = ["NUTS"]

# A dense metric costs dim² a leapfrog step and needs a few draws per dimension to be estimated.
_LARGEST_DENSE_DIM = 100
_CHAINS_OF_A_BATCH = 32


@dataclass(frozen=True)
class NUTS:
    """The No-U-Turn sampler: ``ppgen.infer(..., method="nuts")``.

    Multinomial NUTS (Hoffman and Gelman 2014, arXiv:1111.4246; Betancourt 2017, arXiv:1701.02434) on
    BlackJAX's kernel, with Stan's windowed warm-up: the step size by dual averaging, the metric from the
    chain's own history. A chain that is lost early in the warm-up, in a region with almost no posterior mass
    by its own estimate, restarts from another point; ``Posterior.how`` says so.

    Attributes:
        target_accept: the acceptance rate that the step size is adapted to; nearer 1 means smaller
            steps and fewer divergences. At 0.9 there are several times fewer than at the usual 0.8, for a
            sixth less effective draws a gradient (docs/inference.md).
        max_tree_depth: a trajectory has at most ``2 ** max_tree_depth - 1`` leapfrog steps.
        metric: ``"dense"`` adapts a full covariance, ``"diagonal"`` its diagonal, ``"low_rank"`` a diagonal
            and ten directions by the Fisher divergence, as nutpie does; ``"auto"`` takes dense up
            to 100 dimensions where the warm-up is long enough to estimate it, then low rank, and
            diagonal where the warm-up is short.
        start: ``"uniform"`` starts on (-2, 2) in unconstrained space, ``"pathfinder"`` where Pathfinder
            leads from there.
        until_ess: keep drawing until the smallest bulk and tail effective sample size reach this.
        max_draws: the most draws per chain with ``until_ess``.
        guide: the name of a flow (``"nsf"``, ``"realnvp"``, ``"iaf"``) that is fitted first; the chains then
            move in its space, where the posterior is nearly a standard normal (NeuTra, arXiv:1903.03704).
        keep_warmup: keep the draws of the warm-up as well.
        checkpoint: a file in which all draws are saved regularly; a later call with the same
            program, data, options and seed resumes from it.
    """

    name: ClassVar[str] = "nuts"

    target_accept: float = 0.9
    max_tree_depth: int = 10
    metric: Literal["auto", "dense", "diagonal", "low_rank"] = "auto"
    start: Literal["uniform", "pathfinder"] = "uniform"
    guide: str | None = None
    until_ess: int | None = None
    max_draws: int = 50_000
    keep_warmup: bool = False
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        check_number("target_accept", self.target_accept, above=0.0, below=1.0, example=0.95)
        check_integer("max_tree_depth", self.max_tree_depth, most=20, example=10)
        check_choice("metric", self.metric, ("auto", "dense", "diagonal", "low_rank"))
        check_choice("start", self.start, ("uniform", "pathfinder"))
        if self.guide is not None:
            check_choice("guide", self.guide, GUIDES)
        if self.until_ess is not None:
            check_integer("until_ess", self.until_ess, example=1000)
        check_integer("max_draws", self.max_draws, example=50_000)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Warm the chains up, and draw.

        Raises:
            InferenceError: if no finite log density is found at any start.
            DataError: if an observation lies outside the support of its site.
            StorageError: if the checkpoint cannot be written, or is that of another run.
        """
        space = self._space(density, request, None)
        settings = self._loop_settings(density, request)
        run = fingerprint(
            space.graph.text, space.inputs, settings, request.tune, request.chains, request.seed
        )
        checkpoint = Checkpoint(self.checkpoint, run)
        with ProgressBar("NUTS", 0, show=request.progress, unit="draws") as bar, float64():
            sampling = Sampling(self._begin(space, settings, request), bar, checkpoint)
            sampling.expect(request.tune + request.draws)
            for steps in looking_points(request.tune):
                if sampling.chains.done <= steps:  # else a checkpoint is past it
                    sampling.until(steps)
                    restart_lost(sampling, partial(self._begin, space, settings, request, steps))
            sampling.until(request.tune + request.draws)
            while (missing := self._missing(space, sampling.draws(request.tune))) > 0:
                sampling.until(sampling.chains.done + missing)
        return self._drawn(space, sampling, request.tune)

    def batching(self, density: Density, request: Request) -> Batching:
        """Many data sets are one vectorised batch of chains, unless each needs something of its own first."""
        if self.guide is not None:
            return one_by_one("a flow is fitted to each first (guide=)")
        if self.until_ess is not None:
            return one_by_one("each has a length of its own (until_ess=)")
        if self.start == "pathfinder":
            return one_by_one("each starts with Pathfinder")
        size = max(1, _CHAINS_OF_A_BATCH // request.chains)
        metric = self._loop_settings(density, request).metric
        rows = max(density.graph.largest_matrix, metric_rows(metric, density.dim))
        how = f"{size} data sets at a time as one vectorised batch of chains, a thread a core."
        return Batching(size, concurrent_runs(rows, batch=_CHAINS_OF_A_BATCH), how)

    def draw_many(self, batch: Batch, requests: Sequence[Request]) -> list[Drawn | PpgenError]:
        """Warm all chains up together, and draw; where one got lost its data set is drawn from alone."""
        tune, chains = requests[0].tune, requests[0].chains
        settings = self._loop_settings(batch.densities[0], requests[0])
        with float64(), ProgressBar("NUTS", 0, show=False, unit="draws") as bar:
            space = batch_space(batch, chains)
            keys = jax.vmap(jax.random.split)(jnp.stack([jax.random.key(one.seed) for one in requests]))
            starts, found = try_starts(space, jax.vmap(jax.random.split)(keys[:, 0])[:, 0], chains)
            under_way = Chains(space, settings, tune=tune, starts=starts, keys=keys[:, 1])
            sampling = Sampling(under_way, bar, Checkpoint(None, ""))
            sampling.until(tune + requests[0].draws)
        records = sampling.draws(0).split(len(requests))
        started = [bool(points.all()) for points in np.split(found, len(requests))]
        return [
            self._in_program(space, record.part(tune))
            if started[i] and not was_lost(record, tune)
            else draw_or_error(self, batch.densities[i], requests[i])
            for i, record in enumerate(records)
        ]

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Resume the chains where they stopped."""
        space = self._space(density, request, drawn.state)
        with ProgressBar("NUTS", 0, show=request.progress, unit="draws") as bar, float64():
            chains = self._begin(space, self._loop_settings(density, request), request)
            chains.restore(drawn.state)
            sampling = Sampling(chains, bar, Checkpoint(None, ""))
            sampling.until(chains.done + request.draws)
        return self._drawn(space, sampling, 0)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the chains."""
        findings = drawn.findings
        return diagnose_chains(draws, drawn.stats, max_tree_depth=self.max_tree_depth, findings=findings)

    def _space(self, density: Density, request: Request, state: Mapping[str, np.ndarray] | None) -> Space:
        if self.guide is None:
            return own_space(density)
        from ppgen.inference.guides.neutra import guide_space  # flows take a second to import

        return guide_space(density, self.guide, request, state)

    def _begin(self, space: Space, settings: LoopSettings, request: Request, *again: int) -> Chains:
        """Chains at their starts; numbers ``again`` give other ones."""
        key = jax.random.key(request.seed)
        for number in again:
            key = jax.random.fold_in(key, number)
        start_key, chain_key = jax.random.split(key)
        starts = find_start(space, start_key, request.chains, self.start)
        return Chains(space, settings, tune=request.tune, starts=starts, keys=chain_key[None])

    def _loop_settings(self, density: Density, request: Request) -> LoopSettings:
        metric: Metric = "diagonal"
        if self.metric != "auto":
            metric = self.metric
        elif density.dim <= _LARGEST_DENSE_DIM and request.tune >= 5 * density.dim:
            metric = "dense"
        elif density.dim > _LARGEST_DENSE_DIM and request.tune >= 200:
            metric = "low_rank"
        memory = longest_window(request.tune) if metric == "low_rank" else 0
        return LoopSettings(self.target_accept, self.max_tree_depth, metric, memory)

    def _missing(self, space: Space, record: Record) -> int:
        """How many more draws per chain it seems to take until the effective sample sizes suffice."""
        count = record.lp.shape[1]
        if self.until_ess is None or count >= self.max_draws:
            return 0
        latent = constrain_latents(space.density, space.to_program(record.position))
        scalars = [values for _, values in scalars_of({**latent, "lp": record.lp})]
        smallest = min(min(ess_bulk(values), ess_tail(values)) for values in scalars)
        if smallest >= self.until_ess:
            return 0
        # At most twice as many: early estimates are noisy. Ten per cent more: or it would end just below.
        factor = min(2.0, 1.1 * self.until_ess / smallest) if smallest > 0 else 2.0
        return min(int(np.ceil(count * factor)), self.max_draws) - count

    def _drawn(self, space: Space, sampling: Sampling, tune: int) -> Drawn:
        warmup = self._in_program(space, sampling.draws(0, tune)) if self.keep_warmup and tune else None
        return replace(
            self._in_program(space, sampling.draws(tune)),
            how=" ".join(filter(None, (space.how, _tell_restarts(sampling.chains.restarts)))),
            warmup=warmup,
            state=sampling.chains.save() | dict(space.state),
        )

    def _in_program(self, space: Space, record: Record) -> Drawn:
        """What was drawn, in the program's unconstrained space."""
        stats = record._asdict()
        positions = space.to_program(stats.pop("position"))
        stats["reached_max_treedepth"] = record.tree_depth >= self.max_tree_depth
        if space.state:  # the chains saw another log density than the program's
            stats["lp"] = space.log_joint(positions)
        findings = tuple(drifting_sites(space.density, positions))
        return Drawn(positions, stats, findings=findings, cites=("nuts", "blackjax", *space.cites))


def _tell_restarts(restarts: np.ndarray) -> str:
    if not restarts.any():
        return ""
    chains = ", ".join(str(chain) for chain in np.flatnonzero(restarts))
    return (
        f"Restarted during the warm-up, lost in a region that by a rough count held less than a "
        f"20,000th of what the others had found: {'chains' if ',' in chains else 'chain'} {chains}."
    )
