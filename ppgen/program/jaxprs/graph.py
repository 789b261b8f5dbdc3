"""A traced JAX function that knows when another one is the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun, subjaxprs

from ppgen.program.jaxprs.rolling import roll

__all__ = ["Graph", "Inputs", "trace"]

_LAPACK = frozenset(
    (
        "cholesky",
        "triangular_solve",
        "lu",
        "qr",
        "geqrf",
        "householder_product",
        "svd",
        "eigh",
        "eig",
    )
)


class Inputs(NamedTuple):
    """The arrays that a graph reads.

    Attributes:
        constants: what the traced function closed over.
        arrays: what it was given.
    """

    constants: list[jax.Array]
    arrays: list[jax.Array]


@dataclass(frozen=True)
class Graph:
    """A pure function as a list of operations, without the arrays that it reads.

    Two graphs are equal when they do the same operations on the same shapes and dtypes. What is
    compiled for one therefore serves every equal one: the same program on new data of the same
    shapes, or the same function defined again in a notebook.

    Attributes:
        text: the operations, printed; this is the identity.
    """

    text: str
    jaxpr: Jaxpr = field(compare=False, repr=False)
    structure: Any = field(compare=False, repr=False)

    @cached_property
    def largest_matrix(self) -> int:
        """The longest side of the matrices that are factored or solved; 0 if none is."""
        return max(_matrices(self.jaxpr), default=0)

    def __call__(self, inputs: Inputs, *args: Any) -> Any:
        """Run the operations on inputs and arguments of the same shapes."""
        run = jaxpr_as_fun(ClosedJaxpr(self.jaxpr, inputs.constants))
        return jax.tree.unflatten(self.structure, run(*inputs.arrays, *jax.tree.leaves(args)))


def _matrices(jaxpr: Jaxpr) -> Iterator[int]:
    """The longest side of what each call of LAPACK reads, loops and branches included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in _LAPACK:
            shapes: list[tuple[int, ...]] = [getattr(atom.aval, "shape", ()) for atom in equation.invars]
            yield max(size for shape in shapes for size in shape[-2:])
    for inner in subjaxprs(jaxpr):
        yield from _matrices(inner)


def trace(function: Callable[..., Any], arrays: list[Any], *args: Any) -> tuple[Graph, Inputs]:
    """Record what ``function(arrays, *args)`` does, apart from the arrays that it reads.

    Loops that Python unrolled are rolled up again: :func:`~ppgen.program.jaxprs.rolling.roll`.

    Example:
        >>> import jax.numpy as jnp
        >>> shift = jnp.ones(3)
        >>> graph, inputs = trace(lambda arrays, x: arrays[0] * x + shift, [jnp.ones(3)], jnp.zeros(3))
        >>> graph(inputs._replace(constants=[2 * shift]), jnp.zeros(3))
        Array([2., 2., 2.], dtype=float32)
        >>> again, _ = trace(lambda xs, y: xs[0] * y + 5 * shift, [jnp.ones(3)], jnp.zeros(3))
        >>> graph == again
        False
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(arrays, *args)
    closed, structure = roll(closed), jax.tree.structure(shapes)
    # Some operations print the memory address of a Python function; it is irrelevant to what they do.
    operations = re.sub(r" at 0x[0-9a-f]+", "", str(closed.jaxpr))
    graph = Graph(f"{operations}\n{structure}", closed.jaxpr, structure)
    return graph, Inputs(list(closed.consts), [jax.numpy.asarray(array) for array in arrays])
