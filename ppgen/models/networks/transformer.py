"""The decoder-only transformer: what comes after each prefix of a sequence."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.mlp import mlp

__all__ = ["Decoder", "KeyValue", "value_embedding"]


EMBEDDING_SCALE = 0.1  # of initial embeddings; much larger ones drown what the layers add to them


class KeyValue(NamedTuple):
    """What one attention layer remembers of the past: keys and values, each ``(n, heads, t, size)``."""

    key: Tensor
    value: Tensor


Memory = tuple[KeyValue | None, ...]


class Decoder(nn.Module):
    r"""A pre-norm transformer that reads :math:`x_{<t}` and speaks about :math:`x_t`, for all t at once.

    Args:
        embed: turns values ``(n, t)`` into vectors ``(n, t, width)``.
        shape: of the array that the sequence is read from, such as ``(8, 8)``; its length is the product.
        outputs: how many numbers to return for each position.
        width, layers, heads: the transformer's size.
        dropout: on the embeddings and on each residual branch.

    References:
        Vaswani et al., *Attention Is All You Need*, 2017, arXiv:1706.03762.
    """

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
    ) -> None:
        super().__init__()
        self.embed = embed
        self.outputs = outputs
        self.start = nn.Parameter(EMBEDDING_SCALE * torch.randn(width))
        self.position = _Position(shape, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, layers, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, values: Shaped[Tensor, "n length"]) -> Float[Tensor, "n length outputs"]:
        """Outputs ``(n, length, outputs)`` for sequences ``(n, length)``; output t reads what is before t."""
        start = self.start.expand(len(values), 1, -1)
        h = torch.cat([start, self.embed(values[:, :-1])], 1) + self.position()  # (n, length, width)
        h = self.dropout(h)
        for block in self.blocks:
            h, _ = block(h, None)
        return self.head(h)  # (n, length, outputs)

    def first(self, n: int) -> tuple[Float[Tensor, "n outputs"], Memory]:
        """Outputs ``(n, outputs)`` for position 0, and the memory that :meth:`next` goes on from."""
        return self._advance(self.start.expand(n, 1, -1) + self.position()[0], (None,) * len(self.blocks))

    def next(
        self, t: int, previous: Shaped[Tensor, " n"], memory: Memory
    ) -> tuple[Float[Tensor, "n outputs"], Memory]:
        """Outputs ``(n, outputs)`` for position t, given the value ``(n,)`` before it."""
        return self._advance(self.embed(previous[:, None]) + self.position()[t], memory)

    def _advance(self, h: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        grown: list[KeyValue] = []
        for block, past in zip(self.blocks, memory, strict=True):  # h: (n, 1, width)
            h, seen = block(h, past)
            grown.append(seen)
        return self.head(h)[:, 0], tuple(grown)


def value_embedding(levels: int | None, width: int) -> nn.Module:
    """Vectors ``(n, t, width)`` for values ``(n, t)``: a table of levels, or a small network of numbers."""
    if levels is None:
        return nn.Sequential(nn.Unflatten(-1, (-1, 1)), mlp(1, (width,), width))
    embedding = nn.Embedding(levels, width)
    nn.init.normal_(embedding.weight, std=EMBEDDING_SCALE)
    return embedding


class _Position(nn.Module):
    """Where an entry is: a vector for each index of each axis, summed; a row of an image shares its own."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.axes = nn.ParameterList(EMBEDDING_SCALE * torch.randn(size, width) for size in shape)

    def forward(self) -> Tensor:
        total, *others = self.axes
        for axis in others:
            total = total.unsqueeze(-2) + axis  # (..., size, width)
        return total.flatten(0, -2)  # (length, width)


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

    def forward(self, h: Tensor, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        attended, seen = self._attend(self.attention_norm(h), past)
        h = h + self.dropout(attended)
        return h + self.dropout(self.feed_forward(h)), seen

    def _attend(self, h: Tensor, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        split = self.query_key_value(h).unflatten(-1, (3, self.heads, -1))  # (n, t, 3, heads, size)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (n, heads, t, size)
        if past is not None:
            key, value = torch.cat([past.key, key], 2), torch.cat([past.value, value], 2)
        # Without a past the whole sequence is here and must not look ahead; with one, all keys lie behind.
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        return self.mix(attended.transpose(1, 2).flatten(2)), KeyValue(key, value)  # (n, t, width)
