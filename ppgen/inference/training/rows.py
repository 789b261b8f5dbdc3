"""The rows to train on: checked against the family, and split into train and valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.data.dataset import Dataset, as_array, as_dataset, check_rows
from ppgen.errors import DataError
from ppgen.program.family import TorchFamily

__all__ = ["Rows", "rows_for_family", "rows_for_program"]

HELD_OUT = 0.1  # of an array that comes without splits


@dataclass(frozen=True, eq=False)
class Rows:
    """Arrays ``(n, *shape)``; valid may be empty."""

    train: np.ndarray
    valid: np.ndarray


def rows_for_family(family: TorchFamily, data: Any, seed: int) -> Rows:
    """A dataset's own splits, or an array split by ``seed``; refused if the family is not made for them."""
    dataset = data if isinstance(data, Dataset) else _as_dataset(family, data, seed)
    _check_shape(family, dataset)
    _check_kind(family, dataset)
    for rows in (dataset.train, dataset.valid):
        if len(rows):
            check_rows(rows, family.levels, argument="data")
    return _at_least_two(Rows(dataset.train, dataset.valid))


def rows_for_program(data: Any, seed: int) -> Rows:
    """A dataset's own splits, or an array of any meaning split by ``seed``."""
    if isinstance(data, Dataset):
        return _at_least_two(Rows(data.train, data.valid))
    rows = as_array(data, argument="data")
    check_rows(rows.astype(np.float64), None, argument="data")
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    held_out = max(1, round(HELD_OUT * len(rows)))
    return _at_least_two(Rows(rows[held_out:], rows[:held_out]))


def _as_dataset(family: TorchFamily, data: Any, seed: int) -> Dataset:
    rows = as_array(data, argument="data")
    # Whole numbers are fine for a family of continuous data, as long as they are meant as numbers.
    rows = rows.astype(np.float64) if family.levels is None else rows
    _at_least_two(Rows(rows, rows))
    check_rows(rows, family.levels, argument="data")
    return as_dataset(rows, levels=family.levels, splits=(1 - HELD_OUT, HELD_OUT, 0.0), seed=seed)


def _check_shape(family: TorchFamily, dataset: Dataset) -> None:
    if dataset.shape != family.shape:
        raise DataError(
            "data",
            got=f"rows of shape {dataset.shape}",
            expected=f"{family.shape}, the shape that the model was built for",
            fix=f"Build it for this data: {type(family).__name__}({dataset.shape}, ...).",
        )


def _check_kind(family: TorchFamily, dataset: Dataset) -> None:
    if family.levels is None and dataset.levels is not None:
        raise DataError(
            "data",
            got=f"discrete rows with {dataset.levels} levels",
            expected="continuous rows, since the model was built without levels",
            fix=f"Write {type(family).__name__}({dataset.shape}, levels={dataset.levels}).",
        )
    if family.levels is not None and dataset.levels is None:
        raise DataError(
            "data",
            got="continuous rows",
            expected=f"integers 0 … {family.levels - 1}, since the model was built with levels",
            fix=f"Write {type(family).__name__}({dataset.shape}) for continuous data.",
        )


def _at_least_two(rows: Rows) -> Rows:
    if len(rows.train) < 2:
        raise DataError(
            "data",
            got=f"{len(rows.train)} rows to train on",
            expected="at least 2",
            fix="Give more rows; one says nothing about how they vary.",
        )
    return rows
