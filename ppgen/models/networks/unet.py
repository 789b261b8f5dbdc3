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

    first: eqx.nn.Conv2d
    down: tuple[_Block, ...]
    halve: tuple[eqx.nn.Conv2d, ...]
    middle: tuple[_Block, _Attention, _Block]
    up: tuple[_Block, ...]
    norm: eqx.nn.GroupNorm
    last: eqx.nn.Conv2d
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
        self.first = _conv(channels, width, next(keys))
        self.down = tuple(_Block(w, w, size, dropout, key=next(keys)) for w in widths[:-1])
        self.halve = tuple(_conv(before, after, next(keys), stride=2) for before, after in pairwise(widths))
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
        self.norm = eqx.nn.GroupNorm(GROUPS, width)
        self.last = jax.tree.map(jnp.zeros_like, _conv(width, outputs, next(keys)))
        self.told = Conditioning(size, classes, key=next(keys))

    def __call__(
        self, x: jax.Array, t: jax.Array, label: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Numbers ``(height, width, outputs)`` for an image ``(height, width, channels)`` at a time."""
        told = self.told(t, label)
        keys = iter([None] * 99 if key is None else jax.random.split(key, 99))
        h = self.first(x.transpose(2, 0, 1))
        passed = []
        for block, halve in zip(self.down, self.halve, strict=True):
            h = block(h, told, next(keys))
            passed.append(h)
            h = halve(h)
        before, attention, after = self.middle
        h = after(attention(before(h, told, next(keys))), told, next(keys))
        for block in self.up:
            beside = passed.pop()
            h = jnp.concatenate([_doubled(h, beside.shape), beside])
            h = block(h, told, next(keys))
        return self.last(jax.nn.silu(self.norm(h))).transpose(1, 2, 0)


class _Block(eqx.Module):
    """Two convolutions around a shift by what is told, beside a shortcut."""

    norms: tuple[eqx.nn.GroupNorm, eqx.nn.GroupNorm]
    convolutions: tuple[eqx.nn.Conv2d, eqx.nn.Conv2d]
    shortcut: eqx.nn.Conv2d | None
    told: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, inputs: int, outputs: int, told: int, dropout: float, *, key: jax.Array) -> None:
        first, second, shortcut, shift = jax.random.split(key, 4)
        self.norms = (eqx.nn.GroupNorm(GROUPS, inputs), eqx.nn.GroupNorm(GROUPS, outputs))
        self.convolutions = (_conv(inputs, outputs, first), _conv(outputs, outputs, second))
        self.shortcut = None if inputs == outputs else _conv(inputs, outputs, shortcut, size=1)
        self.told = eqx.nn.Linear(told, outputs, key=shift)
        self.dropout = eqx.nn.Dropout(dropout)

    def __call__(self, h: jax.Array, told: jax.Array, key: jax.Array | None) -> jax.Array:
        inner = self.convolutions[0](jax.nn.silu(self.norms[0](h))) + self.told(told)[:, None, None]
        inner = self.dropout(jax.nn.silu(self.norms[1](inner)), key=key, inference=key is None)
        return (h if self.shortcut is None else self.shortcut(h)) + self.convolutions[1](inner)


class _Attention(eqx.Module):
    """Each pixel looks at all others."""

    norm: eqx.nn.GroupNorm
    heads: eqx.nn.MultiheadAttention

    def __init__(self, channels: int, *, key: jax.Array) -> None:
        self.norm = eqx.nn.GroupNorm(GROUPS, channels)
        self.heads = eqx.nn.MultiheadAttention(max(1, channels // 32), channels, key=key)

    def __call__(self, h: jax.Array) -> jax.Array:
        pixels = self.norm(h).reshape(len(h), -1).T
        return h + self.heads(pixels, pixels, pixels).T.reshape(h.shape)


def _conv(inputs: int, outputs: int, key: jax.Array, *, size: int = 3, stride: int = 1) -> eqx.nn.Conv2d:
    return eqx.nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, key=key)


def _doubled(h: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Each pixel becomes four, cut to the height and width of the shape."""
    return h.repeat(2, axis=1).repeat(2, axis=2)[:, : shape[1], : shape[2]]
