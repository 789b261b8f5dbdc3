"""Operations on each element by itself: arithmetic, comparison, logic, elementary functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["TABLE"]


def _divide(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    return jnp.trunc(jnp.divide(x, y)) if rounding_mode == "trunc" else jnp.divide(x, y)


def _clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    """The gradient passes at the bounds themselves, as in torch."""
    if low is not None:
        x = jnp.where(x < low, low, x)
    return x if high is None else jnp.where(x > high, high, x)


def _round(x: Any, decimals: int = 0) -> Any:
    return jnp.round(x, decimals)


def _nan_to_num(x: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Any:
    return jnp.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)


def _lerp(start: Any, end: Any, weight: Any) -> Any:
    return start + weight * (end - start)


TABLE: dict[str, Callable[..., Any]] = {
    # -- copies --
    "_to_copy": lambda x: x,
    "alias": lambda x: x,
    "clone": lambda x: x,
    "copy": lambda x, y, non_blocking=False: jnp.broadcast_to(y, x.shape),
    "detach": jax.lax.stop_gradient,
    # -- arithmetic --
    "add": lambda x, y, alpha=1: jnp.add(x, y if alpha == 1 else alpha * y),
    "sub": lambda x, y, alpha=1: jnp.subtract(x, y if alpha == 1 else alpha * y),
    "rsub": lambda x, y, alpha=1: jnp.subtract(y, x if alpha == 1 else alpha * x),
    "mul": jnp.multiply,
    "div": _divide,
    "floor_divide": jnp.floor_divide,
    "remainder": jnp.remainder,
    "fmod": jnp.fmod,
    "neg": jnp.negative,
    "reciprocal": jnp.reciprocal,
    "pow": jnp.power,
    "abs": jnp.abs,
    "sign": jnp.sign,
    "sgn": jnp.sign,
    "addcmul": lambda x, y, z, value=1: x + value * (y * z),
    "addcdiv": lambda x, y, z, value=1: x + value * (y / z),
    "lerp": _lerp,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "fmax": jnp.fmax,
    "fmin": jnp.fmin,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda x, high: _clamp(x, None, high),
    "nan_to_num": _nan_to_num,
    # -- rounding --
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "round": _round,
    "trunc": jnp.trunc,
    "frac": lambda x: x - jnp.trunc(x),
    # -- powers, exponentials, logarithms --
    "sqrt": jnp.sqrt,
    "rsqrt": jax.lax.rsqrt,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "log10": jnp.log10,
    "logaddexp": jnp.logaddexp,
    "logaddexp2": jnp.logaddexp2,
    # -- trigonometry --
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tan": jnp.tan,
    "asin": jnp.arcsin,
    "acos": jnp.arccos,
    "atan": jnp.arctan,
    "atan2": jnp.arctan2,
    "hypot": jnp.hypot,
    "sinh": jnp.sinh,
    "cosh": jnp.cosh,
    "tanh": jnp.tanh,
    "asinh": jnp.arcsinh,
    "acosh": jnp.arccosh,
    "atanh": jnp.arctanh,
    # -- comparison --
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
    "isnan": jnp.isnan,
    "isinf": jnp.isinf,
    # -- logic --
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "logical_xor": jnp.logical_xor,
    "logical_not": jnp.logical_not,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_xor": jnp.bitwise_xor,
    "bitwise_not": jnp.bitwise_not,
    "where": jnp.where,
    # -- complex numbers --
    "angle": jnp.angle,
    "complex": jax.lax.complex,
    "view_as_real": lambda x: jnp.stack([jnp.real(x), jnp.imag(x)], -1),
    "view_as_complex": lambda x: jax.lax.complex(x[..., 0], x[..., 1]),
}
