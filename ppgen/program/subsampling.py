"""Plates that subsample: which rows a program reads of them is an input of its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import ProgramError
from ppgen.program.jaxprs.graph import Graph, Inputs

__all__ = [
    "MinibatchGraph",
    "Minibatches",
    "Subsampled",
    "check_subsample",
    "first_rows",
    "read_in_full",
    "take_rows",
]

_ROWS = "rows of plate "  # no argument of a Python function can have such a name


@dataclass(frozen=True)
class Subsampled:
    """A plate that subsamples: its name, its size, and how many of its rows a minibatch has."""

    name: str
    size: int
    rows: int


@dataclass(frozen=True)
class MinibatchGraph:
    """A program on a minibatch, as operations without arrays; equal for equal operations.

    Attributes:
        graph: the traced program; the last of its input arrays are the rows that it reads.
        plates: the plates that those are rows of.
    """

    graph: Graph
    plates: tuple[Subsampled, ...]

    def __call__(self, inputs: Inputs, rows: Sequence[Any], z: Any) -> Any:
        """What the program says at ``z (dim,)`` of these rows of each plate, the plates' scale included."""
        data = inputs.arrays[: len(inputs.arrays) - len(self.plates)]
        given = [jnp.asarray(numbers, float) for numbers in rows]
        return self.graph(Inputs(inputs.constants, [*data, *given]), z)


@dataclass(frozen=True, eq=False)
class Minibatches:
    r"""A program's density, estimated from random minibatches of the rows of its plates.

    .. math:: \log \hat\pi_B(z) = \log p(z) + \frac{n}{m} \sum_{i \in B} \log p(y_i \mid z), \qquad
              \mathrm{E}_B \log \hat\pi_B(z) = \log \pi(z)

    Attributes:
        graph: the program on a minibatch.
        inputs: the arrays that it reads.

    References:
        Hoffman, Blei, Wang and Paisley, *Stochastic Variational Inference*, arXiv:1206.7051.
    """

    graph: MinibatchGraph
    inputs: Inputs

    @property
    def plates(self) -> tuple[Subsampled, ...]:
        """The plates that subsample."""
        return self.graph.plates

    def evaluate(self, rows: Mapping[str, Any], z: Any) -> Any:
        """Everything that the program says at ``z (dim,)`` of these rows, by plate."""
        with jax.enable_x64(True):
            given = [np.asarray(rows[plate.name]) for plate in self.plates]
            return self.graph(self.inputs, given, jnp.asarray(z, jnp.float64))

    def log_prob(self, rows: Mapping[str, Any], z: Any) -> jax.Array:
        """The estimate of the unconstrained log joint at ``z (dim,)`` from these rows."""
        return self.evaluate(rows, z).log_joint


def check_subsample(name: str, size: int, subsample_size: Any) -> Subsampled:
    """A plate's minibatch, if it can have one of that size.

    Raises:
        ProgramError: naming the plate.

    Example:
        >>> check_subsample("rows", 10, 20)
        Traceback (most recent call last):
        ppgen.errors.ProgramError: plate 'rows': got subsample_size=20, expected from 1 to its size, 10. ...
    """
    if not 1 <= int(subsample_size) <= size:
        raise ProgramError(
            f"plate {name!r}",
            got=f"subsample_size={subsample_size}",
            expected=f"from 1 to its size, {size}",
            fix=f"Write subsample_size={max(1, size // 10)}, or leave it out.",
        )
    return Subsampled(name, size, int(subsample_size))


def first_rows(plates: Sequence[Subsampled]) -> dict[str, np.ndarray]:
    """Rows to read a program with, as further data.

    They are floats: numbers of integers may be needed by Python, those of floats are an input of a graph
    in every way of tracing that has inputs.
    """
    return {_ROWS + plate.name: np.arange(plate.rows, dtype=float) for plate in plates}


def take_rows(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split data from the rows of plates that :func:`first_rows` gave it, by plate."""
    rows = {name.removeprefix(_ROWS): value for name, value in data.items() if name.startswith(_ROWS)}
    return {name: value for name, value in data.items() if not name.startswith(_ROWS)}, rows


@contextmanager
def read_in_full(found: Mapping[str, Subsampled]) -> Iterator[None]:
    """Say which plates were read in full, where a program fails: it may not index its data by them."""
    try:
        yield
    except ProgramError as error:
        if not found or error.argument.startswith("plate"):
            raise
        plates = ", ".join(
            f"{plate.name!r} ({plate.size} rows, not {plate.rows})" for plate in found.values()
        )
        raise type(error)(
            error.argument,
            got=error.got,
            expected=error.expected,
            fix=f"{error.fix} A posterior is that of all rows, and subsampling plates were read in full: "
            f"{plates}. Index the data by them: y[rows], or subsample(y, event_dim=0).",
        ) from error
