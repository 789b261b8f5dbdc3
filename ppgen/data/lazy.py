"""Rows that stay where they are, such as a file on disk, until they are indexed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ppgen.errors import InvalidArgument

__all__ = ["LIMIT", "Bounds", "LazyRows", "RowArray", "Source", "blocks", "select"]

LIMIT = 2**28  # bytes: rows that would take more memory stay on disk by default
BLOCK_BYTES = 2**23  # of rows processed together


@runtime_checkable
class Source(Protocol):
    """Where rows can be read from: a memory-mapped array, or anything that is indexed like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, *shape)``."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers as stored."""
        ...

    def __getitem__(self, key: Any) -> np.ndarray:
        """The rows at a slice or an integer array."""
        ...


class Bounds(NamedTuple):
    """All values are finite and within these bounds; ``whole`` if all are whole numbers."""

    low: float
    high: float
    whole: bool


class LazyRows:
    """Rows ``(n, *shape)`` that are read when indexed, and that training can use like an array.

    Indexing returns an array in memory; :meth:`select` and :meth:`astype` read nothing. Means and standard
    deviations are computed block by block, and equal NumPy's for the same rows in memory, bit for bit.

    Args:
        source: where the rows are.
        index: which rows to use, in which order; by default all.
        dtype: the type of the numbers when read; by default float64 for floats, else the stored type.

    Attributes:
        shape: ``(n, *shape)``.
        dtype: the type of the numbers when read.
        bounds: what is known about the values without reading them, if anything.

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
        """How many axes there are, including the row axis."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are in all."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """How many bytes all rows would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """The row at an integer, or the rows at a slice, a mask or an integer array, in memory."""
        if isinstance(key, (int, np.integer)):
            row = range(len(self))[key]  # negative indices count from the end; out of range raises
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
        """The rows at an integer array ``(k,)``, in its order; nothing is read."""
        return self._like(index if self._index is None else self._index[index], self.dtype)

    def astype(self, dtype: Any) -> LazyRows:
        """The same rows with another dtype when read; nothing is read now."""
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
        # A copy, never a view: the caller's array must not change with the file.
        return np.array(rows, self.dtype, order="C")

    def _like(self, index: np.ndarray | None, dtype: Any) -> LazyRows:
        other = LazyRows(self._source, index, dtype)
        other.bounds = self.bounds
        return other

    def _sum(self, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The sum over the rows of a function of them, added in NumPy's own order.

        NumPy adds rows of several numbers one after the other, but a single column pairwise.
        """
        if self.size == len(self):
            return self._sum_by_halves(of, 0, len(self))
        total = np.zeros((1, *self.shape[1:]))
        for block in blocks(self):
            total = np.add.reduce(np.concatenate([total, of(block)]), axis=0, keepdims=True)
        return total[0]

    def _sum_by_halves(self, of: Callable[[np.ndarray], np.ndarray], start: int, stop: int) -> np.ndarray:
        if stop - start <= max(128, _rows_a_block(self)):  # NumPy stops halving at 128 numbers
            return np.add.reduce(of(self[start:stop]).astype(np.float64, copy=False), axis=0)
        half = (stop - start) // 2
        half -= half % 8  # as NumPy does, whose loop is unrolled eight times
        middle = start + half
        return self._sum_by_halves(of, start, middle) + self._sum_by_halves(of, middle, stop)


# To a type checker lazy rows are an array, since they offer all that training uses of one; at run time they
# are one or the other.
if TYPE_CHECKING:
    RowArray = np.ndarray
else:
    RowArray = np.ndarray | LazyRows


def blocks(rows: np.ndarray | LazyRows) -> Iterator[np.ndarray]:
    """The rows in order, a few megabytes at a time.

    Example:
        >>> [block.shape for block in blocks(np.zeros((3, 2**20)))]
        [(1, 1048576), (1, 1048576), (1, 1048576)]
    """
    size = _rows_a_block(rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def select(rows: RowArray, index: np.ndarray) -> RowArray:
    """The rows at an integer array, in its order; rows on disk stay there."""
    return rows.select(index) if isinstance(rows, LazyRows) else np.ascontiguousarray(rows[index])


def _rows_a_block(rows: np.ndarray | LazyRows) -> int:
    numbers = max(1, rows.size // max(1, len(rows)))
    return max(1, BLOCK_BYTES // (8 * numbers))  # as doubles, which their sums and differences are


def _bounds_of(dtype: np.dtype[Any]) -> Bounds | None:
    """The bounds that the dtype implies: 8-bit pixels need not be read to know that they have 256 levels."""
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
