"""An initial affine approximation of a posterior: its location, and its width in every direction.

L-BFGS maximises the log density from a few starts. Each point on a path has the Gaussian with the log
density's curvature there; the one with the best ELBO is kept, as in Pathfinder (Zhang et al. 2022,
arXiv:2108.03782), because at the mode itself the curvature of a hierarchical model is uninformative.
Scales and correlations that differ a thousandfold are easy for curvatures, but hard for stochastic
gradients; guides are therefore fitted after this map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import minimize

from ppgen.inference.guides.guide import Whitening
from ppgen.inference.markov.space import own_space
from ppgen.inference.markov.starts import find_start
from ppgen.program.density import Density
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["Local", "find_locals", "log_density_and_gradient", "misses"]

ROWS = 64
"""How many points are evaluated together; one size, so that it is compiled once."""

_POINTS = 6  # of each path whose Gaussians are compared
_NEWTON_STEPS = 5
_LARGEST_DENSE_DIM = 200
_SMALLEST_EIGENVALUE = 1e-9  # of the curvature, scaled to a unit diagonal
_LARGEST_SCALE = 1e6


class Local(NamedTuple):
    """A Gaussian near one start.

    Attributes:
        whitening: its location and factor.
        elbo: its evidence lower bound, from few draws.
        draws: ``(ROWS, dim)`` of it.
        lp: ``(ROWS,)`` the log density there.
    """

    whitening: Whitening
    elbo: float
    draws: np.ndarray
    lp: np.ndarray


def find_locals(density: Density, key: jax.Array, starts: int, *, dense: bool) -> list[Local]:
    """A Gaussian near each of some starts, best first.

    Args:
        density: the target.
        key: for the starts and the draws.
        starts: how many.
        dense: whether the factors are matrices or diagonals; above 200 dimensions always the latter.

    Raises:
        InferenceError: if no finite log density is found.
        DataError: if an observation lies outside the support of its site.
    """
    start_key, draw_key = jax.random.split(key)
    points = np.asarray(find_start(own_space(density), start_key, starts).position)
    noise = np.asarray(jax.random.normal(draw_key, (ROWS, density.dim)))
    search = _Search(density, noise, dense and density.dim <= _LARGEST_DENSE_DIM)
    return sorted((search.climb(point) for point in points), key=lambda found: -found.elbo)


def misses(other: Local, log_q: np.ndarray, best: float) -> bool:
    """Whether a guide leaves out what another approximation has found.

    Args:
        other: an approximation from another start.
        log_q: the guide's log density ``(ROWS,)`` at the other's draws.
        best: the guide's ELBO.

    Returns:
        True if the other holds more than a thousandth of the guide's mass, where the guide gives most of
        its draws less than e⁻⁵ of the density that they have.
    """
    shortfall = np.median(other.lp - log_q) - best
    return bool(other.elbo > best - 7.0 and shortfall > 5.0)


def log_density_and_gradient(density: Density, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log density ``(n,)`` and its gradient ``(n, dim)`` at any number of points ``(n, dim)``."""
    evaluate = _compile_rows(density.graph)
    padded = np.concatenate([z, np.repeat(z[:1], -len(z) % ROWS, axis=0)])
    parts = [evaluate(density.inputs, rows) for rows in padded.reshape(-1, ROWS, density.dim)]
    lp, gradient = (np.concatenate(part)[: len(z)] for part in zip(*parts, strict=True))
    return lp, gradient


class _Search:
    """The climb from one start, and the Gaussians on the way."""

    def __init__(self, density: Density, noise: np.ndarray, dense: bool) -> None:
        self.density = density
        self.noise = noise
        self.dense = dense
        self.one = _compile_one(density.graph)

    def climb(self, start: np.ndarray) -> Local:
        path = self._path(start)
        chosen = np.unique(np.round(np.geomspace(1, len(path), _POINTS)).astype(int) - 1)
        found = [self._gaussian(path[i]) for i in chosen]
        best = max(found, key=lambda local: local.elbo)
        for _ in range(_NEWTON_STEPS):  # L-BFGS stops early where scales are very unlike
            step = self._gaussian(self._newton(best.whitening))
            if not step.elbo > best.elbo + 1e-3:
                break
            best = step
        return best

    def _path(self, start: np.ndarray) -> list[np.ndarray]:
        path = [start]

        def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
            lp, gradient = self.one(self.density.inputs, z)
            finite = np.isfinite(lp) & np.isfinite(gradient).all()
            return (-float(lp), -np.asarray(gradient)) if finite else (1e300, np.zeros_like(z))

        options = {"maxiter": 500, "maxfun": 2000, "maxcor": 20}
        minimize(negative, start, jac=True, method="L-BFGS-B", callback=path.append, options=options)
        return path

    def _gaussian(self, z: np.ndarray) -> Local:
        factor, log_det = self._factor(z)
        whitening = Whitening(z, factor, log_det)
        draws = whitening.apply(self.noise)
        lp, _ = log_density_and_gradient(self.density, draws)
        lp = np.where(np.isfinite(lp), lp, -1e300)
        entropy = log_det + 0.5 * self.density.dim * (1 + np.log(2 * np.pi))
        return Local(whitening, float(lp.mean()) + entropy, draws, lp)

    def _newton(self, whitening: Whitening) -> np.ndarray:
        """The top of the Gaussian that fits the log density at its location."""
        gradient = log_density_and_gradient(self.density, whitening.location[None])[1][0]
        step = whitening.apply(whitening.pull(gradient)) - whitening.location
        return whitening.location + np.nan_to_num(step)

    def _factor(self, z: np.ndarray) -> tuple[np.ndarray, float]:
        """A root of the inverse curvature at z, and the logarithm of its determinant."""
        steps = np.full(len(z), 1e-4)
        steps = np.clip(1e-2 * _scales(np.diag(self._curvature(z, steps))), 1e-10, 1e-2)
        curvature = self._curvature(z, steps)
        scales = _scales(np.diag(curvature))
        if not self.dense:
            return scales, float(np.log(scales).sum())
        values, vectors = np.linalg.eigh(curvature * np.outer(scales, scales))
        # Where the density curves upwards its curvature gives no width; use that of the entries alone.
        values = np.where(values > 0, np.maximum(values, _SMALLEST_EIGENVALUE * values.max()), 1.0)
        factor = scales[:, None] * vectors / np.sqrt(values)
        return factor, float(np.log(scales).sum() - 0.5 * np.log(values).sum())

    def _curvature(self, z: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The negative second derivatives, by differences: forward mode stops at some custom gradients."""
        offsets = np.concatenate([np.diag(steps), -np.diag(steps)])
        _, gradients = log_density_and_gradient(self.density, z + offsets)
        ahead, behind = np.split(gradients, 2)
        curvature = -(ahead - behind) / (2 * steps[:, None])
        return np.nan_to_num((curvature + curvature.T) / 2, posinf=1e12, neginf=-1e12)


def _scales(diagonal: np.ndarray) -> np.ndarray:
    scales = 1 / np.sqrt(np.maximum(np.abs(diagonal), _LARGEST_SCALE**-2))
    return np.where(diagonal > 0, scales, np.minimum(scales, 1.0))


@lru_cache(maxsize=64)
def _compile_one(graph: Graph) -> Callable[..., Any]:
    return jit(_value_and_gradient(graph))


@lru_cache(maxsize=64)
def _compile_rows(graph: Graph) -> Callable[..., Any]:
    return jit(jax.vmap(_value_and_gradient(graph), in_axes=(None, 0)))


def _value_and_gradient(graph: Graph) -> Callable[[Inputs, jax.Array], Any]:
    return lambda inputs, z: jax.value_and_grad(lambda z: graph(inputs, z).log_joint)(z)
