"""Gated convolutions that see only the pixels above, and those to the left in the same row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.entries import EMBEDDING_SCALE, value_embedding
from ppgen.models.networks.mlp import mlp

__all__ = ["GatedConvolutions"]


class GatedConvolutions(nn.Module):
    r"""A vertical stack that reads the rows above, and a horizontal one that reads the row itself.

    .. math:: y = \tanh(W_f * x + V_f c) \odot \sigma(W_g * x + V_g c)

    in each layer of each stack, with c the class. The image is shifted down for the vertical stack and to
    the right for the horizontal one, and convolutions are padded only above and to the left: they then see
    all of what comes before a pixel, without a blind spot, and nothing else. The channels of a pixel follow
    each other, each by a small network that reads those before it.

    Args:
        levels: how many values an entry can take; ``None`` for continuous data.
        shape: channels, height and width.
        outputs: the number of outputs per entry.
        width: feature channels of each stack.
        layers: how many gated layers.
        kernel: the width of the convolutions, odd; their height is ``(kernel + 1) / 2``.
        dropout: on what the gates let through, and in the last layers.
        classes: the number of classes.

    References:
        van den Oord et al., *Conditional Image Generation with PixelCNN Decoders*, 2016, arXiv:1606.05328;
        Ramachandran et al., *Fast Generation for Convolutional Autoregressive Models*, 2017, arXiv:1704.06001
        (what :meth:`next` remembers).
    """

    order: Tensor

    def __init__(
        self,
        levels: int | None,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        width: int,
        layers: int,
        kernel: int,
        dropout: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.outputs = outputs
        self.rows = (kernel + 1) // 2  # of the vertical convolutions, and columns of the horizontal ones
        self.around = (kernel // 2, kernel // 2)
        channels, rows, columns = shape
        self.embed = nn.ModuleList(value_embedding(levels, width) for _ in range(channels))
        self.position = nn.Parameter(EMBEDDING_SCALE * torch.randn(width, rows, columns))
        self.layers = nn.ModuleList(_Gated(width, self.rows, kernel, dropout, classes) for _ in range(layers))
        self.heads = nn.ModuleList(
            mlp((1 + c) * width, (2 * width,), outputs, dropout) for c in range(channels)
        )
        places = torch.arange(channels * rows * columns).view(shape)
        self.register_buffer("order", places.permute(1, 2, 0).flatten(), persistent=False)  # pixel by pixel

    def forward(
        self, values: Shaped[Tensor, "n d"], label: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d outputs"]:
        """Outputs ``(n, d, outputs)`` for images ``(n, d)``, read from ``(channels, height, width)``.

        Images may lack their last rows.
        """
        by_channel = values.unflatten(-1, (self.shape[0], -1)).unbind(1)  # each (n, pixels)
        embedded = [embed(x) for embed, x in zip(self.embed, by_channel, strict=True)]
        pixels = torch.stack(embedded).sum(0).mT.unflatten(-1, (-1, self.shape[2]))
        position = self.position[:, : pixels.shape[2]]  # (width, rows, columns)
        above = F.pad(pixels, (0, 0, 1, 0))[:, :, :-1] + position  # (n, width, rows, columns)
        left = F.pad(pixels, (1, 0))[..., :-1] + position
        for layer in self._gated():
            above, linked = layer.vertical(F.pad(above, (*self.around, self.rows - 1, 0)), label)
            left = layer.horizontal(F.pad(left, (self.rows - 1, 0)), left, linked)
        read = [left.flatten(2).mT, *embedded]  # each (n, pixels, width)
        outputs = [head(torch.cat(read[: 1 + c], -1)) for c, head in enumerate(self.heads)]
        return torch.cat(outputs, 1)

    def first(
        self, n: int, label: Int[Tensor, " n"] | None = None
    ) -> tuple[Float[Tensor, "n outputs"], _Memory]:
        """Outputs ``(n, outputs)`` of the first pixel's first channel, and the memory for the next."""
        memory = self._nothing_seen(n, label)
        self._enter_row(0, memory)
        memory.pixel = [self._look(0, 0, memory)]
        return self.heads[0](memory.pixel[0]), memory

    def next(
        self, t: int, previous: Shaped[Tensor, " n"], memory: _Memory
    ) -> tuple[Float[Tensor, "n outputs"], _Memory]:
        """Outputs ``(n, outputs)`` of the t-th entry, pixel by pixel, given the value ``(n,)`` before it."""
        channels, _, columns = self.shape
        place, channel = divmod(t, channels)
        row, column = divmod(place, columns)
        memory.pixel.append(self.embed[channel - 1](previous[:, None])[:, 0])
        if channel == 0:  # the pixel before is complete; in column 0 it was the last of its row
            memory.row[:, :, 0, column - 1] = torch.stack(memory.pixel[1:]).sum(0)
            if column == 0:
                self._enter_row(row, memory)
            memory.pixel = [self._look(row, column, memory)]
        return self.heads[channel](torch.cat(memory.pixel, -1)), memory

    def _nothing_seen(self, n: int, label: Tensor | None) -> _Memory:
        width, columns = len(self.position), self.shape[2]
        blank = self.position.new_zeros
        return _Memory(
            label,
            row=blank(n, width, 1, columns),
            above=[blank(n, width, self.rows, columns + sum(self.around)) for _ in self.layers],
            linked=[blank(n, 2 * width, 1, columns) for _ in self.layers],
            left=[blank(n, width, 1, columns + self.rows - 1) for _ in self.layers],
            pixel=[],
        )

    def _enter_row(self, row: int, memory: _Memory) -> None:
        """The vertical stack's one row, from the row that was just completed."""
        above = memory.row + self.position[:, row : row + 1]
        for i, layer in enumerate(self._gated()):
            memory.above[i] = torch.cat([memory.above[i][:, :, 1:], F.pad(above, self.around)], 2)
            above, memory.linked[i] = layer.vertical(memory.above[i], memory.label)
        memory.row.zero_()
        for left in memory.left:
            left.zero_()

    def _look(self, row: int, column: int, memory: _Memory) -> Tensor:
        """The horizontal stack's one pixel: features ``(n, width)``."""
        last = memory.row[..., column - 1 : column] if column else torch.zeros_like(memory.row[..., :1])
        left = last + self.position[:, row : row + 1, column : column + 1]
        for layer, seen, linked in zip(self._gated(), memory.left, memory.linked, strict=True):
            seen[..., column + self.rows - 1] = left[..., 0]
            window = seen[..., column : column + self.rows]
            left = layer.horizontal(window, left, linked[..., column : column + 1])
        return left.flatten(1)

    def _gated(self) -> list[_Gated]:
        return [cast(_Gated, layer) for layer in self.layers]


@dataclass
class _Memory:
    """What sampling keeps of an image's past: the last few rows, and the row that is being drawn.

    Attributes:
        label: the classes ``(n,)``.
        row: this row's pixels as embedded ``(n, width, 1, columns)``.
        above: of each layer, the last rows that the vertical stack read, padded.
        linked: of each layer, what the vertical stack says of this row ``(n, 2 * width, 1, columns)``.
        left: of each layer, what the horizontal stack read in this row, padded.
        pixel: this pixel's features and its embedded channels so far, each ``(n, width)``.
    """

    label: Tensor | None
    row: Tensor
    above: list[Tensor]
    linked: list[Tensor]
    left: list[Tensor]
    pixel: list[Tensor]


class _Gated(nn.Module):
    """One layer of both stacks; its inputs are padded already."""

    def __init__(self, width: int, rows: int, kernel: int, dropout: float, classes: int | None) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, 2 * width, (rows, kernel))
        self.right = nn.Conv2d(width, 2 * width, (1, rows))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.mix = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.of_class = None if classes is None else nn.Embedding(classes, 4 * width)

    def vertical(self, padded: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The rows that come out, and what the horizontal stack reads of them, along with the class."""
        sums = self.down(padded)
        linked = self.link(sums)
        if label is not None and self.of_class is not None:
            to_vertical, to_horizontal = self.of_class(label)[..., None, None].chunk(2, 1)
            sums, linked = sums + to_vertical, linked + to_horizontal
        return self.dropout(_gate(sums)), linked

    def horizontal(self, padded: Tensor, residual: Tensor, linked: Tensor) -> Tensor:
        """The pixels that come out."""
        return residual + self.mix(self.dropout(_gate(self.right(padded) + linked)))


def _gate(sums: Tensor) -> Tensor:
    filtered, gate = sums.chunk(2, 1)
    return filtered.tanh() * gate.sigmoid()
