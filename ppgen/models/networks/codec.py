"""An encoder and a decoder of a kind, between flat examples and vectors."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from ppgen.models.networks.convolution import ImageDecoder, ImageEncoder
from ppgen.models.networks.mlp import mlp

__all__ = ["Networks", "decoder", "encoder"]

Networks = Literal["mlp", "conv"]


def encoder(
    kind: Networks,
    shape: tuple[int, ...],
    hidden: tuple[int, ...],
    outputs: int,
    *,
    extra: int = 0,
    dropout: float = 0.0,
) -> nn.Module:
    """A network from flat examples, with ``extra`` numbers behind them, to outputs.

    Args:
        kind: ``"mlp"`` or ``"conv"``.
        shape: the shape of one example.
        hidden: widths of the decoder's layers, or channels from large images to small ones.
        outputs: how many numbers it returns for a row.
        extra: how many numbers there are behind each example.
        dropout: on the hidden layers, in training.
    """
    if kind == "conv":
        return ImageEncoder(shape, hidden, outputs, extra=extra, dropout=dropout)
    return mlp(math.prod(shape) + extra, hidden[::-1], outputs, dropout)


def decoder(
    kind: Networks,
    shape: tuple[int, ...],
    hidden: tuple[int, ...],
    inputs: int,
    numbers: int,
    *,
    dropout: float = 0.0,
) -> nn.Module:
    """A network from vectors to flat examples of ``numbers`` outputs an entry; see :func:`encoder`."""
    if kind == "conv":
        return ImageDecoder(shape, hidden, inputs, numbers, dropout=dropout)
    return mlp(inputs, hidden, math.prod(shape) * numbers, dropout)
