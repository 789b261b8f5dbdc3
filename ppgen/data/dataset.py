"""What a dataset is: rows with a kind, levels and three splits; or the arguments of one program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ppgen.errors import DataError, InvalidArgument

__all__ = ["Dataset", "Observations", "as_array", "as_dataset", "check_rows"]

Kind = Literal["discrete", "continuous"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of one shape, split into train, valid and test.

    Attributes:
        name: what the dataset is called in tables.
        train, valid, test: arrays ``(n, *shape)``; valid and test may be empty.
        kind: ``"discrete"`` (integers ``0 … levels - 1``) or ``"continuous"`` (finite floats).
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        source: where the rows come from.

    Raises:
        DataError: if train is empty, a value is not finite or lies outside the levels, the splits
            differ in shape, or a continuous column is constant (its density would be infinite).

    Example:
        >>> rows = np.random.default_rng(0).integers(0, 4, size=(10, 3))
        >>> data = Dataset("dice", train=rows[:8], valid=rows[8:9], test=rows[9:], kind="discrete", levels=4)
        >>> data.shape, data.dims
        ((3,), 3)
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    kind: Kind
    levels: int | None = None
    source: str = ""

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

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.train.shape[1:]

    @property
    def dims(self) -> int:
        """How many numbers one row holds."""
        return int(np.prod(self.shape))

    def __repr__(self) -> str:
        counts = f"{len(self.train)}/{len(self.valid)}/{len(self.test)}"
        levels = f", {self.levels} levels" if self.levels else ""
        return f"Dataset({self.name!r}, shape {self.shape}, {self.kind}{levels}, train/valid/test {counts})"


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
    splits: tuple[float, float, float] = (0.9, 0.1, 0.0),
    seed: int = 0,
    name: str = "array",
) -> Dataset:
    """Give a user's own array the kind, levels and splits of a dataset.

    Integers become discrete data with ``levels`` (by default the largest value + 1), floats become
    continuous data. Rows are shuffled by ``seed`` before they are split.

    Args:
        data: a :class:`Dataset` (returned as it is) or an array ``(n, *shape)``; torch and JAX arrays
            are accepted.
        levels: how many values an integer entry can take.
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
    rows = as_array(data, argument="data")
    kind: Kind = "discrete" if levels or rows.dtype.kind in "bui" else "continuous"
    if kind == "discrete":
        check_rows(rows, levels, argument="data")
        rows = rows.astype(np.int64)
        levels = levels or max(2, int(rows.max()) + 1)
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
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
    train, valid, test = np.split(rows, [n_train, n_train + held_out[0]])
    return Dataset(name, train, valid, test, kind, levels, source="the user's own array")


def as_array(data: Any, *, argument: str) -> np.ndarray:
    """Turn an array of any library into NumPy with a row axis, or say why that cannot be done."""
    if hasattr(data, "detach"):  # a torch tensor, without importing torch
        data = data.detach().cpu()
    rows = np.asarray(data)
    if rows.dtype.kind not in "buif":
        raise DataError(
            argument,
            got=f"an array of dtype {rows.dtype}",
            expected="numbers",
            fix="Convert it first, for example with np.asarray(data, dtype=float).",
        )
    if rows.ndim < 2:
        raise DataError(
            argument,
            got=f"an array of shape {rows.shape}",
            expected="(n, *shape): one row a data point",
            fix="Write data.reshape(-1, 1) for scalars, data[None] for a single row.",
        )
    return rows.astype(np.float64) if rows.dtype.kind == "f" else rows


def check_rows(rows: np.ndarray, levels: int | None, *, argument: str) -> None:
    """Refuse rows that no model could learn from: empty, not finite, or outside their levels."""
    if rows.size == 0:
        raise DataError(
            argument,
            got=f"an empty array of shape {rows.shape}",
            expected="at least one row with at least one entry",
            fix="Check how the rows were selected.",
        )
    bad = ~np.isfinite(rows)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            argument,
            got=f"{int(bad.sum())} NaN or infinite values, the first at index {where}",
            expected="finite numbers",
            fix="Drop or impute these rows, for example data[np.isfinite(data).all(axis=1)].",
        )
    if levels is None and rows.dtype.kind == "f":
        return
    if rows.dtype.kind == "f" and not (rows == np.round(rows)).all():
        raise DataError(
            argument,
            got="values that are not whole numbers",
            expected=f"integers 0 … {levels - 1 if levels else 'levels - 1'}",
            fix="Use a model of continuous data (levels=None), or round to levels first.",
        )
    low, high = int(rows.min()), int(rows.max())
    if low < 0 or (levels is not None and high >= levels):
        raise DataError(
            argument,
            got=f"values from {low} to {high}",
            expected=f"integers 0 … {levels - 1}" if levels else "integers from 0 up",
            fix=f"Shift the values to start at 0, or give levels={high - min(low, 0) + 1}.",
        )


def _refuse_constant_columns(rows: np.ndarray, kind: Kind) -> None:
    # A constant discrete entry is harmless (it costs 0 bits); a constant continuous one has no density.
    if kind == "discrete" or len(rows) < 2:
        return
    flat = rows.reshape(len(rows), -1)
    constant = np.flatnonzero(np.ptp(flat, axis=0) == 0)
    if constant.size:
        raise DataError(
            "train",
            got=f"constant columns {constant[:8].tolist()}",
            expected="columns that vary: a constant one has no density",
            fix=f"Drop them, for example np.delete(data, {constant[:8].tolist()}, axis=1).",
        )
