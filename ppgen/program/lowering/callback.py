"""A torch function as a JAX function that calls it: for what cannot be replayed in JAX."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.utils import _pytree as pytree

from ppgen.errors import ProgramError

__all__ = ["call_torch"]

# Pyro's handlers and parameter store belong to the whole process: one call at a time.
_ONE_AT_A_TIME = Lock()


def call_torch(function: Callable[[torch.Tensor], Any], example: torch.Tensor) -> Callable[[jax.Array], Any]:
    """A JAX function that runs a torch function, with torch's gradients.

    The torch function is called anew for each value, so that Python's control flow may depend on it;
    the shapes of its results may not. Batches are worked through one by one.

    Args:
        function: takes one tensor, gives back tensors in tuples, lists and dicts.
        example: a tensor that it can be called with.

    Example:
        >>> double_if_positive = call_torch(lambda x: 2 * x if x.sum() > 0 else x, torch.zeros(2))
        >>> jax.grad(lambda x: double_if_positive(x).sum())(jnp.ones(2))
        Array([2., 2.], dtype=float32)
    """
    leaves, structure = _run(function, example)
    shapes = [jax.ShapeDtypeStruct(tuple(leaf.shape), _numpy(leaf).dtype) for leaf in leaves]
    like = jax.ShapeDtypeStruct(tuple(example.shape), _numpy(example).dtype)

    def forward(z: Any) -> list[np.ndarray]:
        with _ONE_AT_A_TIME, torch.no_grad():
            found, _ = _run(function, torch.tensor(_from_bits(z, like)))
        _check_shapes(found, shapes)
        return [_to_bits(_numpy(leaf)) for leaf in found]

    def backward(z: Any, cotangents: list[Any]) -> np.ndarray:
        with _ONE_AT_A_TIME, torch.enable_grad():
            point = torch.tensor(_from_bits(z, like), requires_grad=True)
            found, _ = _run(function, point)
            pairs = [
                (leaf, torch.tensor(_from_bits(cotangent, leaf_like)))
                for leaf, cotangent, leaf_like in zip(_real(found), cotangents, real, strict=True)
                if leaf.requires_grad
            ]
            outputs, weights = zip(*pairs, strict=True) if pairs else ((), ())
            gradient = torch.autograd.grad(outputs, point, weights, allow_unused=True)[0] if pairs else None
        return _to_bits(np.zeros(like.shape, like.dtype) if gradient is None else _numpy(gradient))

    real = [shape for shape in shapes if shape.dtype.kind == "f"]

    def ask(callback: Callable[..., Any], results: Any, *arguments: Any) -> Any:
        bits = jax.tree.map(_bits_like, results)
        found = jax.pure_callback(
            callback, bits, *jax.tree.map(_jax_to_bits, arguments), vmap_method="sequential"
        )
        return jax.tree.map(_jax_from_bits, found, results)

    @jax.custom_vjp
    def call(z: jax.Array) -> list[jax.Array]:
        return ask(forward, shapes, z)

    def call_forward(z: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        return call(z), z

    def call_backward(z: jax.Array, cotangents: list[Any]) -> tuple[jax.Array]:
        floats = [c for c, shape in zip(cotangents, shapes, strict=True) if shape.dtype.kind == "f"]
        return (ask(backward, like, z, floats),)

    call.defvjp(call_forward, call_backward)
    return lambda z: pytree.tree_unflatten(call(jnp.asarray(z)), structure)


# -- bits ----------------------------------------------------------------------------------------------
#
# JAX hands arrays to a callback and takes them back in the precision of the thread that it happens to run
# the callback in, which is single. Numbers of 64 bits travel as pairs of 32.


def _to_bits(array: np.ndarray) -> np.ndarray:
    wide = array.dtype.itemsize == 8
    return np.ascontiguousarray(array)[..., None].view(np.uint32).reshape(*array.shape, 2) if wide else array


def _from_bits(bits: Any, like: jax.ShapeDtypeStruct) -> np.ndarray:
    array = np.array(bits)
    return array.view(like.dtype).reshape(like.shape) if like.dtype.itemsize == 8 else array


def _bits_like(like: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*like.shape, 2), np.uint32) if like.dtype.itemsize == 8 else like


def _jax_to_bits(array: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(array, jnp.uint32) if array.dtype.itemsize == 8 else array


def _jax_from_bits(bits: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, like.dtype) if like.dtype.itemsize == 8 else bits


# -- torch ---------------------------------------------------------------------------------------------


def _run(function: Callable[[torch.Tensor], Any], z: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
    leaves, structure = pytree.tree_flatten(function(z))
    return [torch.as_tensor(leaf) for leaf in leaves], structure


def _real(leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    return [leaf for leaf in leaves if leaf.is_floating_point()]


def _numpy(leaf: torch.Tensor) -> np.ndarray:
    return leaf.detach().cpu().numpy()


def _check_shapes(leaves: list[torch.Tensor], shapes: list[jax.ShapeDtypeStruct]) -> None:
    found, expected = [tuple(leaf.shape) for leaf in leaves], [shape.shape for shape in shapes]
    if found != expected:
        raise ProgramError(
            "program",
            got=f"sites of shapes {found} at one point and {expected} at another",
            expected="the same sites with the same shapes, whatever is sampled",
            fix="Make every sample statement on every path through the program.",
        )
