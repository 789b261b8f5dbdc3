"""A guide that is given by name, fitted to a density on unconstrained space, and drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.findings import Finding
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.guides.adam import adam_loop, begin_adam
from ppgen.inference.guides.guide import Guide, Whitening
from ppgen.inference.guides.objectives import Objective, coefficients
from ppgen.inference.guides.recipe import CHUNK, Fit, Recipe, describe_ends, fit_guide
from ppgen.inference.guides.target import (
    MinibatchTarget,
    Target,
    estimates,
    log_density_of,
    read_at,
    reshuffled,
    spread_of,
)
from ppgen.inference.guides.whitening import Local, find_locals, log_density_and_gradient, misses
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.subsampling import Minibatches

__all__ = ["FittedGuide", "GuideDraws", "draw_guide", "fit_named"]

_STARTS = 8
_STARTS_ON_MANY_ROWS = 4  # each reads all of them some hundred times
_COMMON_DRAWS = 512
_LONGEST_PULL = 10.0  # of one draw, in roots of the dimension; it is of the order of 1 near the posterior


class FittedGuide(NamedTuple):
    """A guide with its parameters: a distribution on unconstrained space.

    Attributes:
        guide: the family.
        parameters: ``(p,)``.
        whitening: the affine map after it.
    """

    guide: Guide
    parameters: Any
    whitening: Whitening


class GuideDraws(NamedTuple):
    """Draws of a fitted guide: ``(chain, draw, dim)`` and, by each draw, log π and log q."""

    positions: np.ndarray
    lp: np.ndarray
    log_q: np.ndarray


def fit_named(
    density: Density,
    guide: Guide,
    recipe: Recipe,
    *,
    samples: int,
    restarts: int,
    seed: int,
    minibatches: Minibatches | None = None,
) -> tuple[FittedGuide, Fit]:
    r"""Fit a guide to a density.

    The gradient is that of the path alone (arXiv:1703.09194, and for flows arXiv:2207.08219). What one
    wild draw can pull is bounded.

    Args:
        density: the target.
        guide: the family.
        recipe: the objective and how it is raised.
        samples: draws a step.
        restarts: how many fits, from different starts where the density has several that differ.
        seed: of everything.
        minibatches: the density on minibatches, for steps that are not to read all rows. The start of the
            fit is found with all of them.

    Raises:
        InferenceError: if no finite log density, or no finite bound, is found.
        DataError: if an observation lies outside the support of its site.
    """
    target: Target = density.graph if minibatches is None else MinibatchTarget(minibatches.graph)
    starts = _STARTS if minibatches is None else _STARTS_ON_MANY_ROWS
    with float64():
        local_key, run_key, common_key = jax.random.split(jax.random.key(seed), 3)
        locals_ = find_locals(density, local_key, max(starts, restarts), dense=guide.dense)
        chosen = _distinct(locals_, restarts)
        compiled = _compile(target, guide, recipe.objective, samples)
        noise = np.asarray(jax.random.normal(common_key, (_COMMON_DRAWS, density.dim)))
        keys = jax.random.split(run_key, len(chosen))
        runs = [
            _Run(compiled, density, read_at(density, minibatches, at.location, seed), at, key, noise)
            for at, key in zip([local.whitening for local in chosen], keys, strict=True)
        ]
        best, ends, step_size = fit_guide(
            runs, recipe, at_once=concurrent_runs(density.graph.largest_matrix, samples)
        )
        whitening = chosen[best].whitening
        fitted = FittedGuide(guide, ends[best].parameters, whitening)
        values = _values(density, density.graph, density.inputs, fitted, noise)
        findings = (*describe_ends(best, ends, recipe), *_left_out(fitted, values, locals_))
    fit = Fit(
        guide=guide.name,
        objective=recipe.objective,
        parameters=ends[best].parameters,
        history=ends[best].history,
        step_size=step_size,
        restarts=tuple(end.bound for end in ends),
        converged=ends[best].converged,
        findings=findings,
    )
    return fitted, fit


def draw_guide(
    density: Density, fitted: FittedGuide, *, chains: int, draws: int, first: int, seed: int
) -> GuideDraws:
    """Draw from a fitted guide: in each chain, draws number ``first`` to ``first + draws`` of its stream."""
    with float64():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), chains)
        noise = _compile_noise(density.dim)(keys, first + jnp.arange(draws))  # (chain, draw, dim)
        pushed = _compile_push(fitted.guide)(fitted.parameters, noise.reshape(-1, density.dim))
        z = fitted.whitening.apply(np.asarray(pushed[0]))
        log_q = np.asarray(pushed[1]) - fitted.whitening.log_det
        lp, _ = log_density_and_gradient(density, z)
    shape = (chains, draws)
    return GuideDraws(z.reshape(*shape, -1), lp.reshape(shape), log_q.reshape(shape))


# -- where the runs start, and what they may have missed -----------------------------------------------------


def _distinct(locals_: list[Local], restarts: int) -> list[Local]:
    """The best start, and others: first those whose Gaussians the better ones leave out."""
    chosen = [locals_[0]]
    for local in locals_[1:]:
        if all(misses(local, _gaussian_log_q(other, local.draws), other.elbo) for other in chosen):
            chosen.append(local)
    return (chosen + [chosen[0]] * restarts)[:restarts]


def _gaussian_log_q(local: Local, z: np.ndarray) -> np.ndarray:
    whitening, dim = local.whitening, z.shape[1]
    y = np.asarray(whitening.invert(z))
    return -0.5 * (y**2).sum(1) - 0.5 * dim * np.log(2 * np.pi) - whitening.log_det


def _left_out(fitted: FittedGuide, log_weights: np.ndarray, locals_: list[Local]) -> Iterator[Finding]:
    """Whether starts found mass where the guide has none."""
    elbo = float(log_weights.mean())
    suspects = [local for local in locals_ if misses(local, _gaussian_log_q(locals_[0], local.draws), elbo)]
    suspects += [locals_[0]] if fitted.whitening is not locals_[0].whitening else []
    found = [local for local in suspects if misses(local, _log_q(fitted, local.draws), elbo)]
    if not found:
        return
    share = float(max(np.exp(min(local.elbo - elbo, 0.0)) for local in found))
    yield Finding(
        "several modes",
        "problem",
        f"{len(found)} of {len(locals_)} starts found a region with about {share:.1%} of the guide's mass or "
        "more, where the guide has hardly any: the posterior has several modes, or a shape that this guide "
        "cannot take.",
        "Take a richer guide (guide='nsf'), or method='smc' or 'nuts'.",
        {"starts": len(found), "share": share},
    )


def _log_q(fitted: FittedGuide, z: np.ndarray) -> np.ndarray:
    y = fitted.whitening.invert(z)
    return np.asarray(_compile_log_prob(fitted.guide)(fitted.parameters, y)) - fitted.whitening.log_det


# -- a run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Run:
    """One fit: :class:`ppgen.inference.variational.Run` for guides by name."""

    compiled: _Compiled
    density: Density
    inputs: Any
    whitening: Whitening
    key: jax.Array
    noise: np.ndarray

    def begin(self) -> Any:
        with float64():
            return begin_adam(self.compiled.guide.initial(jax.random.fold_in(self.key, 0)))

    def advance(self, state: Any, step_size: float, first: int) -> tuple[Any, np.ndarray, int]:
        with float64():
            context = (reshuffled(self.inputs, jax.random.fold_in(self.key, first)), self.whitening)
            state, mean, skipped = self.compiled.advance(context, state, step_size, self.key, 1 + first)
            return state, np.asarray(mean), int(skipped)

    def restart(self, state: Any, parameters: np.ndarray) -> Any:
        with float64():
            return jnp.asarray(parameters), state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        with float64():
            fitted = FittedGuide(self.compiled.guide, parameters, self.whitening)
            return _values(self.density, self.compiled.target, self.inputs, fitted, self.noise)


def _values(
    density: Density, target: Target, inputs: Any, fitted: FittedGuide, noise: np.ndarray
) -> np.ndarray:
    """Log weights of common draws; the few that are not finite count as the smallest of the others."""
    y, log_q = (np.asarray(part) for part in _compile_push(fitted.guide)(fitted.parameters, noise))
    lp = estimates(density, target, inputs, fitted.whitening.apply(y))
    log_weights = lp - log_q + fitted.whitening.log_det
    finite = np.isfinite(log_weights)
    if finite.mean() < 0.9:
        return np.full(len(noise), np.nan)
    return np.where(finite, log_weights, log_weights[finite].min())


@lru_cache(maxsize=64)
def _compile(target: Target, guide: Guide, objective: Objective, samples: int) -> _Compiled:
    """The optimisation for one traced program and guide; equal ones share it."""
    return _Compiled(target, guide, objective, samples)


class _Compiled:
    """Steps of a fit as one compiled loop."""

    def __init__(self, target: Target, guide: Guide, objective: Objective, samples: int) -> None:
        self.target = target
        self.guide = guide
        self.objective = objective
        # Whole groups of particles, whatever was asked for.
        self.samples = max(1, round(samples / objective.particles)) * objective.particles
        self.advance = adam_loop(self._surrogate, CHUNK)

    def _surrogate(
        self, parameters: jax.Array, key: jax.Array, inputs: Any, whitening: Whitening
    ) -> jax.Array:
        """A number whose gradient is that of the objective; its value means nothing."""
        fixed = jax.lax.stop_gradient(parameters)
        log_density = log_density_of(self.target, inputs, key)
        longest = _LONGEST_PULL * spread_of(self.target) * math.sqrt(self.guide.dim)

        def one(u: jax.Array) -> Any:
            y, log_det = self.guide.push(fixed, u)
            lp, gradient = jax.value_and_grad(log_density)(whitening.apply(y))
            pull = whitening.pull(gradient) - self.guide.score(fixed, u)
            log_weight = lp + log_det + 0.5 * (u @ u)  # up to constants
            return log_weight, _bounded(pull, longest)

        noise = jax.random.normal(key, (self.samples, self.guide.dim))
        log_weights, pulls = jax.vmap(one)(noise)
        counts = coefficients(self.objective, log_weights)
        moving = jax.vmap(lambda u: self.guide.push(parameters, u).y)(noise)
        return jnp.sum(counts[:, None] * pulls * moving)


def _bounded(pull: jax.Array, longest: float) -> jax.Array:
    """The pull of one draw, no longer than a bound, and none where it is not finite."""
    finite = jnp.where(jnp.isfinite(pull).all(), pull, 0.0)
    return finite * jnp.minimum(1.0, longest / jnp.maximum(jnp.linalg.norm(finite), 1e-300))


@lru_cache(maxsize=64)
def _compile_push(guide: Guide) -> Callable[..., Any]:
    """From noise ``(n, dim)`` to y and log q(y)."""

    def push(parameters: jax.Array, u: jax.Array) -> Any:
        y, log_det = guide.push(parameters, u)
        return y, -0.5 * (u @ u) - 0.5 * len(u) * jnp.log(2 * jnp.pi) - log_det

    return jit(jax.vmap(push, in_axes=(None, 0)))


@lru_cache(maxsize=64)
def _compile_log_prob(guide: Guide) -> Callable[..., Any]:
    return jit(jax.vmap(guide.log_prob, in_axes=(None, 0)))


@lru_cache(maxsize=64)
def _compile_noise(dim: int) -> Callable[..., Any]:
    """Standard normal noise ``(chain, draw, dim)``, each draw with a key of its own number."""

    def one(key: jax.Array, number: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, number), (dim,))

    return jit(jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None)))
