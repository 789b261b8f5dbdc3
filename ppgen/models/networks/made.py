"""A multilayer perceptron whose weights are masked so that each output reads earlier inputs only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.entries import features, indicators, logits

__all__ = ["InOrder", "MaskedPerceptron"]


class MaskedPerceptron(nn.Module):
    r"""A perceptron for rows in several orders: one set of weights, and masks for each order.

    .. math:: h = \mathrm{relu}\big((W \odot M) x + c\big), \qquad a = (V \odot M') h + b

    The *degree* of an entry is its place 1 … d in the order; a class is an input of degree 0. A hidden unit
    of degree m reads inputs, or units of the layer below, of degree at most m; an output reads units of a
    degree below its own entry's.

    Args:
        length: the number of entries of an example.
        levels: how many values an entry can take; with more than two, x holds their indicators.
        outputs: the number of outputs per entry.
        hidden: widths of the hidden layers, at least one.
        orders: how many orders; the first is the reading order, the others are drawn.
        dropout: on the hidden layers.
        classes: the number of classes.

    References:
        Germain, Gregor, Murray and Larochelle, *MADE: Masked Autoencoder for Distribution Estimation*, 2015,
        arXiv:1502.03509.
    """

    orders: Tensor
    degrees: Tensor

    def __init__(
        self,
        length: int,
        levels: int | None,
        outputs: int,
        *,
        hidden: Sequence[int],
        orders: int,
        dropout: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.length, self.levels, self.outputs, self.classes = length, levels, outputs, classes or 0
        said = outputs if levels is None else outputs - 1  # the first level's logit is 0
        widths = (self.classes + length * features(levels), *hidden)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.head = nn.Linear(hidden[-1], length * said)
        self.dropout = nn.Dropout(dropout)
        self.hidden = tuple(hidden)
        drawn = [torch.randperm(length) for _ in range(orders - 1)]
        self.register_buffer("orders", torch.stack([torch.arange(length), *drawn]))  # (orders, d)
        spread = [[self._spread(width, shuffled=k > 0) for width in hidden] for k in range(orders)]
        self.register_buffer("degrees", torch.stack([torch.cat(layers) for layers in spread]))

    def in_order(self, order: int | Int[Tensor, ""]) -> InOrder:
        """The conditionals in the order of that number."""
        number = torch.as_tensor(order, device=self.orders.device)[None]
        # Selected, not indexed: a number drawn at random then stays a random number in a compiled step.
        degrees = self.degrees.index_select(0, number)[0].split(self.hidden)
        return InOrder(self, self.orders.index_select(0, number)[0], degrees)

    def _spread(self, width: int, *, shuffled: bool) -> Tensor:
        # From 1 to d - 1, since all outputs may read lesser degrees and none may read d; 0 is for classes.
        lowest = 0 if self.classes else 1
        degrees = lowest + torch.arange(width) * max(1, self.length - lowest) // width
        return degrees[torch.randperm(width)] if shuffled else degrees


@dataclass(frozen=True, eq=False)
class InOrder:
    """A masked perceptron in one order, and the degrees of each of its hidden layers."""

    network: MaskedPerceptron
    order: Tensor
    degrees: tuple[Tensor, ...]

    @property
    def outputs(self) -> int:
        """How many numbers it says of an entry."""
        return self.network.outputs

    def __call__(
        self, values: Shaped[Tensor, "n d"], label: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d outputs"]:
        """Outputs ``(n, d, outputs)`` for rows ``(n, d)``."""
        net = self.network
        h = self._inputs(indicators(values, net.levels).flatten(1), label)
        places = self.order.argsort() + 1  # the degree of each entry
        read = F.pad(places.repeat_interleave(features(net.levels)), (net.classes, 0))
        for layer, degree in zip(self._layers(), self.degrees, strict=True):
            h = net.dropout(F.linear(h, layer.weight * (degree[:, None] >= read), layer.bias).relu())
            read = degree
        said = places.repeat_interleave(len(net.head.bias) // net.length)
        a = F.linear(h, net.head.weight * (said[:, None] > read), net.head.bias)
        return logits(a.unflatten(-1, (net.length, -1)), net.levels)

    def first(
        self, n: int, label: Int[Tensor, " n"] | None = None
    ) -> tuple[Float[Tensor, "n outputs"], list[Tensor]]:
        """Outputs ``(n, outputs)`` of the order's first entry; the memory is all layers, as far as known."""
        net = self.network
        inputs = self._inputs(net.head.weight.new_zeros(n, net.length * features(net.levels)), label)
        memory = [inputs, *(inputs.new_zeros(n, width) for width in net.hidden)]
        return self._reveal(0, memory), memory

    def next(
        self, t: int, previous: Shaped[Tensor, " n"], memory: list[Tensor]
    ) -> tuple[Float[Tensor, "n outputs"], list[Tensor]]:
        """Outputs ``(n, outputs)`` of the t-th entry, given the value ``(n,)`` of the one before it."""
        size, entry = features(self.network.levels), int(self.order[t - 1])
        start = self.network.classes + entry * size
        memory[0][:, start : start + size] = indicators(previous, self.network.levels)
        return self._reveal(t, memory), memory

    def _reveal(self, t: int, memory: list[Tensor]) -> Tensor:
        """Compute the hidden units of degree t, which read what is known now, and the t-th entry's outputs.

        Layers hold 0 where nothing is known yet, so that the weights need no mask.
        """
        for layer, degree, (below, h) in zip(self._layers(), self.degrees, pairwise(memory), strict=True):
            units = (degree == t).nonzero()[:, 0]
            h[:, units] = F.linear(below, layer.weight[units], layer.bias[units]).relu()
        head, said = self.network.head, len(self.network.head.bias) // self.network.length
        entry = slice(int(self.order[t]) * said, (int(self.order[t]) + 1) * said)
        return logits(F.linear(memory[-1], head.weight[entry], head.bias[entry]), self.network.levels)

    def _inputs(self, x: Tensor, label: Tensor | None) -> Tensor:
        if label is None:
            return x
        classes = torch.arange(self.network.classes, device=x.device)
        return torch.cat([(label[:, None] == classes).to(x.dtype), x], 1)

    def _layers(self) -> list[nn.Linear]:
        return [cast(nn.Linear, layer) for layer in self.network.layers]
