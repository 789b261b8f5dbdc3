"""Operations that create, reshape, join and split arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["TABLE"]


def _expand(x: Any, sizes: Sequence[int], implicit: bool = False) -> Any:
    """-1 keeps a dimension as it is."""
    have = (1,) * (len(sizes) - jnp.ndim(x)) + jnp.shape(x)
    return jnp.broadcast_to(x, [old if new == -1 else new for old, new in zip(have, sizes, strict=True)])


def _squeeze(x: Any, dims: int | Sequence[int] | None = None) -> Any:
    """Dimensions that are not of length 1 stay."""
    x = jnp.asarray(x)
    if dims is None:
        return x.squeeze()
    chosen = [dims] if isinstance(dims, int) else dims
    return x.squeeze(tuple(dim for dim in chosen if x.ndim and x.shape[dim] == 1))


def _cat(arrays: Sequence[Any], dim: int = 0) -> Any:
    """Torch joins an empty vector to anything."""
    full = [array for array in arrays if jnp.shape(array) != (0,)]
    return jnp.concatenate(full or list(arrays), axis=dim)


def _split(x: Any, size: int, dim: int = 0) -> list[Any]:
    return jnp.split(x, list(range(size, x.shape[dim], size)), axis=dim)


def _split_with_sizes(x: Any, sizes: Sequence[int], dim: int = 0) -> list[Any]:
    return jnp.split(x, np.cumsum(sizes)[:-1].tolist(), axis=dim)


def _unbind(x: Any, dim: int = 0) -> list[Any]:
    return [jnp.take(x, i, axis=dim) for i in range(x.shape[dim])]


def _repeat(x: Any, repeats: Sequence[int]) -> Any:
    return jnp.tile(x, tuple(repeats))


def _pad(x: Any, pad: Sequence[int], value: Any = 0) -> Any:
    """Pairs from the last dimension backwards; a negative one crops."""
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    padded = jnp.pad(x, [(max(0, low), max(0, high)) for low, high in widths], constant_values=value)
    kept = [
        slice(max(0, -low), n + min(0, high)) for (low, high), n in zip(widths, padded.shape, strict=True)
    ]
    return padded[tuple(kept)]


def _diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    size = x.shape[-1] + abs(offset)
    rows = jnp.arange(x.shape[-1]) + max(0, -offset)
    matrix = jnp.zeros((*x.shape[:-1], size, size), x.dtype).at[..., rows, rows + offset].set(x)
    return jnp.moveaxis(matrix, (-2, -1), (dim1, dim2))


def _unfold(x: Any, dim: int, size: int, step: int) -> Any:
    """Windows along a dimension, each as a new last dimension."""
    if jnp.ndim(x) == 0:
        return jnp.reshape(x, (size,))
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    windows = jnp.take(x, starts[:, None] + np.arange(size), axis=dim)  # (…, window, size, …)
    return jnp.moveaxis(windows, dim % x.ndim + 1, -1)


TABLE: dict[str, Callable[..., Any]] = {
    # -- creation: what depends on no input is computed by torch, and never comes here --
    "full_like": lambda x, value: jnp.full(jnp.shape(x), value),
    # -- shape --
    "view": jnp.reshape,
    "expand": _expand,
    "squeeze": _squeeze,
    "unsqueeze": jnp.expand_dims,
    "permute": lambda x, dims: jnp.transpose(x, tuple(dims)),
    "unfold": _unfold,
    # -- joining and splitting --
    "cat": _cat,
    "stack": lambda arrays, dim=0: jnp.stack(arrays, axis=dim),
    "split": _split,
    "split_with_sizes": _split_with_sizes,
    "unbind": _unbind,
    "repeat": _repeat,
    "constant_pad_nd": _pad,
    # -- order --
    "flip": lambda x, dims: jnp.flip(x, tuple(dims)),
    # -- diagonals and triangles --
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: jnp.diagonal(x, offset, dim1, dim2),
    "diag_embed": _diag_embed,
}
