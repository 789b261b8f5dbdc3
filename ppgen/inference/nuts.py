"""The No-U-Turn sampler, for any density."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import jax
import numpy as np

from ppgen.errors import InvalidArgument, UnknownName
from ppgen.inference.arviz_compat import ess_bulk, ess_tail
from ppgen.inference.chains import CHUNK, Chains, Metric, Record, Rules, longest_window
from ppgen.inference.checkpoint import Checkpoint, fingerprint
from ppgen.inference.diagnostics import Diagnostics, diagnose_chains, scalars_of
from ppgen.inference.method import Drawn, Request
from ppgen.inference.pointwise import constrain_draws
from ppgen.inference.progress import SamplingProgress
from ppgen.inference.starts import find_start
from ppgen.program.density import Density, float64

__all__ = ["NUTS"]

# A dense metric costs dim² a leapfrog step and needs a few draws a dimension to be estimated.
_LARGEST_DENSE_DIM = 100
_ROUND_SECONDS = 2.0  # between two looks at the progress bar and the checkpoint, about


@dataclass(frozen=True)
class NUTS:
    """The No-U-Turn sampler: ``ppgen.infer(..., method="nuts")``.

    Multinomial NUTS (Hoffman and Gelman 2014, arXiv:1111.4246; Betancourt 2017, arXiv:1701.02434) on
    BlackJAX's kernel, with Stan's windowed warm-up: the step size by dual averaging, the metric from the
    chain's own history.

    Attributes:
        target_accept: the acceptance rate that the step size is adapted to; nearer 1 means smaller
            steps and fewer divergences.
        max_tree_depth: a trajectory has at most ``2 ** max_tree_depth - 1`` leapfrog steps.
        metric: ``"dense"`` adapts a full covariance, ``"diagonal"`` its diagonal, ``"low_rank"`` a diagonal
            and ten directions by the Fisher divergence, as nutpie does; ``"auto"`` takes dense up
            to 100 dimensions where the warm-up is long enough to estimate it, then low rank, and
            diagonal where the warm-up is short.
        start: ``"uniform"`` starts on (-2, 2) in unconstrained space, ``"pathfinder"`` where Pathfinder
            leads from there.
        until_ess: keep drawing until the smallest bulk and tail effective sample size reach this.
        max_draws: but no more draws a chain than this.
        keep_warmup: keep the draws of the warm-up as well.
        checkpoint: a file that is kept up to date with all that was drawn; a later call with the same
            program, data, options and seed goes on from it.
    """

    name: ClassVar[str] = "nuts"

    target_accept: float = 0.8
    max_tree_depth: int = 10
    metric: Literal["auto", "dense", "diagonal", "low_rank"] = "auto"
    start: Literal["uniform", "pathfinder"] = "uniform"
    until_ess: int | None = None
    max_draws: int = 50_000
    keep_warmup: bool = False
    checkpoint: str | Path | None = None

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
        if self.metric not in ("auto", "dense", "diagonal", "low_rank"):
            raise UnknownName("metric", self.metric, ("auto", "dense", "diagonal", "low_rank"))
        if self.start not in ("uniform", "pathfinder"):
            raise UnknownName("start", self.start, ("uniform", "pathfinder"))
        for name, value in (("until_ess", self.until_ess), ("max_draws", self.max_draws)):
            if value is not None and value < 1:
                raise InvalidArgument(
                    name, got=str(value), expected="a positive number", fix=f"Write {name}=1000."
                )

    def draw(self, density: Density, request: Request) -> Drawn:
        """Warm the chains up, and draw.

        Raises:
            InferenceError: if no finite log density is found at any start.
            DataError: if an observation lies outside the support of its site.
            StorageError: if the checkpoint cannot be written, or is that of another run.
        """
        rules = self._rules(density, request)
        run = fingerprint(
            density.graph.text, density.inputs, rules, request[1:4], self.start
        )  # tune, chains, seed
        checkpoint = Checkpoint(self.checkpoint, run)
        with SamplingProgress("NUTS", 0, show=request.progress) as bar, float64():
            drawing = _Drawing(self._begin(density, request), bar, checkpoint)
            drawing.until(request.tune + request.draws)
            while (missing := self._missing(density, drawing.draws(request.tune))) > 0:
                drawing.until(drawing.chains.done + missing)
        return self._drawn(drawing, request.tune)

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Go on with the chains where they stopped."""
        with SamplingProgress("NUTS", 0, show=request.progress) as bar, float64():
            chains = self._begin(density, request)
            chains.restore(drawn.state)
            drawing = _Drawing(chains, bar, Checkpoint(None, ""))
            drawing.until(chains.done + request.draws)
        return self._drawn(drawing, 0)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the chains."""
        return diagnose_chains(
            draws, drawn.stats, max_tree_depth=self.max_tree_depth, findings=drawn.findings
        )

    def _begin(self, density: Density, request: Request) -> Chains:
        start_key, chain_key = jax.random.split(jax.random.key(request.seed))
        starts = find_start(density, start_key, request.chains, self.start)
        rules = self._rules(density, request)
        return Chains(density.graph, density.inputs, rules, tune=request.tune, starts=starts, key=chain_key)

    def _rules(self, density: Density, request: Request) -> Rules:
        metric: Metric = "diagonal"
        if self.metric != "auto":
            metric = self.metric
        elif density.dim <= _LARGEST_DENSE_DIM and request.tune >= 5 * density.dim:
            metric = "dense"
        elif density.dim > _LARGEST_DENSE_DIM and request.tune >= 200:
            metric = "low_rank"
        memory = longest_window(request.tune) if metric == "low_rank" else 0
        return Rules(self.target_accept, self.max_tree_depth, metric, memory)

    def _missing(self, density: Density, record: Record) -> int:
        """How many more draws a chain it seems to take until the effective sample sizes suffice."""
        count = record.lp.shape[1]
        if self.until_ess is None or count >= self.max_draws:
            return 0
        sites = constrain_draws(density, record.position)
        latent = {part.name: sites[part.name] for part in density.latents}
        scalars = [values for _, values in scalars_of({**latent, "lp": record.lp})]
        smallest = min(min(ess_bulk(values), ess_tail(values)) for values in scalars)
        if smallest >= self.until_ess:
            return 0
        # At most twice as many: early estimates are noisy. Ten per cent more: or it would end just below.
        factor = min(2.0, 1.1 * self.until_ess / smallest) if smallest > 0 else 2.0
        return min(int(np.ceil(count * factor)), self.max_draws) - count

    def _drawn(self, drawing: _Drawing, tune: int) -> Drawn:
        stats = drawing.draws(tune)._asdict()
        drawn = Drawn(stats.pop("position"), stats, state=drawing.chains.save(), cites=("nuts", "blackjax"))
        if not (self.keep_warmup and tune):
            return drawn
        warmup = drawing.draws(0, tune)._asdict()
        return replace(drawn, warmup=Drawn(warmup.pop("position"), warmup))


class _Drawing:
    """Drives the chains round by round, and keeps what they draw."""

    def __init__(self, chains: Chains, bar: SamplingProgress, checkpoint: Checkpoint) -> None:
        self.chains = chains
        self._bar = bar
        self._checkpoint = checkpoint
        self._records: list[Record] = []
        saved = checkpoint.load()
        if saved is not None:
            self._records.append(Record(*(saved[f"record_{name}"] for name in Record._fields)))
            chains.restore(saved)

    def until(self, steps: int) -> None:
        """Draw until each chain has made so many steps, warm-up included."""
        self._bar.expect((steps - self.chains.done) * self.chains.number)
        count = 16
        while self.chains.done < steps:
            begin = time.perf_counter()
            record = self.chains.advance(min(count, steps - self.chains.done))
            self._records.append(record)
            self._bar.advance(record.lp.size, int(record.diverging.sum()))
            if self._checkpoint.is_due():
                self._save()
            pace = _ROUND_SECONDS / max(time.perf_counter() - begin, 1e-3)
            count = int(np.clip(count * min(2.0, pace), 1, CHUNK))
        self._save()

    def draws(self, first: int, last: int | None = None) -> Record:
        """The draws from one step to another, ``(chain, draw, …)``."""
        self._records = [Record(*(np.concatenate(parts, 1) for parts in zip(*self._records, strict=True)))]
        return Record(*(values[:, first:last] for values in self._records[0]))

    def _save(self) -> None:
        records = {f"record_{name}": values for name, values in self.draws(0)._asdict().items()}
        self._checkpoint.save(self.chains.save() | records)
