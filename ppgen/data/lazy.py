"""Rows that stay where they are, such as a file on the disk, until they are indexed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ppgen.errors import InvalidArgument

__all__ = ["LIMIT", "Bounds", "LazyRows", "RowArray", "Source", "blocks", "select"]

LIMIT = 2**28  # bytes: rows that would take more in memory are left on the disk, unless asked for
BLOCK_BYTES = 2**23  # of rows that are looked at together


@runtime_checkable
class Source(Protocol):
    """What rows can be read from: a memory-mapped array, or anything that is indexed like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, *shape)``."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers, as they are stored."""
        ...

    def __getitem__(self, key: Any) -> np.ndarray:
        """The rows of a slice, or of an array of integers."""
        ...


class Bounds(NamedTuple):
    """What holds of all values: they are finite, within these bounds, and whole numbers or not."""

    low: float
    high: float
    whole: bool


class LazyRows:
    """Rows ``(n, *shape)`` that are read when they are indexed, and look like an array to training.

    Indexing gives an array in memory; :meth:`select` and :meth:`astype` read nothing. Means and standard
    deviations go by blocks, and are bit for bit those of NumPy for the same rows in memory.

    Args:
        source: where the rows are.
        index: which of them, and in which order; all by default.
        dtype: the type of the numbers when they are read; by default integers as they are stored, else
            float64.

    Attributes:
        shape: ``(n, *shape)``.
        dtype: the type of the numbers as they are read.
        bounds: what is known of the values without reading them, if anything.

    Example:
        >>> rows = LazyRows(np.arange(12, dtype=np.uint8).reshape(6, 2))
        >>> rows
        LazyRows((6, 2), uint8)
        >>> some = rows.select(np.array([5, 0]))
        >>> some[:1], some.mean(0)
        (array([[10, 11]], dtype=uint8), array([5., 6.]))
    """

    def __init__(self, source: Source, index: np.ndarray | None = None, dtype: Any = None) -> None:
        own = np.float64 if source.dtype.kind == "f" else source.dtype
        self._source, self._index = source, index
        self.dtype = np.dtype(own if dtype is None else dtype)
        self.shape = (source.shape[0] if index is None else len(index), *source.shape[1:])
        self.bounds = _bounds_of(source.dtype)

    @property
    def ndim(self) -> int:
        """How many axes there are, that of the rows included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are in all."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """What all of them would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """The row of an integer, or the rows of a slice, a mask or an array of integers, in memory."""
        if isinstance(key, (int, np.integer)):
            row = range(len(self))[key]  # counts negative ones from the end, and refuses those beyond
            return self._read(slice(row, row + 1))[0]
        return self._read(key)

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in blocks(self):
            yield from block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows on the disk cannot be an array without a copy")
        array = np.empty(self.shape, self.dtype if dtype is None else dtype)
        start = 0
        for block in blocks(self):
            array[start : start + len(block)] = block
            start += len(block)
        return array

    def __repr__(self) -> str:
        return f"LazyRows({self.shape}, {self.dtype})"

    def select(self, index: np.ndarray) -> LazyRows:
        """The rows of an array of integers ``(k,)``, in its order; nothing is read."""
        return self._like(index if self._index is None else self._index[index], self.dtype)

    def astype(self, dtype: Any) -> LazyRows:
        """The same rows, read as another type of numbers; nothing is read."""
        return self._like(self._index, dtype)

    def reshape(self, *shape: int) -> np.ndarray:
        """All rows, in memory, in another shape."""
        return np.asarray(self).reshape(*shape)

    def min(self) -> Any:
        """The smallest value."""
        return min(block.min() for block in blocks(self))

    def max(self) -> Any:
        """The largest value."""
        return max(block.max() for block in blocks(self))

    def mean(self, axis: int = 0) -> np.ndarray:
        """The mean over the rows, ``shape``."""
        _only_over_rows(axis)
        return self._sum(_as_it_is) / len(self)

    def var(self, axis: int = 0) -> np.ndarray:
        """The variance over the rows, ``shape``; the mean squared distance from their mean."""
        mean = self.mean(axis)
        return self._sum(lambda block: np.square(block - mean)) / len(self)

    def std(self, axis: int = 0) -> np.ndarray:
        """The standard deviation over the rows, ``shape``."""
        return np.sqrt(self.var(axis))

    def _read(self, key: Any) -> np.ndarray:
        rows = self._source[key if self._index is None else self._index[key]]
        # A copy, never a view of the file: what is handed out does not change with it.
        return np.array(rows, self.dtype, order="C")

    def _like(self, index: np.ndarray | None, dtype: Any) -> LazyRows:
        other = LazyRows(self._source, index, dtype)
        other.bounds = self.bounds
        return other

    def _sum(self, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The sum over the rows of a function of them, added up in NumPy's own order.

        NumPy adds rows of several numbers one after the other, but a single column by halves ("pairwise").
        """
        if self.size == len(self):
            return self._sum_by_halves(of, 0, len(self))
        total = np.zeros((1, *self.shape[1:]))
        for block in blocks(self):
            total = np.add.reduce(np.concatenate([total, of(block)]), axis=0, keepdims=True)
        return total[0]

    def _sum_by_halves(self, of: Callable[[np.ndarray], np.ndarray], start: int, stop: int) -> np.ndarray:
        if stop - start <= max(128, _rows_a_block(self)):  # 128 numbers are not halved any more
            return np.add.reduce(of(self[start:stop]).astype(np.float64, copy=False), axis=0)
        half = (stop - start) // 2
        half -= half % 8  # as NumPy does, whose loop is unrolled eight times
        middle = start + half
        return self._sum_by_halves(of, start, middle) + self._sum_by_halves(of, middle, stop)


# To a type checker lazy rows are an array, since training asks nothing of one that they cannot answer; what
# is handed over at run time is one or the other.
if TYPE_CHECKING:
    RowArray = np.ndarray
else:
    RowArray = np.ndarray | LazyRows


def blocks(rows: np.ndarray | LazyRows) -> Iterator[np.ndarray]:
    """The rows in their order, some megabytes at a time.

    Example:
        >>> [block.shape for block in blocks(np.zeros((3, 2**20)))]
        [(1, 1048576), (1, 1048576), (1, 1048576)]
    """
    size = _rows_a_block(rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def select(rows: RowArray, index: np.ndarray) -> RowArray:
    """The rows of an array of integers, in its order; those on the disk stay there."""
    return rows.select(index) if isinstance(rows, LazyRows) else np.ascontiguousarray(rows[index])


def _rows_a_block(rows: np.ndarray | LazyRows) -> int:
    numbers = max(1, rows.size // max(1, len(rows)))
    return max(1, BLOCK_BYTES // (8 * numbers))  # as doubles, which sums and differences of them are


def _bounds_of(dtype: np.dtype[Any]) -> Bounds | None:
    """What the type alone says: pixels of 8 bits need not be read to know that they have 256 levels."""
    if dtype.kind == "b":
        return Bounds(0, 1, whole=True)
    return Bounds(np.iinfo(dtype).min, np.iinfo(dtype).max, whole=True) if dtype.kind in "ui" else None


def _only_over_rows(axis: int) -> None:
    if axis != 0:
        raise InvalidArgument(
            "axis", got=repr(axis), expected="0, over the rows", fix="Load the rows first: np.asarray(rows)."
        )


def _as_it_is(block: np.ndarray) -> np.ndarray:
    return block
