"""Does the distribution of draws change under a Markov chain that leaves the posterior invariant?

Importance weights know only what the guide has drawn: a guide that misses a tail has faultless weights. But
draws from the posterior remain so under Hamiltonian Monte Carlo, and draws that lack a tail move into it.
"""

from __future__ import annotations

import numpy as np

from ppgen.findings import Finding
from ppgen.inference.guides.whitening import log_density_and_gradient
from ppgen.inference.weights import Weights
from ppgen.kernels.monte_carlo import standard_error
from ppgen.program.density import Density, float64

__all__ = ["find_drift"]

_PARTICLES = 256
_MOVES = 40
_LEAPFROGS = 10
_LARGEST_SHIFT = 0.1  # in standard deviations
_LARGEST_STRETCH = 0.1  # in the logarithm of the standard deviation
_ERRORS = 3.0


def find_drift(
    density: Density, positions: np.ndarray, log_weights: np.ndarray, seed: int
) -> tuple[Finding, ...]:
    """Test whether a few steps of Hamiltonian Monte Carlo change the moments of weighted draws.

    Args:
        density: the target.
        positions: ``(n, dim)``.
        log_weights: ``(n,)``, by which the draws are resampled first.
        seed: of the resampling and of the steps.

    Returns:
        A finding if some mean moves by more than 0.1 sd, or some sd by more than 10 %, and by more than
        three standard errors; else nothing, nor where the weights cannot be trusted in the first place.
    """
    weights = Weights(log_weights)
    if not weights.usable:
        return ()
    rng = np.random.default_rng(seed)
    before = positions[weights.resample(_PARTICLES, seed)]
    after = _move(density, before, rng)
    sd = before.std(0)
    shifts = (after - before) / np.where(sd > 0, sd, 1.0)
    squares = ((after - after.mean(0)) ** 2 - (before - before.mean(0)) ** 2) / (
        2 * np.where(sd > 0, sd, 1.0) ** 2
    )
    shift = _beyond_noise(shifts, _LARGEST_SHIFT)
    stretch = _beyond_noise(squares, _LARGEST_STRETCH)
    if max(shift.max(), stretch.max()) <= 0:
        return ()
    worst = int(np.argmax(np.maximum(shift, stretch)))
    site = next(part.name for part in density.latents if part.start <= worst < part.stop)
    found = Finding(
        "tails of the draws",
        "problem",
        f"The draws do not stay as they are when Hamiltonian Monte Carlo moves them: {site} changes by "
        f"{shift[worst]:.1f} sd in the mean and {stretch[worst]:.0%} in the sd. What was drawn from lacks "
        "a part of the posterior that its weights cannot show.",
        "Take a richer guide (guide='nsf'), or method='nuts'.",
        {"site": site, "shift": float(shift[worst]), "stretch": float(stretch[worst])},
    )
    return (found,)


def _beyond_noise(changes: np.ndarray, largest: float) -> np.ndarray:
    """The size of each mean change ``(dim,)``, and 0 where it is small or within its noise."""
    mean, error = np.abs(changes.mean(0)), standard_error(changes, axis=0)
    return np.where((mean > largest) & (mean > _ERRORS * error), mean, 0.0)


def _move(density: Density, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Steps of Hamiltonian Monte Carlo, with the draws' own covariance as inverse mass."""
    factor = np.linalg.cholesky(np.cov(z.T).reshape(z.shape[1], -1) + 1e-12 * np.diag(z.var(0) + 1e-300))
    step = z.shape[1] ** -0.25
    with float64(), np.errstate(all="ignore"):  # trajectories that overflow are rejected
        lp, gradient = log_density_and_gradient(density, z)
        for _ in range(_MOVES):
            momentum = rng.normal(size=z.shape)
            new, p, new_lp, new_gradient = z, momentum, lp, gradient
            # Tails can be far stiffer than the bulk: each draw has its own step, some of them small.
            own = step * 10.0 ** -rng.uniform(size=(len(z), 1))
            for _ in range(_LEAPFROGS):
                p = p + 0.5 * own * (new_gradient @ factor)
                new = new + own * (p @ factor.T)
                new_lp, new_gradient = log_density_and_gradient(density, new)
                p = p + 0.5 * own * (new_gradient @ factor)
            log_ratio = new_lp - lp + 0.5 * ((momentum**2).sum(1) - (p**2).sum(1))
            accepted = np.log(rng.uniform(size=len(z))) < np.nan_to_num(log_ratio, nan=-np.inf)
            z, gradient = (np.where(accepted[:, None], a, b) for a, b in ((new, z), (new_gradient, gradient)))
            lp = np.where(accepted, new_lp, lp)
            step *= 1.1 if accepted.mean() > 0.7 else 0.9
    return z
