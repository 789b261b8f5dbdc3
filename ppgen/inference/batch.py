"""Fitting many data sets of one program together: the interface for methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from ppgen.errors import DataError, InferenceError, PpgenError
from ppgen.inference.method import Drawn, Method, Request
from ppgen.program.density import Density, float64
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = [
    "Batch",
    "BatchMethod",
    "Batching",
    "data_axes",
    "draw_or_error",
    "make_batch",
    "one_by_one",
    "select_inputs",
]


class Batch(NamedTuple):
    """Data sets of one program, whose densities are one graph with different arrays.

    Attributes:
        densities: one per data set.
        inputs: what the graph reads; the arrays that differ are ``(data set, *shape)``.
        varies: which of ``inputs.arrays`` differ between data sets.
    """

    densities: tuple[Density, ...]
    inputs: Inputs
    varies: tuple[bool, ...]

    @property
    def graph(self) -> Graph:
        """The graph of all densities."""
        return self.densities[0].graph

    @property
    def dim(self) -> int:
        """The number of unconstrained dimensions."""
        return self.densities[0].dim


def make_batch(densities: Sequence[Density], places: Sequence[int]) -> Batch:
    """Densities that differ only in some input arrays."""
    first = densities[0].inputs
    varies = tuple(place in places for place in range(len(first.arrays)))
    arrays = list(first.arrays)
    with float64():
        for place in places:  # stacked by NumPy: JAX would compile a function of so many arrays
            arrays[place] = jnp.asarray(np.stack([density.inputs.arrays[place] for density in densities]))
    return Batch(tuple(densities), first._replace(arrays=arrays), varies)


def data_axes(varies: Sequence[bool]) -> Any:
    """The ``in_axes`` of inputs by which ``jax.vmap`` gives each data set its own arrays."""
    constants: Any = None
    arrays: Any = [0 if differs else None for differs in varies]
    return Inputs(constants, arrays) if any(varies) else None


def select_inputs(inputs: Inputs, varies: Sequence[bool], place: Any) -> Inputs:
    """The inputs of one data set of a batch, by its number."""
    arrays = [
        array[place] if differs else array for array, differs in zip(inputs.arrays, varies, strict=True)
    ]
    return inputs._replace(arrays=arrays)


class Batching(NamedTuple):
    """How a method draws from many data sets.

    Attributes:
        size: how many data sets at a time; 1 for one after another.
        at_once: how many such batches may run at once, in threads.
        how: that as a sentence.
    """

    size: int
    at_once: int
    how: str


def one_by_one(reason: str) -> Batching:
    """One data set after another, each by ``draw``, which uses the cores itself."""
    return Batching(1, 1, f"One data set after another: {reason}.")


@runtime_checkable
class BatchMethod(Protocol):
    """A method that can draw for many data sets together, faster than one after another."""

    def batching(self, density: Density, request: Request) -> Batching:
        """How it would draw, given one of the densities and what each is asked for."""
        ...

    def draw_many(self, batch: Batch, requests: Sequence[Request]) -> list[Drawn | PpgenError]:
        """Draw for every data set, or return the error; requests differ only in their seeds."""
        ...


def draw_or_error(method: Method, density: Density, request: Request) -> Drawn | PpgenError:
    """Draw for one data set; errors caused by the data are returned in place of draws."""
    try:
        return method.draw(density, request)
    except (InferenceError, DataError) as error:
        return error
