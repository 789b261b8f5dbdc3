"""The network of a diffusion model: numbers for each entry of a row, given numbers for each entry. (JAX.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax

from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_convolutions
from ppgen.models.networks.time_mlp import TimeMLP
from ppgen.models.networks.unet import GROUPS, UNet

__all__ = ["Denoiser", "Networks", "denoiser", "each_row"]

Networks = Literal["mlp", "unet"]

SMALLEST = 4  # height and width that can be halved


class Denoiser(eqx.Module):
    """A network between rows with several numbers per entry.

    Calling it takes ``x (*shape, inputs)``, a time ``t ()`` in [0, 1], a class ``label ()`` where there are
    classes (their number itself for the unconditional one), and a key for dropout; it gives
    ``(*shape, outputs)``.
    """

    body: TimeMLP | UNet
    shape: tuple[int, ...] = eqx.field(static=True)
    outputs: int = eqx.field(static=True)

    def __call__(
        self, x: jax.Array, t: jax.Array, label: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """The outputs ``(*shape, outputs)`` of one row ``(*shape, inputs)``; with a key, under dropout."""
        one = [None if value is None else value[None] for value in (label, key)]
        return self.rows(x[None], t, *one)[0]

    def rows(
        self, x: jax.Array, t: jax.Array, label: jax.Array | None = None, keys: jax.Array | None = None
    ) -> jax.Array:
        """The same of many rows ``(n, *shape, inputs)``, at times ``(n,)`` or one time ``()``."""
        if isinstance(self.body, UNet):
            images = x.reshape(len(x), *self.shape[:2], -1)  # colours are channels
            return self.body(images, t, label, keys).reshape(len(x), *self.shape, self.outputs)
        return each_row(self.body, x, t, label, keys)


def each_row(
    network: Callable[..., jax.Array],
    x: jax.Array,
    t: jax.Array,
    label: jax.Array | None,
    keys: jax.Array | None,
) -> jax.Array:
    """The outputs for many rows of a network for one. A time ``()`` that all share is embedded once."""
    axes = (0, 0 if t.ndim else None, None if label is None else 0, None if keys is None else 0)
    return jax.vmap(network, in_axes=axes)(x, t, label, keys)


def denoiser(
    kind: Networks,
    shape: tuple[int, ...],
    *,
    inputs: int = 1,
    outputs: int = 1,
    width: int,
    depth: int,
    dropout: float,
    classes: int | None,
    seed: int,
) -> Denoiser:
    """Build one by its name.

    Args:
        kind: ``"mlp"`` for any rows, ``"unet"`` for images ``(height, width[, colours])``.
        shape: the shape of one example.
        inputs, outputs: how many numbers per entry are read and returned.
        width: of the hidden layers, or channels at the full resolution.
        depth: residual blocks, or how many times height and width are halved.
        dropout: within each block, in training.
        classes: the number of classes, if any.
        seed: of the initial weights.

    Raises:
        InvalidArgument: if the examples are not images or too small for the depth, or the width does not fit.

    Example:
        >>> network = denoiser(
        ...     "unet", (8, 8), outputs=17, width=8, depth=1, dropout=0.0, classes=None, seed=0
        ... )
        >>> network(jax.numpy.ones((8, 8, 1)), jax.numpy.array(0.5)).shape
        (8, 8, 17)
    """
    settings: dict[str, Any] = {"width": width, "dropout": dropout, "classes": classes}
    settings["key"] = jax.random.key(seed)
    if kind == "mlp":
        body: TimeMLP | UNet = TimeMLP((*shape, inputs), (*shape, outputs), depth=depth, **settings)
    else:
        _check_image(shape, width, depth)
        colours = shape[2] if len(shape) == 3 else 1
        body = UNet(colours * inputs, colours * outputs, scales=depth, **settings)
    return Denoiser(body, shape, outputs)


def _check_image(shape: tuple[int, ...], width: int, depth: int) -> None:
    check_convolutions("network", "unet", shape)
    if min(shape[:2]) < SMALLEST * 2 ** (depth - 1):
        raise InvalidArgument(
            "depth",
            got=f"{depth} halvings of images of {shape[0]}x{shape[1]}",
            expected=f"sides of at least {SMALLEST} before each halving",
            fix="Write a smaller depth, or network='mlp'.",
        )
    if width % GROUPS:
        raise InvalidArgument(
            "width",
            got=f"{width} channels",
            expected=f"a multiple of {GROUPS}, which are normalised in groups",
            fix=f"Write width={GROUPS * (width // GROUPS + 1)}.",
        )
