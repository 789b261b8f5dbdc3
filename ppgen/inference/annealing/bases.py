"""Starting densities of a path to the posterior: the prior, or heavy tails around its modes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from ppgen.errors import InferenceError, UnsupportedProgram
from ppgen.inference.annealing.tempering import BLOCK, Pair
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.method import Request
from ppgen.inference.optimum import find_modes
from ppgen.inference.pathfinder import Pathfinder
from ppgen.program.density import Density
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["BASES", "Base", "Beginning", "FromPrior", "begin_with"]

Base = Literal["auto", "prior", "laplace", "pathfinder"]
BASES = ("auto", "prior", "laplace", "pathfinder")

_DEGREES = 5.0  # of freedom of the Student t: tails heavier than a posterior's, with a variance
_WIDEN = 1.2


class Beginning(NamedTuple):
    """The start of a path to the posterior.

    Attributes:
        pair: the density that the path begins with, and the posterior.
        inputs: what they read.
        positions: draws of the first ``(n, dim)``.
        how: what it is, as a sentence; empty for the prior.
        at_once: how many threads may share the particles.
    """

    pair: Pair
    inputs: Any
    positions: np.ndarray
    how: str
    at_once: int


def begin_with(density: Density, base: Base, n: int, seed: int) -> Beginning:
    """Draw ``n`` particles from the start of the path.

    ``"laplace"`` is a mixture of multivariate Student t distributions at the modes found from 16 starts, with
    the covariances there; ``"pathfinder"`` is one with the mean and covariance of Pathfinder's draws;
    ``"auto"`` is the prior if it is proper, else the first of the two that can be found.

    Raises:
        UnsupportedProgram: if a prior is improper, and ``base`` is ``"prior"``.
        InferenceError: if no mode is found.
    """
    if base in ("auto", "prior"):
        try:
            positions = density.draw_prior(seed, n)
        except UnsupportedProgram:
            if base == "prior":
                raise
        else:
            return Beginning(FromPrior(density.graph), density.inputs, positions, "", _threads(density))
    try:
        mixture = _around_draws(density, seed) if base == "pathfinder" else _around_modes(density, seed)
        place = f"the {len(mixture.shares)} modes that were found" if len(mixture.shares) > 1 else "the mode"
    except InferenceError:
        if base != "auto":
            raise
        mixture, place = _around_draws(density, seed), "Pathfinder's draws"
    how = f"The path begins with a Student t around {place}, not with the prior"
    how += ": a mode far from there would be missed" + (
        ", and with a flat prior the log evidence has an arbitrary constant." if base == "auto" else "."
    )
    pair = _FromMixture(density.graph)
    threads = _threads(density, len(mixture.shares))
    return Beginning(pair, (density.inputs, mixture), mixture.draw(n, seed), how, threads)


def _threads(density: Density, matrices: int = 1) -> int:
    """How many threads may move particles, given the sizes of the matrices involved."""
    alike = matrices * -(-BLOCK // density.dim)  # one solution for all particles of a block
    return min(concurrent_runs(density.graph.largest_matrix, BLOCK), concurrent_runs(density.dim, alike))


@dataclass(frozen=True)
class FromPrior:
    """From the prior to the posterior; reads the program's inputs."""

    graph: Graph

    def __call__(self, inputs: Inputs, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The log densities of prior and posterior at ``z (dim,)``."""
        point = self.graph(inputs, z)
        return point.log_base, point.log_joint


@dataclass(frozen=True)
class _FromMixture:
    """From a mixture of Student t to the posterior; reads the program's inputs, and the mixture."""

    graph: Graph

    def __call__(self, inputs: tuple[Inputs, _Mixture], z: jax.Array) -> tuple[jax.Array, jax.Array]:
        program, mixture = inputs
        return mixture.log_density(z), self.graph(program, z).log_joint


class _Mixture(NamedTuple):
    """A mixture of multivariate Student t.

    Attributes:
        shares: ``(k,)``, which sum to 1.
        locations: ``(k, dim)``.
        factors: ``(k, dim, dim)``, lower triangular: Cholesky factors of the scale matrices.
    """

    shares: np.ndarray
    locations: np.ndarray
    factors: np.ndarray

    def log_density(self, z: jax.Array) -> jax.Array:
        """The log density at ``z (dim,)``, in JAX."""
        dim = z.shape[0]

        def one(location: Any, factor: Any) -> jax.Array:
            scaled = jax.scipy.linalg.solve_triangular(factor, z - location, lower=True)
            return (
                gammaln((_DEGREES + dim) / 2)
                - gammaln(_DEGREES / 2)
                - dim / 2 * math.log(_DEGREES * math.pi)
                - jnp.log(jnp.diag(factor)).sum()
                - (_DEGREES + dim) / 2 * jnp.log1p(jnp.square(scaled).sum() / _DEGREES)
            )

        return logsumexp(jax.vmap(one)(self.locations, self.factors), b=self.shares)

    def draw(self, n: int, seed: int) -> np.ndarray:
        """Draws ``(n, dim)``."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.shares), size=n, p=self.shares)
        noise = rng.normal(size=(n, self.locations.shape[1]))
        stretch = np.sqrt(_DEGREES / rng.chisquare(_DEGREES, size=(n, 1)))
        return self.locations[which] + stretch * np.einsum("nij,nj->ni", self.factors[which], noise)


def _around_modes(density: Density, seed: int) -> _Mixture:
    modes = find_modes(density, seed, starts=16)
    mass = np.exp([mode.log_mass - modes[0].log_mass for mode in modes])
    modes = [mode for mode, relative in zip(modes, mass, strict=True) if relative > 1e-6]
    # Half of the particles by the modes' estimated masses, half evenly, as the estimates may be far off.
    mass = mass[: len(modes)] / mass[: len(modes)].sum()  # the heaviest come first
    shares = 0.5 * mass + 0.5 / len(modes)
    factors = [_WIDEN * np.linalg.cholesky(np.linalg.inv(mode.precision)) for mode in modes]
    return _Mixture(shares, np.stack([mode.position for mode in modes]), np.stack(factors))


def _around_draws(density: Density, seed: int) -> _Mixture:
    request = Request(draws=1000, tune=0, chains=1, seed=seed, progress=False)
    gaussians = Pathfinder().draw(density, request).fit.gaussians
    best = max(gaussians, key=lambda one: one.elbo)
    draws = best.draw(np.random.default_rng(seed), max(1000, 20 * density.dim))
    covariance = np.cov(draws.T).reshape(density.dim, density.dim)
    return _Mixture(np.ones(1), draws.mean(0)[None], _WIDEN * np.linalg.cholesky(covariance)[None])
