r"""Importance sampling that moves its draws to where they are wanted: moment matching.

Where the posterior without one observation lies too far from the posterior for weights to bridge, the
draws are shifted, scaled and rotated until their moments are the weighted ones. The move is affine, so
that its Jacobian is a constant, and the weights of moved draws are known exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from ppgen.inference.weights import smooth_rows

__all__ = ["Matched", "match_moments"]

_MOST_MOVES = 30
_FINITE_VARIANCE = 0.5  # with a smaller Pareto shape the weights have a variance

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From positions ``(draws, dim)`` to the log joint and the observation's log density, ``(draws,)`` each."""


class Matched(NamedTuple):
    """The log density of the observation when it is left out, the Pareto shape behind it, and the moves."""

    elpd: float
    khat: float
    moves: int


class _Moved(NamedTuple):
    """Draws after an affine move ``u = A z + b``, with their smoothed log weights."""

    matrix: np.ndarray
    shift: np.ndarray
    positions: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    khat: float


def match_moments(evaluate: Evaluate, positions: np.ndarray, *, efficiency: float) -> Matched:
    r"""Estimate :math:`\log p(y_i \mid y_{-i})` by moving posterior draws towards the posterior without it.

    Three moves are tried in turn: to the weighted mean, to the weighted marginal variances, to the weighted
    covariance; each is kept only if it lowers the Pareto shape of the moved draws. After each, half of the
    draws are moved and half are not; the estimate comes from that mixture. Moves end when the mixture's own
    weights have a finite variance, which is a little longer than in the paper, or when none helps.

    Args:
        evaluate: the log densities of the program.
        positions: ``(draws, dim)`` posterior draws, in unconstrained space, that all count alike.
        efficiency: how many independent draws each of them is worth.

    References:
        Paananen, Piironen, Bürkner and Vehtari (2021), *Implicitly adaptive importance sampling*,
        arXiv:1906.08850, algorithms 1 and 2.

    Example:
        >>> rng = np.random.default_rng(0)     # z ~ N(0, 1), y ~ N(z, 1) at 6: exact is log N(6; 0, √2)
        >>> log_p = lambda z: -((z[:, 0] - 3) ** 2) / (2 * 0.5)
        >>> log_y = lambda z: -((z[:, 0] - 6) ** 2) / 2 - 0.5 * np.log(2 * np.pi)
        >>> draws = 3 + np.sqrt(0.5) * rng.normal(size=(4000, 1))
        >>> matched = match_moments(lambda z: (log_p(z), log_y(z)), draws, efficiency=1.0)
        >>> round(matched.elpd), matched.khat < 0.7
        (-10, True)
    """
    dim = positions.shape[1]
    start, _ = evaluate(positions)
    current = _move(np.eye(dim), np.zeros(dim), positions, start, evaluate, efficiency)
    best = Matched(_elpd(current.log_weights, current.log_likelihood), current.khat, 0)
    for moves in range(1, _MOST_MOVES + 1):
        if best.khat <= _FINITE_VARIANCE:
            break
        closer = _one_move(current, positions, start, evaluate, efficiency)
        if closer is None:
            break
        current = closer
        matched = _half_moved(current, positions, evaluate, efficiency, moves)
        best = matched if matched.khat < best.khat else best
    return best


def _one_move(
    current: _Moved, positions: np.ndarray, start: np.ndarray, evaluate: Evaluate, efficiency: float
) -> _Moved | None:
    """The first of the three moves that lowers the Pareto shape of the moved draws."""
    for propose in (_to_mean, _to_variances, _to_covariance):
        proposed = propose(current.positions, np.exp(current.log_weights))
        if proposed is None:
            continue
        matrix, shift = proposed
        moved = current.positions @ matrix.T + shift
        whole = (matrix @ current.matrix, matrix @ current.shift + shift)
        tried = _move(*whole, moved, start, evaluate, efficiency)
        if tried.khat < current.khat:
            return tried
    return None


def _move(
    matrix: np.ndarray,
    shift: np.ndarray,
    moved: np.ndarray,
    start: np.ndarray,
    evaluate: Evaluate,
    efficiency: float,
) -> _Moved:
    """Weigh moved draws: those of one density p, moved, have p(z) / |A| where they have come to."""
    log_joint, log_likelihood = evaluate(moved)
    log_weights, khat = _smooth(log_joint - log_likelihood - start, efficiency)
    return _Moved(matrix, shift, moved, log_weights, log_likelihood, khat)


def _half_moved(
    moved: _Moved, positions: np.ndarray, evaluate: Evaluate, efficiency: float, moves: int
) -> Matched:
    """The estimate from a mixture: the first half of the draws moved, the others where they were."""
    half = len(positions) // 2
    here = np.concatenate([moved.positions[:half], positions[half:]])
    # Where each would have come from, had it been moved.
    back = np.linalg.solve(moved.matrix, (positions[half:] - moved.shift).T).T
    before = np.concatenate([positions[:half], back])
    log_joint, log_likelihood = evaluate(here)
    log_before = evaluate(before)[0] - np.linalg.slogdet(moved.matrix)[1]
    log_weights, khat = _smooth(log_joint - log_likelihood - np.logaddexp(log_joint, log_before), efficiency)
    return Matched(_elpd(log_weights, log_likelihood), khat, moves)


def _elpd(log_weights: np.ndarray, log_likelihood: np.ndarray) -> float:
    return float(logsumexp(log_weights + log_likelihood))


def _smooth(log_weights: np.ndarray, efficiency: float) -> tuple[np.ndarray, float]:
    smoothed, khat = smooth_rows(log_weights[None], efficiency)
    return smoothed[0], float(khat[0])


def _to_mean(positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.eye(positions.shape[1]), weights @ positions - positions.mean(0)


def _to_variances(positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    mean, wanted = positions.mean(0), weights @ positions
    spread = weights @ np.square(positions - wanted)
    if not (spread > 0).all() or not (positions.var(0) > 0).all():
        return None
    matrix = np.diag(np.sqrt(spread / positions.var(0)))
    return matrix, wanted - matrix @ mean


def _to_covariance(positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    mean, wanted = positions.mean(0), weights @ positions
    centred = positions - wanted
    try:
        to = np.linalg.cholesky(centred.T @ (weights[:, None] * centred))
        of = np.linalg.cholesky(np.cov(positions.T, bias=True).reshape(len(mean), len(mean)))
    except np.linalg.LinAlgError:  # fewer draws that count than dimensions
        return None
    matrix = to @ np.linalg.inv(of)
    return matrix, wanted - matrix @ mean
