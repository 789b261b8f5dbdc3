"""Draws from laws that tensors parameterise: each takes a key, then the arguments of the operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["TABLE", "draw", "take_drawn"]


def draw(name: str, key: Any, *args: Any) -> jax.Array:
    """What an operation draws by a key, or an array that it has drawn already, with the gradient that it has.

    Gamma variates have implicit gradients (Figurnov, Mohamed and Mnih, *Implicit Reparameterization
    Gradients*, 2018, arXiv:1805.08498), as in torch; the others have none.

    Example:
        >>> drawn = lambda a: draw("_standard_gamma", jax.random.key(0), a)
        >>> a, da = jax.value_and_grad(drawn)(3.0)
        >>> bool(0 < a), bool(0.2 < da < 1)
        (True, True)
    """
    fixed = [lax.stop_gradient(arg) if isinstance(arg, jax.Array) else arg for arg in args]
    value = TABLE[name](key, *fixed) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if name != "_standard_gamma":
        return lax.stop_gradient(value)
    slope = lax.random_gamma_grad(jnp.broadcast_to(fixed[0], value.shape).astype(value.dtype), value)
    return lax.stop_gradient(value) + lax.stop_gradient(slope) * (args[0] - fixed[0])


def take_drawn(name: str, drawn: Any, *args: Any) -> Any:
    """The same in torch: what was drawn while the operation was recorded."""
    return drawn


def _multinomial(key: Any, p: Any, n: int, replacement: bool = False) -> Any:
    """The largest of Gumbel variates around log p; the n largest are n different ones."""
    noise = jax.random.gumbel(key, (*p.shape[:-1], n if replacement else 1, p.shape[-1]), p.dtype)
    perturbed = jnp.log(p)[..., None, :] + noise
    return perturbed.argmax(-1) if replacement else lax.top_k(perturbed[..., 0, :], n)[1]


def _normal(key: Any, mean: Any, sd: Any = 1.0) -> Any:
    shape = jnp.broadcast_shapes(jnp.shape(mean), jnp.shape(sd))
    return mean + sd * jax.random.normal(key, shape, jnp.result_type(mean, sd))


TABLE: dict[str, Callable[..., Any]] = {
    "_standard_gamma": lambda key, a: jax.random.gamma(key, a),
    "bernoulli.default": lambda key, p: jax.random.bernoulli(key, p),
    "binomial": lambda key, n, p: jax.random.binomial(key, n, p),
    "multinomial": _multinomial,
    "normal.Tensor_Tensor": _normal,
    "normal.Tensor_float": _normal,
    "normal.float_Tensor": _normal,
    "poisson": lambda key, rate: jax.random.poisson(key, rate),
}
