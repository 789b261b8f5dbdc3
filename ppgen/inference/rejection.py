"""Rejection sampling from the prior: exact, independent draws, for weakly informative data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from ppgen.checks import check_integer, check_number
from ppgen.errors import InferenceError, InvalidArgument
from ppgen.inference.diagnostics import Diagnostics, diagnose_draws
from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import climb, site_of, starting_points
from ppgen.inference.weights import LogEvidence
from ppgen.program.density import Density
from ppgen.style.bar import ProgressBar

__all__ = ["Rejection", "RejectionFit"]

_CLIMBS = 8
_BATCH = 1 << 15
_SLACK = 1e-6  # of a bound that was found: climbs stop a little below the maximum


class RejectionFit(NamedTuple):
    """The cost of the draws.

    Attributes:
        log_bound: the bound of the log likelihood, in nats.
        proposals: how many draws from the prior were proposed.
        acceptance_rate: the share accepted: the mean likelihood divided by its bound.
    """

    log_bound: float
    proposals: int
    acceptance_rate: float


@dataclass(frozen=True)
class Rejection:
    r"""Options of ``ppgen.infer(..., method="rejection")``.

    A draw z of the prior is accepted with probability :math:`L(z) / M`, where L is the likelihood and
    M a bound of it. Accepted draws are exact, independent draws from the posterior, and the evidence is
    M times the acceptance rate. All priors must be proper.

    Attributes:
        log_bound: log M, in nats. When not given it is found: the largest log likelihood that climbs
            from several points reach. A draw above it raises it, and restarts the sampling.
        max_proposals: the most draws from the prior to propose.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> import ppgen
        >>> def program(k):
        ...     p = numpyro.sample("p", dist.Beta(1.0, 1.0))
        ...     numpyro.sample("k", dist.Binomial(10, p), obs=k)
        >>> post = ppgen.infer(program, {"k": 7}, method="rejection", progress=False)
        >>> print(f"{post.drawn.fit.acceptance_rate:.2f}")        # exact: (1 / 11) / 0.267 = 0.34
        0.34
    """

    name: ClassVar[str] = "rejection"

    log_bound: float | None = None
    max_proposals: int = 10_000_000

    def __post_init__(self) -> None:
        if self.log_bound is not None:
            check_number("log_bound", self.log_bound)
        check_integer("max_proposals", self.max_proposals, example=10**7)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Propose from the prior until enough draws are accepted.

        Raises:
            UnsupportedProgram: if a prior is improper.
            InvalidArgument: if the given bound is below the log likelihood of a draw.
            InferenceError: if the likelihood has no bound, or so few draws are accepted that it would
                not end.
        """
        density.draw_prior(request.seed, 1)  # reject an improper prior before optimising
        bound = _find_bound(density, request.seed) if self.log_bound is None else self.log_bound
        raised = 0
        with ProgressBar(
            "rejection", request.chains * request.draws, show=request.progress, unit="draws"
        ) as bar:
            while True:
                found = self._accept(density, request, bound, bar)
                if isinstance(found, Drawn):
                    break
                if self.log_bound is not None:
                    raise InvalidArgument(
                        "log_bound",
                        got=f"{bound:.6g}, and a draw of the prior with the log likelihood {found:.6g}",
                        expected="an upper bound of the log likelihood",
                        fix="Leave it out to have it found, or write a larger one.",
                    )
                bound, raised = found + _SLACK, raised + 1
        if not raised:
            return found
        how = f"{found.how} The bound was found too low {raised} times, and the sampling was restarted."
        return replace(found, how=how)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Exact draws: only too few of them could be wrong."""
        return diagnose_draws(draws, findings=drawn.findings)

    def _accept(self, density: Density, request: Request, bound: float, bar: ProgressBar) -> Drawn | float:
        """The draws, or a log likelihood above the bound."""
        wanted = request.chains * request.draws
        rng = np.random.default_rng(request.seed)
        kept: list[np.ndarray] = []
        lps: list[np.ndarray] = []
        accepted = proposals = 0
        while accepted < wanted:
            if proposals >= self.max_proposals:
                raise _too_few(accepted, proposals, wanted)
            size = min(_batch_size(accepted, proposals, wanted), self.max_proposals - proposals)
            positions = density.draw_prior(int(rng.integers(2**31)), size)
            found = log_densities(density, positions)
            log_likelihood = found.log_ratio
            if log_likelihood.max() > bound:
                return float(log_likelihood.max())
            taken = np.log(rng.uniform(size=size)) < log_likelihood - bound
            kept.append(positions[taken])
            lps.append(found.log_joint[taken])
            accepted, proposals = accepted + int(taken.sum()), proposals + size
            bar.advance(int(min(taken.sum(), wanted)))
        rate = accepted / proposals
        shape = (request.chains, request.draws)
        return Drawn(
            np.concatenate(kept)[:wanted].reshape(*shape, density.dim),
            {"lp": np.concatenate(lps)[:wanted].reshape(shape)},
            log_evidence=LogEvidence(bound + math.log(rate), math.sqrt((1 - rate) / accepted)),
            how=f"{rate:.3%} of {proposals} draws of the prior were accepted.",
            fit=RejectionFit(bound, proposals, rate),
            cites=("rejection",),
        )


def _find_bound(density: Density, seed: int) -> float:
    """The largest log likelihood at the ends of several climbs, from points near 0 and from the prior."""
    starts = [*starting_points(density, seed, _CLIMBS // 2), *density.draw_prior(seed, _CLIMBS // 2)]
    paths = [climb(density, start, "likelihood") for start in starts]
    ends = [path[-1] for path in paths if path]
    best = max(ends, key=lambda end: end.value)
    # Without a bound the climb ends where it ran out of steps, or of numbers.
    if np.abs(best.gradient * np.maximum(1.0, np.abs(best.position))).max() > 1e-2:
        raise InferenceError(
            "log_bound",
            got=f"a log likelihood that still rises at {best.value:.6g}, along site "
            f"{site_of(density, best.gradient)!r}",
            expected="a likelihood with an upper bound",
            fix='Write log_bound=..., if you know one; or take method="smc" or "nuts".',
        )
    return best.value + _SLACK


def _batch_size(accepted: int, proposals: int, wanted: int) -> int:
    """As many as the acceptance rate so far asks for."""
    if not accepted:
        return min(max(_BATCH, proposals), 1 << 20)
    missing = (wanted - accepted) * proposals / accepted
    return int(min(1.1 * missing + 1000, 1 << 20))


def _too_few(accepted: int, proposals: int, wanted: int) -> InferenceError:
    rate = f"about one in {proposals / accepted:.3g}" if accepted else "none"
    needed = f"; {wanted} draws need some {wanted * proposals / accepted:.2g}" if accepted else ""
    return InferenceError(
        "max_proposals",
        got=f"{accepted} accepted out of {proposals} draws of the prior ({rate}){needed}",
        expected=f"{wanted} accepted draws",
        fix='The data say too much for rejection from the prior: take method="smc" or "nuts".',
    )
