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


# One name and one meaning in both libraries.
_ALIKE = """
    remainder fmod pow reciprocal abs sign maximum minimum fmax fmin floor ceil trunc
    sqrt exp exp2 expm1 log log1p log2 log10 logaddexp logaddexp2
    sin cos tan asin acos atan atan2 hypot sinh cosh tanh asinh acosh atanh
    isnan isinf logical_and logical_or logical_xor logical_not
    bitwise_and bitwise_or bitwise_xor bitwise_not where angle
"""

TABLE: dict[str, Callable[..., Any]] = {
    **{name: getattr(jnp, name) for name in _ALIKE.split()},
    # -- copies --
    "_to_copy": lambda x: x,
    "alias": lambda x: x,
    "clone": lambda x: x,
    "copy": lambda x, y, non_blocking=False: jnp.broadcast_to(y, x.shape),
    "detach": jax.lax.stop_gradient,
    # -- arithmetic --
    "add": lambda x, y, alpha=1: jnp.add(x, y if alpha == 1 else alpha * y),
    "sub": lambda x, y, alpha=1: jnp.subtract(x, y if alpha == 1 else alpha * y),
    "mul": jnp.multiply,
    "div": _divide,
    "neg": jnp.negative,
    "rsqrt": jax.lax.rsqrt,
    "clamp": _clamp,
    "round": lambda x, decimals=0: jnp.round(x, decimals),
    # -- comparison --
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
    # -- complex numbers --
    "complex": jax.lax.complex,
    "view_as_real": lambda x: jnp.stack([jnp.real(x), jnp.imag(x)], -1),
    "view_as_complex": lambda x: jax.lax.complex(x[..., 0], x[..., 1]),
}
