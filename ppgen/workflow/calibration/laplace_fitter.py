"""Laplace's method on many data sets: all climbs to all modes in one compiled loop."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.special import logsumexp

from ppgen.errors import PpgenError
from ppgen.findings import Finding
from ppgen.inference.laplace import Laplace
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.weights import Weights
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.workflow.calibration.fitter import seed_of
from ppgen.workflow.calibration.serial_fitter import SerialFitter
from ppgen.workflow.calibration.simulations import Simulations, merge

__all__ = ["LaplaceFitter", "climb_all"]

_SIZE = 64
_LARGEST_DIM = 60  # beyond, Hessians of many data sets side by side take too much
_STEPS = 300
_GAIN = 1e-9  # nats that another step would gain at a maximum
_SAME = 0.05  # posterior sd between two ends that are one mode
_LARGEST_ELSEWHERE = 0.01


class LaplaceFitter:
    """Fits a batch of data sets at once: :class:`~ppgen.workflow.calibration.fitter.Fitter`."""

    method: ClassVar[str] = "laplace"
    size = _SIZE
    runs = 1  # hundreds of Hessians are solved side by side, which XLA shares among the cores itself
    how = f"{_SIZE} data sets at a time: Newton's method from all starts as one vectorised loop."

    def __init__(self, simulations: Simulations, settings: Method, request: Request) -> None:
        assert isinstance(settings, Laplace)
        self._simulations = simulations
        self._starts = settings.starts
        self._request = request
        self._serial = SerialFitter(simulations, settings, request, "")

    @staticmethod
    def obstacle(settings: Method, density: Density) -> str | None:
        """Why this has no batched form; ``None`` if it has."""
        return f"more than {_LARGEST_DIM} unconstrained dimensions" if density.dim > _LARGEST_DIM else None

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Draw from the Gaussian at the heaviest mode; where no climb finds one, as ``ppgen.infer`` does."""
        density = self._simulations.density
        seeds = [seed_of(self._request, int(row)) for row in rows]
        starts = np.stack(
            [np.random.default_rng(seed).uniform(-2, 2, (self._starts, density.dim)) for seed in seeds]
        )
        with float64():
            values = self._simulations.arrays(rows)
            ends = [
                np.asarray(part)
                for part in climb_all(density.graph, self._simulations.places)(density.inputs, values, starts)
            ]
        gaussians = [_heaviest(*(part[i] for part in ends)) for i in range(len(rows))]
        shape = (self._request.chains, self._request.draws, density.dim)
        noise = np.stack([np.random.default_rng([seed, 1]).normal(size=shape) for seed in seeds])
        positions = np.zeros_like(noise)
        for i, gaussian in enumerate(gaussians):
            if gaussian is not None:
                positions[i] = gaussian[0] + noise[i] @ gaussian[1].T
        with float64():
            lp = np.asarray(
                _compile_log_joint(density.graph, self._simulations.places)(
                    density.inputs, values, positions.reshape(len(rows), -1, density.dim)
                )
            ).reshape(positions.shape[:3])
        fits: list[Drawn | PpgenError] = []
        for i, gaussian in enumerate(gaussians):
            if gaussian is None:
                fits += self._serial.fit(rows[i : i + 1])
            else:
                fits.append(_drawn(positions[i], np.nan_to_num(lp[i], nan=-np.inf), noise[i], gaussian))
        return fits


_Gaussian = tuple[np.ndarray, np.ndarray, float]
"""Mode, a root of the covariance, and the share of the mass that is estimated to be elsewhere."""


def _heaviest(
    points: np.ndarray, values: np.ndarray, precisions: np.ndarray, gains: np.ndarray
) -> _Gaussian | None:
    """The Gaussian at the heaviest of the maxima that climbs ended at; ``None`` if none did."""
    dim = points.shape[1]
    modes: list[tuple[np.ndarray, np.ndarray, float]] = []
    for point, value, precision, gain in zip(points, values, precisions, gains, strict=True):
        if gain < _GAIN and not any(_apart(point, *mode[:2]) < _SAME**2 for mode in modes):
            _, log_det = np.linalg.slogdet(precision)
            modes.append((point, precision, value + dim / 2 * math.log(2 * math.pi) - log_det / 2))
    if not modes:
        return None
    mode, precision, mass = max(modes, key=lambda one: one[2])
    # A triangular root of the covariance: the inverse of the precision's reversed factor.
    reverse = np.linalg.cholesky(precision[::-1, ::-1])[::-1, ::-1]
    factor = scipy.linalg.solve_triangular(reverse, np.eye(dim), lower=False).T
    return mode, factor, 1 - math.exp(mass - logsumexp([one[2] for one in modes]))


def _apart(point: np.ndarray, other: np.ndarray, precision: np.ndarray) -> float:
    return float((point - other) @ precision @ (point - other))


def _drawn(positions: np.ndarray, lp: np.ndarray, noise: np.ndarray, gaussian: _Gaussian) -> Drawn:
    _, factor, elsewhere = gaussian
    log_q = -np.square(noise).sum(-1) / 2 - noise.shape[-1] / 2 * math.log(2 * math.pi)
    log_weights = lp - log_q + np.log(np.abs(np.diag(factor))).sum()
    findings: tuple[Finding, ...] = ()
    if elsewhere > _LARGEST_ELSEWHERE:
        what = f"{elsewhere:.0%} of the posterior's mass is at other modes than the one drawn from."
        findings = (Finding("several modes", "problem", what, evidence={"elsewhere": elsewhere}),)
    khat = Weights(log_weights.ravel()).khat
    return Drawn(positions, {"lp": lp}, log_weights, khat=khat, findings=findings)


@lru_cache(maxsize=16)
def climb_all(graph: Graph, places: tuple[int, ...]) -> Any:
    """From ``starts (row, start, dim)`` to the end of each climb.

    Newton's method with a damping that grows until a step gains, and shrinks after; directions in which the
    log density curves upwards are followed as if it curved downwards. The ends are the point, log density,
    precision, and what another step would gain, infinite where the precision is not positive definite.
    """

    def climb(inputs: Inputs, values: Any, start: jax.Array) -> Any:
        own = merge(inputs, places, values)

        def log_joint(z: jax.Array) -> jax.Array:
            return graph(own, z).log_joint

        def look(z: jax.Array) -> Any:
            hessian = jax.hessian(log_joint)(z)
            return log_joint(z), jax.grad(log_joint)(z), -(hessian + hessian.T) / 2

        def gain_of(gradient: jax.Array, precision: jax.Array) -> jax.Array:
            curvatures, directions = jnp.linalg.eigh(precision)
            gain = jnp.sum((directions.T @ gradient) ** 2 / curvatures) / 2
            return jnp.where((curvatures > 0).all() & jnp.isfinite(gain), gain, jnp.inf)

        def step(carry: Any) -> Any:
            count, z, value, gradient, precision, damping, _ = carry
            curvatures, directions = jnp.linalg.eigh(precision)
            pull = directions.T @ gradient
            move = directions @ (pull / (jnp.maximum(jnp.abs(curvatures), 1e-12) + damping))
            new_value, new_gradient, new_precision = look(z + move)
            sound = jnp.isfinite(new_precision).all() & jnp.isfinite(new_gradient).all()
            better = sound & (new_value >= value - 1e-12)
            z, value, gradient, precision = jax.tree.map(
                lambda new, old: jnp.where(better, new, old),
                (z + move, new_value, new_gradient, new_precision),
                (z, value, gradient, precision),
            )
            scale = jnp.maximum(jnp.abs(curvatures).max(), 1e-12)
            damping = jnp.where(better, damping / 8, jnp.maximum(4 * damping, 1e-3 * scale))
            damping = jnp.where(damping < 1e-9 * scale, 0.0, damping)
            return count + 1, z, value, gradient, precision, damping, gain_of(gradient, precision)

        def going(carry: Any) -> Any:
            # Further than the gain that counts: Newton's last step is all but free.
            return (carry[0] < _STEPS) & ~(carry[-1] < _GAIN * 1e-6)

        begin = (0, start, *look(start), jnp.zeros(()), jnp.full((), jnp.inf))
        _, z, value, _, precision, _, gain = jax.lax.while_loop(going, step, begin)
        return z, value, precision, gain

    return jit(jax.vmap(jax.vmap(climb, in_axes=(None, None, 0)), in_axes=(None, 0, 0)))


@lru_cache(maxsize=64)
def _compile_log_joint(graph: Graph, places: tuple[int, ...]) -> Any:
    def one(inputs: Inputs, values: Any, z: jax.Array) -> jax.Array:
        return graph(merge(inputs, places, values), z).log_joint

    return jit(jax.vmap(jax.vmap(one, in_axes=(None, None, 0)), in_axes=(None, 0, 0)))
