"""Convolutions of images by matrix products, squares of three pixels by Winograd's. (JAX.)

XLA's own convolutions take 25 to 40 times as long on a CPU when differentiated inside a loop, as in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["Convolution"]

# Winograd's F(2, 3): two neighbours of a convolution with three weights, by four products instead of six.
_OF_WEIGHTS = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.float32) / 2


class Convolution(eqx.Module):
    """A convolution of images ``(n, height, width, channels)``, with zeros around them.

    Args:
        inputs, outputs: channels.
        size: of the square of weights.
        stride: every so many pixels.
        key: of the initial weights.

    References:
        Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2015, arXiv:1509.09308 (squares
        of three pixels by Winograd's products, 4 instead of 9 a pixel).

    Example:
        >>> convolution = Convolution(3, 5, stride=2, key=jax.random.key(0))
        >>> convolution(jnp.ones((1, 7, 8, 3))).shape
        (1, 4, 4, 5)
    """

    weight: jax.Array
    bias: jax.Array
    size: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1, key: jax.Array) -> None:
        bound = (inputs * size**2) ** -0.5
        self.weight = jax.random.uniform(key, (size * size * inputs, outputs), minval=-bound, maxval=bound)
        self.bias = jnp.zeros(outputs)
        self.size, self.stride = size, stride

    def __call__(self, h: jax.Array) -> jax.Array:
        """Images ``(n, height, width, outputs)``; height and width are divided by the stride, rounded up."""
        if self.size == 1:
            convolved = h[:, :: self.stride, :: self.stride] @ self.weight
        elif (self.size, self.stride) == (3, 1):
            convolved = _by_winograd(h, self.weight)
        else:
            convolved = _by_patches(h, self.weight, self.size, self.stride)
        return convolved + self.bias


def _by_patches(h: jax.Array, weight: jax.Array, size: int, stride: int) -> jax.Array:
    """The patch around each pixel, times the weights ``(size · size · inputs, outputs)``."""
    _, height, width, _ = h.shape
    margin = size // 2
    padded = jnp.pad(h, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    patches = [
        padded[:, i : i + height : stride, j : j + width : stride] for i in range(size) for j in range(size)
    ]
    return jnp.concatenate(patches, -1) @ weight


def _by_winograd(h: jax.Array, weight: jax.Array) -> jax.Array:
    """Squares of 2×2 pixels from the squares of 4×4 around them, by 16 products of channels each.

    They are one batched product: 16 apart take longer to compile, and far longer to differentiate.
    """
    parts, channels = jnp.stack(_around_squares(h)), h.shape[-1]
    products = parts.reshape(16, -1, channels) @ _of_weights(weight, channels)
    return _into_image(_twos(products.reshape(4, 4, *parts.shape[1:-1], -1)), h.shape)


def _around_squares(h: jax.Array) -> list[jax.Array]:
    """Sums and differences of the pixels around each square of 2×2: 16 images of half the size."""
    _, height, width, _ = h.shape
    padded = jnp.pad(h, ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0)))
    return [part for rows in _fours(padded, 1) for part in _fours(rows, 2)]


def _of_weights(weight: jax.Array, channels: int) -> jax.Array:
    """What each of them is multiplied with, ``(16, channels, outputs)``."""
    square = weight.reshape(3, 3, channels, -1)
    return jnp.einsum("ai,bj,ijco->abco", _OF_WEIGHTS, _OF_WEIGHTS, square).reshape(16, channels, -1)


def _into_image(rows: Iterable[Any], shape: tuple[int, ...]) -> jax.Array:
    """The image from the four products of each of two rows, cut to its height and width."""
    pixels = [jnp.stack(_twos(row), 3) for row in rows]  # (n, tall, wide, 2, outputs)
    n, tall, wide, _, outputs = pixels[0].shape
    lines = jnp.stack([row.reshape(n, tall, 2 * wide, outputs) for row in pixels], 2)
    return lines.reshape(n, 2 * tall, 2 * wide, outputs)[:, : shape[1], : shape[2]]


def _fours(x: jax.Array, axis: int) -> tuple[jax.Array, ...]:
    """What is to be multiplied, from each four entries of an axis that begin at an even one."""
    count = x.shape[axis] // 2
    pairs = x.reshape(*x.shape[:axis], count, 2, *x.shape[axis + 1 :])
    even, odd = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    a, c = (lax.slice_in_dim(even, i, count - 1 + i, axis=axis) for i in range(2))
    b, d = (lax.slice_in_dim(odd, i, count - 1 + i, axis=axis) for i in range(2))
    return a - c, b + c, c - b, b - d


def _twos(products: Any) -> tuple[jax.Array, jax.Array]:
    """Two neighbours of the convolution, from the four products."""
    a, b, c, d = products
    return a + b + c, b - c - d
