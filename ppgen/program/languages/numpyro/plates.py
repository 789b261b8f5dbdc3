"""NumPyro's subsampling plates, read in full or at given rows instead of at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from ppgen.program.family import Program
from ppgen.program.subsampling import Subsampled, check_subsample, take_rows

__all__ = ["ReadPlates", "at_given_rows"]


class ReadPlates(numpyro.primitives.Messenger):
    """Runs a program with the rows of its subsampling plates chosen, all of them unless others are given.

    Args:
        program: the program.
        rows: the rows to read, by plate.
        found: takes in the plates that subsample and have no rows given.
    """

    def __init__(
        self,
        program: Program | None = None,
        rows: Mapping[str, Any] | None = None,
        found: dict[str, Subsampled] | None = None,
    ) -> None:
        self.rows = {} if rows is None else rows
        self.found = {} if found is None else found
        super().__init__(program)

    def process_message(self, msg: Any) -> None:
        """Choose the rows of a plate before NumPyro does."""
        if msg["type"] != "plate" or msg["value"] is not None:
            return
        name, (size, subsample_size) = msg["name"], msg["args"]
        plate = check_subsample(name, size, subsample_size)
        if name in self.rows:
            msg["value"] = jnp.asarray(self.rows[name], int)
        else:
            self.found[name] = plate
            with jax.ensure_compile_time_eval():  # a NumPy array can be indexed by known rows alone
                msg["args"], msg["value"] = (size, None), jnp.arange(size)


def at_given_rows(program: Program) -> Program:
    """A program that reads its plates at the rows that are among its data; see ``first_rows``."""

    def read(**data: Any) -> Any:
        arguments, rows = take_rows(data)
        constants = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
        indexable = {name: value.view(_Indexable) for name, value in constants.items()}
        return ReadPlates(program, rows)(**{**arguments, **indexable})

    return read


class _Indexable(np.ndarray):
    """A NumPy array that can be indexed by rows that are only being traced."""

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(index)):
            return jnp.asarray(np.asarray(self))[index]
        return super().__getitem__(index)
