"""Datasets: examples with a kind, levels and three splits; or the arguments of one program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ppgen.data.lazy import LazyRows, RowArray, blocks, select
from ppgen.data.rows import as_labels, as_rows, check_rows
from ppgen.errors import DataError, InvalidArgument

__all__ = ["Dataset", "Labels", "Observations", "as_dataset"]

Kind = Literal["discrete", "continuous"]


@dataclass(frozen=True, eq=False)
class Labels:
    """The class of each example of a dataset, in the same splits.

    Attributes:
        train, valid, test: integers ``(n,)`` from 0 up; -1 where a class is unknown.
        classes: how many classes there are.
        names: the names of the classes, in order, where they are known.

    Raises:
        DataError: if a label is not a class, or the numbers of names and classes differ.

    Example:
        >>> Labels(np.array([0, 2, -1]), np.array([1]), np.array([], int), classes=3)
        Labels(3 classes)
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    classes: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for split in ("train", "valid", "test"):
            as_labels(getattr(self, split), self.classes, argument=f"labels.{split}")
        if self.names and len(self.names) != self.classes:
            raise DataError(
                "labels.names",
                got=f"{len(self.names)} names",
                expected=f"{self.classes}, one per class",
                fix="Name each class, or leave names out.",
            )

    def __repr__(self) -> str:
        return f"Labels({self.classes} classes)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples of one shape, split into train, valid and test.

    Attributes:
        name: the name of the dataset in tables.
        train, valid, test: arrays ``(n, *shape)``, or :class:`~ppgen.data.lazy.LazyRows` that are read from
            disk when needed; valid and test may be empty.
        kind: ``"discrete"`` (integers ``0 … levels - 1``) or ``"continuous"`` (finite floats).
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        source: where the data come from.
        labels: the class of each example, if there are classes.

    Raises:
        DataError: if train is empty, a value is not finite or lies outside the levels, the splits
            differ in shape, examples and labels differ in number, or a continuous column is constant (its
            density would be infinite).

    Example:
        >>> rows = np.random.default_rng(0).integers(0, 4, size=(10, 3))
        >>> data = Dataset("dice", train=rows[:8], valid=rows[8:9], test=rows[9:], kind="discrete", levels=4)
        >>> data.shape, data.dims
        ((3,), 3)
    """

    name: str
    train: RowArray
    valid: RowArray
    test: RowArray
    kind: Kind
    levels: int | None = None
    source: str = ""
    labels: Labels | None = None

    def __post_init__(self) -> None:
        check_rows(self.train, self.levels, argument="train")
        _refuse_constant_columns(self.train, self.kind)
        for split in ("valid", "test"):
            rows = getattr(self, split)
            if rows.shape[1:] != self.shape:
                raise DataError(
                    split,
                    got=f"rows of shape {rows.shape[1:]}",
                    expected=f"rows of shape {self.shape}, as in train",
                    fix="Give all splits the same columns.",
                )
            if len(rows):
                check_rows(rows, self.levels, argument=split)
        if self.labels is not None:
            for split in ("train", "valid", "test"):
                _check_as_many(getattr(self.labels, split), getattr(self, split), f"labels.{split}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.train.shape[1:]

    @property
    def dims(self) -> int:
        """How many numbers one example holds."""
        return int(np.prod(self.shape))

    @property
    def classes(self) -> int | None:
        """How many classes there are; ``None`` for data without labels."""
        return None if self.labels is None else self.labels.classes

    def __repr__(self) -> str:
        counts = f"{len(self.train)}/{len(self.valid)}/{len(self.test)}"
        levels = f", {self.levels} levels" if self.levels else ""
        classes = f", {self.classes} classes" if self.labels else ""
        return (
            f"Dataset({self.name!r}, shape {self.shape}, {self.kind}{levels}{classes}, "
            f"train/valid/test {counts})"
        )


@dataclass(frozen=True, eq=False)
class Observations(Mapping[str, Any]):
    """The data arguments of one Bayesian program: a read-only mapping for ``ppgen.infer``.

    Example:
        >>> data = Observations("coin", {"flips": np.array([0, 1, 1])})
        >>> dict(data)["flips"].sum()
        np.int64(2)
    """

    name: str
    arrays: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def __getitem__(self, key: str) -> Any:
        return self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def as_dataset(
    data: Any,
    *,
    levels: int | None = None,
    labels: Any = None,
    splits: tuple[float, float, float] = (0.9, 0.1, 0.0),
    seed: int = 0,
    name: str = "array",
) -> Dataset:
    """Turn a user's own array into a dataset with kind, levels and splits.

    Integers become discrete data with ``levels`` (by default the largest value + 1), floats become
    continuous data. Examples are shuffled with ``seed`` before they are split.

    Args:
        data: a :class:`Dataset` (returned unchanged) or an array ``(n, *shape)``; torch and JAX arrays
            are accepted. An array from ``np.load(path, mmap_mode="r")`` stays on disk.
        levels: how many values an integer entry can take.
        labels: the class of each example, integers ``(n,)``; -1 where it is unknown.
        splits: the fractions of train, valid and test; they sum to 1.
        seed: the seed of the shuffle.
        name: the name of the dataset in tables.

    Raises:
        DataError: as for :class:`Dataset`, and for arrays that are not numeric or have no row axis.
        InvalidArgument: if the splits do not sum to 1.

    Example:
        >>> as_dataset(np.arange(40.0).reshape(20, 2))
        Dataset('array', shape (2,), continuous, train/valid/test 18/2/0)
    """
    if isinstance(data, Dataset):
        return data
    if min(splits) < 0 or abs(sum(splits) - 1) > 1e-9 or splits[0] == 0:
        raise InvalidArgument(
            "splits",
            got=str(splits),
            expected="three fractions that sum to 1, the first positive",
            fix="Write splits=(0.7, 0.15, 0.15).",
        )
    rows = as_rows(data, argument="data")
    kind: Kind = "discrete" if levels or rows.dtype.kind in "bui" else "continuous"
    if kind == "discrete":
        check_rows(rows, levels, argument="data")
        rows = rows.astype(np.int64)
        levels = levels or max(2, int(rows.max()) + 1)
    elif isinstance(rows, LazyRows):
        check_rows(rows, None, argument="data")  # sequentially; the splits then need no check
    order = np.random.default_rng(seed).permutation(len(rows))
    # A requested split gets at least one row, so that a small array can still be validated.
    held_out = [max(1, round(f * len(rows))) if f else 0 for f in splits[1:]]
    n_train = len(rows) - sum(held_out)
    if n_train < 1:
        raise DataError(
            "data",
            got=f"{len(rows)} rows",
            expected=f"at least {1 + sum(held_out)}, to split them by {splits}",
            fix="Pass more rows, or splits=(1.0, 0.0, 0.0) to hold nothing out.",
        )
    cuts = [n_train, n_train + held_out[0]]
    train, valid, test = (select(rows, part) for part in np.split(order, cuts))
    source = "the user's own array"
    return Dataset(name, train, valid, test, kind, levels, source, _split_labels(labels, rows, order, cuts))


def _split_labels(labels: Any, rows: RowArray, order: np.ndarray, cuts: list[int]) -> Labels | None:
    if labels is None:
        return None
    checked = as_labels(labels, None, argument="labels")
    _check_as_many(checked, rows, "labels")
    train, valid, test = np.split(checked[order], cuts)
    return Labels(train, valid, test, classes=int(checked.max()) + 1)


def _check_as_many(labels: np.ndarray, rows: RowArray, argument: str) -> None:
    if len(labels) != len(rows):
        raise DataError(
            argument,
            got=f"{len(labels)} labels",
            expected=f"{len(rows)}, one per row",
            fix="Select labels and rows with the same index.",
        )


def _refuse_constant_columns(rows: RowArray, kind: Kind) -> None:
    # A constant discrete entry is harmless (it costs 0 bits); a constant continuous one has no density.
    if kind == "discrete" or len(rows) < 2:
        return
    constant = _constant_columns(rows)
    if constant.size:
        raise DataError(
            "train",
            got=f"constant columns {constant[:8].tolist()}",
            expected="columns that vary: a constant column has no density",
            fix=f"Drop them, for example np.delete(data, {constant[:8].tolist()}, axis=1).",
        )


def _constant_columns(rows: RowArray) -> np.ndarray:
    """The flat indices of the entries that are equal in all rows."""
    first = rows[0]
    constant = np.ones(first.shape, bool)
    for block in blocks(rows):
        constant &= (block == first).all(axis=0)
        if not constant.any():
            break  # one block usually suffices, and the rest need not be read
    return np.flatnonzero(constant)
