"""Operations that read and write parts of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["TABLE"]


def _at(x: Any, dim: int, index: Any) -> tuple[Any, ...]:
    """The index expression that takes ``index`` along one dimension and all of the others."""
    return (*[slice(None)] * (dim % max(x.ndim, 1)), index)


def _index(x: Any, indices: Sequence[Any]) -> Any:
    return jnp.asarray(x)[_all(indices)]


def _index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    if len(indices) == 1 and indices[0].dtype == bool and jnp.size(values) == 1 and not accumulate:
        mask = jnp.reshape(indices[0], indices[0].shape + (1,) * (x.ndim - indices[0].ndim))
        return jnp.where(mask, jnp.reshape(values, ()), x)
    part = jnp.asarray(x).at[_all(indices)]
    return part.add(values) if accumulate else part.set(values)


def _all(indices: Sequence[Any]) -> tuple[Any, ...]:
    """A missing index stands for the whole dimension."""
    return tuple(slice(None) if index is None else index for index in indices)


def _select_scatter(x: Any, part: Any, dim: int, index: int) -> Any:
    return jnp.asarray(x).at[_at(x, dim, index)].set(part)


def _slice_scatter(
    x: Any, part: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    return jnp.asarray(x).at[_at(x, dim, slice(start, end, step))].set(part)


def _diagonal_scatter(x: Any, part: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    matrix = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    rows = jnp.arange(part.shape[-1]) + max(0, -offset)
    return jnp.moveaxis(matrix.at[..., rows, rows + offset].set(part), (-2, -1), (dim1, dim2))


def _gather(x: Any, dim: int, index: Any, sparse_grad: bool = False) -> Any:
    if jnp.ndim(x) == 0:
        return jnp.broadcast_to(x, jnp.shape(index))
    return jnp.asarray(x)[_points(index, dim)]


def _scatter(x: Any, dim: int, index: Any, values: Any) -> Any:
    return jnp.asarray(x).at[_points(index, dim)].set(_leading(values, index))


def _scatter_add(x: Any, dim: int, index: Any, values: Any) -> Any:
    return jnp.asarray(x).at[_points(index, dim)].add(_leading(values, index))


def _points(index: Any, dim: int) -> tuple[Any, ...]:
    """Where each entry of ``index`` points to: itself along ``dim``, its own place elsewhere."""
    places = list(jnp.meshgrid(*map(jnp.arange, index.shape), indexing="ij", sparse=True))
    places[dim % index.ndim] = index
    return tuple(places)


def _leading(values: Any, index: Any) -> Any:
    """The part of ``values`` that the index has entries for."""
    return values[tuple(map(slice, index.shape))] if jnp.ndim(values) else values


def _masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    mask = jnp.broadcast_to(mask, x.shape)
    place = jnp.cumsum(mask.ravel()) - 1  # how many masked entries came before
    return jnp.where(mask, jnp.ravel(source)[place].reshape(x.shape), x)


def _embedding(weight: Any, index: Any, padding_idx: int = -1, *_: Any) -> Any:
    """The row of the padding index is read but learns nothing."""
    rows = jnp.asarray(weight)[index]
    padding = jnp.expand_dims(index == padding_idx, -1)
    return jnp.where(padding, jax.lax.stop_gradient(rows), rows) if padding_idx >= 0 else rows


TABLE: dict[str, Callable[..., Any]] = {
    "select": lambda x, dim, index: x[_at(x, dim, index)],
    "slice": lambda x, dim=0, start=None, end=None, step=1: x[_at(x, dim, slice(start, end, step))],
    "index": _index,
    "index_put": _index_put,
    "index_select": lambda x, dim, index: jnp.take(x, jnp.ravel(index), axis=dim),
    "select_scatter": _select_scatter,
    "slice_scatter": _slice_scatter,
    "diagonal_scatter": _diagonal_scatter,
    "gather": _gather,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    "masked_scatter": _masked_scatter,
    "embedding": _embedding,
}
