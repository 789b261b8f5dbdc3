"""From weighted draws of another density to equally weighted draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ppgen.findings import Finding
from ppgen.inference.diagnostics import Diagnostics, diagnose_draws
from ppgen.inference.method import Drawn, Request
from ppgen.inference.weights import Weights

__all__ = ["Proposals", "diagnose_resampled", "draw_from"]

# With fewer independent draws, a mean is off by 0.2 standard deviations about once in a thousand times.
_SMALLEST_ESS = 300


class Proposals(NamedTuple):
    """Draws from a density q other than the posterior.

    Attributes:
        positions: ``(n, dim)``.
        log_joint: log π there ``(n,)``.
        log_weights: log π − log q ``(n,)``.
    """

    positions: np.ndarray
    log_joint: np.ndarray
    log_weights: np.ndarray


@np.errstate(over="ignore")  # the fit of the Pareto shape overflows on weights that have a bound, harmlessly
def draw_from(
    proposals: Proposals, request: Request, *, resample: bool, seed: int, before: np.ndarray | None = None
) -> Drawn:
    """Draws ``(chain, draw)`` resampled by their smoothed weights; or the first ones, with weights.

    Args:
        proposals: at least as many as draws.
        request: how many chains and draws.
        resample: whether to return equally weighted draws.
        seed: seed of the resampling.
        before: ``(m,)`` the log weights of earlier proposals, by which these are judged as well.
    """
    shape = (request.chains, request.draws)
    size = request.chains * request.draws
    own = Weights(proposals.log_weights)
    weights = own if before is None else Weights(np.concatenate([before, proposals.log_weights]))
    chosen = own.resample(size, seed) if resample else np.arange(size)
    return Drawn(
        proposals.positions[chosen].reshape(*shape, -1),
        {"lp": proposals.log_joint[chosen].reshape(shape)},
        log_weights=np.zeros(shape) if resample else proposals.log_weights[chosen].reshape(shape),
        log_evidence=weights.log_evidence if weights.usable else None,
        khat=weights.khat,
        ess=min(weights.ess, float(size)) if resample else None,
    )


@np.errstate(over="ignore")
def diagnose_resampled(draws: Mapping[str, np.ndarray], drawn: Drawn, remedy: str) -> Diagnostics:
    """Judge weighted draws, or draws that were resampled by weights."""
    findings = drawn.findings
    if drawn.ess is not None and 100 <= drawn.ess < _SMALLEST_ESS:
        findings = (
            *findings,
            Finding(
                "number of draws",
                "warning",
                f"The weights leave only {drawn.ess:.0f} effective draws (wanted: {_SMALLEST_ESS}).",
                remedy,
                {"ess": drawn.ess, "threshold": _SMALLEST_ESS},
            ),
        )
    return diagnose_draws(
        draws,
        log_weights=drawn.log_weights,
        khat=drawn.khat,
        ess=drawn.ess,
        findings=findings,
        remedy=remedy,
    )
