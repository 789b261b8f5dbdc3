"""A guide that is given by name, fitted to a density on unconstrained space, and drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.findings import Finding
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.guides.adam import Climb, adam_loop, make_finite
from ppgen.inference.guides.guide import Guide, Pushed, Whitening, log_normal
from ppgen.inference.guides.objectives import Bound
from ppgen.inference.guides.recipe import GuideFit, Recipe, fit_guide
from ppgen.inference.guides.target import (
    Target,
    estimates,
    log_density_of,
    make_target,
    read_at,
    reshuffled,
    spread_of,
)
from ppgen.inference.guides.whitening import Local, find_locals, log_density_and_gradient, misses
from ppgen.inference.method import Request
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.subsampling import Minibatches

__all__ = [
    "FittedGuide",
    "GuideDraws",
    "GuideFunctions",
    "compile_steps",
    "draw_from",
    "draw_guide",
    "draw_keys",
    "fit_named",
    "restore_guide",
    "surrogate_of",
]

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

    def push(self, u: jax.Array) -> Pushed:
        """Bring noise ``u (dim,)`` to ``z (dim,)``, with log |det ∂z/∂u|."""
        y, log_det = self.guide.push(self.parameters, u)
        return Pushed(self.whitening.apply(y), log_det + self.whitening.log_det)

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """All but the family, as what is kept of a fit."""
        parts = {"parameters": self.parameters, **self.whitening._asdict()}
        return {prefix + name: np.asarray(part) for name, part in parts.items()}


def restore_guide(guide: Guide, arrays: Mapping[str, np.ndarray], prefix: str = "") -> FittedGuide:
    """A fitted guide from its arrays."""
    whitening = Whitening(*(arrays[prefix + name] for name in Whitening._fields))
    return FittedGuide(guide, arrays[f"{prefix}parameters"], whitening)


class GuideFunctions(NamedTuple):
    """The compiled functions that a fit calls.

    Attributes:
        steps: :func:`~ppgen.inference.guides.adam.adam_loop`, whose context is inputs and whitening.
        log_weights: of inputs, a :class:`FittedGuide` and noise ``(n, dim)``, log π(z) − log q(z) ``(n,)`` at
            the draws that the noise becomes.
    """

    steps: Callable[..., Any]
    log_weights: Callable[..., np.ndarray]


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
    functions: GuideFunctions | None = None,
) -> tuple[FittedGuide, GuideFit]:
    r"""Fit a guide to a density.

    The gradient is that of the path alone (arXiv:1703.09194, and for flows arXiv:2207.08219). What one
    wild draw can pull is bounded.

    Args:
        density: the target.
        guide: the family.
        recipe: the objective and how it is raised.
        samples: draws per step.
        restarts: how many fits, from different starts where the density has several that differ.
        seed: of everything.
        minibatches: the density on minibatches, for steps that are not to read all rows. The start of the
            fit is found with all of them.
        functions: what the fit calls; compiled for this density alone if not given. Functions that are given
            are called in one thread.

    Raises:
        InferenceError: if no finite log density, or no finite bound, is found.
        DataError: if an observation lies outside the support of its site.
    """
    target = make_target(density, minibatches)
    starts = _STARTS if minibatches is None else _STARTS_ON_MANY_ROWS
    with float64():
        local_key, run_key, common_key = jax.random.split(jax.random.key(seed), 3)
        locals_ = find_locals(density, local_key, max(starts, restarts), dense=guide.dense)
        chosen = _distinct_starts(locals_, restarts)
        noise = np.asarray(jax.random.normal(common_key, (_COMMON_DRAWS, density.dim)))
        at_once = 1
        if functions is None:
            at_once = concurrent_runs(density.graph.largest_matrix, samples)
            loop = compile_steps(target, guide, recipe.bound, samples)
            functions = GuideFunctions(loop, partial(_log_weights, density, target))
        steps, log_weights = functions

        def climb(whitening: Whitening, key: jax.Array) -> Climb:
            inputs = read_at(density, minibatches, whitening.location, seed)
            return Climb(
                start=lambda: guide.initial(jax.random.fold_in(key, 0)),
                loop=steps,
                context=lambda first: (reshuffled(inputs, jax.random.fold_in(key, first)), whitening),
                key=key,
                weigh=lambda parameters: log_weights(
                    inputs, FittedGuide(guide, parameters, whitening), noise
                ),
            )

        keys = jax.random.split(run_key, len(chosen))
        climbs = [climb(local.whitening, key) for local, key in zip(chosen, keys, strict=True)]
        fit = fit_guide(guide.name, climbs, recipe, at_once=at_once)
        fitted = FittedGuide(guide, fit.parameters, chosen[fit.best].whitening)
        elbo = float(make_finite(_log_weights(density, density.graph, density.inputs, fitted, noise)).mean())
        return fitted, replace(fit, findings=(*fit.findings, *_left_out(fitted, elbo, locals_)))


def draw_guide(density: Density, fitted: FittedGuide, request: Request, first: int) -> GuideDraws:
    """Draw from a fitted guide: in each chain, those from number ``first`` of its stream on."""
    with float64():
        noise = _compile_noise(density.dim)(draw_keys(request, first))  # (chain, draw, dim)
        z, log_q = draw_from(fitted, noise.reshape(-1, density.dim))
        lp, _ = log_density_and_gradient(density, z)
    shape = (request.chains, request.draws)
    return GuideDraws(z.reshape(*shape, -1), lp.reshape(shape), log_q.reshape(shape))


# -- where the runs start, and what they may have missed -----------------------------------------------------


def _distinct_starts(locals_: list[Local], restarts: int) -> list[Local]:
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


def _left_out(fitted: FittedGuide, elbo: float, locals_: list[Local]) -> Iterator[Finding]:
    """Whether starts found mass where the guide has none."""
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


# -- steps and weights ---------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def compile_steps(target: Target, guide: Guide, bound: Bound, samples: int) -> Callable[..., Any]:
    """The steps of a fit as one compiled loop; equal traced programs and guides share it."""
    return adam_loop(surrogate_of(target, guide, bound, samples))


def surrogate_of(target: Target, guide: Guide, bound: Bound, samples: int) -> Callable[..., jax.Array]:
    """A function of parameters, key, inputs and whitening whose gradient is that of the objective.

    Its value means nothing. The gradient is that of the path alone.
    """
    draws = bound.groups(samples) * bound.particles
    longest = _LONGEST_PULL * spread_of(target) * math.sqrt(guide.dim)

    def surrogate(parameters: jax.Array, key: jax.Array, inputs: Any, whitening: Whitening) -> jax.Array:
        fixed = jax.lax.stop_gradient(parameters)
        log_density = log_density_of(target, inputs, key)

        def one(u: jax.Array) -> Any:
            y, log_det = guide.push(fixed, u)
            lp, gradient = jax.value_and_grad(log_density)(whitening.apply(y))
            pull = whitening.pull(gradient) - guide.score(fixed, u)
            log_weight = lp + log_det + 0.5 * (u @ u)  # up to constants
            return log_weight, _bounded(pull, longest)

        noise = jax.random.normal(key, (draws, guide.dim))
        log_weights, pulls = jax.vmap(one)(noise)
        moving = jax.vmap(lambda u: guide.push(parameters, u).y)(noise)
        return jnp.sum(bound.coefficients(log_weights)[:, None] * pulls * moving)

    return surrogate


def _bounded(pull: jax.Array, longest: float) -> jax.Array:
    """The pull of one draw, no longer than a bound, and none where it is not finite."""
    finite = jnp.where(jnp.isfinite(pull).all(), pull, 0.0)
    return finite * jnp.minimum(1.0, longest / jnp.maximum(jnp.linalg.norm(finite), 1e-300))


def _log_weights(
    density: Density, target: Target, inputs: Any, fitted: FittedGuide, noise: np.ndarray
) -> np.ndarray:
    """log π(z) − log q(z) ``(n,)`` at the draws that noise ``(n, dim)`` becomes."""
    z, log_q = draw_from(fitted, noise)
    return estimates(density, target, inputs, z) - log_q


def draw_from(fitted: FittedGuide, noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """Draws ``(n, dim)`` that noise becomes, and log q of each."""
    z, log_q = _compile_draw(fitted.guide)(fitted.parameters, fitted.whitening, noise)
    return np.asarray(z), np.asarray(log_q)


@lru_cache(maxsize=64)
def _compile_draw(guide: Guide) -> Callable[..., Any]:
    def draw(parameters: jax.Array, whitening: Whitening, u: jax.Array) -> Any:
        z, log_det = FittedGuide(guide, parameters, whitening).push(u)
        return z, log_normal(u) - log_det

    return jit(jax.vmap(draw, in_axes=(None, None, 0)))


@lru_cache(maxsize=64)
def _compile_log_prob(guide: Guide) -> Callable[..., Any]:
    return jit(jax.vmap(guide.log_prob, in_axes=(None, 0)))


def draw_keys(request: Request, first: int) -> jax.Array:
    """A key for each of the draws ``(chain, draw)`` from number ``first`` of each chain's stream on."""
    chains = jax.random.split(jax.random.fold_in(jax.random.key(request.seed), 1), request.chains)
    return _fold_in(chains, first + jnp.arange(request.draws))


_fold_in = jax.jit(jax.vmap(jax.vmap(jax.random.fold_in, in_axes=(None, 0)), in_axes=(0, None)))


@lru_cache(maxsize=64)
def _compile_noise(dim: int) -> Callable[..., Any]:
    """Standard normal noise ``(chain, draw, dim)``, one vector per key."""
    return jit(jax.vmap(jax.vmap(lambda key: jax.random.normal(key, (dim,)))))
