"""A small U-Net for images, given a time and a class. (JAX.)"""

from __future__ import annotations

from itertools import count, pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ppgen.models.networks.conditioning import Conditioning
from ppgen.models.networks.winograd import Convolution

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
        classes: the number of classes, if any.
        key: of the initial weights; the last layer starts at 0.

    References:
        Ronneberger, Fischer and Brox, *U-Net*, 2015, arXiv:1505.04597; Ho, Jain and Abbeel, *Denoising
        Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (with time, and with attention).

    Example:
        >>> network = UNet(1, 17, width=8, scales=2, key=jax.random.key(0))
        >>> network(jnp.ones((2, 7, 9, 1)), jnp.array([0.5, 0.7])).shape
        (2, 7, 9, 17)
    """

    first: Convolution
    down: tuple[_Block, ...]
    halve: tuple[Convolution, ...]
    middle: tuple[_Block, _Attention, _Block]
    up: tuple[_Block, ...]
    norm: _Norm
    last: Convolution
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
        self.first = Convolution(channels, width, key=next(keys))
        self.down = tuple(_Block(w, w, size, dropout, key=next(keys)) for w in widths[:-1])
        self.halve = tuple(
            Convolution(before, after, stride=2, key=next(keys)) for before, after in pairwise(widths)
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
        self.last = jax.tree.map(jnp.zeros_like, Convolution(width, outputs, key=next(keys)))
        self.told = Conditioning(size, classes, key=next(keys))

    def __call__(
        self, x: jax.Array, t: jax.Array, label: jax.Array | None = None, keys: jax.Array | None = None
    ) -> jax.Array:
        """Numbers ``(n, height, width, outputs)`` for images ``(n, height, width, channels)``.

        Args:
            x: the images.
            t: the time of each ``(n,)``, or of all ``()``.
            label: the class of each ``(n,)``, where there are classes.
            keys: of dropout ``(n,)``; without them there is none.
        """
        axes = (0 if t.ndim else None, None if label is None else 0)
        told = self.told(t, label)[None] if axes == (None, None) else jax.vmap(self.told, axes)(t, label)
        dropped = (_folded(keys, i) for i in count())  # each block's keys
        h = self.first(x)
        passed = []
        for block, halve in zip(self.down, self.halve, strict=True):
            h = block(h, told, next(dropped))
            passed.append(h)
            h = halve(h)
        before, attention, after = self.middle
        h = after(attention(before(h, told, next(dropped))), told, next(dropped))
        for block in self.up:
            skipped = passed.pop()
            h = jnp.concatenate([_doubled(h, skipped.shape), skipped], -1)
            h = block(h, told, next(dropped))
        return self.last(jax.nn.silu(self.norm(h)))


class _Block(eqx.Module):
    """Two convolutions around a shift by time and class, next to a shortcut."""

    norms: tuple[_Norm, _Norm]
    convolutions: tuple[Convolution, Convolution]
    shortcut: Convolution | None
    told: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, inputs: int, outputs: int, told: int, dropout: float, *, key: jax.Array) -> None:
        first, second, shortcut, shift = jax.random.split(key, 4)
        self.norms = (_Norm(inputs), _Norm(outputs))
        self.convolutions = (
            Convolution(inputs, outputs, key=first),
            Convolution(outputs, outputs, key=second),
        )
        self.shortcut = None if inputs == outputs else Convolution(inputs, outputs, size=1, key=shortcut)
        self.told = eqx.nn.Linear(told, outputs, key=shift)
        self.dropout = eqx.nn.Dropout(dropout)

    def __call__(self, h: jax.Array, told: jax.Array, keys: jax.Array | None) -> jax.Array:
        shift = jax.vmap(self.told)(told)[:, None, None]
        inner = self.convolutions[0](jax.nn.silu(self.norms[0](h))) + shift
        inner = jax.nn.silu(self.norms[1](inner))
        if keys is not None:
            inner = jax.vmap(lambda one, key: self.dropout(one, key=key))(inner, keys)
        return (h if self.shortcut is None else self.shortcut(h)) + self.convolutions[1](inner)


class _Attention(eqx.Module):
    """Self-attention over all pixels."""

    norm: _Norm
    heads: eqx.nn.MultiheadAttention

    def __init__(self, channels: int, *, key: jax.Array) -> None:
        self.norm = _Norm(channels)
        self.heads = eqx.nn.MultiheadAttention(max(1, channels // 32), channels, key=key)

    def __call__(self, h: jax.Array) -> jax.Array:
        pixels = self.norm(h).reshape(len(h), -1, h.shape[-1])
        return h + jax.vmap(self.heads)(pixels, pixels, pixels).reshape(h.shape)


class _Norm(eqx.Module):
    """Groups of channels get mean 0 and variance 1 over an image, then a scale and shift of their own."""

    scale: jax.Array
    shift: jax.Array

    def __init__(self, channels: int) -> None:
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)

    def __call__(self, h: jax.Array) -> jax.Array:
        # Each channel's sums over the pixels first: the other way round takes several times as long.
        centred = h - self._of_groups(h.mean((1, 2)))
        variance = self._of_groups((centred**2).mean((1, 2)))
        return centred * lax.rsqrt(variance + 1e-5) * self.scale + self.shift

    def _of_groups(self, channels: jax.Array) -> jax.Array:
        """The mean over the group that each of the channels ``(n, channels)`` is in."""
        groups = channels.reshape(len(channels), GROUPS, -1)
        return jnp.repeat(groups.mean(-1), groups.shape[-1], axis=-1)[:, None, None]


def _folded(keys: jax.Array | None, i: int) -> jax.Array | None:
    return None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, i)


def _doubled(h: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Each pixel becomes four, cut to the height and width of the shape."""
    return h.repeat(2, axis=1).repeat(2, axis=2)[:, : shape[1], : shape[2]]
