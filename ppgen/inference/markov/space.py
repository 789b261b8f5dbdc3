"""The space of Markov chains: the program's unconstrained space, or another that maps to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ppgen.inference.batch import Batch
from ppgen.inference.log_densities import log_densities
from ppgen.program.density import Density
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["Space", "batch_space", "own_space"]


class Space(NamedTuple):
    """The density that the chains target, and the map back to the program.

    Attributes:
        density: the program's; of several data sets the first's.
        graph, inputs: the density in this space.
        to_program: from positions ``(chain, draw, dim)`` in this space to the program's unconstrained ones.
        state: the arrays needed to restore this space; empty for the program's own.
        how: a description of how this space was made.
        cites: keys of :mod:`ppgen.inference.citations` for it.
        varies: which of ``inputs.arrays`` are ``(chain, *shape)``, one of its own for each chain.
    """

    density: Density
    graph: Graph
    inputs: Inputs
    to_program: Callable[[np.ndarray], np.ndarray]
    state: Mapping[str, np.ndarray]
    how: str = ""
    cites: tuple[str, ...] = ()
    varies: tuple[bool, ...] = ()

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return self.density.dim

    def log_joint(self, positions: np.ndarray) -> np.ndarray:
        """The program's log density ``(chain, draw)`` at its own positions ``(chain, draw, dim)``."""
        flat = positions.reshape(-1, self.dim)
        return log_densities(self.density, flat).log_joint.reshape(positions.shape[:2])


def own_space(density: Density) -> Space:
    """The program's unconstrained space."""
    return Space(density, density.graph, density.inputs, _unmoved, {})


def batch_space(batch: Batch, chains: int) -> Space:
    """The unconstrained space of many data sets, for so many chains on each."""
    arrays = [
        jnp.repeat(array, chains, axis=0) if differs else array
        for array, differs in zip(batch.inputs.arrays, batch.varies, strict=True)
    ]
    inputs = batch.inputs._replace(arrays=arrays)
    return Space(batch.densities[0], batch.graph, inputs, _unmoved, {}, varies=batch.varies)


def _unmoved(positions: np.ndarray) -> np.ndarray:
    return positions
