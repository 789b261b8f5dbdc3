"""Networks that map an example to its energy. (Equinox.)"""

from __future__ import annotations

import math
from typing import Literal

import equinox as eqx
import jax

from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_convolutions

__all__ = ["Architecture", "ConvEnergy", "DenseEnergy", "energy_network"]

Architecture = Literal["mlp", "conv"]


class DenseEnergy(eqx.Module):
    """A multilayer perceptron on flat examples, with a smooth activation so that it has second derivatives.

    Args:
        dims: the number of entries of an example.
        hidden: widths of the hidden layers.
        key: of the initial weights.

    Example:
        >>> DenseEnergy(3, (8, 8), jax.random.key(0))(jax.numpy.ones(3)).shape
        ()
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, dims: int, hidden: tuple[int, ...], key: jax.Array) -> None:
        keys = jax.random.split(key, len(hidden) + 1)
        sizes = zip((dims, *hidden), (*hidden, 1), keys, strict=True)
        self.layers = tuple(eqx.nn.Linear(inputs, outputs, key=key) for inputs, outputs, key in sizes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The energy ``()`` of one example."""
        h = x.reshape(-1)
        for layer in self.layers[:-1]:
            h = jax.nn.silu(layer(h))
        return self.layers[-1](h)[0]


class ConvEnergy(eqx.Module):
    """Convolutions over an image ``(height, width)`` or ``(height, width, colours)``.

    The first keeps the image's size, each further one halves it; a linear layer reads what is left.

    Args:
        shape: of the image.
        channels: of each convolution.
        key: of the initial weights.

    Raises:
        InvalidArgument: if examples are not images, or too small to be halved so often.

    Example:
        >>> ConvEnergy((8, 8), (4, 8), jax.random.key(0))(jax.numpy.ones((8, 8))).shape
        ()
    """

    convolutions: tuple[eqx.nn.Conv2d, ...]
    last: eqx.nn.Linear

    def __init__(self, shape: tuple[int, ...], channels: tuple[int, ...], key: jax.Array) -> None:
        _check_image(shape, channels)
        height, width, colours = (*shape, 1)[:3]
        keys = jax.random.split(key, len(channels) + 1)
        convolutions = []
        for i, (inputs, outputs) in enumerate(zip((colours, *channels), channels, strict=False)):
            convolutions.append(
                eqx.nn.Conv2d(inputs, outputs, 3, stride=min(2, i + 1), padding=1, key=keys[i])
            )
        self.convolutions = tuple(convolutions)
        halvings = 2 ** (len(channels) - 1)
        left = math.ceil(height / halvings) * math.ceil(width / halvings) * channels[-1]
        self.last = eqx.nn.Linear(left, 1, key=keys[-1])

    def __call__(self, x: jax.Array) -> jax.Array:
        """The energy ``()`` of one image."""
        h = x.reshape(*x.shape[:2], -1).transpose(2, 0, 1)  # (colours, height, width)
        for convolution in self.convolutions:
            h = jax.nn.silu(convolution(h))
        return self.last(h.reshape(-1))[0]


def energy_network(
    kind: Architecture, shape: tuple[int, ...], hidden: tuple[int, ...], key: jax.Array
) -> DenseEnergy | ConvEnergy:
    """The network of a kind; ``hidden`` holds widths, or channels."""
    if kind == "conv":
        return ConvEnergy(shape, hidden, key)
    return DenseEnergy(math.prod(shape), hidden, key)


def _check_image(shape: tuple[int, ...], channels: tuple[int, ...]) -> None:
    check_convolutions("networks", "conv", shape)
    if not channels or 2 ** (len(channels) - 1) > min(shape[:2]):
        raise InvalidArgument(
            "hidden",
            got=f"{len(channels)} convolutions, for images of shape {shape}",
            expected="at least one, and no more than the image can be halved by",
            fix="Write hidden=(32, 64), for example.",
        )
