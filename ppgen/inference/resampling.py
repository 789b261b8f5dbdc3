"""From weighted draws of another density to draws that all count alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ppgen.findings import Finding
from ppgen.inference.diagnostics import Diagnostics, diagnose_draws
from ppgen.inference.method import Drawn, Request
from ppgen.inference.weights import Weights

__all__ = ["diagnose_resampled", "resampled", "weighted"]

# Fewer independent draws than this put a mean off by 0.2 standard deviations once in a thousand times or so.
_SMALLEST_ESS = 300


@np.errstate(over="ignore")  # the fit of the Pareto shape overflows on weights that have a bound, harmlessly
def resampled(
    request: Request,
    positions: np.ndarray,
    log_joint: np.ndarray,
    log_weights: np.ndarray,
    *,
    all_log_weights: np.ndarray | None = None,
    seed: int,
) -> Drawn:
    """Draws ``(chain, draw)`` out of ``positions (n, dim)``, in proportion to their smoothed weights.

    Args:
        request: how many chains and draws.
        positions, log_joint, log_weights: the proposals, with log π and log π − log q, each ``(n, …)``.
        all_log_weights: the weights of all proposals so far, if there have been others before these.
        seed: seed of the resampling.
    """
    shape = (request.chains, request.draws)
    chosen = Weights(log_weights).resample(int(np.prod(shape)), seed)
    every = Weights(log_weights if all_log_weights is None else all_log_weights)
    return Drawn(
        positions[chosen].reshape(*shape, -1),
        {"lp": log_joint[chosen].reshape(shape)},
        log_weights=np.zeros(shape),
        log_evidence=every.log_evidence if every.usable else None,
        khat=every.khat,
        ess=min(every.ess, float(np.prod(shape))),
    )


@np.errstate(over="ignore")
def weighted(
    request: Request,
    positions: np.ndarray,
    log_joint: np.ndarray,
    log_weights: np.ndarray,
    *,
    all_log_weights: np.ndarray | None = None,
) -> Drawn:
    """The first of ``positions (n, dim)`` as they are, with their weights; arguments as :func:`resampled`."""
    shape = (request.chains, request.draws)
    size = int(np.prod(shape))
    every = Weights(log_weights if all_log_weights is None else all_log_weights)
    return Drawn(
        positions[:size].reshape(*shape, -1),
        {"lp": log_joint[:size].reshape(shape)},
        log_weights=log_weights[:size].reshape(shape),
        log_evidence=every.log_evidence if every.usable else None,
        khat=every.khat,
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
