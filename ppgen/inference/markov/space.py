"""The space that Markov chains move in: the program's unconstrained one, or another that maps to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ppgen.inference.log_densities import log_densities
from ppgen.program.density import Density
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = ["Space", "own_space"]


class Space(NamedTuple):
    """A density as the chains see it, and the way back to the program.

    Attributes:
        density: the program's.
        graph, inputs: the density in this space.
        to_program: from positions ``(chain, draw, dim)`` in this space to the program's unconstrained ones.
        state: the arrays that it takes to make this space again; empty for the program's own.
        how: how this space came about, in words.
        cites: keys of :mod:`ppgen.inference.citations` for it.
    """

    density: Density
    graph: Graph
    inputs: Inputs
    to_program: Callable[[np.ndarray], np.ndarray]
    state: Mapping[str, np.ndarray]
    how: str = ""
    cites: tuple[str, ...] = ()

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
    return Space(density, density.graph, density.inputs, lambda positions: positions, {})
