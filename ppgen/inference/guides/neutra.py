r"""A posterior in the space of a fitted flow, where it is easy to sample.

Hoffman, Sountsov, Dillon, Langmore, Tran and Vasudevan, *NeuTra-lizing Bad Geometry in Hamiltonian Monte
Carlo Using Neural Transport*, 2019, arXiv:1903.03704.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference.guides.catalog import make_guide
from ppgen.inference.guides.guide import Whitening
from ppgen.inference.guides.named import FittedGuide, draw_from, fit_named, restore_guide
from ppgen.inference.guides.objectives import Bound
from ppgen.inference.guides.recipe import GuideFit, Recipe
from ppgen.inference.markov.space import Space
from ppgen.inference.method import Request
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.graph import Graph, Inputs, trace

__all__ = ["Moved", "Transform", "fit_transform", "guide_space", "make_transform"]


class Moved(NamedTuple):
    """The values of a transformed density at one point."""

    log_joint: jax.Array


@dataclass(frozen=True, eq=False)
class Transform:
    r"""A density in the space of a fitted guide :math:`z = f(w)`.

    Attributes:
        graph: ``(inputs, w) -> Moved``, whose ``log_joint`` is :math:`\log \pi(f(w)) + \log |\det f'(w)|`.
        inputs: the arrays that it reads: the program's and the guide's.
        dim: the length of w.
        fitted: the guide.
        fit: how it was fitted; ``None`` if it was not fitted here.
    """

    graph: Graph
    inputs: Inputs
    dim: int
    fitted: FittedGuide
    fit: GuideFit | None = None

    def to_program(self, positions: np.ndarray) -> np.ndarray:
        """Positions ``(chain, draw, dim)`` in the program's unconstrained space, from the guide's."""
        flat = positions.reshape(-1, self.dim)
        with float64():
            return draw_from(self.fitted, flat)[0].reshape(positions.shape)


def fit_transform(
    density: Density,
    guide: str,
    request: Request,
    *,
    samples: int = 32,
    restarts: int = 1,
    max_steps: int = 10_000,
    sizes: Mapping[str, Any] | None = None,
) -> Transform:
    """Fit a guide to a density, and move the density into the guide's space.

    Args:
        density: the program's.
        guide: the name of a guide, such as ``"nsf"``.
        request: its seed is used.
        samples: draws a step of the fit.
        restarts: how many fits; the best is kept.
        max_steps: the most steps of a fit; a flow that has not converged is still a valid map.
        sizes: of the guide; see :func:`ppgen.inference.guides.make_guide`.

    Raises:
        UnknownName: if there is no such guide.
        InferenceError: if no finite log density, or no finite bound, is found.
        DataError: if an observation lies outside the support of its site.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from ppgen.program import read_density
        >>> def funnel():
        ...     scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
        ...     numpyro.sample("x", dist.Normal(0.0, scale))
        >>> density = read_density(funnel, {})
        >>> moved = fit_transform(density, "mean_field", Request(100, 100, 4, seed=0, progress=False))
        >>> moved.to_program(np.zeros((4, 10, 2))).shape
        (4, 10, 2)
    """
    recipe = Recipe(Bound("elbo", 1, 0.0), None, max_steps, 0.002)
    family = make_guide(guide, density.dim, sizes or {})
    fitted, fit = fit_named(density, family, recipe, samples=samples, restarts=restarts, seed=request.seed)
    return make_transform(density, fitted, fit)


def make_transform(density: Density, fitted: FittedGuide, fit: GuideFit | None = None) -> Transform:
    """Move a density into the space of a fitted guide."""
    program = [*density.inputs.constants, *density.inputs.arrays]
    own = [fitted.parameters, *fitted.whitening]
    size = len(density.inputs.constants)

    def moved(arrays: list[Any], w: jax.Array) -> Moved:
        given, (parameters, *whitening) = arrays[: len(program)], arrays[len(program) :]
        z, log_det = FittedGuide(fitted.guide, parameters, Whitening(*whitening)).push(w)
        return Moved(density.graph(Inputs(given[:size], given[size:]), z).log_joint + log_det)

    with float64():
        arrays = [jnp.asarray(array) for array in (*program, *own)]
        graph, inputs = trace(moved, arrays, jnp.zeros(density.dim))
    return Transform(graph, inputs, density.dim, fitted, fit)


def guide_space(
    density: Density, guide: str, request: Request, state: Mapping[str, np.ndarray] | None = None
) -> Space:
    """The space of a guide (arXiv:1903.03704): fitted now, or made again from an earlier one's ``state``."""
    if state is None:
        moved = fit_transform(density, guide, request)
    else:
        fitted = restore_guide(make_guide(guide, density.dim, {}), state, "guide_")
        moved = make_transform(density, fitted)
    return Space(
        density,
        moved.graph,
        moved.inputs,
        moved.to_program,
        moved.fitted.arrays("guide_"),
        f"The chains moved in the space of a {guide} guide that was fitted first (NeuTra).",
        ("neutra", *moved.fitted.guide.cites),
    )
