"""Pyro's subsampling plates, read in full or at given rows instead of at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from pyro.poutine.subsample_messenger import SubsampleMessenger

from ppgen.program.family import Program
from ppgen.program.subsampling import Subsampled, check_subsample, take_rows

__all__ = ["at_given_rows", "read_plates"]

_AT_RANDOM = SubsampleMessenger._subsample


@contextmanager
def read_plates(
    rows: Mapping[str, torch.Tensor] | None = None, found: dict[str, Subsampled] | None = None
) -> Iterator[None]:
    """Run programs with the rows of their subsampling plates chosen, all of them unless others are given.

    Args:
        rows: the rows to read, by plate.
        found: takes in the plates that subsample and have no rows given.
    """
    given, seen = rows or {}, {} if found is None else found

    def choose(
        name: str, size: Any = None, subsample_size: Any = None, subsample: Any = None, *about_device: Any
    ) -> Any:
        if subsample is not None or subsample_size is None:
            return _AT_RANDOM(name, size, subsample_size, subsample, *about_device)
        plate = check_subsample(name, int(size), subsample_size)
        if name not in given and plate.rows < plate.size:
            seen[name] = plate
        return _AT_RANDOM(name, size, None, given.get(name), *about_device)

    # A plate compares its rows with a size that no handler can change.
    with mock.patch.object(SubsampleMessenger, "_subsample", staticmethod(choose)):
        yield


def at_given_rows(program: Program) -> Program:
    """A program that reads its plates at the rows that are among its data; see ``first_rows``."""

    def read(**data: Any) -> Any:
        arguments, rows = take_rows(data)
        with read_plates({name: torch.as_tensor(value).long() for name, value in rows.items()}):
            return program(**arguments)

    return read
