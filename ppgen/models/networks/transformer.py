"""The decoder-only transformer, which predicts what follows each prefix of a sequence."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.entries import EMBEDDING_SCALE

__all__ = ["Decoder", "KeyValue", "Memory"]


class KeyValue(NamedTuple):
    """One attention layer's keys and values, each ``(n, heads, length, size)``; those of the future are 0."""

    key: Tensor
    value: Tensor


class Memory(NamedTuple):
    """What :meth:`Decoder.next` continues from: the past of each layer, and the classes ``(n,)``."""

    layers: list[KeyValue]
    label: Tensor | None


class Decoder(nn.Module):
    r"""A pre-norm transformer that reads :math:`x_{<t}` and predicts :math:`x_t`, for all t at once.

    Args:
        embed: turns values ``(n, t)`` into vectors ``(n, t, width)``.
        shape: of the array that the sequence is read from, such as ``(8, 8)``; its length is the product.
        outputs: how many numbers to return for each position.
        width, layers, heads: the transformer's size.
        dropout: on the embeddings and on each residual branch.
        classes: how many classes there are; a class is a vector that is added at every position.

    References:
        Vaswani et al., *Attention Is All You Need*, 2017, arXiv:1706.03762.
    """

    order: Tensor

    def __init__(
        self,
        embed: nn.Module,
        shape: tuple[int, ...],
        outputs: int,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.embed = embed
        self.outputs = outputs
        self.start = nn.Parameter(EMBEDDING_SCALE * torch.randn(width))
        self.position = _Position(shape, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, layers, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))
        self.of_class = None if classes is None else nn.Embedding(classes, width)
        self.register_buffer("order", torch.arange(len(self.position())), persistent=False)

    def forward(
        self, values: Shaped[Tensor, "n length"], label: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n length outputs"]:
        """Outputs ``(n, length, outputs)`` for sequences ``(n, length)``, or for their beginnings.

        Output t reads what is before t.
        """
        start, position = self.start.expand(len(values), 1, -1), self.position()[: values.shape[1]]
        h = torch.cat([start, self.embed(values[:, :-1])], 1) + position  # (n, length, width)
        h = self.dropout(self._with_class(h, label))
        for block in self._blocks():
            h = block(h)
        return self.head(h)  # (n, length, outputs)

    def first(
        self, n: int, label: Int[Tensor, " n"] | None = None
    ) -> tuple[Float[Tensor, "n outputs"], Memory]:
        """Outputs ``(n, outputs)`` for position 0, and the memory that :meth:`next` continues from."""
        length = len(self.order)
        memory = Memory([block.nothing_seen(n, length) for block in self._blocks()], label)
        return self._advance(0, self.start.expand(n, 1, -1), memory), memory

    def next(
        self, t: int, previous: Shaped[Tensor, " n"], memory: Memory
    ) -> tuple[Float[Tensor, "n outputs"], Memory]:
        """Outputs ``(n, outputs)`` for position t, given the value ``(n,)`` before it."""
        return self._advance(t, self.embed(previous[:, None]), memory), memory

    def _advance(self, t: int, h: Tensor, memory: Memory) -> Tensor:
        h = self._with_class(h + self.position.at(t), memory.label)  # (n, 1, width)
        for block, past in zip(self._blocks(), memory.layers, strict=True):
            h = block.step(h, t, past)
        return self.head(h)[:, 0]

    def _with_class(self, h: Tensor, label: Tensor | None) -> Tensor:
        return h if label is None or self.of_class is None else h + self.of_class(label)[:, None]

    def _blocks(self) -> list[_Block]:
        return [cast(_Block, block) for block in self.blocks]


class _Position(nn.Module):
    """Where an entry is: a vector for each index of each axis, summed; a row of an image shares its own."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.shape = shape
        self.axes = nn.ParameterList(EMBEDDING_SCALE * torch.randn(size, width) for size in shape)

    def forward(self) -> Tensor:
        total, *others = self.axes
        for axis in others:
            total = total.unsqueeze(-2) + axis  # (..., size, width)
        return total.flatten(0, -2)  # (length, width)

    def at(self, t: int) -> Tensor:
        total = torch.zeros_like(self.axes[0][0])
        for size, axis in zip(reversed(self.shape), reversed(list(self.axes)), strict=True):
            t, index = divmod(t, size)
            total = total + axis[index]
        return total  # (width,)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)
        # Residual branches start small, so that the sum over layers starts at unit scale (GPT-2).
        for weight in (self.mix.weight, self.feed_forward[-1].weight):
            nn.init.normal_(cast(Tensor, weight), std=0.02 / (2 * layers) ** 0.5)

    def forward(self, h: Tensor) -> Tensor:
        """Whole sequences ``(n, t, width)``, each position with what lies before it."""
        query, key, value = self._split(h)
        return self._join(h, F.scaled_dot_product_attention(query, key, value, is_causal=True))

    def nothing_seen(self, n: int, length: int) -> KeyValue:
        shape = (n, self.heads, length, len(self.mix.bias) // self.heads)
        return KeyValue(self.mix.weight.new_zeros(shape), self.mix.weight.new_zeros(shape))

    def step(self, h: Tensor, t: int, past: KeyValue) -> Tensor:
        """One position ``(n, 1, width)``, which adds its key and value to the past and attends to it all."""
        query, past.key[:, :, t : t + 1], past.value[:, :, t : t + 1] = self._split(h)
        key, value = past.key[:, :, : t + 1], past.value[:, :, : t + 1]
        return self._join(h, F.scaled_dot_product_attention(query, key, value))

    def _split(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.query_key_value(self.attention_norm(h)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (n, heads, t, size)
        return query, key, value

    def _join(self, h: Tensor, attended: Tensor) -> Tensor:
        h = h + self.dropout(self.mix(attended.transpose(1, 2).flatten(2)))  # (n, t, width)
        return h + self.dropout(self.feed_forward(h))
