"""The space that Markov chains move in: the program's unconstrained one, or that of a guide fitted to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Request
from ppgen.program.density import Density
from ppgen.program.graph import Graph, Inputs

__all__ = ["Space", "guide_space", "own_space"]


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


def guide_space(
    density: Density, guide: str, request: Request, state: Mapping[str, np.ndarray] | None = None
) -> Space:
    """The space of a guide (arXiv:1903.03704): fitted now, or made again from an earlier one's ``state``."""
    from ppgen.inference.guide_fit import FittedGuide  # flows take a second to import
    from ppgen.inference.guides.guide import Whitening, make_guide
    from ppgen.inference.neutra import fit_transform, make_transform

    if state is None:
        moved = fit_transform(density, guide, request)
    else:
        whitening = Whitening(*(state[f"guide_{name}"] for name in Whitening._fields))
        fitted = FittedGuide(make_guide(guide, density.dim, {}), state["guide_parameters"], whitening)
        moved = make_transform(density, fitted)
    kept = {"guide_parameters": np.asarray(moved.fitted.parameters)}
    kept |= {f"guide_{name}": np.asarray(array) for name, array in moved.fitted.whitening._asdict().items()}
    return Space(
        density,
        moved.graph,
        moved.inputs,
        moved.to_program,
        kept,
        f"The chains moved in the space of a {guide} guide that was fitted first (NeuTra).",
        ("neutra", *moved.fitted.guide.cites),
    )
