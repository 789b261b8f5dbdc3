"""The one thing that a posterior method needs from a program: its unconstrained log density."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ppgen.program.family import Engine, Program
from ppgen.program.jaxprs.graph import Graph, Inputs
from ppgen.program.sites import Site
from ppgen.program.subsampling import Minibatches

__all__ = ["Density", "DrawDiscrete", "Evaluation", "Latent", "float64", "lay_out"]


def float64() -> Any:
    """Posterior inference runs in double precision, inside this context and nowhere else."""
    return jax.enable_x64(True)


class Evaluation(NamedTuple):
    """What a program says at one point of unconstrained space.

    Finite discrete latents are marginalised in all of it.

    Attributes:
        log_joint: the log density of the unconstrained point, the Jacobian included.
        log_base: the part of it that is a normalised density, that of the latent sites alone, if all
            of their priors are proper; scales do not count here.
        values: the continuous latent sites in their own supports.
        deterministics: the deterministic sites, without those that depend on a discrete latent.
        log_prior: each continuous latent site's log density, one entry a batch element.
        log_likelihood: each observed site's log density, one entry an observation. Where discrete latents
            tie several entries or sites together, it is one number for all that are tied, under a name of
            its own: ``y_marginal``, ``x+y_marginal``. So it is with ``log_prior``.
        observed: the observations themselves, by observed site.
        in_support: for each observed site, whether every observation lies in the support.
    """

    log_joint: jax.Array
    log_base: jax.Array
    values: dict[str, jax.Array]
    deterministics: dict[str, jax.Array]
    log_prior: dict[str, jax.Array]
    log_likelihood: dict[str, jax.Array]
    observed: dict[str, jax.Array]
    in_support: dict[str, jax.Array]


@runtime_checkable
class DrawDiscrete(Protocol):
    """Draws the discrete latent sites at points of the continuous ones."""

    def __call__(self, seed: int, positions: np.ndarray, *, given_data: bool = True) -> dict[str, np.ndarray]:
        """Each discrete site as ``(n, *shape)``, at ``positions (n, dim)``."""
        ...


@dataclass(frozen=True)
class Latent:
    """Where a latent site lies in the unconstrained vector.

    Attributes:
        name: the site's name.
        shape: the shape of its unconstrained value.
        start, stop: its slice of the vector.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


def lay_out(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Latent, ...]:
    """One slice of the unconstrained vector a latent site, in the order of the program."""
    latents: list[Latent] = []
    start = 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        latents.append(Latent(name, shape, start, stop))
        start = stop
    return tuple(latents)


@dataclass(frozen=True, eq=False)
class Density:
    r"""A program's posterior density on unconstrained space, up to its normalising constant.

    .. math:: \log \pi(z) = \log p(y \mid x(z)) + \log p(x(z)) + \log |\det \partial x / \partial z|

    Every method is a pure JAX function of the vector ``z (dim,)``, in double precision. Nothing in
    here depends on the language the program was written in. Finite discrete latents are marginalised in
    the density: :math:`x` is continuous.

    Attributes:
        engine: the language of the program.
        program, data: what the density was read from.
        sites: what the program samples, observes and computes.
        latents: the layout of ``z``.
        graph: the traced program, ``(inputs, z) -> Evaluation``; equal for equal operations.
        inputs: the arrays that the graph reads: data and what the program closed over.
        invert: from latent values to ``z``.
        simulate: from a seed and ``n`` values of each latent site, discrete ones too, to ``n`` fresh values
            of each observed one; sites that are left out are drawn. Arguments of the program that are given
            last take the place of the data.
        draw_prior: from a seed and a number ``n`` to ``z (n, dim)``, drawn from the latent sites' priors.
        infer_discrete: from a seed and ``z (n, dim)`` to ``n`` values of each discrete latent site, drawn
            jointly from their exact posterior given ``z``; with ``given_data=False`` from their law given
            ``z`` alone.
        in_minibatches: reads the same density once more, on minibatches of rows; ``None`` where no plate of
            the program subsamples. All else here is about all rows: subsampling plates are read in full.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from ppgen.program import read_density
        >>> def program(y):
        ...     scale = numpyro.sample("scale", dist.Exponential(1.0))
        ...     numpyro.sample("y", dist.Normal(0.0, scale), obs=y)
        >>> density = read_density(program, {"y": 0.5})
        >>> z = density.unconstrain({"scale": 2.0})           # z = log 2
        >>> print(round(float(density.log_prob(z)), 6))       # log N(0.5; 0, 2) + log Exp(2; 1) + log 2
        -2.950189
    """

    engine: Engine
    program: Program
    data: Mapping[str, Any]
    sites: tuple[Site, ...]
    latents: tuple[Latent, ...]
    graph: Graph
    inputs: Inputs
    invert: Callable[[dict[str, jax.Array]], jax.Array]
    simulate: Callable[..., dict[str, np.ndarray]]
    draw_prior: Callable[[int, int], np.ndarray]
    infer_discrete: DrawDiscrete
    in_minibatches: Callable[[], Minibatches] | None = None

    def without_minibatches(self) -> Density:
        """The same density, for methods that are to read all rows at every step."""
        return replace(self, in_minibatches=None)

    @property
    def dim(self) -> int:
        """The length of the unconstrained vector."""
        return self.latents[-1].stop

    def evaluate(self, z: ArrayLike) -> Evaluation:
        """Everything that the program says at ``z (dim,)``."""
        with float64():
            return self.graph(self.inputs, jnp.asarray(z, jnp.float64))

    def log_prob(self, z: ArrayLike) -> jax.Array:
        """The unconstrained log joint at ``z (dim,)``, in nats."""
        return self.evaluate(z).log_joint

    def constrain(self, z: ArrayLike) -> dict[str, jax.Array]:
        """The latent sites in their own supports, and the deterministic sites, at ``z (dim,)``."""
        point = self.evaluate(z)
        return point.values | point.deterministics

    def unconstrain(self, values: Mapping[str, Any]) -> jax.Array:
        """The point ``z (dim,)`` at which the latent sites have these values."""
        with float64():
            return self.invert(
                {latent.name: jnp.asarray(values[latent.name], float) for latent in self.latents}
            )

    def log_likelihood(self, z: ArrayLike) -> dict[str, jax.Array]:
        """The log density of each observation, by observed site."""
        return self.evaluate(z).log_likelihood

    def log_prior(self, z: ArrayLike) -> dict[str, jax.Array]:
        """The log prior density of each latent site, in its own support (no Jacobian)."""
        return self.evaluate(z).log_prior
