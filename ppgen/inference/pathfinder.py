"""Pathfinder: Gaussians along the paths of quasi-Newton optimisations, and their mixture."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from ppgen.checks import check_integer
from ppgen.errors import InferenceError
from ppgen.inference.diagnostics import Diagnostics
from ppgen.inference.guides.invariance import find_drift
from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import ClimbStep, climb, starting_points
from ppgen.inference.resampling import Proposals, diagnose_resampled, draw_from
from ppgen.program.density import Density

__all__ = ["Gaussian", "Pathfinder", "PathfinderFit"]

_REMEDY = 'Take more paths (paths=20), a guide (method="svi", guide="nsf"), or method="nuts".'
_ELBO_DRAWS = 10  # at each step of each path; the authors found 5 enough
_POOL = 4  # proposals per draw


class Gaussian(NamedTuple):
    r"""A normal distribution with the covariance that L-BFGS has learnt.

    .. math:: z = \mu + \sqrt{\alpha} \odot (I + Q (L - I) Q^T) u, \quad u \sim N(0, I)

    No matrix is larger than ``(dim, 2 memory)``.

    Attributes:
        mean: μ ``(dim,)``.
        root: √α ``(dim,)``.
        columns: Q ``(dim, m)``, orthonormal.
        factor: L ``(m, m)``, lower triangular.
        elbo: its evidence lower bound, estimated, in nats.
    """

    mean: np.ndarray
    root: np.ndarray
    columns: np.ndarray
    factor: np.ndarray
    elbo: float = -math.inf

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws ``(n, dim)``."""
        noise = rng.normal(size=(n, len(self.mean)))
        along = noise @ self.columns
        return self.mean + self.root * (noise + (along @ self.factor.T - along) @ self.columns.T)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """The log density ``(n,)`` at ``z (n, dim)``; the inverse is I + Q (L⁻¹ - I) Qᵀ."""
        scaled = (z - self.mean) / self.root
        along = scaled @ self.columns
        noise = scaled + (solve_triangular(self.factor, along.T, lower=True).T - along) @ self.columns.T
        half_log_det = np.log(self.root).sum() + np.log(np.diag(self.factor)).sum()
        return -np.square(noise).sum(-1) / 2 - half_log_det - len(self.mean) / 2 * math.log(2 * math.pi)


class PathfinderFit(NamedTuple):
    """The Gaussians found along the paths.

    Attributes:
        gaussians: one per path that succeeded.
        failed: how many paths were dropped, with no finite log density along them.
    """

    gaussians: tuple[Gaussian, ...]
    failed: int


@dataclass(frozen=True)
class Pathfinder:
    r"""Options of ``ppgen.infer(..., method="pathfinder")``.

    Each path is an L-BFGS optimisation of the unconstrained log density from a start uniform on (-2, 2).
    L-BFGS estimates a covariance at each of its steps; of these Gaussians :math:`q_k` the one with the
    largest evidence lower bound is kept. The draws of all paths are resampled, Pareto-smoothed, by

    .. math:: w(z) = \pi(z) \Big/ \tfrac1K \textstyle\sum_k q_k(z)

    The paper weights each draw by its own path's :math:`q_k`; with their mixture, modes found by several
    paths do not count several times, and the mean weight estimates the evidence.

    Attributes:
        paths: how many paths.
        steps: the most steps of an optimisation.
        memory: how many past steps the covariance estimate uses.
        resample: ``False`` gives draws of the mixture with their weights instead.

    References:
        Zhang, Carpenter, Gelman and Vehtari (2022), arXiv:2108.03782.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> import ppgen
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": 2.0}, method="pathfinder", progress=False)
        >>> print(f"{post.draws['mu'].mean():.1f} ± {post.draws['mu'].std():.1f}")      # exact: 1 ± 0.7
        1.0 ± 0.7
    """

    name: ClassVar[str] = "pathfinder"

    paths: int = 8
    steps: int = 100
    memory: int = 10
    resample: bool = True

    def __post_init__(self) -> None:
        check_integer("paths", self.paths, example=8)
        check_integer("steps", self.steps, example=100)
        check_integer("memory", self.memory, example=10)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Follow the paths, and draw from their Gaussians.

        Raises:
            InferenceError: if no path found a Gaussian.
            DataError: if an observation lies outside the support of its site.
        """
        rng = np.random.default_rng(request.seed)
        starts = starting_points(density, request.seed, self.paths)
        found = [self._follow(density, start, rng) for start in starts]
        gaussians = [gaussian for gaussian in found if gaussian is not None]
        failed = self.paths - len(gaussians)
        if not gaussians:
            raise InferenceError(
                "program",
                got=f"no Gaussian of finite log density along any of {self.paths} paths",
                expected="a log density that can be climbed from points on (-2, 2)",
                fix="Rescale the parameters to the order of 1, or take method='nuts'.",
            )
        size = request.chains * request.draws * (_POOL if self.resample else 1)
        each = -(-size // len(gaussians))
        positions = rng.permutation(np.concatenate([one.draw(rng, each) for one in gaussians]))
        mixture = logsumexp([one.log_density(positions) for one in gaussians], axis=0) - math.log(
            len(gaussians)
        )
        log_joint = log_densities(density, positions).log_joint
        pool = Proposals(positions, log_joint, log_joint - mixture)
        drawn = draw_from(pool, request, resample=self.resample, seed=request.seed)
        return replace(
            drawn,
            findings=find_drift(density, positions, pool.log_weights, request.seed),
            how=f"{failed} of {self.paths} paths failed and were dropped." if failed else "",
            fit=PathfinderFit(tuple(gaussians), failed),
            cites=("pathfinder", "psis"),
        )

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the weights that the draws have, or were resampled by."""
        return diagnose_resampled(draws, drawn, _REMEDY)

    def _follow(self, density: Density, start: np.ndarray, rng: np.random.Generator) -> Gaussian | None:
        """The Gaussian along one path with the largest evidence lower bound."""
        path = climb(density, start, steps=self.steps)
        found = list(_gaussians(path, self.memory))
        if not found:
            return None
        draws = np.stack([one.draw(rng, _ELBO_DRAWS) for one in found])  # (gaussian, draw, dim)
        log_q = np.stack([one.log_density(z) for one, z in zip(found, draws, strict=True)])
        log_joint = log_densities(density, draws.reshape(-1, density.dim)).log_joint
        elbo = (log_joint.reshape(log_q.shape) - log_q).mean(1)
        best = int(np.argmax(np.where(np.isnan(elbo), -np.inf, elbo)))
        return found[best]._replace(elbo=float(elbo[best])) if np.isfinite(elbo[best]) else None


def _gaussians(path: list[ClimbStep], memory: int) -> Iterator[Gaussian]:
    """The Gaussian at each step of a path but the first (formulas II.1 and II.2 and algorithm 3)."""
    alpha = np.ones(len(path[0].position))
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=memory)
    for before, step in pairwise(path):
        s, z = step.position - before.position, before.gradient - step.gradient
        if s @ z > 1e-12 * (z @ z):  # else the density is not curved downward on the way: nothing is learnt
            alpha = _next_diagonal(alpha, s, z)
            pairs.append((s, z))
        if pairs and np.isfinite(alpha).all():
            with suppress(np.linalg.LinAlgError):  # not positive definite, to working precision
                yield _gaussian(step, alpha, *(np.stack(columns, 1) for columns in zip(*pairs, strict=True)))


def _next_diagonal(alpha: np.ndarray, s: np.ndarray, z: np.ndarray) -> np.ndarray:
    a, b, c = alpha @ np.square(z), s @ z, np.square(s) @ (1 / alpha)
    return 1 / (a / (b * alpha) + np.square(z) / b - a * np.square(s) / (b * c * np.square(alpha)))


def _gaussian(step: ClimbStep, alpha: np.ndarray, S: np.ndarray, Z: np.ndarray) -> Gaussian:
    """The Newton step from here is its mean; its covariance is L-BFGS's, diag(α) + β γ βᵀ."""
    products = S.T @ Z
    inverse = -np.linalg.inv(np.triu(products))
    corner = inverse.T @ (Z.T @ (alpha[:, None] * Z) + np.diag(np.diag(products))) @ inverse
    beta = np.hstack([alpha[:, None] * Z, S])
    gamma = np.block([[np.zeros_like(inverse), inverse], [inverse.T, corner]])
    root = np.sqrt(alpha)
    columns, rest = np.linalg.qr(beta / root[:, None])
    factor = np.linalg.cholesky(np.eye(len(rest)) + rest @ gamma @ rest.T)
    mean = step.position + alpha * step.gradient + beta @ (gamma @ (beta.T @ step.gradient))
    return Gaussian(mean, root, columns, factor)
