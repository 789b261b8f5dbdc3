"""Operations that shorten or run along dimensions: sums, extremes, cumulative sums, sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["TABLE"]

_Dims = int | Sequence[int] | None


def _axes(dims: _Dims) -> int | tuple[int, ...] | None:
    """Torch's dimensions as JAX's axes; none and an empty list both mean all."""
    if dims is None or isinstance(dims, int):
        return dims
    return tuple(dims) or None


def _over_dims(reduce: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False: reduce(x, axis=_axes(dim), keepdims=keepdim)


def _variance(x: Any, dim: _Dims = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    return jnp.var(x, axis=_axes(dim), ddof=1 if correction is None else correction, keepdims=keepdim)


def _variance_and_mean(
    x: Any, dim: _Dims = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[Any, Any]:
    mean = jnp.mean(x, axis=_axes(dim), keepdims=keepdim)
    return _variance(x, dim, correction=correction, keepdim=keepdim), mean


def _with_place(arg_extreme: Callable[..., Any]) -> Callable[..., Any]:
    """The extreme along one dimension and where it is; its gradient goes to that one place."""

    def extreme(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
        if jnp.ndim(x) == 0:
            return x, jnp.zeros((), int)
        place = arg_extreme(x, axis=dim, keepdims=True)
        value = jnp.take_along_axis(x, place, axis=dim)
        return (value, place) if keepdim else (value.squeeze(dim), place.squeeze(dim))

    return extreme


def _cumulative_extreme(associative: Callable[..., Any]) -> Callable[..., Any]:
    """The extreme so far and where it was; of equal ones the last, as in torch."""

    def extreme(x: Any, dim: int) -> tuple[Any, Any]:
        places = jnp.broadcast_to(jnp.expand_dims(jnp.arange(x.shape[dim]), _others(x, dim)), x.shape)

        def later(a: Any, b: Any) -> tuple[Any, Any]:
            keep = ~associative(b[0], a[0])
            return jnp.where(keep, a[0], b[0]), jnp.where(keep, a[1], b[1])

        return jax.lax.associative_scan(later, (x, places), axis=dim % x.ndim)

    return extreme


def _others(x: Any, dim: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(x.ndim) if axis != dim % x.ndim)


def _log_cumulative_sum(x: Any, dim: int) -> Any:
    return jax.lax.cumlogsumexp(x, axis=dim % x.ndim)


def _sort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> tuple[Any, Any]:
    if jnp.ndim(x) == 0:
        return x, jnp.zeros((), int)
    order = jnp.argsort(x, axis=dim, stable=True, descending=descending)
    return jnp.take_along_axis(x, order, axis=dim), order


def _top(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Any, Any]:
    values, places = _sort(x, dim, largest)
    kept = jnp.arange(k)
    return jnp.take(values, kept, axis=dim), jnp.take(places, kept, axis=dim)


def _softmax(x: Any, dim: int, half_to_float: bool = False) -> Any:
    return jax.nn.softmax(x, axis=dim)


def _log_softmax(x: Any, dim: int, half_to_float: bool = False) -> Any:
    return jax.nn.log_softmax(x, axis=dim)


def _norm(x: Any, ord: int | float = 2, dim: _Dims = None, keepdim: bool = False) -> Any:
    """A vector norm whose gradient at 0 is 0, as in torch; JAX's is not a number."""
    axes, size = _axes(dim), jnp.abs(x)
    if ord == 0:
        return jnp.sum(size != 0, axis=axes, keepdims=keepdim)
    if ord in (float("inf"), float("-inf")):
        return (jnp.max if ord > 0 else jnp.min)(size, axis=axes, keepdims=keepdim)
    if ord == 1:
        return jnp.sum(size, axis=axes, keepdims=keepdim)
    total = jnp.sum(size**ord, axis=axes, keepdims=keepdim)
    return jnp.where(total == 0, 0.0, jnp.where(total == 0, 1.0, total) ** (1 / ord))


TABLE: dict[str, Callable[..., Any]] = {
    "sum": _over_dims(jnp.sum),
    "mean": _over_dims(jnp.mean),
    "prod": _over_dims(jnp.prod),
    "amax": _over_dims(jnp.max),
    "amin": _over_dims(jnp.min),
    "any": _over_dims(jnp.any),
    "all": _over_dims(jnp.all),
    "argmax": _over_dims(jnp.argmax),
    "argmin": _over_dims(jnp.argmin),
    "max": jnp.max,
    "min": jnp.min,
    "max.dim": _with_place(jnp.argmax),
    "min.dim": _with_place(jnp.argmin),
    "var": _variance,
    "var_mean": _variance_and_mean,
    "logsumexp": _over_dims(jax.nn.logsumexp),
    "linalg_vector_norm": _norm,
    # -- along a dimension --
    "cumsum": jnp.cumsum,
    "cumprod": jnp.cumprod,
    "logcumsumexp": _log_cumulative_sum,
    "cummax": _cumulative_extreme(jnp.greater_equal),
    "cummin": _cumulative_extreme(jnp.less_equal),
    "sort": _sort,
    "topk": _top,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
}
