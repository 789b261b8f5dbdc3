"""The data to train on: checked against the family, and split into train and valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.data.dataset import Dataset, as_dataset
from ppgen.data.lazy import RowArray, select
from ppgen.data.rows import UNKNOWN, as_labels, as_rows, check_rows
from ppgen.errors import DataError, InvalidArgument
from ppgen.program.capabilities import IsSemiSupervised
from ppgen.program.family import TrainableFamily

__all__ = ["Rows", "rows_for_family", "rows_for_program"]

HELD_OUT = 0.1  # of an array that comes without splits


@dataclass(frozen=True, eq=False)
class Rows:
    """Examples ``(n, *shape)`` and the class of each ``(n,)``, if there are classes; valid may be empty.

    They are arrays, or stay on disk and are read a few minibatches at a time.
    """

    train: RowArray
    valid: RowArray
    train_labels: np.ndarray | None = None
    valid_labels: np.ndarray | None = None

    def batches(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The minibatches ``(k, batch, *shape)`` of training examples by their indices ``(k, batch)``."""
        labels = None if self.train_labels is None else self.train_labels[order]
        x = np.asarray(self.train[order.reshape(-1)])
        return x.reshape(*order.shape, *x.shape[1:]), labels


def rows_for_family(family: TrainableFamily, data: Any, labels: Any, seed: int) -> Rows:
    """A dataset's own splits, or an array split by ``seed``; rejected if the family is not built for them."""
    dataset = _with_labels(data, labels) if isinstance(data, Dataset) else None
    dataset = dataset or _as_dataset(family, data, labels, seed)
    _check_shape(family, dataset)
    _check_kind(family, dataset)
    for rows in (dataset.train, dataset.valid):
        if len(rows):
            check_rows(rows, family.levels, argument="data")
    return _at_least_two(_rows(dataset, family))


def rows_for_program(data: Any, labels: Any, seed: int) -> Rows:
    """A dataset's own splits, or an array of any meaning split by ``seed``; labels only where given."""
    if isinstance(data, Dataset):
        return _at_least_two(Rows(_with_labels(data, labels).train, data.valid))
    rows = as_rows(data, argument="data")
    check_rows(rows.astype(np.float64), None, argument="data")
    order = np.random.default_rng(seed).permutation(len(rows))
    held_out = max(1, round(HELD_OUT * len(rows)))
    train, valid = order[held_out:], order[:held_out]
    if labels is None:
        return _at_least_two(Rows(select(rows, train), select(rows, valid)))
    known = as_labels(labels, None, argument="labels")
    if len(known) != len(rows):
        raise DataError(
            "labels",
            got=f"{len(known)} labels",
            expected=f"{len(rows)}, one per row",
            fix="Select both alike.",
        )
    return _at_least_two(Rows(select(rows, train), select(rows, valid), known[train], known[valid]))


def _rows(dataset: Dataset, family: TrainableFamily) -> Rows:
    if family.classes is None:
        return Rows(dataset.train, dataset.valid)
    if dataset.labels is None or dataset.labels.classes > family.classes:
        raise DataError(
            "labels",
            got="rows without labels" if dataset.labels is None else f"labels of {dataset.classes} classes",
            expected=f"the class 0 … {family.classes - 1} of each row",
            fix="Write train(model, rows, labels=...), or give a dataset that has labels.",
        )
    _check_known(dataset.labels.train, family)
    return Rows(dataset.train, dataset.valid, dataset.labels.train, dataset.labels.valid)


def _check_known(labels: np.ndarray, family: TrainableFamily) -> None:
    unknown = int((labels == UNKNOWN).sum())
    if unknown == len(labels) or (unknown and not isinstance(family, IsSemiSupervised)):
        raise DataError(
            "labels",
            got=f"{unknown} of {len(labels)} rows whose class is not known (-1)",
            expected="a class for each row" if unknown < len(labels) else "at least some that are known",
            fix="Drop these rows, or train a SemiSupervisedVAE, which can use them.",
        )


def _with_labels(dataset: Dataset, labels: Any) -> Dataset:
    if labels is not None:
        raise InvalidArgument(
            "labels",
            got="labels next to a dataset",
            expected="labels inside the dataset, or next to an array",
            fix="Write Dataset(..., labels=Labels(train, valid, test, classes)).",
        )
    return dataset


def _as_dataset(family: TrainableFamily, data: Any, labels: Any, seed: int) -> Dataset:
    rows = as_rows(data, argument="data")
    # Whole numbers are fine for a family of continuous data, as long as they are meant as numbers.
    rows = rows.astype(np.float64) if family.levels is None else rows
    _at_least_two(Rows(rows, rows))
    check_rows(rows, family.levels, argument="data")
    splits = (1 - HELD_OUT, HELD_OUT, 0.0)
    return as_dataset(rows, levels=family.levels, labels=labels, splits=splits, seed=seed)


def _check_shape(family: TrainableFamily, dataset: Dataset) -> None:
    if dataset.shape != family.shape:
        raise DataError(
            "data",
            got=f"rows of shape {dataset.shape}",
            expected=f"{family.shape}, the shape that the model was built for",
            fix=f"Build it for this data: {type(family).__name__}({dataset.shape}, ...).",
        )


def _check_kind(family: TrainableFamily, dataset: Dataset) -> None:
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
            fix="Pass more rows; one row says nothing about how they vary.",
        )
    return rows
