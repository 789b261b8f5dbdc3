"""A small U-Net for images, told the time and the class. (JAX.)"""

from __future__ import annotations

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp

from ppgen.models.networks.conditioning import Conditioning

__all__ = ["UNet"]

GROUPS = 8  # of channels that are normalised together


class UNet(eqx.Module):
    """Residual convolutions at falling and rising resolutions, with attention at the lowest.

    Heights and widths need not be powers of two: a halved side is rounded up, and cut to fit on the way back.

    Args:
        channels: of the image that is read.
        outputs: numbers to return for each pixel.
        width: channels at the full resolution, a multiple of 8.
        scales: how many times height and width are halved; channels double the first time.
        dropout: within each block, in training.
        classes: how many classes there are, if any.
        key: of the initial weights; the last layer starts at 0.

    References:
        Ronneberger, Fischer and Brox, *U-Net*, 2015, arXiv:1505.04597; Ho, Jain and Abbeel, *Denoising
        Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (with time, and with attention).

    Example:
        >>> network = UNet(1, 17, width=8, scales=2, key=jax.random.key(0))
        >>> network(jnp.ones((7, 9, 1)), jnp.array(0.5)).shape
        (7, 9, 17)
    """

    first: _Convolution
    down: tuple[_Block, ...]
    halve: tuple[_Convolution, ...]
    middle: tuple[_Block, _Attention, _Block]
    up: tuple[_Block, ...]
    norm: _Norm
    last: _Convolution
    told: Conditioning

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        width: int,
        scales: int,
        dropout: float = 0.0,
        classes: int | None = None,
        key: jax.Array,
    ) -> None:
        keys = iter(jax.random.split(key, 6 + 3 * scales))
        widths = [width] + [2 * width] * scales
        size = 4 * width
        self.first = _Convolution(channels, width, key=next(keys))
        self.down = tuple(_Block(w, w, size, dropout, key=next(keys)) for w in widths[:-1])
        self.halve = tuple(
            _Convolution(before, after, stride=2, key=next(keys)) for before, after in pairwise(widths)
        )
        deep = widths[-1]
        self.middle = (
            _Block(deep, deep, size, dropout, key=next(keys)),
            _Attention(deep, key=next(keys)),
            _Block(deep, deep, size, dropout, key=next(keys)),
        )
        self.up = tuple(
            _Block(below + here, here, size, dropout, key=next(keys))
            for here, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.norm = _Norm(width)
        self.last = jax.tree.map(jnp.zeros_like, _Convolution(width, outputs, key=next(keys)))
        self.told = Conditioning(size, classes, key=next(keys))

    def __call__(
        self, x: jax.Array, t: jax.Array, label: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Numbers ``(height, width, outputs)`` for an image ``(height, width, channels)`` at a time."""
        told = self.told(t, label)
        keys = iter([None] * 99 if key is None else jax.random.split(key, 99))
        h = self.first(x)
        passed = []
        for block, halve in zip(self.down, self.halve, strict=True):
            h = block(h, told, next(keys))
            passed.append(h)
            h = halve(h)
        before, attention, after = self.middle
        h = after(attention(before(h, told, next(keys))), told, next(keys))
        for block in self.up:
            beside = passed.pop()
            h = jnp.concatenate([_doubled(h, beside.shape), beside], -1)
            h = block(h, told, next(keys))
        return self.last(jax.nn.silu(self.norm(h)))


class _Block(eqx.Module):
    """Two convolutions around a shift by what is told, beside a shortcut."""

    norms: tuple[_Norm, _Norm]
    convolutions: tuple[_Convolution, _Convolution]
    shortcut: _Convolution | None
    told: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, inputs: int, outputs: int, told: int, dropout: float, *, key: jax.Array) -> None:
        first, second, shortcut, shift = jax.random.split(key, 4)
        self.norms = (_Norm(inputs), _Norm(outputs))
        self.convolutions = (
            _Convolution(inputs, outputs, key=first),
            _Convolution(outputs, outputs, key=second),
        )
        self.shortcut = None if inputs == outputs else _Convolution(inputs, outputs, size=1, key=shortcut)
        self.told = eqx.nn.Linear(told, outputs, key=shift)
        self.dropout = eqx.nn.Dropout(dropout)

    def __call__(self, h: jax.Array, told: jax.Array, key: jax.Array | None) -> jax.Array:
        inner = self.convolutions[0](jax.nn.silu(self.norms[0](h))) + self.told(told)
        inner = self.dropout(jax.nn.silu(self.norms[1](inner)), key=key, inference=key is None)
        return (h if self.shortcut is None else self.shortcut(h)) + self.convolutions[1](inner)


class _Attention(eqx.Module):
    """Each pixel looks at all others."""

    norm: _Norm
    heads: eqx.nn.MultiheadAttention

    def __init__(self, channels: int, *, key: jax.Array) -> None:
        self.norm = _Norm(channels)
        self.heads = eqx.nn.MultiheadAttention(max(1, channels // 32), channels, key=key)

    def __call__(self, h: jax.Array) -> jax.Array:
        pixels = self.norm(h).reshape(-1, h.shape[-1])
        return h + self.heads(pixels, pixels, pixels).reshape(h.shape)


class _Convolution(eqx.Module):
    """A convolution of images ``(height, width, channels)``, as a matrix product.

    XLA's own convolutions take about ten times as long on a CPU where they are inside of a loop, as they are
    in training and in sampling.
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
        height, width, _ = h.shape
        margin = self.size // 2
        padded = jnp.pad(h, ((margin, margin), (margin, margin), (0, 0)))
        patches = [
            padded[i : i + height : self.stride, j : j + width : self.stride]
            for i in range(self.size)
            for j in range(self.size)
        ]
        return jnp.concatenate(patches, -1) @ self.weight + self.bias


class _Norm(eqx.Module):
    """Groups of channels get mean 0 and variance 1 over an image, then a scale and shift of their own."""

    scale: jax.Array
    shift: jax.Array

    def __init__(self, channels: int) -> None:
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)

    def __call__(self, h: jax.Array) -> jax.Array:
        groups = h.reshape(-1, GROUPS, h.shape[-1] // GROUPS)
        mean = groups.mean((0, 2), keepdims=True)
        variance = groups.var((0, 2), keepdims=True)
        return ((groups - mean) / jnp.sqrt(variance + 1e-5)).reshape(h.shape) * self.scale + self.shift


def _doubled(h: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Each pixel becomes four, cut to the height and width of the shape."""
    return h.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
