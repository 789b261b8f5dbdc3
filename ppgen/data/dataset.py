"""What a dataset is: rows with a kind, levels and three splits; or the arguments of one program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from ppgen.data.arrays import describe_array, is_numeric, to_numpy
from ppgen.data.lazy import Bounds, LazyRows, RowArray, blocks, select
from ppgen.errors import DataError, InvalidArgument

__all__ = [
    "UNKNOWN",
    "Dataset",
    "Labels",
    "Observations",
    "as_array",
    "as_dataset",
    "as_labels",
    "as_rows",
    "as_rows_of",
    "check_rows",
]

Kind = Literal["discrete", "continuous"]

UNKNOWN = -1  # the label of a row whose class is not known


@dataclass(frozen=True, eq=False)
class Labels:
    """The class of each row of a dataset, split as the rows are.

    Attributes:
        train, valid, test: integers ``(n,)`` from 0 up; -1 where a class is not known.
        classes: how many classes there are.
        names: what the classes are called, in their order, where that is known.

    Raises:
        DataError: if a label is no class, or there are not as many names as classes.

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
                expected=f"{self.classes}, one a class",
                fix="Name each class, or leave names out.",
            )

    def __repr__(self) -> str:
        return f"Labels({self.classes} classes)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of one shape, split into train, valid and test.

    Attributes:
        name: what the dataset is called in tables.
        train, valid, test: arrays ``(n, *shape)``, or :class:`~ppgen.data.lazy.LazyRows` that are read from
            the disk as they are needed; valid and test may be empty.
        kind: ``"discrete"`` (integers ``0 … levels - 1``) or ``"continuous"`` (finite floats).
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        source: where the rows come from.
        labels: the class of each row, where rows have classes.

    Raises:
        DataError: if train is empty, a value is not finite or lies outside the levels, the splits
            differ in shape, rows and labels differ in number, or a continuous column is constant (its
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
        """The shape of one row."""
        return self.train.shape[1:]

    @property
    def dims(self) -> int:
        """How many numbers one row holds."""
        return int(np.prod(self.shape))

    @property
    def classes(self) -> int | None:
        """How many classes the rows have, where they have any."""
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
    """Give a user's own array the kind, levels and splits of a dataset.

    Integers become discrete data with ``levels`` (by default the largest value + 1), floats become
    continuous data. Rows are shuffled by ``seed`` before they are split.

    Args:
        data: a :class:`Dataset` (returned as it is) or an array ``(n, *shape)``; torch and JAX arrays
            are accepted. What ``np.load(path, mmap_mode="r")`` maps stays on the disk.
        levels: how many values an integer entry can take.
        labels: the class of each row, integers ``(n,)``; -1 where it is not known.
        splits: the fractions of train, valid and test; they sum to 1.
        seed: seed of the shuffle.
        name: what to call the dataset in tables.

    Raises:
        DataError: as :class:`Dataset`, and for arrays that are not numeric or have no row axis.
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
        check_rows(rows, None, argument="data")  # in the order of the file; the splits then need no check
    order = np.random.default_rng(seed).permutation(len(rows))
    # A split that was asked for gets at least one row, so that a small array can still be validated.
    held_out = [max(1, round(f * len(rows))) if f else 0 for f in splits[1:]]
    n_train = len(rows) - sum(held_out)
    if n_train < 1:
        raise DataError(
            "data",
            got=f"{len(rows)} rows",
            expected=f"at least {1 + sum(held_out)}, to split them by {splits}",
            fix="Give more rows, or splits=(1.0, 0.0, 0.0) to hold nothing out.",
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


def as_labels(labels: Any, classes: int | None, *, argument: str) -> np.ndarray:
    """Turn labels of any library into integers ``(n,)``, or say why that cannot be done.

    Args:
        labels: integers from 0 up, -1 where a class is not known.
        classes: how many classes there are, if that is known.
        argument: what to call them in an error.

    Raises:
        DataError: if they are not integers, or no classes.
    """
    array = to_numpy(labels)
    if array.ndim != 1 or array.dtype.kind not in "bui":
        raise DataError(
            argument,
            got=describe_array(array),
            expected="integers (n,), the class of each row",
            fix="Code the classes: np.unique(labels, return_inverse=True)[1].",
        )
    top = np.inf if classes is None else classes - 1
    if array.size and (array.min() < UNKNOWN or array.max() > top or (classes is None and array.max() < 0)):
        raise DataError(
            argument,
            got=f"labels from {array.min()} to {array.max()}",
            expected=f"classes 0 … {'' if classes is None else classes - 1}, or -1 where one is not known",
            fix="Number the classes from 0, and give classes= the number of them.",
        )
    return array.astype(np.int64)


def _check_as_many(labels: np.ndarray, rows: RowArray, argument: str) -> None:
    if len(labels) != len(rows):
        raise DataError(
            argument,
            got=f"{len(labels)} labels",
            expected=f"{len(rows)}, one a row",
            fix="Select labels and rows by the same index.",
        )


def as_array(data: Any, *, argument: str) -> np.ndarray:
    """Turn an array of any library into NumPy with a row axis, or say why that cannot be done."""
    rows = to_numpy(data)
    _check_numbers(rows, argument)
    return rows.astype(np.float64) if rows.dtype.kind == "f" else rows


def as_rows_of(data: Any, shape: tuple[int, ...], levels: int | None, *, argument: str = "x") -> np.ndarray:
    """Rows ``(n, *shape)`` of any library as NumPy.

    Raises:
        DataError: if they have another shape, are empty, not finite, or outside the levels.
    """
    rows = as_array(data, argument=argument)
    if rows.shape[1:] != shape:
        sizes = ", ".join(map(str, shape))
        raise DataError(
            argument,
            got=f"an array of shape {rows.shape}",
            expected=f"(n, {sizes}), the shape that the model is for",
            fix=f"Write {argument}.reshape(-1, {sizes}), or build the model for this shape.",
        )
    check_rows(rows.astype(np.float64) if levels is None else rows, levels, argument=argument)
    return rows


def as_rows(data: Any, *, argument: str) -> RowArray:
    """As :func:`as_array`, but rows that lie on the disk stay there: lazy rows, and a memory-mapped array."""
    if not isinstance(data, (LazyRows, np.memmap)):
        return as_array(data, argument=argument)
    _check_numbers(data, argument)
    lazy: Any = data if isinstance(data, LazyRows) else LazyRows(data)
    return lazy


def _check_numbers(rows: np.ndarray | LazyRows, argument: str) -> None:
    if not is_numeric(rows):
        raise DataError(
            argument,
            got=describe_array(rows),
            expected="numbers",
            fix="Convert it first, for example with np.asarray(data, dtype=float).",
        )
    if rows.ndim < 2:
        raise DataError(
            argument,
            got=describe_array(rows),
            expected="(n, *shape): one row a data point",
            fix="Write data.reshape(-1, 1) for scalars, data[None] for a single row.",
        )


def check_rows(rows: RowArray, levels: int | None, *, argument: str) -> None:
    """Refuse rows that no model could learn from: empty, not finite, or outside their levels.

    Lazy rows are read once, a block at a time, and remember what was found.
    """
    if rows.size == 0:
        raise DataError(
            argument,
            got=f"an empty array of shape {rows.shape}",
            expected="at least one row with at least one entry",
            fix="Check how the rows were selected.",
        )
    if isinstance(rows, LazyRows) and rows.bounds is not None and _fit(rows, rows.bounds, levels):
        return
    found = _scan(rows)
    if found.bad:
        raise DataError(
            argument,
            got=f"{found.bad} NaN or infinite values, the first at index {found.where}",
            expected="finite numbers",
            fix="Drop or impute these rows, for example data[np.isfinite(data).all(axis=1)].",
        )
    if isinstance(rows, LazyRows):
        rows.bounds = found.bounds
    if _fit(rows, found.bounds, levels):
        return
    if not found.bounds.whole:
        raise DataError(
            argument,
            got="values that are not whole numbers",
            expected=f"integers 0 … {levels - 1 if levels else 'levels - 1'}",
            fix="Use a model of continuous data (levels=None), or round to levels first.",
        )
    low, high = int(found.bounds.low), int(found.bounds.high)
    raise DataError(
        argument,
        got=f"values from {low} to {high}",
        expected=f"integers 0 … {levels - 1}" if levels else "integers from 0 up",
        fix=f"Shift the values to start at 0, or give levels={high - min(low, 0) + 1}.",
    )


def _fit(rows: RowArray, bounds: Bounds, levels: int | None) -> bool:
    if levels is None and rows.dtype.kind == "f":
        return True
    return bounds.whole and bounds.low >= 0 and (levels is None or bounds.high < levels)


class _Found(NamedTuple):
    """How many values are not finite, where the first of them is, and the bounds of the others."""

    bad: int
    where: tuple[int, ...]
    bounds: Bounds


def _scan(rows: RowArray) -> _Found:
    count, start = 0, 0
    where: tuple[int, ...] = ()
    low, high, whole = np.inf, -np.inf, True
    for block in blocks(rows):
        bad = ~np.isfinite(block)
        if bad.any() and not count:
            first, *rest = (int(i) for i in np.argwhere(bad)[0])
            where = (start + first, *rest)
        count += int(bad.sum())
        low, high = min(low, block.min().item()), max(high, block.max().item())
        whole = whole and (block.dtype.kind != "f" or bool((block == np.round(block)).all()))
        start += len(block)
    return _Found(count, where, Bounds(low, high, whole))


def _refuse_constant_columns(rows: RowArray, kind: Kind) -> None:
    # A constant discrete entry is harmless (it costs 0 bits); a constant continuous one has no density.
    if kind == "discrete" or len(rows) < 2:
        return
    constant = _constant_columns(rows)
    if constant.size:
        raise DataError(
            "train",
            got=f"constant columns {constant[:8].tolist()}",
            expected="columns that vary: a constant one has no density",
            fix=f"Drop them, for example np.delete(data, {constant[:8].tolist()}, axis=1).",
        )


def _constant_columns(rows: RowArray) -> np.ndarray:
    """The flat positions in a row of the entries that all rows share."""
    first = rows[0]
    constant = np.ones(first.shape, bool)
    for block in blocks(rows):
        constant &= (block == first).all(axis=0)
        if not constant.any():
            break  # one block mostly says it, and the rest need not be read
    return np.flatnonzero(constant)
