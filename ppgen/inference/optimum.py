"""Maxima of a program's posterior density, and of its likelihood, in unconstrained space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Literal, NamedTuple

import jax
import numpy as np
import scipy.linalg
from scipy.optimize import minimize

from ppgen.errors import InferenceError
from ppgen.inference.batch import Batch
from ppgen.inference.markov.space import own_space
from ppgen.inference.markov.starts import find_start
from ppgen.inference.newton import climb_together
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = [
    "ClimbStep",
    "Mode",
    "Part",
    "climb",
    "explain_no_start",
    "find_modes",
    "find_modes_together",
    "site_of",
    "starting_points",
]

Part = Literal["posterior", "likelihood"]
"""The objective: log π(z), or log π(z) minus the log density of the prior."""

_CLIMB_STEPS = 2000
_NEWTON_STEPS = 100
# The most that another Newton step may gain at a maximum, in nats: unit-free, unlike a gradient.
_GAIN = 1e-9
_LARGEST_DIM = 2000
# Two runs ended at the same maximum if they differ by less than this, in posterior sd.
_SAME = 0.05


class Mode(NamedTuple):
    """A maximum of the posterior density in unconstrained space.

    Attributes:
        position: ``(dim,)``.
        log_density: log π there, in nats.
        precision: ``(dim, dim)``, the negative Hessian of log π; positive definite.
        log_mass: Laplace's estimate of the log of the integral of π around it.
    """

    position: np.ndarray
    log_density: float
    precision: np.ndarray
    log_mass: float


def find_modes(density: Density, seed: int, starts: int) -> list[Mode]:
    r"""Find maxima of the posterior density from several starts, the largest mass first.

    Each run is L-BFGS from a start uniform on (-2, 2), then Newton's method with a trust region until
    another step would gain less than 1e-9 nats. The mass of a mode is Laplace's estimate,

    .. math:: \log \pi(z^*) + \tfrac{d}{2} \log 2\pi - \tfrac12 \log \det H

    Raises:
        InferenceError: if no run ends at a maximum: the density is unbounded, or flat in some direction.
        DataError: if an observation lies outside the support of its site.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from ppgen.program import read_density
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> (mode,) = find_modes(read_density(program, {"y": 3.0}), seed=0, starts=4)
        >>> print(mode.position.round(6), mode.precision.round(6))
        [1.5] [[2.]]
    """
    if density.dim > _LARGEST_DIM:
        raise InferenceError(
            "program",
            got=f"{density.dim} unconstrained dimensions",
            expected=f"at most {_LARGEST_DIM}, for a full Hessian",
            fix='Take method="svi", guide="mean_field", or method="nuts".',
        )
    with float64(), np.errstate(all="ignore"):  # a run may overflow; its end is checked
        begin = starting_points(density, seed, starts)
        ends = [_polish(density, climb(density, start)[-1].position) for start in begin]
    modes = _distinct(ends)
    if not modes:
        raise _no_maximum(density, ends)
    return modes


def find_modes_together(batch: Batch, seeds: Sequence[int], starts: int) -> list[list[Mode]]:
    """Find the maxima, if any, of each density of a batch, by Newton's method from all starts at once.

    Args:
        batch: the densities.
        seeds: of the starts, one per data set.
        starts: how many for each.
    """
    shape = (starts, batch.dim)
    begin = np.stack([np.random.default_rng(seed).uniform(-2, 2, shape) for seed in seeds])
    of_all = zip(*climb_together(batch, begin), strict=True)  # data set by data set
    return [_distinct([_End(*end) for end in zip(*ends, strict=True)]) for ends in of_all]


def _distinct(ends: Iterable[_End]) -> list[Mode]:
    """The distinct maxima among end points, the largest mass first."""
    modes: list[Mode] = []
    for end in ends:
        mode = _as_mode(end)
        if mode is not None and not any(_same(mode, other) for other in modes):
            modes.append(mode)
    return sorted(modes, key=lambda mode: -mode.log_mass)


class ClimbStep(NamedTuple):
    """A point on an optimisation path.

    Attributes:
        position: ``(dim,)``.
        value: the objective there.
        gradient: its gradient ``(dim,)``.
    """

    position: np.ndarray
    value: float
    gradient: np.ndarray


def starting_points(density: Density, seed: int, n: int) -> np.ndarray:
    """Points ``(n, dim)`` of finite log density, uniform on (-2, 2), to start from.

    Raises:
        InferenceError: if no finite log density is found.
        DataError: if an observation lies outside the support of its site.
    """
    with float64():
        return np.asarray(find_start(own_space(density), jax.random.key(seed), n).position)


@contextmanager
def explain_no_start(density: Density, seed: int) -> Iterator[None]:
    """Explain a method's failure to find a finite log density: name the site at fault, if there is one.

    Raises:
        InferenceError, DataError: those of :func:`starting_points`; otherwise the method's own error.
    """
    try:
        yield
    except InferenceError:
        starting_points(density, seed, 1)
        raise


def climb(
    density: Density, start: np.ndarray, part: Part = "posterior", steps: int = _CLIMB_STEPS
) -> list[ClimbStep]:
    """L-BFGS from ``start (dim,)``: each point of its path, the last near a maximum, if there is one."""
    function = _compile_value(density.graph, part)
    seen: dict[bytes, ClimbStep] = {}

    def downhill(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(density.inputs, z)
        step = ClimbStep(z.copy(), float(value), np.asarray(gradient))
        if not (np.isfinite(step.value) and np.isfinite(step.gradient).all()):
            return 1e300, np.zeros_like(z)  # the line search turns back
        seen[z.tobytes()] = step
        return -step.value, -step.gradient

    path = [np.asarray(start, float)]
    options = {"maxiter": steps, "maxfun": 20 * steps, "ftol": 1e-13, "gtol": 1e-8, "maxcor": 20}
    with float64():
        minimize(
            downhill,
            path[0],
            jac=True,
            method="L-BFGS-B",
            options=options,
            callback=lambda intermediate_result: path.append(intermediate_result.x.copy()),
        )
    return [seen[z.tobytes()] for z in path if z.tobytes() in seen]


def site_of(density: Density, direction: np.ndarray) -> str:
    """The latent site that a direction ``(dim,)`` of unconstrained space moves most."""
    largest = {
        latent.name: np.abs(direction[latent.start : latent.stop]).max(initial=0.0)
        for latent in density.latents
    }
    return max(largest, key=lambda name: largest[name])


class _End(NamedTuple):
    """The end of a run; NaN if the density has no derivatives there."""

    position: np.ndarray
    value: float
    gradient: np.ndarray
    precision: np.ndarray


def _polish(density: Density, start: np.ndarray) -> _End:
    """Newton's method, with a trust region while the Hessian is not definite or steps are long."""
    end = _look(density, start)
    if not np.isfinite(end.precision).all():
        return end
    if not _gain(end) < 1e-4:
        seen: dict[bytes, _End] = {}

        def look(z: np.ndarray) -> _End:
            return seen.setdefault(z.tobytes(), _look(density, z))

        def value(z: np.ndarray) -> float:
            found = look(z)
            return -found.value if _usable(found) else math.inf

        with suppress(ValueError, np.linalg.LinAlgError):  # overflow: the run did not end at a maximum
            found = minimize(
                value,
                start,
                jac=lambda z: -look(z).gradient,
                hess=lambda z: look(z).precision,
                method="trust-exact",
                options={"maxiter": _NEWTON_STEPS, "gtol": 1e-6},
            )
            end = look(found.x)
    for _ in range(5):
        gain = _gain(end)
        if not _GAIN / 10 < gain < math.inf:
            break
        step = scipy.linalg.cho_solve((_factor(end.precision), True), end.gradient)
        further = _look(density, end.position + step)
        if not (_usable(further) and _gain(further) < gain):
            break
        end = further
    return end


def _look(density: Density, z: np.ndarray) -> _End:
    value, gradient = _compile_value(density.graph, "posterior")(density.inputs, z)
    hessian = np.asarray(_compile_hessian(density.graph)(density.inputs, z))
    return _End(z, float(value), np.asarray(gradient), -(hessian + hessian.T) / 2)


def _usable(end: _End) -> bool:
    return math.isfinite(end.value) and bool(np.isfinite(end.precision).all())


def _gain(end: _End) -> float:
    """The gain of a Newton step, in nats, to second order; infinite if no maximum is near."""
    factor = _factor(end.precision)
    if factor is None:
        return math.inf
    return float(np.square(scipy.linalg.solve_triangular(factor, end.gradient, lower=True)).sum() / 2)


def _factor(precision: np.ndarray) -> np.ndarray | None:
    """The Cholesky factor; ``None`` where the matrix is not positive definite to working precision."""
    scale = np.sqrt(np.abs(np.diag(precision)))
    if not np.isfinite(precision).all() or not (scale > 0).all():
        return None
    # In units of each coordinate's scale, so that different units do not look like a flat direction.
    if np.linalg.eigvalsh(precision / np.outer(scale, scale)).min() < 1e-12:
        return None
    return np.linalg.cholesky(precision)


def _as_mode(end: _End) -> Mode | None:
    factor = _factor(end.precision)
    if factor is None or not _gain(end) < _GAIN:
        return None
    dim = len(end.position)
    log_mass = end.value + dim / 2 * math.log(2 * math.pi) - float(np.log(np.diag(factor)).sum())
    return Mode(end.position, float(end.value), end.precision, log_mass)


def _same(mode: Mode, other: Mode) -> bool:
    apart = mode.position - other.position
    return float(apart @ other.precision @ apart) < _SAME**2


def _no_maximum(density: Density, ends: list[_End]) -> InferenceError:
    """Report whether the density is unbounded or flat, and along which site."""
    end = max(ends, key=lambda end: end.value if math.isfinite(end.value) else -math.inf)
    if np.isfinite(end.precision).all():
        scale = np.maximum(np.sqrt(np.abs(np.diag(end.precision))), 1e-100)
        values, vectors = np.linalg.eigh(end.precision / np.outer(scale, scale))
        direction = vectors[:, 0] / scale
        shape = "not curved downward" if values[0] < 1e-12 else "still rising"
    else:
        direction, shape = end.position, "not smooth"
    largest = np.abs(end.position).max()
    return InferenceError(
        "program",
        got=f"no maximum of its density: the best of {len(ends)} climbs ended at |z| = {largest:.3g}, log "
        f"density {end.value:.6g}, where it is {shape} along site {site_of(density, direction)!r}",
        expected="a posterior whose unconstrained density has a maximum",
        fix="The posterior may be improper (give flat priors a proper one), or pinch to a point as a "
        'scale goes to 0 (write it non-centred); method="nuts" needs no maximum.',
    )


@lru_cache(maxsize=64)
def _compile_value(graph: Graph, part: Part) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def value(z: jax.Array, inputs: Inputs) -> jax.Array:
        point = graph(inputs, z)
        return point.log_joint - point.log_base if part == "likelihood" else point.log_joint

    def value_and_gradient(inputs: Inputs, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(value)(z, inputs)

    return jit(value_and_gradient)


@lru_cache(maxsize=64)
def _compile_hessian(graph: Graph) -> Callable[..., jax.Array]:
    def log_density(z: jax.Array, inputs: Inputs) -> jax.Array:
        return graph(inputs, z).log_joint

    return jit(lambda inputs, z: jax.hessian(log_density)(z, inputs))
